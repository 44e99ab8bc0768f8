package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"coup/checker"
	"coup/runner"
)

// header says what is about to be run, the seed first.
func (t *terminal) header(cmd *cobra.Command, o runner.Options, why string) {
	faults, duration := "no faults", o.Duration.String()
	if o.Recipe != "" {
		duration = "the time of the recipe"
	}
	if o.Recipe != "" {
		faults = "recipe " + o.Recipe + ": " + strings.Join(o.Faults, ", ")
	} else if len(o.Faults) > 0 {
		faults = "faults: " + strings.Join(o.Faults, ", ")
	}
	if len(o.Trouble) > 0 {
		faults += "; and all along: " + strings.Join(o.Trouble, ", ")
	}
	environment := o.Environment
	if why != "" {
		environment += " (" + why + ")"
	}
	t.Printf("%s  seed %s\n", t.paint(bold, cmd.CommandPath()), t.paint(bold, fmt.Sprint(o.Seed)))
	for _, line := range []string{
		fmt.Sprintf("%d nodes on %s", o.Nodes, environment),
		fmt.Sprintf("%s of %d clients, %s operations a second, %d keys", duration, o.Concurrency, number(o.Rate), o.Keys),
		faults,
	} {
		t.Printf("%s", t.paragraph(line))
	}
}

// conclude prints what came of a run.
func (t *terminal) conclude(c runner.Conclusion, o runner.Options) {
	t.report(c.Report)
	t.where(c.Dir)
	t.Printf("  %-7s %s\n", "repeat", o.Repeat)
}

// where says where a run and its report are.
func (t *terminal) where(dir string) {
	t.Printf("  %-7s %s\n", "run", relative(dir))
	if path := filepath.Join(dir, "summary.md"); exists(path) {
		t.Printf("  %-7s %s\n", "report", relative(path))
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// relative is a path as a person in this folder would type it.
func relative(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if short, err := filepath.Rel(here, path); err == nil && !strings.HasPrefix(short, "..") {
		return short
	}
	return path
}

// report prints figures, coverage and verdict.
func (t *terminal) report(r checker.Report) {
	t.Printf("\n")
	if rows := operations(r.Stats); len(rows) > 1 {
		t.Printf("%s  longest time without an ok: %s\n\n", t.table(rows), latency(r.Stats.Gap.Length()))
	}
	t.recipe(r.Recipe)
	if rows := faults(r); len(rows) > 1 {
		t.Printf("%s\n", t.table(rows))
	}
	for _, result := range r.Checkers {
		mark := t.paint(green, "✓")
		if result.Verdict != checker.Pass {
			mark = t.paint(red, "✗")
		}
		t.Printf("  %s %s\n", mark, t.hanging(result.Name+": "+result.Summary, 4))
	}
	t.Printf("\n%s\n", t.verdict(r))
}

// verdict is the answer in words, with the reasons for it.
func (t *terminal) verdict(r checker.Report) string {
	word := strings.ToUpper(string(r.Verdict))
	var b strings.Builder
	switch r.Verdict {
	case checker.Pass:
		b.WriteString(t.paint(green, word) + "  " + "everything was checked, and nothing is missing\n")
	case checker.Violation:
		b.WriteString(t.paint(red, word) + "  " + "the cluster broke a promise\n")
	case checker.Harness:
		b.WriteString(t.paint(red, word) + "  " + "the suite itself failed: this run says nothing of the cluster\n")
	case checker.Unavailable:
		b.WriteString(t.paint(yellow, word) + "  " + "nothing was lost, but a healthy cluster did not serve\n")
	default:
		b.WriteString(t.paint(yellow, word) + "  " + "nothing wrong was found, but too little was proven\n")
	}
	reasons := foremost(r.Reasons)
	for i, reason := range reasons {
		if i == mostReasons && len(reasons) > mostReasons+1 {
			fmt.Fprintf(&b, "  - and %d more\n", len(reasons)-mostReasons)
			break
		}
		b.WriteString("  - " + t.hanging(reason.Text, 4) + "\n")
	}
	return b.String()
}

// mostReasons is how many reasons are told on a terminal; the report has them all.
const mostReasons = 6

// foremost puts what the run itself found before what follows from it, within each verdict. The
// reasons come strongest first.
func foremost(reasons []checker.Reason) []checker.Reason {
	reasons = slices.Clone(reasons)
	for from := 0; from < len(reasons); {
		to := from + 1
		for to < len(reasons) && reasons[to].Verdict == reasons[from].Verdict {
			to++
		}
		slices.SortStableFunc(reasons[from:to], func(a, b checker.Reason) int { return cmp.Compare(order(a), order(b)) })
		from = to
	}
	return reasons
}

func order(r checker.Reason) int {
	switch r.Checker {
	case runner.NameInvariants, runner.NameLiveness, runner.NameProcesses, runner.NameRun:
		return 0
	case checker.NameCoverage:
		return 2
	}
	return 1
}

// operations is the table of operations by kind.
func operations(s checker.Stats) [][]string {
	rows := [][]string{{"operation", "ok", "fail", "info", "p50", "p99", "max"}}
	for _, op := range s.Ops {
		rows = append(rows, []string{
			string(op.F), count(op.OK), count(op.Fail), count(op.Info), latency(op.P50), latency(op.P99), latency(op.Max),
		})
	}
	return rows
}

// faults is the table of faults, with what succeeded while each was in force.
func faults(r checker.Report) [][]string {
	rows := [][]string{coverageHead}
	counts := map[string]checker.FaultCount{}
	for _, c := range r.Faults {
		counts[c.Fault] = c
	}
	for _, row := range r.Coverage.Rows {
		c := counts[row.Fault]
		rows = append(rows, covered(row, fmt.Sprintf("%d/%d", c.Installed, c.Planned)))
	}
	return rows
}

// coverageHead is above the rows that covered makes.
var coverageHead = []string{"fault", "installed", "in force", "read ok", "write ok", "cas ok", "ok after"}

// covered is a row of what succeeded under a fault.
func covered(row checker.CoverageRow, installed string) []string {
	of := func(c checker.Count) string { return fmt.Sprintf("%s/%s", count(c.OK), count(c.Invoked)) }
	return []string{row.Fault, installed, seconds(row.InForce), of(row.Read), of(row.Write), of(row.CAS), count(row.OKAfter)}
}

// latency writes a short time with three digits at most.
func latency(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < 9950*time.Microsecond:
		return fmt.Sprintf("%.1fms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0fms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}

// number writes a number without digits that say nothing.
func number(f float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") }

// paragraph indents text by two columns, wrapped at the terminal's width.
func (t *terminal) paragraph(text string) string { return "  " + t.hanging(text, 2) + "\n" }

// hanging wraps text at the terminal's width, with the lines after the first indented.
func (t *terminal) hanging(text string, indent int) string {
	width := max(20, min(t.width(), 100)-indent)
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, wrap(strings.TrimSpace(line), width)...)
	}
	return strings.Join(lines, "\n"+strings.Repeat(" ", indent))
}

// wrap breaks text between words into lines of at most width columns. A longer word gets a line of
// its own.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

package results

import (
	"fmt"
	"io"
	"strings"

	"coup/checker"
)

// writeSummary writes the run for a CI job's page.
func writeSummary(w io.Writer, info Info, evidence checker.Evidence, report checker.Report) error {
	var b strings.Builder
	line := func(format string, arguments ...any) { fmt.Fprintf(&b, format+"\n", arguments...) }
	row := func(cells ...any) {
		b.WriteString("|")
		for _, c := range cells {
			fmt.Fprintf(&b, " %v |", cell(fmt.Sprint(c)))
		}
		b.WriteString("\n")
	}
	line("# coup: %s", report.Verdict)
	line("")
	line("%s on %s, seed %d, %s. %d operations, %d ok, %.0f ok/s.", info.Name, info.Environment, info.Seed,
		inSeconds(info.Timeline.End), report.Stats.Invoked, report.Stats.OK, report.Stats.Throughput)
	line("")
	for _, reason := range report.Reasons {
		line("- **%s** (%s): %s", reason.Verdict, reason.Checker, reason.Text)
		for _, detail := range reason.Details {
			line("  - %s", detail)
		}
	}
	for _, key := range report.Linearizability.Suspect {
		if key.Page != "" {
			line("- [%s, drawn](%s/%s)", key.Key, dirPages, key.Page)
		}
	}
	if len(report.Reasons) > 0 {
		line("")
	}
	line("## What was checked")
	line("")
	row("checker", "verdict", "what it saw")
	line("|---|---|---|")
	for _, result := range report.Checkers {
		row(result.Name, result.Verdict, result.Summary)
	}
	line("")
	line("## Operations")
	line("")
	row("operation", "invoked", "ok", "fail", "info", "p50", "p99", "max")
	line("|---|--:|--:|--:|--:|--:|--:|--:|")
	for _, op := range report.Stats.Ops {
		row(op.F, op.Invoked, op.OK, op.Fail, op.Info, op.P50, op.P99, op.Max)
	}
	line("")
	if report.Recipe != nil {
		line("## The recipe %s, step by step", report.Recipe.Name)
		line("")
		for i, cells := range report.Recipe.Table() {
			var all []any
			for _, c := range cells {
				all = append(all, c)
			}
			row(all...)
			if i == 0 {
				line("|---|--:|--:|--:|---|--:|--:|--:|")
			}
		}
		line("")
		line("%s", report.Recipe.Bound())
		line("")
	}
	if len(report.Coverage.Rows) > 0 {
		line("## What succeeded while faults were in force")
		line("")
		row("fault", "proven", "in force", "read ok/invoked", "write", "cas", "ok after")
		line("|---|--:|--:|--:|--:|--:|--:|")
		for i, r := range report.Coverage.Rows {
			of := func(c checker.Count) string { return fmt.Sprintf("%d/%d", c.OK, c.Invoked) }
			proven := fmt.Sprintf("%d/%d", report.Faults[i].Installed, report.Faults[i].Planned)
			row(r.Fault, proven, inSeconds(r.InForce), of(r.Read), of(r.Write), of(r.CAS), r.OKAfter)
		}
		line("")
		line("## Faults, as they happened")
		line("")
		row("at", "fault", "targets", "installed", "healed")
		line("|--:|---|---|---|---|")
		for _, f := range evidence.Faults {
			healed := string(f.Healing)
			if f.Healing == checker.Healed {
				healed = "at " + inSeconds(f.Cleared)
			}
			if f.Attempt == checker.Skipped {
				healed = ""
			}
			row(inSeconds(f.Begun), f.Name, strings.Join(f.Targets, " "), f.Attempt, healed)
		}
		line("")
	}
	line("To do it again: `%s`, with `--seed %d`.", strings.Join(info.Command, " "), info.Seed)
	_, err := io.WriteString(w, b.String())
	return err
}

// cell keeps a text within its table cell.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(text)
}

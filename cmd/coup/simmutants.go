package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"coup/checker"
	"coup/mutants"
	"coup/page"
	"coup/sweep"
)

// The bounds of a mutant's sweep: a bug may make it turn for ever, or fill the memory.
const (
	sweepGrace  = 30 * time.Second // beyond its budget
	sweepMemory = 3 << 30          // bytes
	shareAlone  = 6                // of the budget that one kind of check has alone
)

// sighting is how one sweep over a mutant came out.
type sighting struct {
	check string // that noticed it; empty when nothing did
	text  string
	runs  int
	took  time.Duration
}

func (s sighting) seen() bool { return s.check != "" }

// runsOrNone is how many runs it took, for a table.
func (s sighting) runsOrNone() string {
	if !s.seen() {
		return "-"
	}
	return count(s.runs)
}

// specimen is a mutant and what became of it.
type specimen struct {
	mutant              mutants.Mutant
	first, seen, missed sighting // by anything, by linearizability alone, by liveness alone
	failing             []string // the scenarios that fail with it
	build               time.Duration
	err                 error
}

// simulate builds this program with each bug in it, and has it sweep until the bug is caught.
func (c *campaign) simulate(ctx context.Context, t *terminal) (err error) {
	if c.jobs < 1 || c.benignSeeds < 1 || c.budget < 0 {
		return &usageError{errors.New("--jobs and --benign-seeds must be at least 1, and --budget cannot be negative")}
	}
	var chosen []mutants.Mutant
	for _, m := range c.mutants {
		if !m.NoSweep {
			chosen = append(chosen, m)
		}
	}
	if c.work, err = os.MkdirTemp("", "coup-mutants-"); err != nil {
		return fmt.Errorf("make a folder for the mutants: %w", err)
	}
	defer os.RemoveAll(c.work)
	begun := time.Now()
	t.Printf("%s  seed %d\n", t.paint(bold, "coup mutants"), c.seed)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	sound := filepath.Join(c.work, "sound")
	if err := mutants.BuildUnpatched(ctx, ".", mutants.Suite, sound); err != nil {
		return err
	}
	// What is found in a mutant proves nothing unless the same sweep finds nothing without the bug.
	passed := map[string]bool{}
	for _, m := range append([]mutants.Mutant{{}}, chosen...) {
		if key := strings.Join(m.Sweep, " "); !passed[key] {
			control, err := c.sweep(ctx, sound, append(slices.Clone(m.Sweep), "--workers", strconv.Itoa(c.jobs)), "", 0)
			if err != nil {
				return err
			}
			if control.seen() {
				return fmt.Errorf("the program without any bug was flagged after %d runs%s, so that no mutant proves anything: %s: %s",
					control.runs, with(key), control.check, control.text)
			}
			passed[key] = true
		}
	}
	if failing, err := c.failing(ctx, sound); err != nil || len(failing) > 0 {
		return errors.Join(err, fmt.Errorf("scenarios fail without any bug, so that they prove nothing: %s", strings.Join(failing, ", ")))
	}
	t.Printf("  without any bug nothing is found in %s runs, and no scenario fails\n\n", count(c.benignSeeds))
	rows := [][]string{{"mutant", "caught by", "runs", "after", "clients alone", "liveness alone"}}
	matrix := [][]string{{"mutant", "fail", "which"}}
	var unplayed []string
	t.Printf("  %-34s %-16s %5s %7s  %13s  %14s  %s\n", "mutant", "caught by", "runs", "after", "clients alone", "liveness alone", "scenarios that fail")
	survived, flagged := 0, 0
	for s := range c.specimens(ctx, chosen) {
		if s.err != nil {
			return s.err
		}
		switch {
		case s.mutant.Benign && s.first.seen():
			flagged++
		case !s.mutant.Benign && !s.first.seen():
			survived++
		}
		row := s.row()
		rows = append(rows, append([]string{s.mutant.Name, s.mutant.Rule, s.mutant.Source}, row[1:]...))
		matrix = append(matrix, []string{s.mutant.Name, strconv.Itoa(len(s.failing)), many(s.failing)})
		if wrong := s.unplayed(c.scenarios); wrong != "" {
			unplayed = append(unplayed, wrong)
		}
		t.Printf("  %-34s %-16s %5s %7s  %13s  %14s  %s\n", row[0], row[1], row[2], row[3], row[4], row[5], some(told(s.failing)))
	}
	for _, wrong := range unplayed {
		t.Printf("  %s\n", wrong)
	}
	t.Printf("\n%d caught, %d survived, %d flagged without cause; %v\n",
		len(chosen)-survived-flagged, survived, flagged, time.Since(begun).Round(time.Second))
	if c.write != "" {
		line := "`coup mutants --env sim --write docs/mutants.md` plays all scenarios with each bug built in, and writes here which fail."
		if err := page.Write(c.write, "Seeded bugs", "scenarios", line, c.matrixPage(matrix)); err != nil {
			return err
		}
	}
	if c.write != "" && !c.quick {
		rows[0] = append([]string{"mutant", "rule", "known from"}, rows[0][1:]...)
		if err := page.Write(c.write, "Seeded bugs", "mutants", "`coup mutants --env sim --write docs/mutants.md` measures this and writes it here.", c.page(rows)); err != nil {
			return err
		}
	}
	switch {
	case flagged > 0:
		return errors.New("a mutant that breaks no rule was flagged")
	case survived > 0 || len(unplayed) > 0:
		return exitCode(checker.Violation.ExitCode())
	}
	return nil
}

// with names the arguments of a sweep, where there are any.
func with(arguments string) string {
	if arguments == "" {
		return ""
	}
	return " with " + arguments
}

// row is what the table says of a specimen.
func (s specimen) row() []string {
	caught, runs, after := "nothing", count(s.first.runs), "-"
	switch {
	case s.first.seen():
		caught, after = s.first.check, seconds(s.first.took)
	case s.mutant.Benign:
		caught = "nothing: benign"
	}
	seen, missed := s.seen.runsOrNone(), s.missed.runsOrNone()
	if s.mutant.Benign {
		seen, missed = "", ""
	}
	return []string{s.mutant.Name, caught, runs, after, seen, missed}
}

// page is the table as Markdown.
func (c *campaign) page(rows [][]string) string {
	return fmt.Sprintf(`Each row is a patch in the folder mutants, built into the simulator and swept over seeds, from seed %d on,
on one core: until any check caught it, with what clients see alone, and with what a healthy cluster
owes alone. The figures are runs of about 2,000 operations; - stands for not seen within a sixth of the
mutant's budget.

`, c.seed) + page.Table(rows)
}

// matrixPage tells which scenarios fail with which bug.
func (c *campaign) matrixPage(matrix [][]string) string {
	return `With each bug built in, these scenarios of the folder ` + c.scenarios + ` fail, by their names. Without any, none does.

` + page.Table(matrix)
}

// many names those that fail; of very many the first, for they say little.
func many(names []string) string {
	if len(names) > 12 {
		return strings.Join(names[:8], ", ") + fmt.Sprintf(" and %d more", len(names)-8)
	}
	return strings.Join(names, ", ")
}

// some names a few of many.
func some(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:2], ", "), len(names)-2)
	}
	return strings.Join(names, ", ")
}

// specimens examines the mutants, a few at a time, and hands them out in their order.
func (c *campaign) specimens(ctx context.Context, chosen []mutants.Mutant) <-chan specimen {
	results := make([]chan specimen, len(chosen))
	for i := range results {
		results[i] = make(chan specimen, 1)
	}
	next := make(chan int)
	go func() {
		defer close(next)
		for i := range chosen {
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	var workers sync.WaitGroup
	for range c.jobs {
		workers.Go(func() {
			for i := range next {
				results[i] <- c.examine(ctx, chosen[i])
			}
		})
	}
	out := make(chan specimen)
	go func() {
		defer close(out)
		defer workers.Wait()
		for i := range results {
			select {
			case s := <-results[i]:
				out <- s
				if s.err != nil {
					return
				}
			case <-ctx.Done():
				out <- specimen{err: ctx.Err()}
				return
			}
		}
	}()
	return out
}

// examine builds a mutant and sweeps it.
func (c *campaign) examine(ctx context.Context, m mutants.Mutant) specimen {
	s := specimen{mutant: m}
	binary := filepath.Join(c.work, m.Name)
	begun := time.Now()
	if s.err = m.Build(ctx, ".", mutants.Suite, binary); s.err != nil {
		return s
	}
	defer os.Remove(binary)
	s.build = time.Since(begun)
	if s.failing, s.err = c.failing(ctx, binary); s.err != nil {
		return s
	}
	budget := m.Budget
	if c.budget > 0 {
		budget = c.budget
	}
	if m.Benign {
		s.first, s.err = c.sweep(ctx, binary, m.Sweep, "", 0)
		return s
	}
	if s.first, s.err = c.sweep(ctx, binary, m.Sweep, "", budget); s.err != nil || c.quick {
		return s
	}
	if s.seen, s.err = c.sweep(ctx, binary, m.Sweep, sweep.Linearizability, budget/shareAlone); s.err != nil {
		return s
	}
	s.missed, s.err = c.sweep(ctx, binary, m.Sweep, sweep.Liveness, budget/shareAlone)
	return s
}

// sweep has a program sweep until something is found: for that long, or over --benign-seeds runs when
// budget is 0.
func (c *campaign) sweep(ctx context.Context, program string, extra []string, only sweep.Check, budget time.Duration) (sighting, error) {
	arguments := append([]string{"sweep", "--json", "--workers", "1", "--first", strconv.FormatUint(c.seed, 10)}, extra...)
	limit := budget + sweepGrace
	if budget > 0 {
		arguments = append(arguments, "--seeds", "0", "--budget", budget.String())
	} else {
		arguments = append(arguments, "--seeds", strconv.Itoa(c.benignSeeds))
		limit = time.Duration(c.benignSeeds)*time.Second + sweepGrace
	}
	if only != "" {
		arguments = append(arguments, "--only", string(only))
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	run := exec.CommandContext(bounded, program, arguments...)
	var output, complaint bytes.Buffer
	run.Stdout, run.Stderr = &output, &complaint
	begun := time.Now()
	if err := run.Start(); err != nil {
		return sighting{}, fmt.Errorf("start %s: %w", program, err)
	}
	// Where it cannot be bounded, it runs all the same.
	_ = unix.Prlimit(run.Process.Pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: sweepMemory, Max: sweepMemory}, nil)
	failure := run.Wait()
	took := time.Since(begun)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return sighting{}, ctx.Err()
	case bounded.Err() != nil:
		return sighting{check: "no end", text: "a run did not end", runs: 1, took: took}, nil
	case failure != nil && !errors.As(failure, &exit):
		return sighting{}, fmt.Errorf("run %s: %w", program, failure)
	}
	var result sweep.Result
	if err := json.Unmarshal(output.Bytes(), &result); err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n")
		return sighting{check: "crash", text: first, runs: 1, took: took}, nil
	}
	s := sighting{runs: result.Runs, took: result.Took}
	if len(result.Failures) > 0 {
		f := result.Failures[0]
		if f.Verdict == checker.Harness {
			return sighting{}, fmt.Errorf("the suite itself failed, which catches no bug: seed %d, %s: %s", f.Seed, f.Check, f.Text)
		}
		s.check, s.text = f.Check, f.Text
	}
	return s, nil
}

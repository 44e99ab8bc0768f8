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
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"coup/checker"
	"coup/mutants"
	"coup/page"
	"coup/scenario"
	"coup/shrink"
)

// defaultShrinkBudget is how long a mutant's failure is cut down.
const defaultShrinkBudget = time.Minute

// shortened is a mutant's scenario.
type shortened struct {
	mutant  mutants.Mutant
	check   string // that fails by the bug
	lines   int    // statements
	remarks string // how it was come to
	err     error
}

// shortScenarios builds this program with each bug, and plays the bug's scenario: it must fail there and pass on the program
// as it is. With --shrink the scenario is made first, by cutting down a run that the bug fails.
func (c *campaign) shortScenarios(ctx context.Context, t *terminal) (err error) {
	if c.work, err = os.MkdirTemp("", "coup-mutants-"); err != nil {
		return fmt.Errorf("make a folder for the mutants: %w", err)
	}
	defer os.RemoveAll(c.work)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sound := filepath.Join(c.work, "sound")
	if err := mutants.BuildUnpatched(ctx, ".", mutants.Suite, sound); err != nil {
		return err
	}
	t.Printf("  %-34s %-6s %5s  %s\n", "mutant", "fails", "lines", "how")
	var mu sync.Mutex
	var all []shortened
	var running sync.WaitGroup
	next := make(chan mutants.Mutant)
	for range c.jobs {
		running.Go(func() {
			for m := range next {
				s := c.shorten(ctx, m, sound)
				mu.Lock()
				all = append(all, s)
				row := s.row()
				t.Printf("  %-34s %-6s %5s  %s\n", row[0], row[1], row[2], row[3])
				mu.Unlock()
			}
		})
	}
	for _, m := range c.mutants {
		if !m.Benign && !m.NoSweep && ctx.Err() == nil {
			next <- m
		}
	}
	close(next)
	running.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return c.concludeShort(t, all)
}

// concludeShort sums up, and writes the page.
func (c *campaign) concludeShort(t *terminal, all []shortened) error {
	slices.SortFunc(all, func(a, b shortened) int { return strings.Compare(a.mutant.Name, b.mutant.Name) })
	rows := [][]string{{"mutant", "fails", "lines", "how"}}
	short, failed, missing := 0, 0, 0
	for _, s := range all {
		rows = append(rows, s.row())
		switch {
		case errors.Is(s.err, errNoScenario):
			missing++
		case s.err != nil:
			failed++
		case s.lines <= shrink.Short:
			short++
		}
	}
	summary := fmt.Sprintf("%d of %d seeded bugs have a scenario that fails on the bug and passes without it; %d of these have at most %d lines.",
		len(all)-failed-missing, len(all), short, shrink.Short)
	t.Printf("\n%s\n", summary)
	if c.write != "" {
		if err := page.Write(c.write, "Shrinking", "shrunk", "`coup mutants --env sim --play --write docs/shrinking.md` measures this and writes it here.", summary+"\n\n"+page.Table(rows)); err != nil {
			return err
		}
	}
	if failed > 0 {
		return exitCode(checker.Violation.ExitCode())
	}
	return nil
}

var errNoScenario = errors.New("no scenario: it was not cut down yet")

// row is what the table says of a mutant.
func (s shortened) row() []string {
	if s.err != nil {
		text, _, _ := strings.Cut(s.err.Error(), "\n")
		return []string{s.mutant.Name, "-", "-", text}
	}
	return []string{s.mutant.Name, s.check, strconv.Itoa(s.lines), s.remarks}
}

// shorten makes a mutant's scenario, if that is asked for, and plays it.
func (c *campaign) shorten(ctx context.Context, m mutants.Mutant, sound string) (s shortened) {
	s.mutant = m
	binary, file := filepath.Join(c.work, m.Name), filepath.Join(c.scenarios, shrunkFolder, m.Name+".txt")
	if _, err := os.Stat(file); !c.shrink && errors.Is(err, os.ErrNotExist) {
		s.err = errNoScenario
		return s
	}
	if s.err = m.Build(ctx, ".", mutants.Suite, binary); s.err != nil {
		return s
	}
	defer os.Remove(binary)
	if c.shrink {
		if s.err = c.makeShort(ctx, m, binary, sound, file); s.err != nil {
			return s
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		s.err = fmt.Errorf("read the scenario: %w", err)
		return s
	}
	if s.lines, s.check, s.remarks, s.err = shortFacts(file, string(text)); s.err != nil {
		return s
	}
	// What fails on the bug proves nothing unless it passes without it.
	r, err := playOn(ctx, sound, file)
	switch {
	case err != nil:
		s.err = err
	case !r.Passed:
		s.err = fmt.Errorf("it fails without the bug: %s", r.Error)
	}
	if s.err != nil {
		return s
	}
	switch r, err := playOn(ctx, binary, file); {
	case err != nil:
		s.err = err
	case r.Passed:
		s.err = errors.New("it passes with the bug")
	case r.Check != s.check:
		s.err = fmt.Errorf("%s was to fail, and this is what does: %s", s.check, r.Error)
	}
	return s
}

var howMade = regexp.MustCompile(`(?m)^# (Cut from .*)$`)

// shortFacts are what a scenario's own text says of it.
func shortFacts(file, text string) (lines int, check, remarks string, err error) {
	parsed, err := scenario.Parse(file, text)
	if err != nil {
		return 0, "", "", err
	}
	check, _, found := strings.Cut(parsed.Title, ":")
	if !found {
		return 0, "", "", fmt.Errorf("%s: the title names no check", file)
	}
	if m := howMade.FindStringSubmatch(text); m != nil {
		remarks = m[1]
	}
	return len(parsed.Lines), check, remarks, nil
}

// makeShort has the program with the bug find a failing run and cut it down. Where that leaves too much, or nothing, a
// scenario that is there already and fails by the bug is cut down instead.
func (c *campaign) makeShort(ctx context.Context, m mutants.Mutant, binary, sound, file string) error {
	shrunk, err := c.cut(ctx, binary, sound, append([]string{"--first", strconv.FormatUint(c.seed, 10)}, m.Sweep...)...)
	how := fmt.Sprintf("Cut from %s lines%s in %.0f s: %s. Of %d failing runs %d fail when they are played by hand.",
		count(shrunk.Before), shrunk.drawn(), shrunk.Took.Seconds(), shrunk.Source, shrunk.Failed, shrunk.Replayed)
	if err != nil || len(shrunk.Lines) > shrink.Short {
		before := "No run of it could be cut down"
		if err == nil {
			before = fmt.Sprintf("Of a run %d lines were left", len(shrunk.Lines))
		}
		known, knownErr := c.cutKnown(ctx, binary, sound)
		switch {
		case knownErr != nil && err != nil:
			return errors.Join(err, knownErr)
		case knownErr == nil && (err != nil || len(known.Lines) < len(shrunk.Lines)):
			shrunk = known
			how = fmt.Sprintf("Cut from %d lines%s in %.0f s: %s. %s.", known.Before, known.drawn(), known.Took.Seconds(), known.Source, before)
		}
	}
	text := shrunk.Shrunk.Scenario(fmt.Sprintf("Seeded bug %s, against %s.", m.Name, m.Rule), how)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("write the scenario: %w", err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the scenario: %w", err)
	}
	return c.excuse(ctx, sound, file)
}

// drawn says so where lines were drawn.
func (s *shrunkFile) drawn() string {
	if s.Drawn {
		return ", some of them drawn,"
	}
	return ""
}

// cut has a program with a bug cut down what the arguments name.
func (c *campaign) cut(ctx context.Context, binary, sound string, arguments ...string) (shrunk shrunkFile, err error) {
	budget := defaultShrinkBudget
	if c.budget > 0 {
		budget = c.budget
	}
	bounded, cancel := context.WithTimeout(ctx, 3*budget+sweepGrace)
	defer cancel()
	workers := strconv.Itoa(max(1, runtime.GOMAXPROCS(0)/c.jobs))
	run := exec.CommandContext(bounded, binary, append([]string{"shrink", "--json", "--workers", workers, "--budget", budget.String(), "--against", sound}, arguments...)...)
	var output, complaint bytes.Buffer
	run.Stdout, run.Stderr = &output, &complaint
	if err := run.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(complaint.String()), "\n")
		return shrunk, fmt.Errorf("not shrunk: %w: %s", err, lines[len(lines)-1])
	}
	if err := json.Unmarshal(output.Bytes(), &shrunk); err != nil {
		return shrunk, fmt.Errorf("not shrunk: %w", err)
	}
	return shrunk, nil
}

// mostKnown bounds how many scenarios are tried.
const mostKnown = 6

// cutKnown cuts down the shortest of the scenarios that are there already and fail by the bug: first those that break a
// rule; others may break one when what they check is left out.
func (c *campaign) cutKnown(ctx context.Context, binary, sound string) (best shrunkFile, err error) {
	results, err := playIn(ctx, binary, allScenarios, c.scenarios)
	if err != nil {
		return best, err
	}
	results = slices.DeleteFunc(results, func(r scenario.Result) bool {
		return r.Passed || strings.HasPrefix(scenarioName(r.File, c.scenarios), shrunkFolder+"/")
	})
	slices.SortFunc(results, func(a, b scenario.Result) int {
		if (a.Check == "") != (b.Check == "") {
			return strings.Compare(b.Check, a.Check)
		}
		return a.Lines - b.Lines
	})
	err = errors.New("no scenario breaks a rule by the bug")
	for _, r := range results[:min(mostKnown, len(results))] {
		shrunk, failure := c.cut(ctx, binary, sound, r.File)
		switch {
		case failure != nil && best.Lines == nil:
			err = failure
		case failure == nil && (best.Lines == nil || len(shrunk.Lines) < len(best.Lines)):
			best, err = shrunk, nil
		}
		if best.Lines != nil && len(best.Lines) <= shrink.Short {
			break
		}
	}
	return best, err
}

// excuse marks the lines that only the bug makes possible.
func (c *campaign) excuse(ctx context.Context, sound, file string) error {
	for {
		r, err := playOn(ctx, sound, file)
		if err != nil || r.Passed || r.Check != "" || r.Line == 0 {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read the scenario: %w", err)
		}
		lines := strings.Split(string(text), "\n")
		if strings.HasPrefix(lines[r.Line-1], "perhaps ") {
			return nil
		}
		lines[r.Line-1] = "perhaps " + lines[r.Line-1]
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			return fmt.Errorf("write the scenario: %w", err)
		}
	}
}

// playOn has a program play a scenario.
func playOn(ctx context.Context, program, file string) (*scenario.Result, error) {
	bounded, cancel := context.WithTimeout(ctx, sweepGrace)
	defer cancel()
	var output, complaint bytes.Buffer
	run := exec.CommandContext(bounded, program, "scenario", "--json", file)
	run.Stdout, run.Stderr = &output, &complaint
	failure := run.Run()
	var results []*scenario.Result
	if err := json.Unmarshal(output.Bytes(), &results); err != nil || len(results) != 1 {
		return nil, fmt.Errorf("%s says nothing of %s: %w: %s", program, file, failure, strings.TrimSpace(complaint.String()))
	}
	return results[0], nil
}

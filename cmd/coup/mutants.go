package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"coup/checker"
	"coup/mutants"
)

func newMutants() *cobra.Command {
	var c campaign
	var seed string
	cmd := &cobra.Command{
		Use:   "mutants [NAME...]",
		Short: "Build nodes with seeded bugs, and see that each is caught",
		Long: `Build a node for each patch in the folder of mutants, and run it until the verdict is violation or
its budget is used up; then run the node as it is in the same way, which must pass. It is to be
started in the module's folder, and needs the go command.

In the simulator (--env sim) it is this program that is built with each bug in it, and that sweeps
over seeds until the bug is caught: once by whatever catches it first, once by what clients see
alone, and once by what a healthy cluster owes. It also plays all scenarios, of which at least one must
fail. Mutants that break no rule must not be flagged, by any.

Exit codes: 0 all caught and nothing flagged without cause, 1 a mutant survived, 255 the node as it
is did not pass.`,
		RunE: func(cmd *cobra.Command, names []string) error {
			var err error
			if c.seed, err = parseSeed(seed); err != nil {
				return err
			}
			if c.mutants, err = chooseMutants(c.dir, names); err != nil {
				return &usageError{err}
			}
			if c.shrink || c.play {
				if c.environment != simulated || c.jobs < 1 || c.budget < 0 {
					return &usageError{errors.New("--shrink and --play are for --env sim, with --jobs of at least 1")}
				}
				return c.shortScenarios(cmd.Context(), newTerminal(os.Stdout))
			}
			if c.environment == simulated {
				return c.simulate(cmd.Context(), newTerminal(os.Stdout))
			}
			for _, flag := range []string{"write", "jobs", "budget", "benign-seeds", "quick", "scenarios"} {
				if cmd.Flags().Changed(flag) {
					return &usageError{fmt.Errorf("--%s is for --env sim", flag)}
				}
			}
			return c.run(cmd.Context(), os.Stdout)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&c.environment, "env", "auto", "where the nodes run: docker, netns, sim, or auto for the first real one that works")
	flags.StringVar(&seed, "seed", "", "seed of the first run; drawn when not given")
	flags.StringVar(&c.dir, "dir", "mutants", "folder of the patches")
	flags.StringVar(&c.results, "results", "", "folder that keeps the runs; none are kept when not given")
	flags.BoolVar(&c.quick, "quick", false, "in sim: until any check catches a mutant, and no more")
	flags.IntVar(&c.jobs, "jobs", runtime.GOMAXPROCS(0), "in sim: mutants at a time, each on one core")
	flags.DurationVar(&c.budget, "budget", 0, "in sim: how long a mutant is looked for by each check; its own budget when not given")
	flags.IntVar(&c.benignSeeds, "benign-seeds", 300, "in sim: how many runs must not flag a benign mutant, and the program as it is")
	flags.BoolVar(&c.shrink, "shrink", false, "in sim: cut a run that each mutant fails down to a scenario in the folder mutants of --scenarios, and play it; see coup shrink")
	flags.BoolVar(&c.play, "play", false, "in sim: play these scenarios, each of which must fail with its mutant and pass without it, and nothing else")
	flags.StringVar(&c.scenarios, "scenarios", "scenario/testdata", "in sim: folder of scenarios, of which at least one must fail with each bug")
	flags.StringVar(&c.write, "write", "", "in sim: page to write the tables into, between their markers; with --quick only that of the scenarios")
	return cmd
}

func chooseMutants(dir string, names []string) ([]mutants.Mutant, error) {
	all, err := mutants.Load(dir)
	if err != nil || len(names) == 0 {
		return all, err
	}
	var chosen []mutants.Mutant
	for _, name := range names {
		i := slices.IndexFunc(all, func(m mutants.Mutant) bool { return m.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no mutant %q in %s", name, dir)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// campaign is a series of runs against mutants.
type campaign struct {
	mutants     []mutants.Mutant
	environment string
	seed        uint64
	dir         string
	results     string
	work        string // where binaries are built

	// In the simulator only.
	jobs        int
	budget      time.Duration
	benignSeeds int
	scenarios   string // folder
	write       string
	quick       bool
	shrink      bool
	play        bool
}

// attempt is how the runs against one node came out.
type attempt struct {
	verdict checker.Verdict
	found   []string // the checkers that proved a violation
	took    time.Duration
	runs    int
	seed    uint64 // of the last run
}

func (c *campaign) run(ctx context.Context, out io.Writer) (err error) {
	if c.work, err = os.MkdirTemp("", "coup-mutants-"); err != nil {
		return fmt.Errorf("make a folder for the mutants: %w", err)
	}
	defer os.RemoveAll(c.work)
	// Nodes may run as nobody in particular, and must be able to read their program.
	if err := os.Chmod(c.work, 0o755); err != nil {
		return fmt.Errorf("make a folder for the mutants: %w", err)
	}
	if c.results == "" {
		c.results = filepath.Join(c.work, "results")
	}
	sound := filepath.Join(c.work, "raftnode")
	if err := mutants.BuildUnpatched(ctx, ".", mutants.Node, sound); err != nil {
		return err
	}
	fmt.Fprintf(out, "coup mutants  seed %d\n\n  %-24s %-10s %6s  %4s  %-32s %s\n", c.seed, "mutant", "verdict", "after", "runs", "found by", "without the bug")
	tried, survived, flagged := 0, 0, 0
	passed := map[string]checker.Verdict{} // of the sound node, by the run's arguments
	for _, m := range c.mutants {
		if len(m.Run) == 0 {
			continue // only the simulator can show it
		}
		tried++
		binary := filepath.Join(c.work, m.Name)
		if err := m.Build(ctx, ".", mutants.Node, binary); err != nil {
			return err
		}
		caught, err := c.hunt(ctx, m, binary)
		if err != nil {
			return err
		}
		key := strings.Join(m.Run, " ")
		control, known := passed[key]
		if !known {
			one, err := c.once(ctx, m, sound, "sound", caught.seed, 0)
			if err != nil {
				return err
			}
			control = one.verdict
			passed[key] = control
		}
		fmt.Fprintf(out, "  %-24s %-10s %5.0fs  %4d  %-32s %s\n", m.Name, caught.verdict, caught.took.Seconds(), caught.runs,
			strings.Join(caught.found, ", "), control)
		if caught.verdict != checker.Violation {
			survived++
		}
		if control != checker.Pass {
			flagged++
		}
	}
	fmt.Fprintf(out, "\n%d passed, %d failed\n", tried-survived, survived)
	switch {
	case flagged > 0:
		return errors.New("the node without any bug did not pass: no mutant proves anything")
	case survived > 0:
		return exitCode(checker.Violation.ExitCode())
	}
	return nil
}

// hunt runs a mutant with one seed after the other until it is caught or its budget is used up.
func (c *campaign) hunt(ctx context.Context, m mutants.Mutant, binary string) (attempt, error) {
	begun := time.Now()
	total := attempt{}
	for total.verdict != checker.Violation && time.Since(begun) < m.Budget {
		one, err := c.once(ctx, m, binary, m.Name, c.seed+uint64(total.runs), m.Budget-time.Since(begun))
		if err != nil {
			return attempt{}, err
		}
		one.runs = total.runs + 1
		total = one
	}
	total.took = time.Since(begun)
	return total, nil
}

// once does one run, with this very program. It is interrupted after limit, unless that is 0.
func (c *campaign) once(ctx context.Context, m mutants.Mutant, binary, name string, seed uint64, limit time.Duration) (attempt, error) {
	self, err := os.Executable()
	if err != nil {
		return attempt{}, fmt.Errorf("find this program: %w", err)
	}
	name = "mutant-" + name
	arguments := append([]string{
		"run", "--env", c.environment, "--raftnode", binary, "--name", name, "--results", c.results,
		"--seed", strconv.FormatUint(seed, 10),
	}, m.Run...)
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	run := exec.CommandContext(ctx, self, arguments...)
	run.Cancel = func() error { return run.Process.Signal(syscall.SIGTERM) }
	output, failure := run.CombinedOutput()
	var exit *exec.ExitError
	if failure != nil && !errors.As(failure, &exit) && ctx.Err() == nil {
		return attempt{}, fmt.Errorf("run coup: %w", failure)
	}
	text, err := os.ReadFile(filepath.Join(c.results, "runs", "latest", "verdict.json"))
	if err != nil {
		return attempt{}, fmt.Errorf("%s came to no verdict: %w\n%s", run, err, output)
	}
	var report checker.Report
	if err := json.Unmarshal(text, &report); err != nil {
		return attempt{}, fmt.Errorf("read the verdict of %s: %w", run, err)
	}
	a := attempt{verdict: report.Verdict, runs: 1, seed: seed}
	for _, result := range report.Checkers {
		if result.Verdict == checker.Violation {
			a.found = append(a.found, result.Name)
		}
	}
	return a, nil
}

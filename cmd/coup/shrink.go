package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"coup/scenario"
	"coup/shrink"
	"coup/sweep"
)

// shrinkFlags are what `coup shrink` is told.
type shrinkFlags struct {
	sweepFlags
	seed    string
	hunt    int
	budget  time.Duration
	out     string
	against string
	script  string
	workers int
}

func newShrink() *cobra.Command {
	f := shrinkFlags{sweepFlags: sweepFlags{options: sweep.Options{Ops: 2000}}}
	cmd := &cobra.Command{
		Use:   "shrink [FILE]",
		Short: "Cut a failing run or scenario down to the lines that matter",
		Long: `Cut a failing run of the simulator, or a failing scenario, down while the same check fails, and write what is
left as a scenario: it fails on the bug and passes without it. A run is named by its seed and by the flags of
coup sweep; without a seed, runs are done from --first on until --hunt of them have failed, and the one that
fails with the fewest events is taken. docs/shrinking.md says how it works.

With --against, the program without the bug must find nothing wrong with what is kept: else a line that is
left out may make for another failure than the bug's.`,
		Example: `  coup shrink --seed 42 -o lost-write.txt
  coup shrink --first 1 --hunt 5
  coup shrink lost-write.txt`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), args) },
	}
	f.define(cmd.Flags())
	return cmd
}

func (f *shrinkFlags) define(flags *pflag.FlagSet) {
	o := &f.options
	flags.StringVar(&f.seed, "seed", "", "seed of the run")
	flags.StringVar(&f.first, "first", "1", "without --seed: seed of the first run, from which they count up")
	flags.IntVar(&f.hunt, "hunt", 5, "without --seed: how many failing runs to choose from")
	flags.StringVar(&f.nodes, "nodes", "3-7", "nodes in a cluster: a number, or a range to draw from")
	f.choose.bind(flags)
	flags.StringVar(&o.Store, "store", "", "what nodes keep their logs in: memory or pebble; memory when not given")
	flags.IntVar(&o.Ops, "ops", o.Ops, "operations in a run, about")
	flags.DurationVar(&f.budget, "budget", time.Minute, "how long to cut")
	flags.StringVarP(&f.out, "out", "o", "", "file to write the scenario to")
	flags.StringVar(&f.against, "against", "", "this `program` without the bug: what is kept must pass there")
	flags.StringVar(&f.script, "script", "", "file to write the whole run to, as a scenario, before it is cut")
	flags.IntVar(&f.workers, "workers", runtime.GOMAXPROCS(0), "scenarios played at once")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON, and nothing else")
}

// found is a failing run or scenario, to be cut down.
type found struct {
	lines  []string
	check  string
	source string // the command or the file
}

func (f *shrinkFlags) run(ctx context.Context, args []string) error {
	f.options.Seeds = 1
	if _, err := f.parse(); err != nil {
		return err
	}
	if f.budget <= 0 || f.hunt < 1 || f.workers < 1 {
		return &usageError{errors.New("--budget, --hunt and --workers must be above 0")}
	}
	t := newTerminal(os.Stdout)
	if f.json {
		t = newTerminal(os.Stderr)
	}
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(sweepGarbage)
	failures, err := f.find(ctx, args)
	if err != nil {
		return err
	}
	o := shrink.Options{Budget: f.budget, Workers: f.workers}
	began := time.Now()
	o.Progress = func(doing string, lines int) {
		t.Status(time.Since(began), fmt.Sprintf("%s  %d lines left", doing, lines))
	}
	if f.against != "" {
		judge, err := startJudge(ctx, f.against)
		if err != nil {
			return err
		}
		defer judge.close()
		o.Sound = judge.play
	}
	if f.script != "" {
		if err := os.WriteFile(f.script, []byte(strings.Join(failures[0].lines, "\n")+"\n"), 0o644); err != nil {
			return fmt.Errorf("write the run: %w", err)
		}
	}
	result, err := cutDown(failures, o)
	if err != nil {
		return err
	}
	return f.tell(t, result)
}

// cutDown cuts the first of several failing runs down that fails in the same way when it is played by hand. Where none
// does, the first that fails in another way has to do.
func cutDown(failures []found, o shrink.Options) (result shrunkFile, err error) {
	result.Failed = len(failures)
	instead := slices.Clone(failures)
	for i, from := range failures {
		r := scenario.Replay(from.lines, scenario.Options{})
		if instead[i].check = r.Check; r.Check == from.check {
			result.Replayed++
		}
	}
	for _, from := range append(failures, instead...) {
		if from.check == "" {
			continue
		}
		if result.Shrunk, err = shrink.Shrink(from.lines, from.check, o); err == nil {
			result.Source = from.source
			return result, nil
		}
		err = fmt.Errorf("%s: %w", from.source, err)
	}
	return result, err
}

// shrunkFile is what --json prints.
type shrunkFile struct {
	shrink.Shrunk
	Source   string `json:"source"`
	Failed   int    `json:"failed"`   // runs that were found
	Replayed int    `json:"replayed"` // of these, played by hand, failed in the same way
}

func (f *shrinkFlags) tell(t *terminal, shrunk shrunkFile) error {
	text := shrunk.Scenario("Again: " + shrunk.Source)
	if f.out != "" {
		if err := os.WriteFile(f.out, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write the scenario: %w", err)
		}
	}
	if f.json {
		return json.NewEncoder(os.Stdout).Encode(shrunk)
	}
	t.Printf("%s", text)
	how := "cut from the run"
	if shrunk.Drawn {
		how = "cut from the run; some lines were drawn"
	}
	t.Printf("\n  %d lines of %s, %s, in %.1f s and %s trials\n", len(shrunk.Lines), count(shrunk.Before), how, shrunk.Took.Seconds(), count(shrunk.Trials))
	return nil
}

// find finds what is to be cut down, the best first.
func (f *shrinkFlags) find(ctx context.Context, args []string) ([]found, error) {
	if len(args) == 1 {
		parsed, err := parseScenario(args[0])
		if err != nil {
			return nil, &usageError{err}
		}
		var lines []string
		for i := range parsed.Lines {
			lines = append(lines, parsed.Lines[i].Text)
		}
		r := scenario.Replay(lines, scenario.Options{})
		if played := parsed.Run(scenario.Options{}); r.Check == "" && !played.Passed {
			return nil, fmt.Errorf("it fails by what it expects itself, and breaks no rule that could be held fast while lines are cut: %s", played.Error)
		}
		if r.Check == "" {
			return nil, fmt.Errorf("%s: no check fails", args[0])
		}
		return []found{{lines, r.Check, "coup shrink " + args[0]}}, nil
	}
	if f.seed != "" {
		seed, err := parseSeed(f.seed)
		if err != nil {
			return nil, err
		}
		one, err := f.record(ctx, seed)
		if err != nil {
			return nil, err
		}
		if one == nil {
			return nil, fmt.Errorf("nothing is wrong with the run of seed %d", seed)
		}
		return []found{*one}, nil
	}
	return f.search(ctx)
}

package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"coup/nemesis"
	"coup/runner"
	"coup/sweep"
	"coup/version"
)

// runFlags are what the commands that run something share.
type runFlags struct {
	options     runner.Options
	environment string
	seed        string
	faults      faultFlags
}

func newRun() *cobra.Command { return newRunFlags().command() }

func newRunFlags() *runFlags { return &runFlags{options: runner.Defaults()} }

func (f *runFlags) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run a workload under faults, and check it",
		Long: `Start a cluster, run a workload on it while faults come and go, heal everything, read everything a
last time, check the history, and answer with a verdict and the evidence.`,
		Example: `  coup run --duration 10m
  coup run --env netns --nodes 3 --faults kill-leader,split --seed 42
  coup run --faults network,-slow,loss=10%,split:2
  coup run --faults none --rate 1000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	f.bindCommon(flags)
	o := &f.options
	f.faults.bind(flags)
	flags.IntVar(&o.Nodes, "nodes", o.Nodes, "nodes in the cluster")
	flags.DurationVar(&o.Duration, "duration", o.Duration, "how long the workload lasts, warm-up included")
	flags.DurationVar(&o.WarmUp, "warm-up", o.WarmUp, "how long it lasts before the first fault")
	flags.Float64Var(&o.Rate, "rate", o.Rate, "operations a second, of all clients together")
	flags.IntVar(&o.Concurrency, "concurrency", o.Concurrency, "clients")
	flags.IntVar(&o.Keys, "keys", o.Keys, "keys in use at a time")
	flags.DurationVar(&o.Interval, "interval", o.Interval, "from one fault to the next, on average")
	flags.DurationVar(&o.Window, "window", o.Window, "how long a fault is in force, on average; 0 for what suits the interval")
	flags.DurationVar(&o.OpTimeout, "op-timeout", o.OpTimeout, "how long a client waits for an answer")
	flags.BoolVar(&o.LoseUnsynced, "lose-unsynced", o.LoseUnsynced, "what a node has not synced dies with its process")
	flags.StringVar(&o.Name, "name", o.Name, "name of the run's folder in the results folder")
	flags.StringVar(&o.Store, "store", "", "in sim: what nodes keep their logs in, memory or pebble; memory when not given")
	flags.StringArrayVar(&o.NodeFlags, "node-flag", nil, "a further argument for every node; may be repeated")
	return cmd
}

// bindCommon are the flags that `coup verify` has too.
func (f *runFlags) bindCommon(flags *pflag.FlagSet) {
	flags.StringVar(&f.environment, "env", "auto", "where the nodes run: docker, netns, sim, or auto for the first that works")
	flags.StringVar(&f.seed, "seed", "", "number that every random choice comes from; drawn when not given")
	flags.StringVar(&f.options.Results, "results", f.options.Results, "folder that keeps runs")
	flags.BoolVar(&f.options.ActionLog, "action-log", false, "log what each node does, in the run's folder, for coup diagram")
	flags.StringVar(&f.options.Binary, "raftnode", "", "path of the raftnode binary; beside this program when not given")
}

// run does a whole run and ends with the exit code of its verdict. Everything that can be refused is
// refused before anything is started.
func (f *runFlags) run(cmd *cobra.Command) error {
	o := &f.options
	chosen, err := f.faults.choose()
	if err != nil {
		return err
	}
	if o.Seed, err = parseSeed(f.seed); err != nil {
		return err
	}
	if err := o.Validate(nil); err != nil {
		return &usageError{err}
	}
	// A binary that is no good is told before an engine is asked for; that there is none, only where
	// one is needed.
	if cmd.Flags().Changed("raftnode") && f.environment != simulated {
		if o.Binary, err = nodeBinary(o.Binary); err != nil {
			return &usageError{err}
		}
	}
	environment, err := chooseEnvironment(cmd.Context(), f.environment)
	if err != nil {
		return err
	}
	if environment.name == simulated {
		err = f.simulated(cmd, chosen.troubles)
	} else {
		err = f.inReality(environment.name, chosen.named)
	}
	if err != nil {
		return &usageError{err}
	}
	faults, left, err := chosen.on(environment.prospect(cmd.Context(), o.Nodes))
	if err != nil {
		return err
	}
	o.Faults = []string{}
	for _, fault := range faults {
		o.Faults = append(o.Faults, nemesis.Spell(fault))
	}
	o.Fit(faults, cmd.Name() != "run" || cmd.Flags().Changed("duration"), cmd.Flags().Changed("interval"))
	if err := o.Validate(faults); err != nil {
		return &usageError{err}
	}
	if err := o.Writable(); err != nil {
		return &usageError{err}
	}
	if err := environment.enter(); err != nil {
		return err
	}
	o.Environment = environment.name
	instead := "" // of what was typed, which means something else elsewhere
	if chosen.file != nil || len(left) > 0 {
		instead = spell(faults, o.Trouble)
	}
	o.Repeat = repeat(cmd, o.Environment, o.Seed, instead)

	t := newTerminal(os.Stdout)
	t.header(cmd, *o, environment.why)
	for _, line := range explain(left) {
		t.Printf("%s", t.paragraph(line))
	}
	gentle, hurried, release := interrupts(cmd.Context(), t)
	defer release()
	setup := runner.Setup{
		Options: *o, Faults: faults, Start: environment.start, Observer: t, Command: os.Args, Version: version.Self(),
	}
	if chosen.file != nil {
		setup.Keep = map[string][]byte{keptFile: chosen.file}
	}
	var actions actionFile
	if environment.name == simulated {
		setup.Simulate = func(dir string) (runner.Simulation, error) { return f.world(dir, &actions) }
	}
	conclusion, err := runner.Run(gentle, hurried, setup)
	if kept := actions.close(); err == nil && kept != nil {
		err = fmt.Errorf("the action log: %w", kept)
	}
	if err != nil {
		var option *runner.OptionError
		if errors.As(err, &option) {
			return &usageError{err}
		}
		return err
	}
	t.conclude(conclusion, *o)
	if code := conclusion.Report.Verdict.ExitCode(); code != 0 {
		return exitCode(code)
	}
	return nil
}

// world makes the world of a simulated run.
func (f *runFlags) world(dir string, actions *actionFile) (runner.Simulation, error) {
	if !f.options.ActionLog {
		return sweep.NewWorld(f.options, false, nil)
	}
	if err := actions.open(dir); err != nil {
		return nil, err
	}
	return sweep.NewWorld(f.options, false, actions.tell)
}

// simulated makes the options those of a simulated run, and refuses what makes no sense there.
func (f *runFlags) simulated(cmd *cobra.Command, troubles []string) error {
	for _, flag := range []string{"raftnode", "node-flag", "lose-unsynced"} {
		if cmd.Flags().Changed(flag) {
			return fmt.Errorf("--%s: there is no raftnode process in sim: leave it out, or use --env docker or netns", flag)
		}
	}
	f.options.Trouble = troubles
	return checkStore(f.options.Store)
}

// inReality finds the node's binary, and refuses what happens nowhere but in the simulator.
func (f *runFlags) inReality(environment string, troubles []string) (err error) {
	if len(troubles) > 0 {
		return fmt.Errorf("--faults: %s cannot be had in %s: use --env sim", strings.Join(troubles, ", "), environment)
	}
	if f.options.Store != "" {
		return fmt.Errorf("--store: nodes in %s always use pebble: leave it out, or use --env sim", environment)
	}
	f.options.Binary, err = nodeBinary(f.options.Binary)
	return err
}

// parseSeed takes any unsigned 64-bit number; an empty string draws one.
func parseSeed(text string) (uint64, error) {
	if text == "" {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return 0, fmt.Errorf("draw a seed: %w", err)
		}
		// Short enough to be read out and typed again.
		return binary.LittleEndian.Uint64(b[:]) % 1e9, nil
	}
	seed, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		return 0, &usageError{fmt.Errorf("--seed: %q is no number from 0 to 2^64-1", text)}
	}
	return seed, nil
}

// repeat is the command line that runs the same again, with these faults unless that is empty.
func repeat(cmd *cobra.Command, environment string, seed uint64, faults string) string {
	line := []string{cmd.CommandPath()}
	if faults != "" {
		line = append(line, "--faults", quote(faults))
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch {
		case f.Name == "faults-file", f.Name == "faults" && faults != "":
			return
		}
		switch f.Name {
		case "env", "seed":
		case "node-flag":
			values, _ := cmd.Flags().GetStringArray(f.Name)
			for _, v := range values {
				line = append(line, "--node-flag="+quote(v))
			}
		case "lose-unsynced", "action-log":
			line = append(line, "--"+f.Name+"="+f.Value.String())
		default:
			line = append(line, "--"+f.Name, quote(f.Value.String()))
		}
	})
	line = append(line, "--env", environment, "--seed", fmt.Sprint(seed))
	return strings.Join(line, " ")
}

// quote makes a word safe for a shell.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./,:=+@%", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

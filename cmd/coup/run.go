package main

import (
	"context"
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
	write       string            // a page, of a recipe
	chosen      choice            // of faults
	drawn       []nemesis.Fault   // of those, the ones that can be had
	left        []nemesis.LeftOut // the others
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
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if strings.HasSuffix(err.Error(), "--recipe") {
			_, none := nemesis.FindRecipe("")
			return fmt.Errorf("%w: %w", err, none)
		}
		return err
	})
	flags := cmd.Flags()
	f.bindCommon(flags)
	o := &f.options
	f.faults.bind(flags)
	flags.StringVar(&o.Recipe, "recipe", "", "a fixed schedule in place of faults that are drawn: "+recipeList())
	flags.StringVar(&f.write, "write", "", "with --recipe: page to write its figures into, between its markers")
	flags.IntVar(&o.Nodes, "nodes", o.Nodes, "nodes in the cluster")
	flags.DurationVar(&o.Duration, "duration", o.Duration, "how long the workload lasts, warm-up included")
	flags.DurationVar(&o.WarmUp, "warm-up", o.WarmUp, "how long it lasts before the first fault")
	flags.Float64Var(&o.Rate, "rate", o.Rate, "operations a second, of all clients together")
	flags.IntVar(&o.Concurrency, "concurrency", o.Concurrency, "clients")
	flags.IntVar(&o.Keys, "keys", o.Keys, "keys in use at a time")
	flags.DurationVar(&o.Interval, "interval", o.Interval, "from one fault to the next, on average")
	flags.DurationVar(&o.Window, "window", o.Window, "how long a fault is in force, on average; 0 for what suits the interval")
	flags.DurationVar(&o.OpTimeout, "op-timeout", o.OpTimeout, "how long a client waits for an answer")
	flags.StringVar(&o.API, "api", o.API, "by which API clients ask nodes: http or grpc")
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
	err := f.parse(cmd)
	if err != nil {
		return err
	}
	// A binary that is no good is told before an engine is asked for; that there is none, only where
	// one is needed.
	if cmd.Flags().Changed("raftnode") && f.environment != simulated {
		if f.options.Binary, err = nodeBinary(f.options.Binary); err != nil {
			return &usageError{err}
		}
	}
	environment, err := chooseEnvironment(cmd.Context(), f.environment)
	if err != nil {
		return err
	}
	if err := f.fit(cmd, environment); err != nil {
		return err
	}
	f.options.Repeat = f.repeat(cmd, environment.name)
	if err := f.enter(environment); err != nil {
		return err
	}
	t := newTerminal(os.Stdout)
	t.header(cmd, f.options, environment.why)
	t.leftOut(f.left)
	return f.play(cmd, environment, t)
}

// parse makes options of the flags. What is wrong in every environment is refused.
func (f *runFlags) parse(cmd *cobra.Command) (err error) {
	o := &f.options
	if err := f.readFaults(cmd); err != nil {
		return &usageError{err}
	}
	if o.Seed, err = parseSeed(f.seed); err != nil {
		return err
	}
	if err := o.Validate(f.drawn); err != nil {
		return &usageError{err}
	}
	return nil
}

// fit takes those faults that can be had in an environment, and makes room for them.
func (f *runFlags) fit(cmd *cobra.Command, e environment) error {
	o := &f.options
	if o.Recipe == "" {
		var err error
		if f.chosen, err = f.faults.choose(e.name == simulated); err != nil {
			return err
		}
	}
	var err error
	if e.name == simulated {
		err = f.simulated(cmd, f.chosen.troubles)
	} else {
		err = f.inReality(e.name, f.chosen.named)
	}
	if err != nil {
		return &usageError{err}
	}
	if o.Recipe == "" {
		if f.drawn, f.left, err = f.chosen.on(e.prospect(cmd.Context(), o.Nodes)); err != nil {
			return err
		}
		o.Fit(f.drawn, cmd.Name() != "run" || cmd.Flags().Changed("duration"), cmd.Flags().Changed("interval"))
	}
	o.Faults = []string{}
	for _, fault := range f.drawn {
		o.Faults = append(o.Faults, nemesis.Spell(fault))
	}
	if err := o.Validate(f.drawn); err != nil {
		return &usageError{err}
	}
	return nil
}

// enter makes sure that the run can be kept, and goes where its nodes will be.
func (f *runFlags) enter(e environment) error {
	if err := f.options.Writable(); err != nil {
		return &usageError{err}
	}
	f.options.Environment = e.name
	return e.enter()
}

// play does the run, tells what came of it, and ends with the exit code of its verdict.
func (f *runFlags) play(cmd *cobra.Command, e environment, t *terminal) error {
	gentle, hurried, release := interrupts(cmd.Context(), t)
	defer release()
	conclusion, err := f.conclude(gentle, hurried, e, t)
	if err != nil {
		var option *runner.OptionError
		if errors.As(err, &option) {
			return &usageError{err}
		}
		return err
	}
	t.conclude(conclusion, f.options)
	if f.write != "" {
		if err := writeRecipe(f.write, f.options, conclusion.Report); err != nil {
			return err
		}
	}
	if code := conclusion.Report.Verdict.ExitCode(); code != 0 {
		return exitCode(code)
	}
	return nil
}

// conclude does the run.
func (f *runFlags) conclude(gentle, hurried context.Context, e environment, observer runner.Observer) (runner.Conclusion, error) {
	setup := runner.Setup{
		Options: f.options, Faults: f.drawn, Start: e.start, Observer: observer, Command: os.Args, Version: version.Self(),
	}
	if f.chosen.file != nil {
		setup.Keep = map[string][]byte{keptFile: f.chosen.file}
	}
	var actions actionFile
	if e.name == simulated {
		setup.Simulate = func(dir string) (runner.Simulation, error) { return f.world(dir, &actions) }
	}
	conclusion, err := runner.Run(gentle, hurried, setup)
	if kept := actions.close(); err == nil && kept != nil {
		err = fmt.Errorf("the action log: %w", kept)
	}
	return conclusion, err
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
	if f.options.Recipe != "" {
		return fmt.Errorf("--recipe: %s needs nodes that are stopped and that come and go: use --env docker or netns", f.options.Recipe)
	}
	for _, flag := range []string{"raftnode", "node-flag", "lose-unsynced", "api"} {
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

// repeat is the command line that runs the same again. What means something else elsewhere is spelled out.
func (f *runFlags) repeat(cmd *cobra.Command, environment string) string {
	faults := ""
	if f.chosen.file != nil || len(f.left) > 0 {
		faults = spell(f.drawn, f.options.Trouble)
	}
	return repeat(cmd, environment, f.options.Seed, faults)
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

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"coup/nemesis"
	"coup/results"
	"coup/runner"
)

// replayFlags are what a recorded run is done again with.
type replayFlags struct {
	runFlags
	dir     string   // of the recorded run
	spelled []string // its faults
}

func newReplay() *cobra.Command {
	f := replayFlags{runFlags: *newRunFlags()}
	cmd := &cobra.Command{
		Use:   "replay [RUN]",
		Short: "Do to a cluster again what was done to it in a run",
		Long: `Run a cluster again under the schedule of faults that a run recorded in faults.jsonl: the same faults,
from and to the same times, with targets drawn from the same seed, and the same workload. RUN is the folder of
a run, or latest, which is also what is taken when it is left out.

The environment may be another than that of the run: a schedule that was found in the simulator can be tried on
real nodes, and the other way round. What goes wrong by itself in the simulator is not part of a schedule: it
goes wrong again there, and is left out, and said so, elsewhere.

The exit code is that of coup run.`,
		Example: `  coup replay
  coup replay results/runs/run/20260102T030405Z --env docker`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.replay(cmd, args) },
	}
	f.bind(cmd, "replay")
	return cmd
}

// bind are the flags of all commands that do a run again.
func (f *replayFlags) bind(cmd *cobra.Command, name string) {
	flags := cmd.Flags()
	f.options.Name = name
	flags.StringVar(&f.environment, "env", "", "where the nodes run: docker, netns, sim or auto; where they ran when not given")
	flags.StringVar(&f.options.Results, "results", f.options.Results, "folder that keeps runs")
	flags.StringVar(&f.options.Binary, "raftnode", "", "path of the raftnode binary; beside this program when not given")
	flags.BoolVar(&f.options.ActionLog, "action-log", false, "log what each node does, in the run's folder, for coup diagram")
}

func (f *replayFlags) replay(cmd *cobra.Command, args []string) error {
	environment, notes, err := f.load(cmd, args)
	if err != nil {
		return err
	}
	f.options.Repeat = fmt.Sprintf("%s %s --env %s", cmd.CommandPath(), quote(relative(f.dir)), environment.name)
	if err := f.enter(environment); err != nil {
		return err
	}
	t := newTerminal(os.Stdout)
	t.header(cmd, f.options, environment.why)
	t.Printf("%s", t.paragraph(fmt.Sprintf("schedule: %d faults of %s", len(f.options.Schedule), relative(f.dir))))
	for _, note := range notes {
		t.Printf("%s", t.paragraph(note))
	}
	return f.play(cmd, environment, t)
}

// load makes a run's options and its schedule those of another run. The notes say what is different.
func (f *replayFlags) load(cmd *cobra.Command, args []string) (e environment, notes []string, err error) {
	name := "latest"
	if len(args) > 0 {
		name = args[0]
	}
	if f.dir, err = findRun(f.options.Results, name); err != nil {
		return e, nil, &usageError{err}
	}
	troubles, err := f.recorded()
	if err != nil {
		return e, nil, &usageError{fmt.Errorf("%s cannot be done again: %w", relative(f.dir), err)}
	}
	if e, err = chooseEnvironment(cmd.Context(), f.environment); err != nil {
		return e, nil, err
	}
	if e.name == simulated {
		if len(f.options.NodeFlags) > 0 {
			notes = append(notes, "left out, since there is no raftnode process in sim: "+strings.Join(f.options.NodeFlags, " "))
			f.options.NodeFlags = nil
		}
		if err := f.possible(cmd, e); err != nil {
			return e, nil, err
		}
		return e, notes, f.simulated(cmd, troubles)
	}
	if len(troubles) > 0 {
		notes = append(notes, "left out, since it goes wrong by itself in sim only: "+strings.Join(troubles, ", "))
	}
	f.options.Store, f.options.Trouble = "", nil
	if err := f.inReality(e.name, nil); err != nil {
		return e, nil, &usageError{err}
	}
	return e, notes, f.possible(cmd, e)
}

// possible refuses faults that cannot be had in an environment.
func (f *replayFlags) possible(cmd *cobra.Command, e environment) error {
	prospect := e.prospect(cmd.Context(), f.options.Nodes)
	for _, fault := range f.drawn {
		if err := fault.Check(prospect); err != nil {
			return &usageError{err}
		}
	}
	return nil
}

// recorded takes over what the recorded run says of itself. What this command was told stays.
func (f *replayFlags) recorded() (troubles []string, err error) {
	info, events, err := results.LoadFaults(f.dir)
	if err != nil {
		return nil, err
	}
	o := runner.Defaults()
	options := json.NewDecoder(bytes.NewReader(info.Options))
	options.DisallowUnknownFields()
	if err := options.Decode(&o); err != nil {
		return nil, fmt.Errorf("its options are those of another version: %w", err)
	}
	if o.Schedule, err = nemesis.Schedule(events, info.Timeline.Load, o.Duration); err != nil {
		return nil, err
	}
	if len(o.Schedule) == 0 {
		return nil, errors.New("no fault was installed in it, so that there is nothing to do again: use its command, which run.json has")
	}
	if o.Recipe != "" {
		return nil, fmt.Errorf("it followed a recipe: use coup run --recipe %s", o.Recipe)
	}
	given := f.options
	o.Name, o.Results, o.Binary, o.ActionLog = given.Name, given.Results, given.Binary, given.ActionLog
	if f.environment == "" {
		f.environment = info.Environment
	}
	f.options, f.spelled = o, o.Faults
	return o.Trouble, f.choose(o.Schedule)
}

// spell is a fault as it was in the recorded run, with its value.
func (f *replayFlags) spell(name string) string {
	for _, spelled := range f.spelled {
		if end := strings.IndexAny(spelled, "=:"); spelled == name || end >= 0 && spelled[:end] == name {
			return spelled
		}
	}
	return name
}

// choose makes a schedule the run's, and takes the faults that are in it.
func (f *replayFlags) choose(schedule []nemesis.Planned) (err error) {
	f.options.Schedule, f.options.Faults = schedule, []string{}
	for _, p := range schedule {
		if !slices.Contains(f.options.Faults, p.Fault) {
			f.options.Faults = append(f.options.Faults, p.Fault)
		}
	}
	f.drawn = nil
	if len(schedule) == 0 {
		return nil
	}
	for i, name := range f.options.Faults {
		f.options.Faults[i] = f.spell(name)
	}
	if f.drawn, err = nemesis.Parse(strings.Join(f.options.Faults, ",")); err != nil {
		return err
	}
	return f.options.Validate(f.drawn)
}

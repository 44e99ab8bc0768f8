package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"coup/checker"
	"coup/runner"
	"coup/version"
)

// soakFaults are the faults of `coup soak`: the leaders' deaths by surprise, and what cuts them off.
const soakFaults = "kill-leader,isolate-leader,pause-leader,split,one-way"

// soakFlags are what `coup soak` is told.
type soakFlags struct {
	runFlags
	window time.Duration
}

func newSoak() *cobra.Command {
	f := soakFlags{runFlags: *newRunFlags(), window: time.Minute}
	o := &f.options
	// A leader must live longer than its reign between two surprises, or none ends itself.
	o.Name, o.Duration, o.MaxReign, o.Interval = "soak", 10*time.Minute, 6*time.Second, 10*time.Second
	cmd := &cobra.Command{
		Use:   "soak",
		Short: "Run for as long as you like, with leaders that end themselves",
		Long: `Run one cluster for hours or days. Each leader ends its own process when it has led for --max-reign, and is
started again a little later; others are killed, cut off and frozen by surprise. The history is checked window by
window as it grows, each on keys of its own, and what passed is removed, so that neither memory nor disk grows with
time. There is one verdict at the end, for all windows together; a violation ends the soak at once.`,
		Example: `  coup soak --duration 8h
  coup soak --env netns --duration 10m --max-reign 10s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.soak(cmd) },
	}
	flags := cmd.Flags()
	f.bindCommon(flags)
	f.faults.bind(flags)
	f.faults.list = soakFaults
	flags.Lookup("faults").DefValue = soakFaults
	flags.IntVar(&o.Nodes, "nodes", o.Nodes, "nodes in the cluster")
	flags.DurationVar(&o.Duration, "duration", o.Duration, "how long the soak lasts")
	flags.DurationVar(&f.window, "window", f.window, "how long the workload of one window lasts")
	flags.DurationVar(&o.MaxReign, "max-reign", o.MaxReign, "how long a leader leads before it ends itself; 0 for no end")
	flags.Float64Var(&o.Rate, "rate", o.Rate, "operations a second, of all clients together")
	flags.IntVar(&o.Concurrency, "concurrency", o.Concurrency, "clients")
	flags.DurationVar(&o.Interval, "interval", o.Interval, "from one fault to the next, on average")
	return cmd
}

func (f *soakFlags) soak(cmd *cobra.Command) error {
	whole := f.options.Duration
	if whole < f.window {
		return &usageError{fmt.Errorf("--duration: %v is less than one window of %v", whole, f.window)}
	}
	f.options.Duration = f.window // which must have room for all faults
	if err := f.parse(cmd); err != nil {
		return err
	}
	e, err := chooseEnvironment(cmd.Context(), f.environment)
	if err != nil {
		return err
	}
	if err := e.real("soak"); err != nil {
		return err
	}
	if err := f.fit(cmd, e); err != nil {
		return err
	}
	f.options.Duration = whole
	f.options.Repeat = f.repeat(cmd, e.name)
	if err := f.enter(e); err != nil {
		return err
	}
	t := newTerminal(os.Stdout)
	t.header(cmd, f.options, e.why)
	t.leftOut(f.left)
	if f.options.MaxReign > 0 {
		t.Printf("%s", t.paragraph(fmt.Sprintf("each leader ends itself after %v", f.options.MaxReign)))
	}
	gentle, hurried, release := interrupts(cmd.Context(), t)
	defer release()
	begun := time.Now()
	soak := runner.Soak{
		Setup: runner.Setup{
			Options: f.options, Faults: f.drawn, Start: e.start, Observer: soaker{begun: begun, t: t}, Command: os.Args, Version: version.Self(),
		},
		Window: f.window,
		Told:   func(w runner.SoakWindow) { t.Printf("%s", windowLine(time.Since(begun), w)) },
	}
	report, err := soak.Run(gentle, hurried)
	if err != nil {
		return err
	}
	t.soaked(report, f.options.Repeat)
	if code := report.Verdict.ExitCode(); code != 0 {
		return exitCode(code)
	}
	return nil
}

func windowLine(since time.Duration, w runner.SoakWindow) string {
	return fmt.Sprintf("  %8s  window %-5d %-13s %9s ok  %3d leaders ended themselves  suite %s  node %s\n",
		since.Round(time.Second), w.Number, w.Verdict, count(w.OK), w.Suicides, megabytes(w.Memory.Suite), megabytes(w.Memory.Node))
}

func megabytes(n int64) string { return fmt.Sprintf("%d MB", n>>20) }

// soaked tells what came of a soak.
func (t *terminal) soaked(r runner.SoakReport, repeat string) {
	rows := [][]string{coverageHead}
	for _, row := range r.Coverage {
		rows = append(rows, covered(row, count(row.Windows)))
	}
	t.Printf("\n%s\n  %s operations, %s ok, in %d windows and %v; %d leaders ended themselves\n\n",
		t.table(rows), count(r.Ops), count(r.OK), len(r.Windows), r.Took.Round(time.Second), r.Suicides)
	t.Printf("%s", t.verdict(checker.Report{Verdict: r.Verdict, Reasons: r.Reasons}))
	t.Printf("\n  %-7s %s\n  %-7s %s\n", "report", relative(filepath.Join(r.Dir, "soak.json")), "repeat", repeat)
}

// soaker shows how a soak stands, and says of its windows' parts only what went wrong.
type soaker struct {
	silent
	begun time.Time
	t     *terminal
}

// Step implements runner.Observer.
func (s soaker) Step(step runner.Step) {
	if step.State == runner.StepFailed {
		s.t.Step(step)
	}
}

// Progress implements runner.Observer.
func (s soaker) Progress(p runner.Progress) {
	leader := "no leader"
	if p.Leader != "" {
		leader = fmt.Sprintf("%s leads term %d", p.Leader, p.Term)
	}
	s.t.Status(time.Since(s.begun), fmt.Sprintf("%s ok  %s/s  %s  %s", count(p.OK), number(p.Rate), leader, p.Fault))
}

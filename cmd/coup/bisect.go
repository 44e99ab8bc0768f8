package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"coup/checker"
	"coup/nemesis"
	"coup/results"
	"coup/runner"
	"coup/shrink"
)

// bisection looks for the smallest part of a schedule that still fails.
type bisection struct {
	replayFlags
	tries  int
	budget time.Duration

	environment environment
	terminal    *terminal
	began       time.Time
	target      checker.Reason // what failed
	cause       error          // that no run could be done
	planned     int            // faults of the whole schedule
	runs        int
	failed      string // folder of the latest run that failed
}

func newBisect() *cobra.Command {
	b := bisection{replayFlags: replayFlags{runFlags: *newRunFlags()}}
	cmd := &cobra.Command{
		Use:   "bisect [RUN]",
		Short: "Find the smallest part of a run's faults that still fails",
		Long: `Run a cluster again and again under parts of the schedule that a failed run recorded, and find the
smallest part under which the same checker comes to the same verdict: leave out any one fault of it, and it is
not seen any more. RUN is the folder of a run, or latest, which is also what is taken when it is left out.

On real nodes a failure may come in some runs and not in others: a part counts as failing when one of --tries runs
fails. In the end the smallest part is run --tries times, and it is told how many of these fail.

Exit codes: 0 a part was found, 2 the whole schedule did not fail again, 254 wrong usage, 255 a run could not be
done.`,
		Example: `  coup bisect
  coup bisect results/runs/run/20260102T030405Z --env netns --tries 3`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return b.run(cmd, args) },
	}
	b.bind(cmd, "bisect")
	flags := cmd.Flags()
	flags.IntVar(&b.tries, "tries", 0, "runs in which a part of the schedule must have failed once; when not given 1 in sim, where a run is always the same, else 3")
	flags.DurationVar(&b.budget, "budget", 30*time.Minute, "how long to look")
	return cmd
}

func (b *bisection) run(cmd *cobra.Command, args []string) error {
	if b.tries < 0 || b.budget <= 0 {
		return &usageError{errors.New("--tries cannot be negative, and --budget must be above 0")}
	}
	e, notes, err := b.load(cmd, args)
	if err != nil {
		return err
	}
	if b.target, err = failure(b.dir); err != nil {
		return &usageError{err}
	}
	if b.tries == 0 {
		if b.tries = 3; e.name == simulated {
			b.tries = 1
		}
	}
	if err := b.enter(e); err != nil {
		return err
	}
	b.environment, b.terminal, b.planned = e, newTerminal(os.Stdout), len(b.options.Schedule)
	t, all := b.terminal, b.options.Schedule
	t.Printf("%s  seed %s\n", t.paint(bold, cmd.CommandPath()), t.paint(bold, fmt.Sprint(b.options.Seed)))
	t.Printf("%s", t.paragraph(fmt.Sprintf("%d faults of %s, on %s", len(all), relative(b.dir), e.name)))
	t.Printf("%s", t.paragraph(fmt.Sprintf("looked for: %s by %s", b.target.Verdict, b.target.Checker)))
	for _, note := range notes {
		t.Printf("%s", t.paragraph(note))
	}
	ctx, hurried, release := interrupts(cmd.Context(), t)
	defer release()
	return b.search(ctx, hurried, all)
}

// failure is why a run did not pass: the strongest reason, the first of these.
func failure(dir string) (checker.Reason, error) {
	report, err := results.LoadVerdict(dir)
	if err != nil {
		return checker.Reason{}, err
	}
	if report.Verdict != checker.Violation && report.Verdict != checker.Unavailable {
		return checker.Reason{}, fmt.Errorf("%s is %s: only a violation or an unavailable cluster has a cause among the faults", relative(dir), report.Verdict)
	}
	for _, r := range report.Reasons {
		if r.Verdict == report.Verdict {
			return r, nil
		}
	}
	return checker.Reason{}, fmt.Errorf("%s gives no reason for its verdict", relative(dir))
}

// search leaves out of the schedule what it can.
func (b *bisection) search(ctx, hurried context.Context, all []nemesis.Planned) error {
	b.began = time.Now()
	more := func() bool { return ctx.Err() == nil && b.cause == nil && time.Since(b.began) < b.budget }
	test := func(ids []string) ([]string, bool) {
		part := partOf(all, ids)
		failed, runs := b.try(ctx, hurried, part, 1)
		switch {
		case b.cause != nil || ctx.Err() != nil:
		case failed > 0:
			b.terminal.Printf("  fails   %s\n", inWords(part))
		default:
			b.terminal.Printf("  passes  %s  in %s\n", inWords(part), plural(runs, "run"))
		}
		return ids, failed > 0
	}
	ids := idsOf(all)
	if _, fails := test(ids); !fails {
		if err := b.over(ctx); err != nil {
			return err
		}
		b.terminal.Printf("\nThe whole schedule did not fail again in %s: more --tries may see it, or it was not the faults.\n", plural(b.runs, "run"))
		return exitCode(checker.Inconclusive.ExitCode())
	}
	if _, fails := test(nil); fails {
		ids = nil
	} else {
		nothing := func(string) bool { return false }
		ids = shrink.Reduce(ids, 1, nothing, more, nil, func(ids []string) ([]string, bool) {
			if len(ids) == 0 {
				return nil, false // as tested
			}
			return test(ids)
		})
	}
	whole := more()
	smallest := partOf(all, ids)
	failed, runs := b.try(ctx, hurried, smallest, b.tries)
	if err := b.over(ctx); err != nil {
		return err
	}
	return b.conclude(smallest, failed, runs, whole)
}

// over is why there is no result.
func (b *bisection) over(ctx context.Context) error {
	if b.cause == nil && ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return b.cause
}

// try runs under a part of the schedule: as often as was asked for, or until so many runs have failed.
func (b *bisection) try(ctx, hurried context.Context, part []nemesis.Planned, enough int) (failed, runs int) {
	for runs < b.tries && failed < enough && b.cause == nil && ctx.Err() == nil {
		b.terminal.Status(time.Since(b.began), fmt.Sprintf("run %d, of %d faults", b.runs+1, len(part)))
		if b.cause = b.choose(part); b.cause != nil {
			return failed, runs
		}
		conclusion, err := b.conclusion(ctx, hurried)
		if err != nil {
			b.cause = err
			return failed, runs
		}
		runs++
		b.runs++
		switch {
		case conclusion.Report.Verdict == checker.Harness:
			b.cause = fmt.Errorf("the suite itself failed: %s", reasonOf(conclusion.Report, checker.Harness))
		case b.same(conclusion.Report):
			failed++
			conclusion.Dir, b.failed = b.failed, conclusion.Dir
		}
		// Of those that failed the latest is kept: it is of the smallest part.
		if b.cause == nil && conclusion.Dir != "" {
			b.cause = os.RemoveAll(conclusion.Dir)
		}
	}
	return failed, runs
}

// conclusion does one run, beside the others of the results folder: it is none that a person asked for.
func (b *bisection) conclusion(ctx, hurried context.Context) (runner.Conclusion, error) {
	f := b.runFlags
	f.options.Results = filepath.Join(b.options.Results, "bisect")
	f.options.Repeat = b.options.Repeat
	return f.conclude(ctx, hurried, b.environment, silent{})
}

// same tells whether a run failed as the one that is looked into.
func (b *bisection) same(r checker.Report) bool {
	return slices.ContainsFunc(r.Reasons, func(r checker.Reason) bool {
		return r.Checker == b.target.Checker && r.Verdict == b.target.Verdict
	})
}

func reasonOf(r checker.Report, v checker.Verdict) string {
	for _, reason := range r.Reasons {
		if reason.Verdict == v {
			return reason.Text
		}
	}
	return string(r.Verdict)
}

// conclude tells what was found.
func (b *bisection) conclude(smallest []nemesis.Planned, failed, runs int, whole bool) error {
	t := b.terminal
	switch {
	case len(smallest) == 0:
		t.Printf("\nIt fails without any fault, in %d of %s.\n", failed, plural(runs, "run"))
	default:
		t.Printf("\n%s of %d, which failed in %d of %s:\n", plural(len(smallest), "fault"), b.planned, failed, plural(runs, "run"))
	}
	for _, p := range smallest {
		t.Printf("  %6.1fs to %.1fs  %s\n", p.At.Seconds(), p.HealAt.Seconds(), p.Fault)
	}
	if !whole {
		t.Printf("The time was up: there may be a smaller part.\n")
	}
	t.Printf("\n  %-7s %s\n", "run", relative(b.failed))
	if len(smallest) > 0 {
		t.Printf("  %-7s coup replay %s --env %s\n", "repeat", quote(relative(b.failed)), b.environment.name)
	}
	return nil
}

// idsOf names the entries of a schedule.
func idsOf(plan []nemesis.Planned) (ids []string) {
	for _, p := range plan {
		ids = append(ids, strconv.Itoa(p.ID))
	}
	return ids
}

// partOf is what of a schedule has these names.
func partOf(plan []nemesis.Planned, ids []string) []nemesis.Planned {
	part := []nemesis.Planned{}
	for _, p := range plan {
		if slices.Contains(ids, strconv.Itoa(p.ID)) {
			part = append(part, p)
		}
	}
	return part
}

// inWords is a schedule in one line.
func inWords(plan []nemesis.Planned) string {
	if len(plan) == 0 {
		return "no fault"
	}
	var names []string
	for _, p := range plan {
		names = append(names, fmt.Sprintf("%s at %.1fs", p.Fault, p.At.Seconds()))
	}
	return strings.Join(names, ", ")
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// silent is the observer of runs that are too many to be watched.
type silent struct{}

func (silent) Step(runner.Step)           {}
func (silent) Fault(nemesis.Event)        {}
func (silent) Leader(runner.Leadership)   {}
func (silent) Progress(runner.Progress)   {}
func (silent) Note(time.Duration, string) {}

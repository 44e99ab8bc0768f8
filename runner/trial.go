package runner

import (
	"context"
	"fmt"
	"time"

	"coup/checker"
	"coup/history"
	"coup/nemesis"
	"coup/results"
)

// Trial is a run that is kept nowhere: it takes place in a Simulation, and what it recorded is judged
// where it is, in memory and on the calling goroutine. Many may go on at once, each in a Simulation of
// its own.
type Trial struct {
	Options Options // Validate need not hold: a short trial may not come to every kind of fault
	Faults  []nemesis.Fault
	World   Simulation
	// Check bounds the search, and says what a trial must have shown. Its Workers are always one.
	Check checker.Options
}

// Play does the run. When ctx ends, the workload does. The evidence is whole however it went.
func (t Trial) Play(ctx context.Context) checker.Evidence {
	kept := &tape{}
	w := &interruptible{Simulation: t.World, gentle: ctx, hurried: context.Background()}
	l := newLoop(w, t.Options, names(t.World.Cluster()), t.Faults, kept, nil)
	w.interrupt = l.interrupt
	evidence := checker.Evidence{Plan: plans(t.Options, t.Faults)}
	for _, fault := range t.Faults {
		if err := fault.Check(t.World.Cluster()); err != nil {
			evidence.Problems = append(evidence.Problems, fmt.Sprintf("%s cannot be used on this cluster: %v.", fault.Name(), err))
			return evidence
		}
	}
	l.run()
	evidence.Timeline, evidence.Observations = l.timeline, kept.observations
	evidence.Problems, evidence.Findings = l.problems, l.found()
	var err error
	if evidence.Ops, err = history.Ops(kept.events); err != nil {
		evidence.Problems = append(evidence.Problems, fmt.Sprintf("The history makes no sense: %v.", err))
	}
	if evidence.Faults, err = results.JoinFaults(kept.faults); err != nil {
		evidence.Problems = append(evidence.Problems, fmt.Sprintf("The faults make no sense: %v.", err))
	}
	return evidence
}

// Judge has all checkers look at the evidence of Play. Whether the checkers are sound, checker.Canary
// tells, once for any number of trials.
func (t Trial) Judge(ctx context.Context, evidence checker.Evidence) checker.Report {
	options := t.Check
	options.Workers = 1
	options.AllowNoFaults = options.AllowNoFaults || len(t.Faults) == 0
	options.Troubled = len(t.Options.Trouble) > 0
	return checker.Judge(ctx, evidence, options)
}

// tape keeps what is recorded in memory.
type tape struct {
	events       []history.Event
	faults       []nemesis.Event
	observations []checker.Observation
}

// History implements recorder.
func (t *tape) History(e *history.Event) error {
	e.Index = int64(len(t.events))
	t.events = append(t.events, *e)
	return nil
}

// Fault implements recorder.
func (t *tape) Fault(e nemesis.Event) error {
	t.faults = append(t.faults, e)
	return nil
}

// Observation implements recorder.
func (t *tape) Observation(o checker.Observation) error {
	t.observations = append(t.observations, o)
	return nil
}

// Timeline implements recorder.
func (t *tape) Timeline(checker.Timeline) error { return nil }

// unwatched is the Observer of a run that nobody watches.
type unwatched struct{}

func (unwatched) Step(Step)                  {}
func (unwatched) Fault(nemesis.Event)        {}
func (unwatched) Leader(Leadership)          {}
func (unwatched) Progress(Progress)          {}
func (unwatched) Note(time.Duration, string) {}

package runner

import (
	"context"
	"fmt"
	"strings"
	"time"

	"coup/checker"
	"coup/cluster"
)

// Simulation is a World that is its own cluster and its own clock. It sees into the nodes, and so
// finds out by itself what no client could.
type Simulation interface {
	World
	Cluster() cluster.Cluster
	// Settle ends, for good, whatever goes wrong by itself, and holds the nodes to what they then owe.
	// What they fail in, Failure tells.
	Settle() error
	// Failure is the first promise that was seen broken; nil for none. The World has then ended.
	Failure() *Failure
	// Close ends the World.
	Close()
}

// Failure is a promise that a Simulation saw broken.
type Failure struct {
	Check string        // "I1" to "I16", "L1" to "L4", "stale" for a stale read, or else what found it
	Text  string        // a sentence
	At    time.Duration // since the run began
}

// The checkers that a Simulation's failures are filed under.
const (
	NameInvariants = "invariants"
	NameLiveness   = "liveness"
)

// reason is what a failure does to the verdict. A cluster that should have gone on, and did not, is
// unavailable; all else that is broken is a violation.
func (f Failure) reason() checker.Reason {
	r := checker.Reason{
		Verdict: checker.Violation, Checker: NameInvariants,
		Text: fmt.Sprintf("%s does not hold at %.3f s: %s", f.Check, f.At.Seconds(), sentence(f.Text)),
	}
	switch {
	case strings.HasPrefix(f.Check, "L"):
		r.Checker = NameLiveness
		if f.Check == "L1" || f.Check == "L2" {
			r.Verdict = checker.Unavailable
		}
	case !strings.HasPrefix(f.Check, "I") && f.Check != "stale":
		r.Checker = NameProcesses
	}
	return r
}

// sentence ends a text with a full stop.
func sentence(text string) string { return strings.TrimSuffix(text, ".") + "." }

// settle has the World judge whether its nodes come to rest: that takes the place of waiting for quiet,
// for a World sees more than its nodes say, and what goes wrong by itself would go on otherwise.
func (l *loop) settle(s Simulation) bool {
	begun := l.begin("settle")
	err := s.Settle()
	if err == nil && s.Failure() == nil {
		l.done("settle", "all nodes hold the same", begun)
		return true
	}
	l.failed("settle", "", begun)
	if s.Failure() == nil {
		l.problem("The world did not settle: %v.", err)
	}
	return false
}

// interruptible looks at contexts whenever it waits, for nothing else could interrupt a World that
// needs no time.
type interruptible struct {
	Simulation
	gentle, hurried context.Context
	interrupt       func()
}

// Wait implements World.
func (w *interruptible) Wait(until time.Duration) bool {
	if w.hurried.Err() != nil {
		return false
	}
	if w.gentle.Err() != nil {
		w.interrupt()
	}
	return w.Simulation.Wait(until)
}

// simulate runs the loop in the World that the setup makes.
func (r *running) simulate(ctx, hurried context.Context) {
	step := fmt.Sprintf("start %d nodes", r.Options.Nodes)
	begun := time.Now()
	r.Observer.Step(Step{Name: step, State: StepBegan})
	world, err := r.Simulate(r.run.Dir())
	if err != nil {
		r.Observer.Step(Step{Name: step, Detail: "failed", State: StepFailed, Took: time.Since(begun)})
		r.problem("The world could not be made: %v.", err)
		return
	}
	r.Observer.Step(Step{Name: step, State: StepDone, Took: time.Since(begun)})
	r.cluster = world.Cluster()
	r.world = world
	if !r.fit() {
		return
	}
	w := &interruptible{Simulation: world, gentle: ctx, hurried: hurried}
	l := newLoop(w, r.Options, names(r.cluster), r.Faults, r, r.Observer)
	w.interrupt = l.interrupt
	l.run()
	r.note(l)
}

// names are the nodes of a cluster, in order.
func names(c cluster.Cluster) []string {
	var names []string
	for _, node := range c.Nodes() {
		names = append(names, node.ID)
	}
	return names
}

package runner

import (
	"time"

	"coup/nemesis"
)

// Observer is told what a run does while it does it. The runner itself writes to no terminal. The
// methods are called one at a time and hold the run up while they run.
type Observer interface {
	// Step tells that a part of the run began, is under way or ended.
	Step(Step)
	// Fault tells that a fault was installed, skipped or healed.
	Fault(nemesis.Event)
	// Leader tells that a node has come to lead.
	Leader(Leadership)
	// Progress tells how the run stands, several times a second.
	Progress(Progress)
	// Note tells something that a person should know.
	Note(at time.Duration, text string)
}

// StepState is how a step stands.
type StepState int

// The states of a step.
const (
	StepBegan StepState = iota
	StepUnderWay
	StepDone
	StepFailed
)

// Step is a part of the run: starting the cluster, warming up, checking.
type Step struct {
	Name   string
	Detail string // what it is doing, or what came of it; may be empty
	State  StepState
	Took   time.Duration // of StepDone and StepFailed
}

// Leadership is one node leading in one term, as first seen.
type Leadership struct {
	At   time.Duration // since the run began
	Node string
	Term uint64
}

// Progress is how a run stands.
type Progress struct {
	Now    time.Duration // since the run began
	Left   time.Duration // until the workload ends; 0 outside of it
	OK     int           // operations that took effect, so far
	Fail   int           // that did not
	Info   int           // that may have
	Rate   float64       // ok a second, over the last two seconds
	Leader string        // empty when none is known
	Term   uint64
	Fault  string // in force, with its targets; empty for none
}

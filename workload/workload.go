// Package workload decides what clients ask and asks it: a generator says which operation comes
// next, a client carries it out and classes how it ended. It knows histories and the node's Go
// client, and no environment, fault or checker.
package workload

import (
	"context"
	"math"
	"time"

	"coup/history"
)

// Op is one operation to ask for.
type Op struct {
	Process int
	F       history.F
	Key     string
	Value   history.Value // nil of a read
	Node    string        // to ask
}

// Invocation is the event that records the start of the operation.
func (o Op) Invocation(at time.Duration) history.Event {
	return history.Event{
		Time: at, Process: o.Process, Type: history.Invoke, F: o.F, Key: o.Key, Value: o.Value, Node: o.Node,
	}
}

// Never is a time that does not come.
const Never time.Duration = math.MaxInt64

// Kind says what a generator wants.
type Kind int

// The kinds of Next.
const (
	Invoke Kind = iota // start Op now
	Wait               // nothing before At; a completion may change that, so ask again after one
	Done               // nothing more, ever; what is in flight may still complete
)

// Next is what a generator answers.
type Next struct {
	Kind Kind
	Op   Op            // of Invoke
	At   time.Duration // of Wait: since the run began; Never when only a completion can help
}

// Generator decides what is asked and when. It is pure: what it answers depends on its seed, on the
// times it is given and on what completed. It is used by one goroutine.
type Generator interface {
	// Next takes the time since the run began, which never goes back. An Op that it returns counts
	// as invoked.
	Next(now time.Duration) Next
	// Completed tells the completion of an Op that Next returned.
	Completed(history.Event)
	// Ask gives it other nodes to ask from now on, at least one: some have come, or some have left.
	Ask(nodes []string)
}

// Client carries out operations, one at a time. A process has a client of its own, made afresh.
type Client interface {
	// Do returns the completion of op, without Index and Time. It never retries, and classes what it
	// cannot prove definite as Info.
	Do(ctx context.Context, op Op) history.Event
}

// Package runner runs a plan against a cluster from start to verdict: it starts the cluster, warms
// it up, runs the workload under faults, heals, waits for quiet, reads everything a last time, has
// the history checked, and concludes. It is silent: what happens is told to an Observer.
//
// The run itself is one single-threaded loop over a World, the same under real and under virtual
// time. It reads no clock, starts no goroutine and does no I/O but through what it is given.
package runner

import (
	"context"
	"time"

	"coup/checker"
	"coup/cluster"
	"coup/history"
	"coup/nemesis"
	"coup/workload"
)

// World is where a run takes place, and the only clock that it knows. What is begun with Submit,
// Inject or Observe goes on by itself; its done is called later, from Wait and from nowhere else,
// exactly once unless the World ends before. One goroutine uses a World.
type World interface {
	// Now is the time since the run began. It never goes back.
	Now() time.Duration
	// Submit starts a client operation. A process has at most one under way.
	Submit(op workload.Op, done func(Completion))
	// Inject does something to the cluster: installs a fault, heals one, restarts a node. One after
	// the other, in the order asked for. It never holds operations up.
	Inject(act Action, done func(Injected))
	// Observe asks all nodes at once what they say of themselves.
	Observe(done func(Round))
	// Wait returns once at least one done was called, or at the given time; in doubt, early. It
	// returns false when the World has ended: nothing that was begun will be done any more.
	Wait(until time.Duration) bool
}

// Completion is how an operation ended. Its Time was taken right after the client returned.
type Completion struct {
	history.Event
	Broken error // the client itself failed, not the system: the run is void
}

// Action does something to a cluster. Its context bounds it in time and is not cancelled by an
// interrupt.
type Action func(ctx context.Context, c cluster.Cluster, view nemesis.View) error

// Injected is how an action ended.
type Injected struct {
	Start time.Duration // right before it
	End   time.Duration // right after it
	Err   error         // what it returned, or that it panicked
}

// Round is what the nodes said when all were asked at once, and what became of their processes.
type Round struct {
	Nodes []checker.Observation // in the order of the nodes
	// Present are the nodes that are there now, for clients to ask; nil where none ever comes or goes.
	Present []string
	Deaths  []cluster.Death // every one so far that nobody asked for
}

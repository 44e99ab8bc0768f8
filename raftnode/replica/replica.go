// Package replica joins core, log store and state machine into one single-threaded machine: what
// happened goes in, effects come out through the bus and through callbacks. It reads no clock, starts
// no goroutine and does no I/O but through what it is given, so that the simulator and the daemon
// run the same code.
package replica

import (
	"errors"
	"log/slog"

	"coup/raftnode/bus"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/store"
)

// Config is what a replica is made of.
type Config struct {
	ID             raft.NodeID
	Voters         []raft.NodeID // the first members, for an empty store; otherwise the store wins
	Store          store.Store
	Bus            bus.Bus
	Seed           uint64
	ElectionTicks  int // a follower campaigns after [ElectionTicks, 2*ElectionTicks) ticks of silence
	HeartbeatTicks int
	Logger         *slog.Logger // nil for none
}

// Result answers a client's request.
type Result struct {
	fsm.Result
	Index uint64 // the state's applied index when it was answered
	Term  uint64 // this node's term then
	Node  raft.NodeID
}

// ErrSuperseded refuses a command whose entry was overwritten by another leader's: it had no effect
// and never will.
var ErrSuperseded = errors.New("replica: entry superseded by another leader's")

// Status is what a node says of itself.
type Status struct {
	raft.Status
	Reigns []Reign // the latest terms that this process led, oldest first, at most 64
}

// Reign is a term in which this process was the leader.
type Reign struct {
	Term uint64 `json:"term"`
	Over bool   `json:"over"`
}

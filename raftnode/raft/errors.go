package raft

import (
	"errors"
	"fmt"
)

// ErrOverloaded refuses a command because too much is waiting to be committed. Nothing was done.
var ErrOverloaded = errors.New("raft: too many uncommitted entries")

// InvariantError says that what Raft promises does not hold on this node: it must stop, say so,
// and not be restarted on the same data before somebody has looked.
type InvariantError struct{ What string }

func (e *InvariantError) Error() string { return "raft: broken invariant: " + e.What }

// ErrReignOver stops a leader that has led as long as it may and is to end with its reign: it commits
// suicide. A restart on the same data is in order.
var ErrReignOver = errors.New("raft: the reign is over: the leader ends itself, as it was told to")

// ErrTransferring refuses a request because leadership is being handed over. Nothing was done.
var ErrTransferring = errors.New("raft: leadership is being transferred")

// ErrNotReady refuses a change of members by a leader that has not committed an entry of its term yet
// (Ongaro, raft-dev, July 2015). Nothing was done; asking again soon is in order.
var ErrNotReady = errors.New("raft: the leader has not committed an entry of its term yet")

// ChangeInFlightError refuses a change of members while another is under way. Nothing was done.
type ChangeInFlightError struct {
	Index         uint64        // of the latest configuration in the log
	Configuration Configuration // that one
}

func (e *ChangeInFlightError) Error() string {
	return fmt.Sprintf("raft: a change of members is in flight: the configuration of entry %d, voters %v, outgoing %v",
		e.Index, e.Configuration.Voters, e.Configuration.Outgoing)
}

// LaggingError refuses to promote a learner that has not caught up. Nothing was done.
type LaggingError struct {
	Node  NodeID
	Match uint64 // the last entry that it is known to hold
	Last  uint64 // the leader's last entry
}

func (e *LaggingError) Error() string {
	return fmt.Sprintf("raft: %s lags by %d entries: it holds %d of %d", e.Node, e.Last-e.Match, e.Match, e.Last)
}

// TransferRefusedError refuses to hand leadership over. Nothing was done.
type TransferRefusedError struct {
	To     NodeID
	Reason string
}

func (e *TransferRefusedError) Error() string {
	return fmt.Sprintf("raft: no transfer of leadership to %q: %s", e.To, e.Reason)
}

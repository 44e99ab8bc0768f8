// Package store keeps a node's log and hard state: in Pebble on disk, and in memory, under one
// conformance suite. It knows nothing of the protocol.
package store

import "coup/raftnode/raft"

// Store is durable storage for one node. For use by one goroutine.
//
// After any error from Save the store is finished: what is on disk is unknown until it is opened
// again, and a retry of a failed fsync would lie.
type Store interface {
	raft.Storage
	// Bootstrap makes base the durable beginning of an empty store; it is an error in any other.
	Bootstrap(base raft.Base) error
	// Save makes hs (unless nil) and entries durable in one atomic write; when it returns nil both
	// are on disk. Entries are contiguous, start at most one after the last, and replace whatever
	// the log holds from entries[0].Index on.
	Save(hs *raft.HardState, entries []raft.Entry) error
	Close() error
}

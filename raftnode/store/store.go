// Package store keeps a node's log, hard state and snapshots: in Pebble on disk, and in memory, under
// one conformance suite. It knows nothing of the protocol.
package store

import "coup/raftnode/raft"

// Store is durable storage for one node. For use by one goroutine.
//
// After any error from a method that writes the store is finished: what is on disk is unknown until it
// is opened again, and a retry of a failed fsync would lie.
type Store interface {
	raft.Storage
	// Bootstrap makes base the durable beginning of an empty store; it is an error in any other.
	Bootstrap(base raft.Base) error
	// Save makes hs (unless nil) and entries durable in one atomic write; when it returns nil both
	// are on disk. Entries are contiguous, start at most one after the last, and replace whatever
	// the log holds from entries[0].Index on.
	Save(hs *raft.HardState, entries []raft.Entry) error

	// TakeChunk adds a chunk to the snapshot that this node takes of its own state; number 0 starts
	// over. It need not be durable before Publish.
	TakeChunk(c raft.Chunk) error
	// Publish makes what TakeChunk gathered the latest snapshot, atomically and durably, and drops the
	// one before. s must agree with the log at s.Index, and with the chunks.
	Publish(s raft.Snapshot) error
	// Gather adds a chunk to the snapshot that is being received; number 0 starts over, and discards what
	// was gathered of another. It need not be durable before Install: what is lost in a crash is sent again.
	Gather(g raft.Gathered) error
	// Install makes the gathered snapshot, whose last chunk is there, the latest snapshot and the base
	// of an empty log, and hs (unless nil) the hard state, in one atomic and durable write. What was being
	// taken by TakeChunk is dropped.
	Install(s raft.Snapshot, hs *raft.HardState) error
	// Compact drops the entries up to base.Index, atomically; base is then what the log starts from. It is
	// an error where the latest snapshot does not cover base.Index, or base is not what the log says.
	Compact(base raft.Base) error
	Close() error
}

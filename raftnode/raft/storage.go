package raft

import "errors"

// ErrSnapshotGone says that a chunk was asked of a snapshot that another has replaced.
var ErrSnapshotGone = errors.New("raft: the snapshot has been replaced")

// Storage is the durable log as the core reads it. The core never writes: Ready says what to.
type Storage interface {
	// Load returns what a restart begins with, having verified the log: its checksums, that indexes
	// have no gap, and that terms never fall or exceed the hard state's. For an empty store the State
	// is zero.
	Load() (State, error)
	// Entries returns those in [lo, hi), as many as fit into maxBytes but at least one. It is an
	// error when lo is not above the base or hi beyond the last entry plus one.
	Entries(lo, hi uint64, maxBytes int) ([]Entry, error)
	// Snapshot is the latest whole snapshot; its Index is 0 when there is none.
	Snapshot() (Snapshot, error)
	// Chunk returns one chunk of the latest snapshot, which must be the one that covers index. Errors:
	// ErrSnapshotGone when it is another.
	Chunk(index, number uint64) (Chunk, error)
}

// State is a store's content as a restart begins with it.
type State struct {
	HardState      HardState
	Base           Base
	Last           uint64   // index of the last entry; Base.Index when there is none
	Configurations []Entry  // the log's configuration entries, oldest first
	Snapshot       Snapshot // the latest; Base.Index <= Snapshot.Index <= Last, or Index 0 and Base.Index 0 for none
	Received       Received // what has come of a snapshot that is not whole; zero for nothing
}

package raft

// Storage is the durable log as the core reads it. The core never writes: Ready says what to.
type Storage interface {
	// Load returns what a restart begins with, having verified the log: its checksums, that indexes
	// have no gap, and that terms never fall or exceed the hard state's. For an empty store hs and
	// base are zero and last is 0. configurations are the configuration entries of the log, oldest first.
	Load() (State, error)
	// Entries returns those in [lo, hi), as many as fit into maxBytes but at least one. It is an
	// error when lo is not above the base or hi beyond the last entry plus one.
	Entries(lo, hi uint64, maxBytes int) ([]Entry, error)
}

// State is a store's content as a restart begins with it.
type State struct {
	HardState      HardState
	Base           Base
	Last           uint64  // index of the last entry; Base.Index when there is none
	Configurations []Entry // the log's configuration entries, oldest first
}

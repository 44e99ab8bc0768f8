package store

import (
	"errors"

	"coup/raftnode/raft"
)

var errNoSnapshots = errors.New("store: snapshots are not there yet")

func (p *Pebble) Snapshot() (raft.Snapshot, error)             { return raft.Snapshot{}, nil }
func (p *Pebble) Chunk(uint64, uint64) (raft.Chunk, error)     { return raft.Chunk{}, errNoSnapshots }
func (p *Pebble) TakeChunk(raft.Chunk) error                   { return errNoSnapshots }
func (p *Pebble) Publish(raft.Snapshot) error                  { return errNoSnapshots }
func (p *Pebble) Gather(raft.Gathered) error                   { return errNoSnapshots }
func (p *Pebble) Install(raft.Snapshot, *raft.HardState) error { return errNoSnapshots }
func (p *Pebble) Compact(raft.Base) error                      { return errNoSnapshots }

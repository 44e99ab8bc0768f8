package store

import (
	"fmt"
	"slices"

	"coup/raftnode/raft"
	"coup/raftnode/wire"
)

// Memory is a store in memory. It stands for the disk, not for the process that uses it: Close keeps
// the content and forgets a failure, and a restarted node goes on with the same Memory.
type Memory struct {
	extent  extent
	entries []raft.Entry // from base.Index+1 on
	failed  error        // the first error of Save
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{} }

// Load is defined by raft.Storage.
func (m *Memory) Load() (raft.State, error) {
	if m.failed != nil {
		return raft.State{}, m.failed
	}
	s := raft.State{HardState: m.extent.hardState, Base: m.extent.base, Last: m.extent.end.index}
	c := chainOf(m.extent.base)
	for _, e := range m.entries {
		var err error
		if c, err = c.next(e); err != nil {
			return raft.State{}, &CorruptionError{Where: "memory", What: err.Error(), Remedy: remedy}
		}
		if e.Type == raft.EntryConfiguration {
			s.Configurations = append(s.Configurations, e)
		}
	}
	return s, nil
}

// Entries is defined by raft.Storage. An entry counts as the bytes of its data.
func (m *Memory) Entries(lo, hi uint64, maxBytes int) ([]raft.Entry, error) {
	if m.failed != nil {
		return nil, m.failed
	}
	if err := m.extent.holds(lo, hi); err != nil {
		return nil, err
	}
	from := m.extent.base.Index + 1
	found := m.entries[lo-from : hi-from]
	left := budget{maxBytes}
	for i, e := range found {
		if !left.fits(e, i == 0) {
			found = found[:i]
			break
		}
	}
	return slices.Clone(found), nil
}

// Bootstrap is defined by Store.
func (m *Memory) Bootstrap(base raft.Base) error {
	if m.failed != nil {
		return m.failed
	}
	if m.extent.bootstrapped {
		return ErrNotEmpty
	}
	encoded, err := wire.MarshalBase(base)
	if err != nil {
		return fmt.Errorf("store: bootstrapping: %w", err)
	}
	// Decoding gives a copy that shares nothing with the caller's.
	if base, err = wire.UnmarshalBase(encoded); err != nil {
		return fmt.Errorf("store: bootstrapping: %w", err)
	}
	m.extent = begun(base)
	return nil
}

// Save is defined by Store. It keeps the entries' data, which nobody modifies.
func (m *Memory) Save(hs *raft.HardState, entries []raft.Entry) error {
	if m.failed != nil {
		return m.failed
	}
	next, err := m.extent.after(hs, entries, m.at)
	if err != nil {
		m.failed = err
		return err
	}
	if len(entries) > 0 {
		keep := entries[0].Index - m.extent.base.Index - 1
		m.entries = append(m.entries[:keep], entries...)
	}
	m.extent = next
	return nil
}

func (m *Memory) at(index uint64) (chain, error) {
	if index == m.extent.base.Index {
		return chainOf(m.extent.base), nil
	}
	return chainAt(m.entries[index-m.extent.base.Index-1]), nil
}

// Close is defined by Store.
func (m *Memory) Close() error {
	m.failed = nil
	return nil
}

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
	failed  error        // the first error of a write

	snapshot raft.Snapshot // the latest
	content  []raft.Chunk  // of snapshot
	taken    []raft.Chunk  // of the one that is being taken
	received raft.Received
	gathered []raft.Chunk // of received
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{} }

// Load is defined by raft.Storage.
func (m *Memory) Load() (raft.State, error) {
	if m.failed != nil {
		return raft.State{}, m.failed
	}
	s := raft.State{
		HardState: m.extent.hardState, Base: m.extent.base, Last: m.extent.end.index,
		Snapshot: m.snapshot, Received: m.received,
	}
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
	sum := uint32(0)
	for i, chunk := range m.content {
		if sum = raft.NextContentChecksum(sum, chunk.Data); sum != chunk.Checksum {
			return raft.State{}, &CorruptionError{
				Where: "memory", What: fmt.Sprintf("chunk %d of the snapshot at %d fails its checksum", i, m.snapshot.Index), Remedy: remedy,
			}
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

// Snapshot is defined by raft.Storage.
func (m *Memory) Snapshot() (raft.Snapshot, error) { return m.snapshot, m.failed }

// Chunk is defined by raft.Storage.
func (m *Memory) Chunk(index, number uint64) (raft.Chunk, error) {
	switch {
	case m.failed != nil:
		return raft.Chunk{}, m.failed
	case index != m.snapshot.Index || index == 0:
		return raft.Chunk{}, raft.ErrSnapshotGone
	case number >= uint64(len(m.content)):
		return raft.Chunk{}, fmt.Errorf("store: the snapshot at %d has %d chunks, and no chunk %d", index, len(m.content), number)
	}
	return m.content[number], nil
}

// TakeChunk is defined by Store.
func (m *Memory) TakeChunk(c raft.Chunk) error {
	return m.write(func() (err error) {
		m.taken, err = with(m.taken, c)
		return err
	})
}

// Publish is defined by Store.
func (m *Memory) Publish(s raft.Snapshot) error {
	return m.write(func() error {
		if err := m.extent.covers(s, m.snapshot, m.at); err != nil {
			return err
		}
		if err := whole(s, m.taken); err != nil {
			return err
		}
		m.snapshot, m.content, m.taken = s, m.taken, nil
		return nil
	})
}

// Gather is defined by Store.
func (m *Memory) Gather(g raft.Gathered) error {
	return m.write(func() (err error) {
		if g.Chunk.Number == 0 {
			m.received = raft.Received{Snapshot: g.Snapshot}
		}
		if !m.received.Snapshot.Same(g.Snapshot) {
			return fmt.Errorf("store: chunk %d is of another snapshot than the one begun", g.Chunk.Number)
		}
		if m.gathered, err = with(m.gathered, g.Chunk); err != nil {
			return err
		}
		m.received.Next, m.received.Checksum = uint64(len(m.gathered)), g.Chunk.Checksum
		return nil
	})
}

// Install is defined by Store.
func (m *Memory) Install(s raft.Snapshot, hs *raft.HardState) error {
	return m.write(func() error {
		if err := whole(s, m.gathered); err != nil {
			return err
		}
		next := begun(s.Base)
		if next.hardState = m.extent.hardState; hs != nil {
			next.hardState = *hs
		}
		m.extent, m.entries = next, nil
		m.snapshot, m.content, m.taken = s, m.gathered, nil
		m.received, m.gathered = raft.Received{}, nil
		return nil
	})
}

// Compact is defined by Store.
func (m *Memory) Compact(base raft.Base) error {
	return m.write(func() error {
		next, err := m.extent.compacted(base, m.snapshot.Index, m.at)
		if err != nil {
			return err
		}
		m.entries = slices.Clone(m.entries[base.Index-m.extent.base.Index:])
		m.extent = next
		return nil
	})
}

func (m *Memory) write(do func() error) error {
	if m.failed == nil {
		m.failed = do()
	}
	return m.failed
}

// Clone is a store with the same content, which goes its own way from then on.
func (m *Memory) Clone() *Memory {
	c := *m
	c.entries = slices.Clone(m.entries)
	c.taken, c.gathered = slices.Clip(m.taken), slices.Clip(m.gathered)
	m.taken, m.gathered = c.taken, c.gathered
	return &c
}

// with is chunks with one more, which must be the next; number 0 begins anew.
func with(chunks []raft.Chunk, c raft.Chunk) ([]raft.Chunk, error) {
	if c.Number == 0 {
		chunks = nil
	}
	if c.Number != uint64(len(chunks)) {
		return nil, fmt.Errorf("store: chunk %d comes after %d", c.Number, len(chunks))
	}
	sum := uint32(0)
	if n := len(chunks); n > 0 {
		sum = chunks[n-1].Checksum
	}
	if raft.NextContentChecksum(sum, c.Data) != c.Checksum {
		return nil, fmt.Errorf("store: chunk %d fails its checksum", c.Number)
	}
	return append(chunks, c), nil
}

// whole tells whether chunks are all of a snapshot.
func whole(s raft.Snapshot, chunks []raft.Chunk) error {
	if n := uint64(len(chunks)); n == 0 || n != s.Chunks || chunks[n-1].Checksum != s.ContentChecksum {
		return fmt.Errorf("store: %d chunks are not the %d of the snapshot at %d", n, s.Chunks, s.Index)
	}
	return nil
}

// Close is defined by Store.
func (m *Memory) Close() error {
	m.failed = nil
	return nil
}

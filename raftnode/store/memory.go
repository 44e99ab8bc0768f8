package store

import (
	"fmt"
	"slices"

	"coup/raftnode/raft"
)

// Memory is a store in memory. It stands for the disk, not for the process that uses it: Close keeps
// the content, forgets a failure and what was being taken, and a restarted node goes on with the same
// Memory.
//
// It keeps the data and the configurations that it is given, and what it returns is what it has: nobody
// modifies either.
type Memory struct {
	extent extent
	// No element of these is ever overwritten: a clone, and whoever has read, shares them.
	entries  []raft.Entry // from base.Index+1 on
	latest   []raft.Chunk // of the latest snapshot
	taken    []raft.Chunk
	received []raft.Chunk
	failed   error // the first error of a method that writes
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{} }

// Clone is a store with the content that m has now, as the next process finds it: without a failure, and
// without what was being taken. The two share what they have in common, and neither sees what is
// written to the other. It costs the same however much m holds.
func (m *Memory) Clone() *Memory {
	c := &Memory{
		extent:   m.extent,
		entries:  slices.Clip(m.entries),
		latest:   slices.Clip(m.latest),
		received: slices.Clip(m.received),
	}
	c.extent.taken = content{}
	return c
}

// Load is defined by raft.Storage.
func (m *Memory) Load() (raft.State, error) {
	if m.failed != nil {
		return raft.State{}, m.failed
	}
	var configurations []raft.Entry
	c := chainOf(m.extent.base)
	for _, e := range m.entries {
		var err error
		if c, err = c.next(e); err != nil {
			return raft.State{}, corruptMemory(err)
		}
		if e.Type == raft.EntryConfiguration {
			configurations = append(configurations, e)
		}
	}
	var whole content
	for _, chunk := range m.latest {
		var err error
		if whole, err = whole.with(chunk); err != nil {
			return raft.State{}, corruptMemory(err)
		}
	}
	if err := whole.wholeOf(m.extent.snapshot); err != nil {
		return raft.State{}, corruptMemory(err)
	}
	return m.extent.state(configurations), nil
}

func corruptMemory(err error) error {
	return &CorruptionError{Where: "memory", What: err.Error(), Remedy: remedy}
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
	return slices.Clip(found), nil
}

// Snapshot is defined by raft.Storage.
func (m *Memory) Snapshot() (raft.Snapshot, error) {
	return m.extent.snapshot, m.failed
}

// Chunk is defined by raft.Storage.
func (m *Memory) Chunk(index, number uint64) (raft.Chunk, error) {
	if m.failed != nil {
		return raft.Chunk{}, m.failed
	}
	if err := m.extent.chunkOf(index, number); err != nil {
		return raft.Chunk{}, err
	}
	return m.latest[number], nil
}

// Bootstrap is defined by Store.
func (m *Memory) Bootstrap(base raft.Base) error {
	if m.failed != nil {
		return m.failed
	}
	if m.extent.bootstrapped {
		return ErrNotEmpty
	}
	x, _, err := bootstrap(base)
	if err != nil {
		return err
	}
	m.extent = x
	return nil
}

// Save is defined by Store.
func (m *Memory) Save(hs *raft.HardState, entries []raft.Entry) error {
	if m.failed != nil {
		return m.failed
	}
	next, err := m.extent.after(hs, entries, m.at)
	if err != nil {
		return m.fail(err)
	}
	if len(entries) > 0 {
		m.entries = append(upTo(m.entries, entries[0].Index-m.extent.base.Index-1), entries...)
	}
	m.extent = next
	return nil
}

// TakeChunk is defined by Store.
func (m *Memory) TakeChunk(c raft.Chunk) error {
	if m.failed != nil {
		return m.failed
	}
	next, err := m.extent.take(c)
	if err != nil {
		return m.fail(err)
	}
	m.extent = next
	m.taken = append(upTo(m.taken, c.Number), c)
	return nil
}

// Publish is defined by Store.
func (m *Memory) Publish(s raft.Snapshot) error {
	if m.failed != nil {
		return m.failed
	}
	next, err := m.extent.publish(s, m.at)
	if err != nil {
		return m.fail(err)
	}
	m.extent = next
	m.latest, m.taken = m.taken, nil
	m.received = upTo(m.received, next.received.next)
	return nil
}

// Gather is defined by Store.
func (m *Memory) Gather(g raft.Gathered) error {
	if m.failed != nil {
		return m.failed
	}
	next, err := m.extent.gather(g)
	if err != nil {
		return m.fail(err)
	}
	m.extent = next
	m.received = append(upTo(m.received, g.Chunk.Number), g.Chunk)
	return nil
}

// Install is defined by Store.
func (m *Memory) Install(s raft.Snapshot, hs *raft.HardState) error {
	if m.failed != nil {
		return m.failed
	}
	next, err := m.extent.install(s, hs)
	if err != nil {
		return m.fail(err)
	}
	m.extent = next
	m.entries, m.latest, m.taken, m.received = nil, m.received, nil, nil
	return nil
}

// Compact is defined by Store.
func (m *Memory) Compact(base raft.Base) error {
	if m.failed != nil {
		return m.failed
	}
	next, err := m.extent.compact(base, m.at)
	if err != nil {
		return m.fail(err)
	}
	m.entries = m.entries[next.base.Index-m.extent.base.Index:]
	m.extent = next
	return nil
}

// Damage flips one bit of what lies there, as a disk may: of an entry or of a chunk of the latest snapshot, in its
// data or in its checksum. What was cloned from m before stays whole. It says what was hit, or nothing where there is
// nothing; draw draws from [0, n).
func (m *Memory) Damage(draw func(n int) int) (what string) {
	if len(m.entries)+len(m.latest) == 0 {
		return ""
	}
	var data *[]byte
	var checksum *uint32
	if i := draw(len(m.entries) + len(m.latest)); i < len(m.entries) {
		m.entries = slices.Clone(m.entries)
		data, checksum, what = &m.entries[i].Data, &m.entries[i].Checksum, fmt.Sprintf("entry %d", m.entries[i].Index)
	} else {
		i -= len(m.entries)
		m.latest = slices.Clone(m.latest)
		data, checksum, what = &m.latest[i].Data, &m.latest[i].Checksum, fmt.Sprintf("chunk %d of the snapshot", i)
	}
	bit := draw(32 + 8*len(*data))
	if bit < 32 {
		*checksum ^= 1 << bit
		return what
	}
	bit -= 32
	*data = slices.Clone(*data)
	(*data)[bit/8] ^= 1 << (bit % 8)
	return what
}

func (m *Memory) at(index uint64) (chain, error) {
	if index == m.extent.base.Index {
		return chainOf(m.extent.base), nil
	}
	return chainAt(m.entries[index-m.extent.base.Index-1]), nil
}

func (m *Memory) fail(err error) error {
	m.failed = err
	return err
}

// Close is defined by Store.
func (m *Memory) Close() error {
	m.failed = nil
	m.extent.taken, m.taken = content{}, nil
	return nil
}

// upTo is s without what follows its first n elements. What is appended to it goes elsewhere unless
// nothing was cut off.
func upTo[T any](s []T, n uint64) []T {
	if n < uint64(len(s)) {
		return s[:n:n]
	}
	return s
}

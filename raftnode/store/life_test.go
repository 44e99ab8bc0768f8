package store

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft"
)

// deed is something that a node does to its store.
type deed struct {
	do      func(Store) error
	durable bool // once it is done
}

// life draws what a node might do to its store, and remembers as much as that takes. The content of a
// snapshot follows from its index, as that of a node's state does.
type life struct {
	random *rand.Rand
	hs     raft.HardState
	log    []raft.Entry // from 1 on; of what an installed snapshot covers, whatever
	base   uint64
	latest uint64
	size   int // of a chunk, at most

	own        raft.Snapshot
	ownChunks  []raft.Chunk // yet to be taken
	coming     raft.Snapshot
	comingLeft []raft.Chunk
}

// next draws a deed. The first deeds are saves.
func (l *life) next() deed {
	for {
		switch l.random.IntN(8) {
		case 0, 1, 2:
			return l.save()
		case 3:
			if last := uint64(len(l.log)); l.own.Index == 0 && last > l.latest {
				l.own, l.ownChunks = l.snapshot(l.log[l.latest+l.random.Uint64N(last-l.latest)])
			}
			if l.own.Index > 0 {
				return l.take()
			}
		case 4:
			if l.own.Index > 0 {
				return l.take()
			}
		case 5:
			if l.coming.Index == 0 && l.hs.Term > 0 {
				end := chainAt(raft.Entry{Index: uint64(len(l.log)) + l.random.Uint64N(5), Term: l.hs.Term, Checksum: l.random.Uint32()})
				l.coming, l.comingLeft = l.snapshot(entriesAfter(end, "", l.hs.Term)[0])
			}
			if l.coming.Index > 0 {
				return l.gather()
			}
		case 6:
			if l.coming.Index > 0 {
				return l.gather()
			}
		case 7:
			if l.latest > l.base {
				l.base += 1 + l.random.Uint64N(l.latest-l.base)
				base := baseAt(l.log[l.base-1])
				return deed{func(s Store) error { return s.Compact(base) }, true}
			}
		}
	}
}

func (l *life) save() deed {
	hs, entries := drawSave(l.random, l.hs, l.log, l.latest)
	if hs != nil {
		l.hs = *hs
	}
	l.log = extended(l.log, entries)
	if l.own.Index > uint64(len(l.log)) || len(entries) > 0 && l.own.Index >= entries[0].Index {
		l.own = raft.Snapshot{} // not committed, it seems
	}
	return deed{func(s Store) error { return s.Save(hs, entries) }, hs != nil || len(entries) > 0}
}

// take takes the next chunk, or publishes what is whole.
func (l *life) take() deed {
	if len(l.ownChunks) == 0 {
		own := l.own
		l.latest, l.own = own.Index, raft.Snapshot{}
		if l.coming.Index <= l.latest {
			l.coming = raft.Snapshot{}
		}
		return deed{func(s Store) error { return s.Publish(own) }, true}
	}
	c := l.ownChunks[0]
	l.ownChunks = l.ownChunks[1:]
	return deed{func(s Store) error { return s.TakeChunk(c) }, false}
}

// gather takes in the next chunk, or installs what is whole, or begins anew.
func (l *life) gather() deed {
	if l.random.IntN(12) == 0 {
		l.coming, l.comingLeft = l.snapshot(raft.Entry{Index: l.coming.Index, Term: l.coming.Term, Checksum: l.coming.Checksum})
	}
	coming := l.coming
	if len(l.comingLeft) > 0 {
		c := l.comingLeft[0]
		l.comingLeft = l.comingLeft[1:]
		return deed{func(s Store) error { return s.Gather(raft.Gathered{Snapshot: coming, Chunk: c}) }, false}
	}
	var hs *raft.HardState
	if l.random.IntN(2) == 0 {
		l.hs = raft.HardState{Term: l.hs.Term + 1, Vote: "n3"}
		now := l.hs
		hs = &now
	}
	l.log = slices.Grow(l.log[:min(len(l.log), int(coming.Index))], int(coming.Index))[:coming.Index]
	l.log[coming.Index-1] = raft.Entry{Index: coming.Index, Term: coming.Term, Checksum: coming.Checksum}
	l.base, l.latest = coming.Index, coming.Index
	l.own, l.coming = raft.Snapshot{}, raft.Snapshot{}
	return deed{func(s Store) error { return s.Install(coming, hs) }, true}
}

func (l *life) snapshot(e raft.Entry) (raft.Snapshot, []raft.Chunk) {
	content := make([]string, 1+l.random.IntN(5))
	for i := range content {
		data := make([]byte, 1+l.random.IntN(l.size))
		for i := range data {
			data[i] = byte(l.random.Uint32())
		}
		content[i] = string(data)
	}
	return snapshotAt(e, content...)
}

// restart forgets what a process had in hand; received is what its store still has.
func (l *life) restart() {
	l.own = raft.Snapshot{}
	if l.coming.Index > 0 && len(l.comingLeft) == 0 {
		l.coming = raft.Snapshot{} // the last chunk would be sent again; another snapshot does as well
	}
}

// The same life of every store, with restarts, beside Memory.
func TestLivesAreAlike(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		l := &life{random: rand.New(rand.NewPCG(3, 4)), size: 300}
		s, reference := open(), NewMemory()
		require.NoError(t, s.Bootstrap(genesis))
		require.NoError(t, reference.Bootstrap(genesis))
		published, installed := 0, 0
		for range 400 {
			before := reference.extent
			d := l.next()
			require.NoError(t, d.do(reference))
			require.NoError(t, d.do(s))
			switch after := reference.extent; {
			case after.base.Index > before.snapshot.Index:
				installed++
			case after.snapshot.Index > before.snapshot.Index:
				published++
			}
			if l.random.IntN(12) == 0 {
				require.NoError(t, s.Close())
				require.NoError(t, reference.Close())
				s = open()
				l.restart()
			}
			if l.random.IntN(4) == 0 {
				require.Equal(t, readWhole(t, reference), readWhole(t, s))
			}
		}
		require.Greater(t, published, 5)
		require.Greater(t, installed, 5)
	})
}

// Would catch a clone that sees what was written to the other, whichever that is.
func TestCloneIsApart(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 5))
		type branch struct {
			life
			store *Memory
			want  whole
		}
		first := branch{life: life{random: random, size: 10}, store: NewMemory()}
		require.NoError(t, first.store.Bootstrap(genesis))
		branches := []branch{first}
		for range 60 {
			i := random.IntN(len(branches))
			b := &branches[i]
			if random.IntN(10) == 0 && len(branches) < 5 {
				cloned := *b
				cloned.log = slices.Clone(b.log)
				cloned.store = b.store.Clone()
				cloned.restart()
				require.Equal(t, readWhole(t, b.store), readWhole(t, cloned.store))
				branches = append(branches, cloned)
				b = &branches[len(branches)-1]
			}
			require.NoError(t, b.next().do(b.store))
			b.want = readWhole(t, b.store)
			for _, other := range branches {
				if other.want.state.Last > 0 {
					require.Equal(t, other.want, readWhole(t, other.store))
				}
			}
		}
	}
}

// What a clone finds is a disk, not a process: no failure, and nothing half taken.
func TestCloneOfFailed(t *testing.T) {
	m := NewMemory()
	require.NoError(t, m.Bootstrap(genesis))
	require.NoError(t, m.Save(&raft.HardState{Term: 1}, entriesAfter(chainOf(genesis), "x", 1)))
	_, chunks := snapshotAt(raft.Entry{}, "one", "two")
	take(t, m, chunks[:1])
	require.Error(t, m.Save(nil, entriesAfter(chain{index: 7}, "x", 1)))
	c := m.Clone()
	require.Equal(t, uint64(1), load(t, c).Last)
	require.Error(t, c.TakeChunk(chunks[1]))
}

func BenchmarkMemory(b *testing.B) {
	entries := entriesAfter(chainOf(genesis), "0123456789", slices.Repeat([]uint64{1}, 1000)...)
	var m *Memory
	b.Run("100 saves of 10", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m = NewMemory()
			require.NoError(b, m.Bootstrap(genesis))
			require.NoError(b, m.Save(&raft.HardState{Term: 1}, nil))
			for at := 0; at < 1000; at += 10 {
				if err := m.Save(nil, entries[at:at+10]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("entries", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := m.Entries(400, 500, 1<<20); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("clone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.Clone()
		}
	})
}

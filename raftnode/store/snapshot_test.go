package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft"
)

// snapshotAt makes a snapshot that covers the log up to e, of chunks with that content.
func snapshotAt(e raft.Entry, content ...string) (raft.Snapshot, []raft.Chunk) {
	var chunks []raft.Chunk
	var checksum uint32
	for i, data := range content {
		checksum = raft.NextContentChecksum(checksum, []byte(data))
		chunks = append(chunks, raft.Chunk{Number: uint64(i), Data: []byte(data), Checksum: checksum})
	}
	return raft.Snapshot{
		Base:   raft.Base{Index: e.Index, Term: e.Term, Checksum: e.Checksum, Configuration: members},
		Chunks: uint64(len(chunks)), ContentChecksum: checksum,
	}, chunks
}

func take(t *testing.T, s Store, chunks []raft.Chunk) {
	for _, c := range chunks {
		require.NoError(t, s.TakeChunk(c))
	}
}

func gather(t *testing.T, s Store, snapshot raft.Snapshot, chunks []raft.Chunk) {
	for _, c := range chunks {
		require.NoError(t, s.Gather(raft.Gathered{Snapshot: snapshot, Chunk: c}))
	}
}

// whole is all that can be read from a store.
type whole struct {
	state   raft.State
	entries []raft.Entry
	chunks  []raft.Chunk // of the latest snapshot
}

func readWhole(t *testing.T, s Store) whole {
	w := whole{state: load(t, s), entries: all(t, s)}
	if len(w.entries) == 0 {
		w.entries = nil
	}
	snapshot, err := s.Snapshot()
	require.NoError(t, err)
	require.Equal(t, w.state.Snapshot, snapshot)
	for number := range snapshot.Chunks {
		c, err := s.Chunk(snapshot.Index, number)
		require.NoError(t, err)
		w.chunks = append(w.chunks, c)
	}
	return w
}

// lived is a store with some of everything: entries 3 to 10, a snapshot at 4, and two of the three chunks of one
// at 20. Entry 5 is a configuration.
type lived struct {
	Store
	log          []raft.Entry // from 1 on
	latest       raft.Snapshot
	latestChunks []raft.Chunk
	coming       raft.Snapshot
	comingChunks []raft.Chunk
}

func live(t *testing.T, open func() Store) lived {
	l := lived{Store: open()}
	require.NoError(t, l.Bootstrap(genesis))
	l.log = entriesAfter(chainOf(genesis), "x", 1, 1, 1, 1)
	change := raft.Entry{Index: 5, Term: 2, Type: raft.EntryConfiguration, Data: []byte("{}")}
	change.Checksum = raft.NextChecksum(l.log[3].Checksum, change)
	l.log = append(l.log, change)
	l.log = append(l.log, entriesAfter(chainAt(change), "y", 2, 2, 2, 2, 2)...)
	require.NoError(t, l.Save(&raft.HardState{Term: 2, Vote: "n2"}, l.log))
	l.latest, l.latestChunks = snapshotAt(l.log[3], "first", "second")
	take(t, l, l.latestChunks)
	require.NoError(t, l.Publish(l.latest))
	require.NoError(t, l.Compact(baseAt(l.log[1])))
	l.coming, l.comingChunks = snapshotAt(raft.Entry{Index: 20, Term: 2, Checksum: 77}, "a", "b", "c")
	gather(t, l, l.coming, l.comingChunks[:2])
	return l
}

func baseAt(e raft.Entry) raft.Base {
	s, _ := snapshotAt(e)
	return s.Base
}

func (l lived) want() whole {
	return whole{
		state: raft.State{
			HardState:      raft.HardState{Term: 2, Vote: "n2"},
			Base:           baseAt(l.log[1]),
			Last:           10,
			Configurations: l.log[4:5],
			Snapshot:       l.latest,
			Received:       raft.Received{Snapshot: l.coming, Next: 2, Checksum: l.comingChunks[1].Checksum},
		},
		entries: l.log[2:],
		chunks:  l.latestChunks,
	}
}

// reopened is the store as the next process finds it.
func (l *lived) reopened(t *testing.T, open func() Store) whole {
	require.NoError(t, l.Close())
	l.Store = open()
	return readWhole(t, l)
}

// Would catch whatever of log, snapshots and what is being received a restart does not find.
func TestSnapshotsSurviveRestart(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		l := live(t, open)
		require.Equal(t, l.want(), readWhole(t, l))
		require.Equal(t, l.want(), l.reopened(t, open))
	})
}

// Would catch a chunk of an older snapshot that is taken for one of the latest.
func TestPublishReplaces(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		l := live(t, open)
		_, abandoned := snapshotAt(l.log[6], "i", "ii", "iii", "iv")
		take(t, l, abandoned[:3])
		want := l.want()
		require.Equal(t, want, readWhole(t, l), "nothing is published yet")
		next, chunks := snapshotAt(l.log[7], "one")
		take(t, l, chunks)
		require.NoError(t, l.Publish(next))
		want.state.Snapshot, want.chunks = next, chunks
		require.Equal(t, want, readWhole(t, l))

		_, err := l.Chunk(l.latest.Index, 0)
		require.ErrorIs(t, err, raft.ErrSnapshotGone)
		_, err = l.Chunk(0, 0)
		require.ErrorIs(t, err, raft.ErrSnapshotGone)
		_, err = l.Chunk(next.Index, 1)
		require.Error(t, err)
		require.NotErrorIs(t, err, raft.ErrSnapshotGone)
		require.Equal(t, want, l.reopened(t, open))
	})
}

func TestChunkOfNoSnapshot(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		s, _ := bootstrapped(t, open, 1)
		_, err := s.Chunk(0, 0)
		require.ErrorIs(t, err, raft.ErrSnapshotGone)
		_, err = s.Chunk(1, 0)
		require.ErrorIs(t, err, raft.ErrSnapshotGone)
	})
}

// Would catch a snapshot of which one process took the beginning and another the end.
func TestTakenIsForgottenByRestart(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		l := live(t, open)
		next, chunks := snapshotAt(l.log[7], "one", "two")
		take(t, l, chunks)
		require.Equal(t, l.want(), l.reopened(t, open))
		require.Error(t, l.Publish(next))
		require.Equal(t, l.want(), l.reopened(t, open))
		take(t, l, chunks)
		require.NoError(t, l.Publish(next))
		require.Equal(t, chunks, readWhole(t, l).chunks)
	})
}

// A verification by Load in the middle of a life must not disturb it.
func TestLoadChangesNothing(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		l := live(t, open)
		next, chunks := snapshotAt(l.log[7], "one", "two")
		take(t, l, chunks[:1])
		load(t, l)
		take(t, l, chunks[1:])
		load(t, l)
		gather(t, l, l.coming, l.comingChunks[2:])
		load(t, l)
		require.NoError(t, l.Publish(next))
		load(t, l)
		require.NoError(t, l.Install(l.coming, nil))
		require.Equal(t, l.comingChunks, readWhole(t, l).chunks)
	})
}

// Would catch a transfer that begins anew after a crash, or goes on in the wrong place.
func TestGatherGoesOnAfterRestart(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		l := live(t, open)
		require.NoError(t, l.Close())
		l.Store = open()
		gather(t, l, l.coming, l.comingChunks[2:])
		want := l.want()
		require.Equal(t, want, readWhole(t, l), "the last chunk is wanted until its install")
		require.Equal(t, want, l.reopened(t, open))
		gather(t, l, l.coming, l.comingChunks[2:])
		require.NoError(t, l.Install(l.coming, &raft.HardState{Term: 3}))
		require.Equal(t, l.comingChunks, readWhole(t, l).chunks)
	})
}

// Would catch chunks of two snapshots in one: number 0 discards what came before.
func TestGatherStartsOver(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		l := live(t, open)
		other, chunks := snapshotAt(raft.Entry{Index: 15, Term: 2, Checksum: 8}, "one")
		gather(t, l, other, chunks)
		want := l.want()
		want.state.Received = raft.Received{Snapshot: other}
		require.Equal(t, want, readWhole(t, l), "its only chunk is wanted until its install")
		require.NoError(t, l.Close())
		l.Store = open()

		longer, longerChunks := snapshotAt(raft.Entry{Index: 16, Term: 2, Checksum: 8}, "p", "q", "r", "s")
		gather(t, l, longer, longerChunks[:3])
		gather(t, l, longer, longerChunks[:1])
		want.state.Received = raft.Received{Snapshot: longer, Next: 1, Checksum: longerChunks[0].Checksum}
		require.Equal(t, want, readWhole(t, l))
		require.Equal(t, want, l.reopened(t, open))
		gather(t, l, longer, longerChunks[1:])
		require.NoError(t, l.Install(longer, nil))
		require.Equal(t, longerChunks, l.reopened(t, open).chunks)
	})
}

// Would catch a log that outlives the snapshot that replaced it, and a snapshot that outlives its successor.
func TestInstall(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		l := live(t, open)
		_, chunks := snapshotAt(l.log[7], "one", "two")
		take(t, l, chunks[:1])
		gather(t, l, l.coming, l.comingChunks[2:])
		require.NoError(t, l.Install(l.coming, &raft.HardState{Term: 4, Vote: "n3"}))
		want := whole{
			state: raft.State{
				HardState: raft.HardState{Term: 4, Vote: "n3"}, Base: l.coming.Base, Last: 20, Snapshot: l.coming,
			},
			chunks: l.comingChunks,
		}
		require.Equal(t, want, readWhole(t, l))
		_, err := l.Entries(20, 21, 1)
		require.Error(t, err)
		require.Equal(t, want, l.reopened(t, open))

		more := entriesAfter(chainOf(l.coming.Base), "z", 4, 4)
		require.NoError(t, l.Save(nil, more))
		want.state.Last, want.entries = 22, more
		require.Equal(t, want, readWhole(t, l))
		own, chunks := snapshotAt(more[0], "own")
		take(t, l, chunks)
		require.NoError(t, l.Publish(own))
		want.state.Snapshot, want.chunks = own, chunks
		require.Equal(t, want, l.reopened(t, open))
	})
}

// What is shorter than the log may be installed too: the log did not agree with it.
func TestInstallShorterThanLog(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		l := live(t, open)
		other, chunks := snapshotAt(raft.Entry{Index: 7, Term: 2, Checksum: 3}, "one")
		gather(t, l, other, chunks)
		require.NoError(t, l.Install(other, nil))
		want := whole{
			state:  raft.State{HardState: raft.HardState{Term: 2, Vote: "n2"}, Base: other.Base, Last: 7, Snapshot: other},
			chunks: chunks,
		}
		require.Equal(t, want, readWhole(t, l))
		require.Equal(t, want, l.reopened(t, open))
		require.NoError(t, l.Save(nil, entriesAfter(chainOf(other.Base), "z", 2)))
		require.Equal(t, uint64(8), l.reopened(t, open).state.Last)
	})
}

// What a snapshot of our own covers need not be received any more; what goes beyond it must not be lost.
func TestPublishEndsWhatItCovers(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		l := live(t, open)
		coming, comingChunks := snapshotAt(l.log[5], "p", "q")
		gather(t, l, coming, comingChunks[:1])
		next, chunks := snapshotAt(l.log[5], "one")
		take(t, l, chunks)
		require.NoError(t, l.Publish(next))
		want := l.want()
		want.state.Snapshot, want.chunks, want.state.Received = next, chunks, raft.Received{}
		require.Equal(t, want, readWhole(t, l))
		require.Equal(t, want, l.reopened(t, open))
		require.Error(t, l.Gather(raft.Gathered{Snapshot: coming, Chunk: comingChunks[1]}))
	})
}

// Would catch entries that come back after they were dropped, and a base that is not the one before the first.
func TestCompact(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		l := live(t, open)
		require.NoError(t, l.Compact(baseAt(l.log[1])), "to where it is already")
		other := baseAt(l.log[1])
		other.Configuration = raft.Configuration{Voters: []raft.NodeID{"n9"}}
		require.NoError(t, l.Compact(other))
		require.Equal(t, l.want(), readWhole(t, l), "nothing was dropped, so nothing changes")

		seen, err := l.Entries(3, 11, 1<<20)
		require.NoError(t, err)
		next, chunks := snapshotAt(l.log[9], "one")
		take(t, l, chunks)
		require.NoError(t, l.Publish(next))
		require.NoError(t, l.Compact(baseAt(l.log[5])))
		want := l.want()
		want.state.Base, want.state.Configurations, want.entries = baseAt(l.log[5]), nil, l.log[6:]
		want.state.Snapshot, want.chunks = next, chunks
		require.Equal(t, want, readWhole(t, l))
		for _, lo := range []uint64{1, 3, 6} {
			_, err := l.Entries(lo, 8, 1<<20)
			require.Error(t, err)
		}
		require.Equal(t, want, l.reopened(t, open))

		require.NoError(t, l.Compact(next.Base))
		want.state.Base, want.entries = next.Base, nil
		require.Equal(t, want, readWhole(t, l))
		more := entriesAfter(chainAt(l.log[9]), "z", 2)
		require.NoError(t, l.Save(nil, more))
		want.state.Last, want.entries = 11, more
		require.Equal(t, want, l.reopened(t, open))
		require.Equal(t, l.log[2:], seen, "what was read before must not change")
	})
}

// Would catch a store that takes what it must not, and one that goes on after an error.
func TestSnapshotsRefuseAndAreFinished(t *testing.T) {
	publish := func(of func(l lived) raft.Snapshot) func(*testing.T, lived) func() error {
		return func(t *testing.T, l lived) func() error {
			_, chunks := snapshotAt(raft.Entry{}, "one", "two")
			take(t, l, chunks)
			return func() error { return l.Publish(of(l)) }
		}
	}
	at := func(index int) func(l lived) raft.Snapshot {
		return func(l lived) raft.Snapshot {
			s, _ := snapshotAt(l.log[index-1], "one", "two")
			return s
		}
	}
	spoiltAt7 := func(spoil func(*raft.Snapshot)) func(l lived) raft.Snapshot {
		return func(l lived) raft.Snapshot {
			s := at(7)(l)
			spoil(&s)
			return s
		}
	}
	gathering := func(spoil func(*raft.Gathered)) func(*testing.T, lived) func() error {
		return func(_ *testing.T, l lived) func() error {
			g := raft.Gathered{Snapshot: l.coming, Chunk: l.comingChunks[2]}
			spoil(&g)
			return func() error { return l.Gather(g) }
		}
	}
	restarted := func(spoil func(*raft.Snapshot)) func(*testing.T, lived) func() error {
		return gathering(func(g *raft.Gathered) {
			_, chunks := snapshotAt(raft.Entry{}, "a")
			g.Chunk = chunks[0]
			spoil(&g.Snapshot)
		})
	}
	install := func(spoil func(*raft.Snapshot), hs *raft.HardState) func(*testing.T, lived) func() error {
		return func(t *testing.T, l lived) func() error {
			coming := l.coming
			coming.Term = 3
			gather(t, l, coming, l.comingChunks)
			spoil(&coming)
			return func() error { return l.Install(coming, hs) }
		}
	}
	term3 := &raft.HardState{Term: 3}
	compact := func(index int, spoil func(*raft.Base)) func(*testing.T, lived) func() error {
		return func(_ *testing.T, l lived) func() error {
			base := baseAt(l.log[index-1])
			spoil(&base)
			return func() error { return l.Compact(base) }
		}
	}
	for name, do := range map[string]func(*testing.T, lived) func() error{
		"take a gap": func(t *testing.T, l lived) func() error {
			_, chunks := snapshotAt(raft.Entry{}, "one", "two", "three")
			take(t, l, chunks[:1])
			return func() error { return l.TakeChunk(chunks[2]) }
		},
		"take twice": func(t *testing.T, l lived) func() error {
			_, chunks := snapshotAt(raft.Entry{}, "one", "two", "three")
			take(t, l, chunks[:2])
			return func() error { return l.TakeChunk(chunks[1]) }
		},
		"take without a beginning": func(_ *testing.T, l lived) func() error {
			_, chunks := snapshotAt(raft.Entry{}, "one", "two")
			return func() error { return l.TakeChunk(chunks[1]) }
		},
		"take with a checksum of another content": func(_ *testing.T, l lived) func() error {
			return func() error { return l.TakeChunk(raft.Chunk{Data: []byte("x"), Checksum: 1}) }
		},
		"publish where the latest is": publish(at(4)),
		"publish below the latest":    publish(at(3)),
		"publish below the base":      publish(at(1)),
		"publish beyond the log":      publish(func(l lived) raft.Snapshot { return l.coming }),
		"publish of another term":     publish(spoiltAt7(func(s *raft.Snapshot) { s.Term = 1 })),
		"publish of another log":      publish(spoiltAt7(func(s *raft.Snapshot) { s.Checksum++ })),
		"publish with a chunk more":   publish(spoiltAt7(func(s *raft.Snapshot) { s.Chunks++ })),
		"publish with a chunk less":   publish(spoiltAt7(func(s *raft.Snapshot) { s.Chunks-- })),
		"publish of another content":  publish(spoiltAt7(func(s *raft.Snapshot) { s.ContentChecksum++ })),
		"publish without content":     publish(spoiltAt7(func(s *raft.Snapshot) { s.Chunks = 0 })),
		"publish of a configuration without order": publish(spoiltAt7(func(s *raft.Snapshot) {
			s.Configuration.Voters = []raft.NodeID{"n2", "n1"}
		})),
		"publish what was not taken":  func(_ *testing.T, l lived) func() error { return func() error { return l.Publish(at(7)(l)) } },
		"gather a gap":                gathering(func(g *raft.Gathered) { g.Chunk.Number = 3 }),
		"gather twice":                gathering(func(g *raft.Gathered) { g.Chunk.Number = 1 }),
		"gather damaged":              gathering(func(g *raft.Gathered) { g.Chunk.Data = []byte("d") }),
		"gather of a later snapshot":  gathering(func(g *raft.Gathered) { g.Snapshot.Index++ }),
		"gather of another content":   gathering(func(g *raft.Gathered) { g.Snapshot.ContentChecksum++ }),
		"gather of a longer snapshot": gathering(func(g *raft.Gathered) { g.Snapshot.Chunks++ }),
		"gather an end of another one": gathering(func(g *raft.Gathered) {
			g.Chunk.Data = []byte("d")
			g.Chunk.Checksum = raft.NextContentChecksum(raft.NextContentChecksum(0, []byte("ab")), g.Chunk.Data)
		}),
		"gather beyond the end": func(t *testing.T, l lived) func() error {
			gather(t, l, l.coming, l.comingChunks[2:])
			beyond := raft.Chunk{Number: 3, Checksum: l.coming.ContentChecksum}
			return func() error { return l.Gather(raft.Gathered{Snapshot: l.coming, Chunk: beyond}) }
		},
		"gather again what was not the last": func(t *testing.T, l lived) func() error {
			gather(t, l, l.coming, l.comingChunks[2:])
			return func() error { return l.Gather(raft.Gathered{Snapshot: l.coming, Chunk: l.comingChunks[1]}) }
		},
		"gather of nothing":              restarted(func(s *raft.Snapshot) { s.Index, s.Term = 0, 0 }),
		"gather without content":         restarted(func(s *raft.Snapshot) { s.Chunks = 0 }),
		"gather what is covered":         restarted(func(s *raft.Snapshot) { s.Index = 4 }),
		"gather one chunk of a longer":   restarted(func(s *raft.Snapshot) { s.Chunks = 1 }),
		"install what is not whole":      func(_ *testing.T, l lived) func() error { return func() error { return l.Install(l.coming, term3) } },
		"install another":                install(func(s *raft.Snapshot) { s.Checksum++ }, term3),
		"install of another term":        install(func(s *raft.Snapshot) { s.Term = 2 }, term3),
		"install of other members":       install(func(s *raft.Snapshot) { s.Configuration.Voters = []raft.NodeID{"n1"} }, term3),
		"install of a term not heard of": install(func(*raft.Snapshot) {}, nil),
		"install with too old a term":    install(func(*raft.Snapshot) {}, &raft.HardState{Term: 2}),
		"install with a vote in no term": install(func(*raft.Snapshot) {}, &raft.HardState{Vote: "n1"}),
		"install nothing": func(_ *testing.T, l lived) func() error {
			return func() error { return l.Install(raft.Snapshot{}, nil) }
		},
		"install what our own has overtaken": func(t *testing.T, l lived) func() error {
			s, chunks := snapshotAt(l.log[6], "p")
			gather(t, l, s, chunks)
			own, chunks := snapshotAt(l.log[7], "q")
			take(t, l, chunks)
			require.NoError(t, l.Publish(own))
			return func() error { return l.Install(s, nil) }
		},
		"compact what no snapshot covers":   compact(5, func(*raft.Base) {}),
		"compact below the base":            compact(1, func(*raft.Base) {}),
		"compact to another log":            compact(4, func(b *raft.Base) { b.Checksum++ }),
		"compact to another term":           compact(4, func(b *raft.Base) { b.Term = 2 }),
		"compact to where it is, otherwise": compact(2, func(b *raft.Base) { b.Checksum++ }),
		"compact to a configuration without order": compact(4, func(b *raft.Base) {
			b.Configuration.Voters = []raft.NodeID{"n1", "n1"}
		}),
		"save over what the snapshot covers": func(_ *testing.T, l lived) func() error {
			return func() error { return l.Save(nil, entriesAfter(chainAt(l.log[2]), "z", 2)) }
		},
		"save over the snapshot's last": func(_ *testing.T, l lived) func() error { return func() error { return l.Save(nil, l.log[3:]) } },
	} {
		t.Run(name, func(t *testing.T) {
			conform(t, func(t *testing.T, open func() Store) {
				l := live(t, open)
				refused := do(t, l)
				before := readWhole(t, l)
				first := refused()
				require.Error(t, first)
				_, chunks := snapshotAt(raft.Entry{}, "one")
				require.Equal(t, first, l.TakeChunk(chunks[0]))
				require.Equal(t, first, l.Publish(at(7)(l)))
				require.Equal(t, first, l.Gather(raft.Gathered{Snapshot: l.coming, Chunk: chunks[0]}))
				require.Equal(t, first, l.Install(l.coming, nil))
				require.Equal(t, first, l.Compact(l.latest.Base))
				require.Equal(t, first, l.Save(nil, nil))
				_, err := l.Snapshot()
				require.Equal(t, first, err)
				_, err = l.Chunk(l.latest.Index, 0)
				require.Equal(t, first, err)

				require.Equal(t, before, l.reopened(t, open))
				take(t, l, chunks)
			})
		})
	}
}

func TestSnapshotsNeedBase(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		snapshot, chunks := snapshotAt(raft.Entry{Index: 1, Term: 1}, "one")
		for _, do := range []func(Store) error{
			func(s Store) error { return s.TakeChunk(chunks[0]) },
			func(s Store) error { return s.Publish(snapshot) },
			func(s Store) error { return s.Gather(raft.Gathered{Snapshot: snapshot, Chunk: chunks[0]}) },
			func(s Store) error { return s.Install(snapshot, nil) },
			func(s Store) error { return s.Compact(raft.Base{}) },
		} {
			s := open()
			require.ErrorIs(t, do(s), ErrNotBootstrapped)
			require.NoError(t, s.Close())
		}
	})
}

package store

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"coup/raftnode/faultfs"
	"coup/raftnode/raft"
)

// disks are what the suite runs on. Each gives a function that opens one and the same disk, as a node
// does whenever it starts.
var disks = map[string]func(t *testing.T) func() Store{
	"memory": func(*testing.T) func() Store {
		m := NewMemory()
		return func() Store { return m }
	},
	"pebble in memory": func(t *testing.T) func() Store {
		return opener(t, "/data", vfs.NewMem())
	},
	"pebble": func(t *testing.T) func() Store {
		return opener(t, t.TempDir(), nil)
	},
	"pebble over faultfs": func(t *testing.T) func() Store {
		return opener(t, t.TempDir(), faultfs.New(vfs.Default))
	},
	// Whatever one process leaves un-synced is lost to the next.
	"pebble over a faultfs that dies": func(t *testing.T) func() Store {
		dir := t.TempDir()
		return func() Store { return opener(t, dir, faultfs.New(vfs.Default))() }
	},
}

func opener(t *testing.T, dir string, fs vfs.FS) func() Store {
	return func() Store {
		s, err := OpenPebble(dir, fs, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return s
	}
}

// conform runs test on every disk.
func conform(t *testing.T, test func(t *testing.T, open func() Store)) {
	for name, disk := range disks {
		t.Run(name, func(t *testing.T) { test(t, disk(t)) })
	}
}

var (
	members = raft.Configuration{Voters: []raft.NodeID{"n1", "n2", "n3"}}
	genesis = raft.Base{Configuration: members}
)

// entriesAfter makes entries of the given terms, each with its checksum, that follow c.
func entriesAfter(c chain, data string, terms ...uint64) []raft.Entry {
	var entries []raft.Entry
	for _, term := range terms {
		e := raft.Entry{Index: c.index + 1, Term: term, Data: []byte(data)}
		e.Checksum = raft.NextChecksum(c.checksum, e)
		c = chainAt(e)
		entries = append(entries, e)
	}
	return entries
}

// bootstrapped opens a disk and puts into it a log of the given terms, and as hard state the last.
func bootstrapped(t *testing.T, open func() Store, terms ...uint64) (Store, []raft.Entry) {
	s := open()
	require.NoError(t, s.Bootstrap(genesis))
	entries := entriesAfter(chainOf(genesis), "x", terms...)
	if len(terms) > 0 {
		require.NoError(t, s.Save(&raft.HardState{Term: terms[len(terms)-1], Vote: "n2"}, entries))
	}
	return s, entries
}

func load(t *testing.T, s Store) raft.State {
	state, err := s.Load()
	require.NoError(t, err)
	return state
}

func all(t *testing.T, s Store) []raft.Entry {
	state := load(t, s)
	entries, err := s.Entries(state.Base.Index+1, state.Last+1, 1<<30)
	require.NoError(t, err)
	return entries
}

// Would catch a new disk that is taken for an old one, and a second beginning of a log.
func TestEmptyAndBootstrap(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		s := open()
		require.Equal(t, raft.State{}, load(t, s))
		require.Error(t, s.Bootstrap(raft.Base{Index: 7, Term: 3, Configuration: members}), "no snapshot covers entry 7")
		base := raft.Base{Checksum: 9, Configuration: members}
		require.NoError(t, s.Bootstrap(base))
		require.ErrorIs(t, s.Bootstrap(base), ErrNotEmpty)
		require.NoError(t, s.Close())

		s = open()
		require.Equal(t, raft.State{Base: base}, load(t, s))
		require.ErrorIs(t, s.Bootstrap(genesis), ErrNotEmpty)
		require.Empty(t, all(t, s))
		require.NoError(t, s.Save(&raft.HardState{Term: 3}, entriesAfter(chainOf(base), "x", 3)))
		require.Equal(t, uint64(1), load(t, s).Last)
	})
}

// A node that joins knows of no member until it is told.
func TestBootstrapOfJoiner(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		s := open()
		require.NoError(t, s.Bootstrap(raft.Base{}))
		require.ErrorIs(t, s.Bootstrap(raft.Base{}), ErrNotEmpty)
		require.NoError(t, s.Close())
		s = open()
		require.Equal(t, raft.State{}, load(t, s))
		require.ErrorIs(t, s.Bootstrap(raft.Base{}), ErrNotEmpty)
		require.NoError(t, s.Save(&raft.HardState{Term: 3}, entriesAfter(chain{}, "x", 3)))
	})
}

func TestSaveNeedsBase(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		require.ErrorIs(t, open().Save(&raft.HardState{Term: 1}, nil), ErrNotBootstrapped)
	})
}

// Would catch a part of what was saved that a restart does not find.
func TestSavedSurvivesRestart(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		s, entries := bootstrapped(t, open, 1, 1)
		c := chainAt(entries[1])
		change := raft.Entry{Index: 3, Term: 2, Type: raft.EntryConfiguration, Data: []byte("{}")}
		change.Checksum = raft.NextChecksum(c.checksum, change)
		noop := raft.Entry{Index: 4, Term: 2, Type: raft.EntryNoOp}
		noop.Checksum = raft.NextChecksum(change.Checksum, noop)
		entries = append(entries, change, noop)
		require.NoError(t, s.Save(&raft.HardState{Term: 2}, entries[2:]))
		require.NoError(t, s.Save(&raft.HardState{Term: 5, Vote: "n3"}, nil))
		require.NoError(t, s.Save(nil, nil))
		require.NoError(t, s.Close())

		s = open()
		require.Equal(t, raft.State{
			HardState:      raft.HardState{Term: 5, Vote: "n3"},
			Base:           genesis,
			Last:           4,
			Configurations: []raft.Entry{change},
		}, load(t, s))
		require.Equal(t, entries, all(t, s))
	})
}

// Would catch a tail of the old suffix that comes back, at once or after a restart.
func TestSuffixIsReplaced(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		s, old := bootstrapped(t, open, 1, 1, 1, 1, 1)
		seen, err := s.Entries(1, 6, 1<<20)
		require.NoError(t, err)
		fresh := entriesAfter(chainAt(old[1]), "y", 2)
		require.NoError(t, s.Save(&raft.HardState{Term: 2}, fresh))
		want := append(slices.Clone(old[:2]), fresh...)
		require.Equal(t, want, all(t, s))
		require.Equal(t, old, seen, "what was read before must not change")
		_, err = s.Entries(1, 5, 1<<20)
		require.Error(t, err, "beyond the end")
		require.NoError(t, s.Close())

		s = open()
		require.Equal(t, want, all(t, s))
		more := entriesAfter(chainAt(fresh[0]), "z", 2, 2, 2)
		require.NoError(t, s.Save(nil, more))
		require.Equal(t, append(want, more...), all(t, s))
	})
}

func TestEntriesBounds(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		s, log := bootstrapped(t, open, slices.Repeat([]uint64{1}, 10)...)
		entries := entriesAfter(chainAt(log[9]), "0123456789", 1, 1, 1, 1)
		require.NoError(t, s.Save(nil, entries))
		snapshot, chunks := snapshotAt(log[9], "state")
		take(t, s, chunks)
		require.NoError(t, s.Publish(snapshot))
		require.NoError(t, s.Compact(snapshot.Base))
		for name, tt := range map[string]struct {
			lo, hi   uint64
			maxBytes int
			want     int // entries; -1 for an error
		}{
			"all":                         {11, 15, 1 << 20, 4},
			"middle":                      {12, 14, 1 << 20, 2},
			"none at the end":             {15, 15, 1 << 20, 0},
			"exactly three":               {11, 15, 30, 3},
			"a byte less than three":      {11, 15, 29, 2},
			"one although none fits":      {11, 15, 1, 1},
			"one although nothing is fit": {13, 15, 0, 1},
			"the base":                    {10, 12, 1 << 20, -1},
			"below the base":              {0, 12, 1 << 20, -1},
			"beyond the end":              {11, 16, 1 << 20, -1},
			"after the end":               {16, 16, 1 << 20, -1},
			"backwards":                   {13, 12, 1 << 20, -1},
		} {
			found, err := s.Entries(tt.lo, tt.hi, tt.maxBytes)
			if tt.want < 0 {
				require.Error(t, err, name)
				continue
			}
			require.NoError(t, err, name)
			require.Len(t, found, tt.want, name)
			for i, e := range found {
				require.Equal(t, entries[tt.lo-11+uint64(i)], e, name)
			}
		}
	})
}

// Would catch a store that writes what it could not load, and one that goes on after an error.
func TestSaveRefusesAndIsFinished(t *testing.T) {
	seal := func(c chain, e raft.Entry) []raft.Entry {
		e.Checksum = raft.NextChecksum(c.checksum, e)
		return []raft.Entry{e}
	}
	for name, spoilt := range map[string]func(end chain) (*raft.HardState, []raft.Entry){
		"gap": func(end chain) (*raft.HardState, []raft.Entry) {
			return nil, seal(end, raft.Entry{Index: 4, Term: 2})
		},
		"at the base": func(end chain) (*raft.HardState, []raft.Entry) {
			return nil, seal(chain{}, raft.Entry{Index: 0, Term: 2})
		},
		"gap within": func(end chain) (*raft.HardState, []raft.Entry) {
			entries := entriesAfter(end, "x", 2, 2, 2)
			return nil, slices.Delete(entries, 1, 2)
		},
		"terms fall": func(end chain) (*raft.HardState, []raft.Entry) {
			return nil, entriesAfter(end, "x", 1)
		},
		"term beyond the hard state's": func(end chain) (*raft.HardState, []raft.Entry) {
			return nil, entriesAfter(end, "x", 3)
		},
		"hard state behind the log": func(chain) (*raft.HardState, []raft.Entry) {
			return &raft.HardState{Term: 1}, nil
		},
		"vote in no term": func(chain) (*raft.HardState, []raft.Entry) {
			return &raft.HardState{Vote: "n1"}, nil
		},
		"checksum": func(end chain) (*raft.HardState, []raft.Entry) {
			entries := entriesAfter(end, "x", 2)
			entries[0].Data = []byte("y")
			return nil, entries
		},
		"no-op with data": func(end chain) (*raft.HardState, []raft.Entry) {
			return nil, seal(end, raft.Entry{Index: 3, Term: 2, Type: raft.EntryNoOp, Data: []byte("x")})
		},
		"unknown type": func(end chain) (*raft.HardState, []raft.Entry) {
			return nil, seal(end, raft.Entry{Index: 3, Term: 2, Type: 77})
		},
	} {
		t.Run(name, func(t *testing.T) {
			conform(t, func(t *testing.T, open func() Store) {
				s, entries := bootstrapped(t, open, 2, 2)
				hs, more := spoilt(chainAt(entries[1]))
				first := s.Save(hs, more)
				require.Error(t, first)

				good := entriesAfter(chainAt(entries[1]), "x", 2)
				require.Equal(t, first, s.Save(nil, good))
				_, err := s.Load()
				require.Equal(t, first, err)
				_, err = s.Entries(1, 2, 1)
				require.Equal(t, first, err)

				require.NoError(t, s.Close())
				s = open()
				require.Equal(t, entries, all(t, s))
				require.Equal(t, raft.HardState{Term: 2, Vote: "n2"}, load(t, s).HardState)
				require.NoError(t, s.Save(nil, good))
			})
		})
	}
}

// A random life of a store, with restarts, beside the plainest model: a slice.
func TestAgainstModel(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		random := rand.New(rand.NewPCG(1, 2))
		s, model := bootstrapped(t, open)
		var hs raft.HardState
		for range 150 {
			newHS, entries := drawSave(random, hs, model, 0)
			if newHS != nil {
				hs = *newHS
			}
			require.NoError(t, s.Save(newHS, entries))
			model = extended(model, entries)
			if random.IntN(10) == 0 {
				require.NoError(t, s.Close())
				s = open()
			}
			if random.IntN(3) == 0 {
				require.Equal(t, hs, load(t, s).HardState)
				got := all(t, s)
				require.Len(t, got, len(model))
				for i := range got {
					require.Equal(t, model[i], got[i])
				}
			}
		}
	})
}

func extended(log, entries []raft.Entry) []raft.Entry {
	if len(entries) == 0 {
		return log
	}
	return append(slices.Clone(log[:entries[0].Index-1]), entries...)
}

// drawSave draws what a node might save after hs and log: sometimes a new term, sometimes entries that
// replace a suffix, but none up to covered.
func drawSave(random *rand.Rand, hs raft.HardState, log []raft.Entry, covered uint64) (*raft.HardState, []raft.Entry) {
	term := hs.Term
	if term == 0 || random.IntN(4) == 0 {
		term++
	}
	end := chainOf(genesis)
	keep := len(log)
	if open := keep - int(covered); open > 0 && random.IntN(5) == 0 {
		keep -= random.IntN(min(open, 8)) + 1
	}
	if keep > 0 {
		end = chainAt(log[keep-1])
	}
	terms := make([]uint64, random.IntN(4))
	if keep < len(log) {
		terms = append(terms, term)
	}
	for i := range terms {
		terms[i] = term
	}
	data := make([]byte, random.IntN(100))
	if random.IntN(10) == 0 {
		data = make([]byte, 20_000)
	}
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	var next *raft.HardState
	if term != hs.Term {
		next = &raft.HardState{Term: term, Vote: members.Voters[random.IntN(3)]}
	}
	entries := entriesAfter(end, string(data), terms...)
	for i := range entries {
		if len(entries[i].Data) == 0 {
			entries[i].Data = nil
		}
	}
	return next, entries
}

// The bytes on disk are found wrong only by the log's own checks once Pebble's are satisfied; Memory
// checks the same chain.
func TestMemoryLoadVerifies(t *testing.T) {
	m := NewMemory()
	require.NoError(t, m.Bootstrap(genesis))
	require.NoError(t, m.Save(&raft.HardState{Term: 1}, entriesAfter(chainOf(genesis), "x", 1, 1)))
	m.entries[0].Data = []byte("y")
	var corruption *CorruptionError
	_, err := m.Load()
	require.ErrorAs(t, err, &corruption)
}

// Catches damage that no start finds, and damage that reaches the clones of a disk.
func TestDamageIsFoundAtTheNextStart(t *testing.T) {
	hit := map[string]bool{}
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		m := NewMemory()
		require.Empty(t, m.Damage(random.IntN), "there is nothing to damage")
		require.NoError(t, m.Bootstrap(raft.Base{}))
		require.NoError(t, m.Save(&raft.HardState{Term: 1}, entriesAfter(chain{}, "data", 1, 1, 1)))
		whole := m.Clone()
		hit[m.Damage(random.IntN)] = true
		_, err := m.Load()
		var corruption *CorruptionError
		require.ErrorAs(t, err, &corruption)
		_, err = whole.Load()
		require.NoError(t, err)
	}
	require.Len(t, hit, 3)
}

package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"coup/raftnode/raft"
)

// crasher takes the disk's image as a power failure would leave it, just before one of the file
// operations that follow arming.
type crasher struct {
	disk           *vfs.MemFS
	config         vfs.CrashCloneCfg
	acked, started atomic.Int64 // deeds; acked is of the last one that is durable once it returns

	mu        sync.Mutex
	countdown int // file operations to let pass; negative when not armed
	image     *vfs.MemFS
	low, high int64 // which deeds the image may end with
}

func (c *crasher) before(errorfs.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.countdown == 0 {
		c.crash()
	}
	c.countdown--
	return nil
}

func (c *crasher) crash() {
	c.low = c.acked.Load()
	c.image = c.disk.CrashClone(c.config)
	c.high = c.started.Load()
}

// Would catch an acknowledged deed that a power failure takes back, and one of which only a part
// survives: entries without their hard state, half of a replaced suffix, a snapshot that is named
// before its chunks are there, or after those of another are gone.
func TestCrash(t *testing.T) {
	seeds := 300
	if testing.Short() {
		seeds = 30
	}
	ran, inFlight := 0, 0
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(seed), 0))
			c := &crasher{disk: vfs.NewCrashableMem(), countdown: -1}
			c.config = vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[random.IntN(3)], RNG: random}
			s, err := OpenPebble("/data", errorfs.Wrap(c.disk, errorfs.InjectorFunc(c.before)), nil)
			require.NoError(t, err)
			require.NoError(t, s.Bootstrap(genesis))
			now := NewMemory()
			require.NoError(t, now.Bootstrap(genesis))

			draws := rand.New(rand.NewPCG(uint64(seed), 1))
			l := &life{random: draws, size: []int{100, 50_000}[draws.IntN(2)]}
			deeds := 60
			crashAt := draws.IntN(deeds)
			history := []*Memory{now.Clone()}
			for i := range deeds {
				if i == crashAt {
					c.mu.Lock()
					c.countdown = draws.IntN(6)
					c.mu.Unlock()
				}
				d := l.next()
				require.NoError(t, d.do(now))
				history = append(history, now.Clone())
				c.started.Store(int64(i) + 1)
				require.NoError(t, d.do(s))
				if d.durable {
					c.acked.Store(int64(i) + 1)
				}
				if draws.IntN(15) == 0 {
					_, err := s.db.AsyncFlush()
					require.NoError(t, err)
				}
			}
			c.mu.Lock()
			c.countdown = -1
			if c.image == nil {
				c.crash()
			}
			c.mu.Unlock()
			require.NoError(t, s.Close())
			ran++
			if c.low < c.high {
				inFlight++
			}

			s, err = OpenPebble("/data", c.image, nil)
			require.NoError(t, err)
			requireOneOf(t, s, history[c.low:c.high+1]...)
			require.NoError(t, s.Close())
		})
	}
	if ran > 10 { // not a chosen seed or two
		require.Greater(t, inFlight, ran/3, "too few crashes hit a deed in flight")
	}
}

func requireOneOf(t *testing.T, s Store, allowed ...*Memory) {
	found := readWhole(t, s)
	for _, want := range allowed {
		if reflect.DeepEqual(readWhole(t, want), found) {
			return
		}
	}
	require.Equal(t, readWhole(t, allowed[len(allowed)-1]), found, "the store holds none of %d states it may; the last is", len(allowed))
}

// witness remembers what a crash may leave: what is durable, and all that came after.
type witness struct {
	*Memory
	seen []*Memory
}

func (w *witness) saw(durable bool, err error) error {
	if durable {
		w.seen = nil
	}
	w.seen = append(w.seen, w.Clone())
	return err
}

func (w *witness) Save(hs *raft.HardState, entries []raft.Entry) error {
	return w.saw(true, w.Memory.Save(hs, entries))
}
func (w *witness) Gather(g raft.Gathered) error  { return w.saw(false, w.Memory.Gather(g)) }
func (w *witness) Publish(s raft.Snapshot) error { return w.saw(true, w.Memory.Publish(s)) }
func (w *witness) Compact(base raft.Base) error  { return w.saw(true, w.Memory.Compact(base)) }
func (w *witness) Install(s raft.Snapshot, hs *raft.HardState) error {
	return w.saw(true, w.Memory.Install(s, hs))
}

// Would catch a snapshot, or a log, that is neither the one from before nor the one from after: each deed is
// cut short before each of its file operations, and what was not synced is lost, kept, or either.
func TestCrashBeforeEveryFileOperation(t *testing.T) {
	own := func(l lived) (raft.Snapshot, []raft.Chunk) {
		return snapshotAt(l.log[7], "one", strings.Repeat("two", 30_000))
	}
	for name, tt := range map[string]struct {
		before func(t *testing.T, l lived)
		do     func(l lived) error
	}{
		"publish": {
			func(t *testing.T, l lived) { _, chunks := own(l); take(t, l, chunks) },
			func(l lived) error { s, _ := own(l); return l.Publish(s) },
		},
		"publish over what it covers": {
			func(t *testing.T, l lived) {
				s, chunks := own(l)
				take(t, l, chunks)
				gather(t, l, s, chunks[:1])
			},
			func(l lived) error { s, _ := own(l); return l.Publish(s) },
		},
		"install": {
			func(t *testing.T, l lived) {
				_, chunks := own(l)
				take(t, l, chunks)
				gather(t, l, l.coming, l.comingChunks[2:])
			},
			func(l lived) error { return l.Install(l.coming, &raft.HardState{Term: 3, Vote: "n1"}) },
		},
		"compact": {
			func(*testing.T, lived) {},
			func(l lived) error { return l.Compact(l.latest.Base) },
		},
		"gather": {
			func(*testing.T, lived) {},
			func(l lived) error { return l.Gather(raft.Gathered{Snapshot: l.coming, Chunk: l.comingChunks[2]}) },
		},
		"gather another": {
			func(*testing.T, lived) {},
			func(l lived) error {
				s, chunks := own(l)
				return l.Gather(raft.Gathered{Snapshot: s, Chunk: chunks[0]})
			},
		},
		"save after gather": {
			func(t *testing.T, l lived) { gather(t, l, l.coming, l.comingChunks[2:]) },
			func(l lived) error { return l.Save(&raft.HardState{Term: 9}, nil) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			for operation, done := 0, false; !done; operation++ {
				for _, percent := range []int{0, 50, 100} {
					c := &crasher{disk: vfs.NewCrashableMem(), countdown: -1}
					c.config = vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(operation), 0))}
					open := opener(t, "/data", errorfs.Wrap(c.disk, errorfs.InjectorFunc(c.before)))
					w := &witness{Memory: NewMemory()}
					reference := live(t, func() Store { return w })
					l := live(t, open)
					tt.before(t, l)
					tt.before(t, reference)
					allowed := w.seen
					require.NoError(t, tt.do(reference))
					allowed = append(slices.Clip(allowed), w.seen...)

					c.mu.Lock()
					c.countdown = operation
					c.mu.Unlock()
					require.NoError(t, tt.do(l))
					c.mu.Lock()
					c.countdown = -1
					done = c.image == nil
					if done {
						c.crash()
						allowed = w.seen
					}
					c.mu.Unlock()

					l.Store = opener(t, "/data", c.image)()
					requireOneOf(t, l, allowed...)
					// And life goes on.
					s, chunks := snapshotAt(raft.Entry{Index: 30, Term: 2}, "next")
					gather(t, l, s, chunks)
					require.NoError(t, l.Install(s, nil))
					require.Equal(t, chunks, readWhole(t, l).chunks)
				}
				require.Less(t, operation, 100)
			}
		})
	}
}

// Would catch a store that goes on after its disk refused a write or a sync.
func TestFailingDiskFinishesStore(t *testing.T) {
	for name, kinds := range map[string][]errorfs.OpKind{
		"write": {errorfs.OpFileWrite},
		"sync":  {errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo},
	} {
		t.Run(name, func(t *testing.T) {
			broken := errors.New("input/output error")
			disk := vfs.NewCrashableMem()
			var on atomic.Bool
			failing := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if on.Load() && strings.HasSuffix(op.Path, ".log") && slices.Contains(kinds, op.Kind) {
					return broken
				}
				return nil
			}))
			s, err := OpenPebble("/data", failing, nil)
			require.NoError(t, err)
			require.NoError(t, s.Bootstrap(genesis))
			saved := entriesAfter(chainOf(genesis), "x", 1, 1)
			require.NoError(t, s.Save(&raft.HardState{Term: 1}, saved))

			on.Store(true)
			lost := entriesAfter(chainAt(saved[1]), "x", 2)
			first := s.Save(&raft.HardState{Term: 2}, lost)
			require.ErrorIs(t, first, broken)
			on.Store(false)

			require.Equal(t, first, s.Save(&raft.HardState{Term: 2}, lost), "a retry would lie")
			_, err = s.Load()
			require.Equal(t, first, err)
			_, err = s.Entries(1, 2, 1)
			require.Equal(t, first, err)
			require.Equal(t, first, s.Bootstrap(genesis))

			image := disk.CrashClone(vfs.CrashCloneCfg{})
			_ = s.Close() // it may say once more that the disk is broken
			again, err := OpenPebble("/data", image, nil)
			require.NoError(t, err)
			before := NewMemory()
			require.NoError(t, before.Bootstrap(genesis))
			require.NoError(t, before.Save(&raft.HardState{Term: 1}, saved))
			after := before.Clone()
			require.NoError(t, after.Save(&raft.HardState{Term: 2}, lost))
			requireOneOf(t, again, before, after)
			require.NoError(t, again.Close())
		})
	}
}

// Would catch a snapshot that is said to be durable on a disk that refused it.
func TestFailingDiskFinishesSnapshots(t *testing.T) {
	for name, do := range map[string]func(l lived, own raft.Snapshot) error{
		"publish": func(l lived, own raft.Snapshot) error { return l.Publish(own) },
		"install": func(l lived, _ raft.Snapshot) error { return l.Install(l.coming, nil) },
		"compact": func(l lived, _ raft.Snapshot) error { return l.Compact(l.latest.Base) },
	} {
		t.Run(name, func(t *testing.T) {
			broken := errors.New("input/output error")
			disk := vfs.NewCrashableMem()
			var on atomic.Bool
			s, err := OpenPebble("/data", errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if on.Load() && strings.HasSuffix(op.Path, ".log") && op.Kind != errorfs.OpFileWrite {
					return broken
				}
				return nil
			})), nil)
			require.NoError(t, err)
			w := &witness{Memory: NewMemory()}
			reference := live(t, func() Store { return w })
			l := live(t, func() Store { return s })
			own, chunks := snapshotAt(l.log[7], "one")
			for _, each := range []lived{l, reference} {
				take(t, each, chunks)
				gather(t, each, l.coming, l.comingChunks[2:])
			}
			allowed := w.seen
			require.NoError(t, do(reference, own))

			on.Store(true)
			first := do(l, own)
			require.ErrorIs(t, first, broken)
			on.Store(false)
			require.Equal(t, first, do(l, own), "a retry would lie")
			_, err = l.Load()
			require.Equal(t, first, err)

			image := disk.CrashClone(vfs.CrashCloneCfg{})
			_ = l.Close() // it may say once more that the disk is broken
			requireOneOf(t, opener(t, "/data", image)(), append(slices.Clip(allowed), w.seen...)...)
		})
	}
}

// Would catch a flush that fails for ever behind a store that seems well.
func TestBackgroundErrorFinishesStore(t *testing.T) {
	broken := errors.New("no space left on device")
	failing := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") {
			return broken
		}
		return nil
	}))
	s, err := OpenPebble("/data", failing, nil)
	require.NoError(t, err)
	require.NoError(t, s.Bootstrap(genesis), "durable in Pebble's own log; its flush fails")
	require.Eventually(t, func() bool { return s.background.Load() != nil }, 10*time.Second, time.Millisecond)
	require.ErrorIs(t, s.Save(&raft.HardState{Term: 1}, nil), broken)
	_, err = s.Load()
	require.ErrorIs(t, err, broken)
	require.NoError(t, s.Close())
}

func BenchmarkSave(b *testing.B) {
	s, err := OpenPebble(b.TempDir(), nil, nil)
	require.NoError(b, err)
	require.NoError(b, s.Bootstrap(genesis))
	require.NoError(b, s.Save(&raft.HardState{Term: 1}, nil))
	data := string(make([]byte, 256))
	end := chainOf(genesis)
	for b.Loop() {
		entries := entriesAfter(end, data, 1, 1, 1, 1, 1, 1, 1, 1)
		end = chainAt(entries[7])
		require.NoError(b, s.Save(nil, entries))
	}
	require.NoError(b, s.Close())
}

func BenchmarkEntries(b *testing.B) {
	s, err := OpenPebble("/data", vfs.NewMem(), nil)
	require.NoError(b, err)
	require.NoError(b, s.Bootstrap(genesis))
	entries := entriesAfter(chainOf(genesis), string(make([]byte, 256)), slices.Repeat([]uint64{1}, 1000)...)
	require.NoError(b, s.Save(&raft.HardState{Term: 1}, entries))
	for b.Loop() {
		found, err := s.Entries(400, 500, 1<<20)
		require.NoError(b, err)
		require.Len(b, found, 100)
	}
	require.NoError(b, s.Close())
}

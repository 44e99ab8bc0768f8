package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
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

// snapshot is what a store must hold after a number of saves.
type snapshot struct {
	hs  raft.HardState
	log []raft.Entry
}

// crasher takes the disk's image as a power failure would leave it, just before one of the file
// operations that follow arming.
type crasher struct {
	disk           *vfs.MemFS
	config         vfs.CrashCloneCfg
	acked, started atomic.Int64 // saves

	mu        sync.Mutex
	countdown int // file operations to let pass; negative when not armed
	image     *vfs.MemFS
	low, high int64 // which saves the image may end with
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

// Would catch an acknowledged save that a power failure takes back, and a save of which only a part
// survives: entries without their hard state, or half of a replaced suffix.
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

			draws := rand.New(rand.NewPCG(uint64(seed), 1))
			saves := 40
			crashAt := draws.IntN(saves)
			history := []snapshot{{}}
			for i := range saves {
				if i == crashAt {
					c.mu.Lock()
					c.countdown = draws.IntN(6)
					c.mu.Unlock()
				}
				now := history[i]
				hs, entries := drawSave(draws, now.hs, now.log, 0)
				if hs != nil {
					now.hs = *hs
				}
				now.log = extended(now.log, entries)
				history = append(history, now)
				c.started.Store(int64(i) + 1)
				require.NoError(t, s.Save(hs, entries))
				c.acked.Store(int64(i) + 1)
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
			requireOneOf(t, s, history[c.low:c.high+1])
			require.NoError(t, s.Close())
		})
	}
	if ran > 10 { // not a chosen seed or two
		require.Greater(t, inFlight, ran/3, "too few crashes hit a save in flight")
	}
}

func requireOneOf(t *testing.T, s Store, allowed []snapshot) {
	hs, log := load(t, s).HardState, all(t, s)
	for _, want := range allowed {
		if hs == want.hs && slices.EqualFunc(log, want.log, func(a, b raft.Entry) bool {
			return a.Checksum == b.Checksum && a.Index == b.Index
		}) {
			return
		}
	}
	require.Failf(t, "the store holds none of the states it may", "hard state %v, last %d; may be %v with last %d up to %v with last %d",
		hs, len(log), allowed[0].hs, len(allowed[0].log), allowed[len(allowed)-1].hs, len(allowed[len(allowed)-1].log))
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
			requireOneOf(t, again, []snapshot{
				{raft.HardState{Term: 1}, saved},
				{raft.HardState{Term: 2}, append(saved, lost...)},
			})
			require.NoError(t, again.Close())
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

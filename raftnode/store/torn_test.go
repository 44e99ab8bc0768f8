package store

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"coup/raftnode/faultfs"
	"coup/raftnode/raft"
)

// Would catch an acknowledged deed that a torn write takes with it, a part of a deed that survives, and a torn write that
// is taken for damage: then a node would not start after a power failure. Sectors are torn, not only the end.
func TestTornWrite(t *testing.T) {
	seeds := uint64(100)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			base := vfs.NewCrashableMem()
			var once sync.Once
			var image *vfs.MemFS
			died := make(chan struct{})
			fs, disk := faultfs.NewBreakable(base, func(string) {
				once.Do(func() {
					image = base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(seed, 3))})
					close(died)
				})
				select {} // as in a process that is no more
			})
			s, err := OpenPebble("/data", fs, nil)
			require.NoError(t, err)
			require.NoError(t, s.Bootstrap(genesis))
			now := NewMemory()
			require.NoError(t, now.Bootstrap(genesis))

			draws := rand.New(rand.NewPCG(seed, 2))
			l := &life{random: draws, size: []int{100, 5000, 50_000}[draws.IntN(3)]}
			tearAt, acked := draws.IntN(40), 0
			history := []*Memory{now.Clone()}
			for i, dead := 0, false; !dead; i++ {
				require.Less(t, i, 100, "nothing was torn")
				if i == tearAt {
					disk.Break(faultfs.Faults{Tear: &seed})
				}
				flush, d := draws.IntN(15) == 0, l.next()
				require.NoError(t, d.do(now))
				history = append(history, now.Clone())
				done := make(chan error, 1)
				go func() {
					if flush {
						if _, err := s.db.AsyncFlush(); err != nil {
							done <- err
							return
						}
					}
					done <- d.do(s)
				}()
				select {
				case err := <-done:
					require.NoError(t, err)
				case <-died:
				}
				select {
				case <-died: // the deed may have been in time all the same
					dead = true
				default:
					if d.durable {
						acked = i + 1
					}
				}
			}
			s, err = OpenPebble("/data", image, nil)
			require.NoError(t, err)
			requireOneOf(t, s, history[acked:]...)
			require.NoError(t, s.Close())
		})
	}
}

// Would catch a store that reads on where its disk cannot be read, or gives out less than there is.
func TestUnreadableDisk(t *testing.T) {
	fs, disk := faultfs.NewBreakable(vfs.NewMem(), func(string) {})
	s, err := OpenPebble("/data", fs, nil)
	require.NoError(t, err)
	require.NoError(t, s.Bootstrap(genesis))
	saved := entriesAfter(chainOf(genesis), "x", 1, 1, 1)
	require.NoError(t, s.Save(&raft.HardState{Term: 1}, saved))
	last := saved[2].Index
	require.NoError(t, s.db.Flush())
	require.NoError(t, s.Close())
	s, err = OpenPebble("/data", fs, nil)
	require.NoError(t, err)
	disk.Break(faultfs.Faults{ReadFails: true})
	_, err = s.Load()
	require.ErrorIs(t, err, syscall.EIO)
	_, err = s.Entries(1, last+1, 0)
	require.ErrorIs(t, err, syscall.EIO)
	disk.Break(faultfs.Faults{})
	_ = s.Close()
	s, err = OpenPebble("/data", fs, nil)
	require.NoError(t, err)
	state, err := s.Load()
	require.NoError(t, err)
	require.Equal(t, last, state.Last)
	require.NoError(t, s.Close())
}

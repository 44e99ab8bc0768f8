package faultfs_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"coup/raftnode/faultfs"
)

func breakable(t *testing.T) (base *vfs.MemFS, fs *faultfs.FS, disk *faultfs.Disk) {
	base = vfs.NewMem()
	fs, disk = faultfs.NewBreakable(base, func(torn string) { t.Fatal("nothing was to be torn: ", torn) })
	return base, fs, disk
}

// Would catch a failed fsync of which a later one makes up, as no kernel does, and one after which the process does not
// see what it wrote.
func TestWhatAFailedSyncLosesNoOtherSaves(t *testing.T) {
	base, fs, disk := breakable(t)
	f, err := fs.Create("a", category)
	require.NoError(t, err)
	write(t, f, "one.")
	require.NoError(t, f.Sync())
	write(t, f, "two.")
	disk.Break(faultfs.Faults{SyncFails: true})
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	disk.Break(faultfs.Faults{})
	require.NoError(t, f.Sync(), "the kernel takes the pages for clean")
	require.Equal(t, "one.", contents(t, base, "a"))
	require.Equal(t, "one.two.", contents(t, fs, "a"))
	write(t, f, "three.")
	require.NoError(t, f.Sync())
	require.Equal(t, "one.\x00\x00\x00\x00three.", contents(t, base, "a"))
	require.Equal(t, "one.two.three.", contents(t, fs, "a"))
	_, err = f.WriteAt([]byte("2"), 4)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.Equal(t, "one.2\x00\x00\x00three.", contents(t, base, "a"), "what is written again is durable again")
	require.Equal(t, "one.2wo.three.", contents(t, fs, "a"))
	require.NoError(t, f.Close())
	require.Equal(t, "one.2wo.three.", contents(t, fs, "a"))
	_, counts := disk.Report()
	require.Equal(t, faultfs.Counts{Syncs: 4, SyncsFailed: 1}, counts)
}

// Would catch a directory whose fsync never fails.
func TestSyncOfADirectoryFails(t *testing.T) {
	_, fs, disk := breakable(t)
	require.NoError(t, fs.MkdirAll("d", 0o755))
	d, err := fs.OpenDir("d")
	require.NoError(t, err)
	require.NoError(t, d.Sync())
	disk.Break(faultfs.Faults{SyncFails: true})
	require.ErrorIs(t, d.Sync(), syscall.EIO)
	require.NoError(t, d.Close())
}

// Would catch a full disk that takes more than it has room for, or refuses what it had room for, and one that stays full.
func TestFullDisk(t *testing.T) {
	base, fs, disk := breakable(t)
	f, err := fs.Create("a", category)
	require.NoError(t, err)
	room := int64(5)
	disk.Break(faultfs.Faults{Room: &room})
	write(t, f, "123")
	n, err := f.Write([]byte("4567"))
	require.Equal(t, 2, n)
	require.ErrorIs(t, err, syscall.ENOSPC)
	_, err = fs.Create("b", category)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorIs(t, fs.Link("a", "c"), syscall.ENOSPC)
	require.ErrorIs(t, fs.MkdirAll("d", 0o755), syscall.ENOSPC)
	faults, counts := disk.Report()
	require.Zero(t, *faults.Room)
	require.EqualValues(t, 5, room, "the caller's own")
	require.EqualValues(t, 2, counts.BytesRefused)
	require.NoError(t, f.Sync(), "what was taken can be synced")
	require.Equal(t, "12345", contents(t, base, "a"))
	disk.Break(faultfs.Faults{})
	write(t, f, "67")
	require.Equal(t, "1234567", contents(t, fs, "a"))
}

// Would catch writes and reads that go through.
func TestWritesAndReadsFail(t *testing.T) {
	_, fs, disk := breakable(t)
	f, err := fs.Create("a", category)
	require.NoError(t, err)
	write(t, f, "12")
	disk.Break(faultfs.Faults{WriteFails: true, ReadFails: true})
	_, err = f.Write([]byte("3"))
	require.ErrorIs(t, err, syscall.EIO)
	_, err = fs.Create("b", category)
	require.ErrorIs(t, err, syscall.EIO)
	_, err = f.ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, syscall.EIO)
	_, counts := disk.Report()
	require.Equal(t, faultfs.Counts{WritesFailed: 2, ReadsFailed: 1}, counts)
	disk.Break(faultfs.Faults{})
	require.Equal(t, "12", contents(t, fs, "a"))
}

// Would catch an fsync that does not wait, one that goes on waiting when its disk is whole again, and one that keeps
// others from the file meanwhile.
func TestSlowSync(t *testing.T) {
	base, fs, disk := breakable(t)
	f, err := fs.Create("a", category)
	require.NoError(t, err)
	write(t, f, "1")
	disk.Break(faultfs.Faults{SyncTakes: time.Hour})
	done := make(chan error)
	go func() { done <- f.Sync() }()
	require.Eventually(t, func() bool {
		_, counts := disk.Report()
		return counts.SyncsWaiting == 1
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, "1", contents(t, fs, "a"))
	require.Empty(t, contents(t, base, "a"))
	disk.Break(faultfs.Faults{})
	require.NoError(t, <-done)
	require.Equal(t, "1", contents(t, base, "a"))
	_, counts := disk.Report()
	require.Equal(t, faultfs.Counts{Syncs: 1, SyncsDelayed: 1}, counts)
}

// Would catch a torn write that is none: all or nothing every time, or bytes that nobody wrote, or what was durable gone.
func TestTornWrite(t *testing.T) {
	parts, beginnings := 0, 0
	for seed := range uint64(100) {
		base := vfs.NewMem()
		said := ""
		fs, disk := faultfs.NewBreakable(base, func(torn string) { said = torn })
		f, err := fs.Create("a", category)
		require.NoError(t, err)
		write(t, f, strings.Repeat("o", 700))
		require.NoError(t, f.Sync())
		random := rand.New(rand.NewPCG(seed, 1))
		size := 1 + random.IntN(5000)
		write(t, f, strings.Repeat("n", size))
		disk.Break(faultfs.Faults{Tear: &seed})
		require.Error(t, f.Sync())
		require.Contains(t, said, "torn write")

		left := contents(t, base, "a")
		require.LessOrEqual(t, len(left), 700+size)
		require.Equal(t, strings.Repeat("o", 700), left[:700])
		kept := strings.Count(left[700:], "n")
		require.Equal(t, len(left)-700, kept+strings.Count(left[700:], "\x00"))
		if kept > 0 && kept < size {
			parts++
			if !bytes.Contains([]byte(left), []byte{0}) {
				beginnings++
			}
		}
	}
	require.Greater(t, parts, 50)
	require.Greater(t, beginnings, 20)
	require.Greater(t, parts-beginnings, 20)
}

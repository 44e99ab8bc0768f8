package store

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"coup/raftnode/raft"
	"coup/raftnode/wire"
)

// Would catch a damaged log that a node starts from. Each case spoils a good store behind its back.
func TestLoadFindsCorruption(t *testing.T) {
	set := func(key string, value []byte) func(*testing.T, *pebble.DB) {
		return func(t *testing.T, db *pebble.DB) { require.NoError(t, db.Set([]byte(key), value, pebble.Sync)) }
	}
	drop := func(key string) func(*testing.T, *pebble.DB) {
		return func(t *testing.T, db *pebble.DB) { require.NoError(t, db.Delete([]byte(key), pebble.Sync)) }
	}
	entry := func(e raft.Entry) []byte {
		b, err := wire.MarshalEntry(e)
		require.NoError(t, err)
		return b
	}
	hardState := func(hs raft.HardState) []byte {
		b, err := wire.MarshalHardState(hs)
		require.NoError(t, err)
		return b
	}
	log := entriesAfter(chainOf(genesis), "x", 1, 1, 2)
	second := string(keyOf(2))
	changed := log[1]
	changed.Data = []byte("y")
	ahead := log[1]
	ahead.Term = 3
	ahead.Checksum = raft.NextChecksum(log[0].Checksum, ahead)
	for name, tt := range map[string]struct {
		spoil func(*testing.T, *pebble.DB)
		what  string
	}{
		"untouched":           {func(*testing.T, *pebble.DB) {}, ""},
		"entry changed":       {set(second, entry(changed)), "fails its checksum"},
		"entry missing":       {drop(second), "comes after"},
		"entry not an entry":  {set(second, []byte("junk")), "malformed"},
		"entry empty":         {set(second, nil), "malformed"},
		"entry elsewhere":     {set(second, entry(log[2])), "stands where"},
		"terms fall":          {set(second, entry(ahead)), "the one before it"},
		"hard state missing":  {drop(keyHardState), "the hard state only 0"},
		"hard state too old":  {set(keyHardState, hardState(raft.HardState{Term: 1})), "the hard state only 1"},
		"hard state not one":  {set(keyHardState, []byte{1}), "malformed"},
		"base missing":        {drop(keyBase), "nothing that it starts from"},
		"base not a base":     {set(keyBase, []byte("junk")), "malformed"},
		"format missing":      {drop(keyFormat), "do not stand together"},
		"unknown key":         {set("zzz", nil), "unknown key"},
		"unknown key of log":  {set(prefixEntry+"1", nil), "unknown key"},
		"base of another log": {set(keyBase, base(t, raft.Base{Index: 1, Term: 1, Configuration: members})), "comes after"},
	} {
		t.Run(name, func(t *testing.T) {
			open := opener(t, "/data", vfs.NewMem())
			s, _ := bootstrapped(t, open)
			require.NoError(t, s.Save(&raft.HardState{Term: 2}, log))
			tt.spoil(t, s.(*Pebble).db)
			require.NoError(t, s.Close())

			s = open()
			_, err := s.Load()
			if tt.what == "" {
				require.NoError(t, err)
				return
			}
			var corruption *CorruptionError
			require.ErrorAs(t, err, &corruption)
			require.Contains(t, corruption.What, tt.what)
			require.Contains(t, corruption.Where, "/data")
			require.NotEmpty(t, corruption.Remedy)
			require.ErrorAs(t, s.Save(&raft.HardState{Term: 9}, nil), &corruption, "nothing may be saved into it")
		})
	}
}

func base(t *testing.T, b raft.Base) []byte {
	encoded, err := wire.MarshalBase(b)
	require.NoError(t, err)
	return encoded
}

func TestAnotherFormatIsRefused(t *testing.T) {
	open := opener(t, "/data", vfs.NewMem())
	s, _ := bootstrapped(t, open, 1)
	require.NoError(t, s.(*Pebble).db.Set([]byte(keyFormat), []byte("3"), pebble.Sync))
	_, err := s.Load()
	require.ErrorContains(t, err, `format "3"`)
	var corruption *CorruptionError
	require.NotErrorAs(t, err, &corruption)
}

// Would catch a file that changed on disk and is opened as if it had not. Pebble's own checks find it.
func TestDamagedFiles(t *testing.T) {
	for _, suffix := range []string{".sst", ".log"} {
		t.Run(suffix, func(t *testing.T) {
			disk := vfs.NewCrashableMem()
			open := opener(t, "/data", disk)
			s, entries := bootstrapped(t, open, 1, 1, 1)
			if suffix == ".sst" {
				require.NoError(t, s.(*Pebble).db.Flush())
			}
			// Pebble cannot tell a damaged end of its log from a write that was cut short; this save, in the
			// log's next block, makes the damage lie before what was synced later.
			require.NoError(t, s.Save(nil, entriesAfter(chainAt(entries[2]), strings.Repeat("x", 70_000), 1)))
			image := disk.CrashClone(vfs.CrashCloneCfg{})
			require.NotZero(t, flip(t, image, "/data", suffix, 20))

			s, err := OpenPebble("/data", image, nil)
			if err == nil {
				_, err = s.Load()
				require.NoError(t, s.Close())
			}
			var corruption *CorruptionError
			require.ErrorAs(t, err, &corruption)
			require.True(t, pebble.IsCorruptionError(corruption.Err))
		})
	}
}

// flip changes a bit in every file of that suffix that is long enough, and counts them.
func flip(t *testing.T, fs vfs.FS, dir, suffix string, offset int64) (files int) {
	names, err := fs.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		info, err := fs.Stat(fs.PathJoin(dir, name))
		require.NoError(t, err)
		if !strings.HasSuffix(name, suffix) || info.Size() <= offset {
			continue
		}
		f, err := fs.OpenReadWrite(fs.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		var b [1]byte
		_, err = f.ReadAt(b[:], offset)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte{b[0] ^ 0x40}, offset)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		files++
	}
	return files
}

func TestClosedStoreRefuses(t *testing.T) {
	s, entries := bootstrapped(t, opener(t, "/data", vfs.NewMem()), 1)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "closing twice")
	_, err := s.Load()
	require.ErrorIs(t, err, ErrClosed)
	_, err = s.Entries(1, 2, 1)
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, s.Save(nil, entries), ErrClosed)
	require.ErrorIs(t, s.Bootstrap(genesis), ErrClosed)
}

// Would catch two processes on one directory.
func TestDirectoryIsLocked(t *testing.T) {
	dir := t.TempDir()
	opener(t, dir, nil)()
	_, err := OpenPebble(dir, nil, nil)
	require.Error(t, err)
}

// Would catch chatter above debug level, and a fatal error that ends the process in silence.
func TestPebbleLogs(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, nil))
	s, err := OpenPebble("/data", vfs.NewMem(), logger)
	require.NoError(t, err)
	require.NoError(t, s.Bootstrap(genesis))
	require.NoError(t, s.db.Flush())
	require.NoError(t, s.Close())
	require.Empty(t, out.String())

	require.PanicsWithValue(t, "store: pebble cannot go on: broken 7", func() {
		pebbleLogger{logger}.Fatalf("broken %d", 7)
	})
	require.Contains(t, out.String(), "level=ERROR")
	require.Contains(t, out.String(), "broken 7")
}

package store

import (
	"bytes"
	"encoding/binary"
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

// chunksOnDisk are the keys of all chunks, by generation.
func chunksOnDisk(t *testing.T, s Store) map[uint64]int {
	iter, err := s.(*Pebble).db.NewIter(&pebble.IterOptions{LowerBound: []byte(prefixChunk)})
	require.NoError(t, err)
	found := map[uint64]int{}
	for valid := iter.First(); valid; valid = iter.Next() {
		found[binary.BigEndian.Uint64(iter.Key()[len(prefixChunk):])]++
	}
	require.NoError(t, iter.Close())
	return found
}

// Would catch a damaged snapshot that a node starts from, or sends to another.
func TestLoadFindsCorruptSnapshot(t *testing.T) {
	type spoiler = func(t *testing.T, l lived, db *pebble.DB) (key []byte, value []byte)
	chunk := func(generation, number uint64, c raft.Chunk) spoiler {
		return func(t *testing.T, _ lived, _ *pebble.DB) ([]byte, []byte) {
			value, err := wire.MarshalChunk(c)
			require.NoError(t, err)
			return keyOfChunk(generation, number), value
		}
	}
	junk := func(key string) spoiler {
		return func(*testing.T, lived, *pebble.DB) ([]byte, []byte) { return []byte(key), []byte("junk") }
	}
	drop := func(key []byte) spoiler {
		return func(t *testing.T, _ lived, db *pebble.DB) ([]byte, []byte) {
			require.NoError(t, db.Delete(key, pebble.Sync))
			return nil, nil
		}
	}
	snapshot := func(key string, generation uint64, of func(l lived) raft.Snapshot) spoiler {
		return func(t *testing.T, l lived, _ *pebble.DB) ([]byte, []byte) {
			value, err := wire.MarshalSnapshot(of(l))
			require.NoError(t, err)
			return []byte(key), append(binary.BigEndian.AppendUint64(nil, generation), value...)
		}
	}
	latest := func(spoil func(l lived, s *raft.Snapshot)) spoiler {
		return snapshot(keyLatest, 1, func(l lived) raft.Snapshot {
			s := l.latest
			spoil(l, &s)
			return s
		})
	}
	_, latestChunks := snapshotAt(raft.Entry{}, "first", "second", "third")
	changed := latestChunks[1]
	changed.Data = []byte("Second")
	for name, tt := range map[string]struct {
		spoil spoiler
		where string
		what  string
	}{
		"chunk changed":            {chunk(1, 1, changed), "the snapshot of", "fails its checksum"},
		"chunk of another content": {chunk(1, 1, latestChunks[0]), "the snapshot of", "stands where"},
		"chunk not a chunk":        {junk(string(keyOfChunk(1, 0))), "the snapshot of", "malformed"},
		"first chunk missing":      {drop(keyOfChunk(1, 0)), "the snapshot of", "comes where"},
		"last chunk missing":       {drop(keyOfChunk(1, 1)), "the snapshot of", "1 chunks"},
		"chunk too many":           {chunk(1, 2, latestChunks[2]), "the snapshot of", "3 chunks"},
		"unknown key of a chunk":   {junk(prefixChunk + "1"), "the snapshot of", "unknown key"},
		"snapshot missing":         {drop([]byte(keyLatest)), "the snapshot of", "covers entries up to 0"},
		"snapshot not one":         {junk(keyLatest), "the snapshot of", "name no snapshot"},
		"snapshot malformed": {
			func(*testing.T, lived, *pebble.DB) ([]byte, []byte) { return []byte(keyLatest), []byte("12345678junk") },
			"the snapshot of", "malformed",
		},
		"snapshot's chunks elsewhere": {
			snapshot(keyLatest, 9, func(l lived) raft.Snapshot { return l.latest }), "the snapshot of", "0 chunks",
		},
		"snapshot of another log": {
			latest(func(_ lived, s *raft.Snapshot) { s.Checksum++ }), "the snapshot of", "another log",
		},
		"snapshot of another log, at the base": {
			latest(func(l lived, s *raft.Snapshot) { s.Base = baseAt(l.log[1]); s.Checksum++ }), "the snapshot of", "another log",
		},
		"snapshot beyond the log": {
			latest(func(_ lived, s *raft.Snapshot) { s.Index = 11 }), "the snapshot of", "ends at 10",
		},
		"snapshot before the base": {
			latest(func(l lived, s *raft.Snapshot) { s.Base = baseAt(l.log[0]) }), "the snapshot of", "starts from 2",
		},
		"snapshot of a later term": {
			latest(func(_ lived, s *raft.Snapshot) { s.Index, s.Term = 11, 3 }), "the log", "the hard state only 2",
		},
		"received not a snapshot": {junk(keyReceiving), "being received of", "name no snapshot"},
		"received is the latest": {
			snapshot(keyReceiving, 1, func(l lived) raft.Snapshot { return l.coming }), "being received of", "the latest one",
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := live(t, opener(t, "/data", vfs.NewMem()))
			db := l.Store.(*Pebble).db
			require.Equal(t, map[uint64]int{1: 2, 2: 2}, chunksOnDisk(t, l.Store))
			if key, value := tt.spoil(t, l, db); key != nil {
				require.NoError(t, db.Set(key, value, pebble.Sync))
			}
			_, err := l.Load()
			var corruption *CorruptionError
			require.ErrorAs(t, err, &corruption)
			require.Contains(t, corruption.Where, tt.where)
			require.Contains(t, corruption.Where, "/data")
			require.Contains(t, corruption.What, tt.what)
			require.NotEmpty(t, corruption.Remedy)
		})
	}
}

// Would catch a transfer that goes on behind a hole, or on content that differs: only the beginning that is
// good is kept, and the rest is sent again.
func TestLoadCutsWhatIsReceived(t *testing.T) {
	_, chunks := snapshotAt(raft.Entry{}, "a", "b", "C")
	last, err := wire.MarshalChunk(chunks[2])
	require.NoError(t, err)
	changed := chunks[1]
	changed.Data = []byte("B")
	wrong, err := wire.MarshalChunk(changed)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		spoil func(db *pebble.DB) error
		next  uint64
	}{
		"nothing":         {func(*pebble.DB) error { return nil }, 2},
		"second missing":  {func(db *pebble.DB) error { return db.Delete(keyOfChunk(2, 1), pebble.Sync) }, 1},
		"first missing":   {func(db *pebble.DB) error { return db.Delete(keyOfChunk(2, 0), pebble.Sync) }, 0},
		"second changed":  {func(db *pebble.DB) error { return db.Set(keyOfChunk(2, 1), wrong, pebble.Sync) }, 1},
		"second no chunk": {func(db *pebble.DB) error { return db.Set(keyOfChunk(2, 1), []byte("junk"), pebble.Sync) }, 1},
		"another end":     {func(db *pebble.DB) error { return db.Set(keyOfChunk(2, 2), last, pebble.Sync) }, 2},
		"all missing":     {func(db *pebble.DB) error { d := chunksSpan(2, 0); return db.DeleteRange(d.from, d.to, pebble.Sync) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			open := opener(t, "/data", vfs.NewMem())
			l := live(t, open)
			require.NoError(t, tt.spoil(l.Store.(*Pebble).db))
			want := l.want()
			want.state.Received = raft.Received{}
			if tt.next > 0 {
				want.state.Received = raft.Received{Snapshot: l.coming, Next: tt.next, Checksum: l.comingChunks[tt.next-1].Checksum}
			}
			require.Equal(t, want, l.reopened(t, open))
			kept := map[uint64]int{1: 2, 2: int(tt.next)}
			if tt.next == 0 {
				delete(kept, 2)
			}
			require.Equal(t, kept, chunksOnDisk(t, l.Store))
			gather(t, l, l.coming, l.comingChunks[tt.next:])
			require.NoError(t, l.Install(l.coming, nil))
			require.Equal(t, l.comingChunks, l.reopened(t, open).chunks)
		})
	}
}

// Would catch chunks that stay on disk for ever once nobody can read them.
func TestUselessChunksAreDropped(t *testing.T) {
	open := opener(t, "/data", vfs.NewMem())
	l := live(t, open)
	own, chunks := snapshotAt(l.log[7], "i", "ii", "iii")
	take(t, l, chunks[:2])
	take(t, l, chunks[:1])
	require.Equal(t, map[uint64]int{1: 2, 2: 2, 4: 1}, chunksOnDisk(t, l.Store), "taken anew")
	l.reopened(t, open)
	require.Equal(t, map[uint64]int{1: 2, 2: 2}, chunksOnDisk(t, l.Store), "taken by a process that ended")
	take(t, l, chunks)
	require.NoError(t, l.Publish(own))
	require.Equal(t, map[uint64]int{2: 2, 5: 3}, chunksOnDisk(t, l.Store), "replaced")
	take(t, l, chunks[:1])
	gather(t, l, l.coming, l.comingChunks[2:])
	require.NoError(t, l.Install(l.coming, nil))
	require.Equal(t, map[uint64]int{2: 3}, chunksOnDisk(t, l.Store), "all but what was installed")
	longer, chunks := snapshotAt(raft.Entry{Index: 30, Term: 2}, "p", "q")
	gather(t, l, longer, chunks)
	gather(t, l, longer, chunks[:1])
	require.Equal(t, map[uint64]int{2: 3, 8: 1}, chunksOnDisk(t, l.Store), "received anew")
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
	_, err = s.Snapshot()
	require.ErrorIs(t, err, ErrClosed)
	_, err = s.Chunk(1, 0)
	require.ErrorIs(t, err, ErrClosed)
	snapshot, chunks := snapshotAt(entries[0], "one")
	require.ErrorIs(t, s.TakeChunk(chunks[0]), ErrClosed)
	require.ErrorIs(t, s.Publish(snapshot), ErrClosed)
	require.ErrorIs(t, s.Gather(raft.Gathered{Snapshot: snapshot, Chunk: chunks[0]}), ErrClosed)
	require.ErrorIs(t, s.Install(snapshot, nil), ErrClosed)
	require.ErrorIs(t, s.Compact(genesis), ErrClosed)
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

package store

import (
	"encoding/binary"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"coup/raftnode/raft"
)

// record is a key and a value, as the fuzzer is given them: a byte with the kind of the key, two numbers of a byte each, two
// bytes with the value's length, and the value.
func record(kind, a, b byte, value []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{kind, a, b}, uint16(len(value))), value...)
}

// keyOfRecord is the key of a record; of a kind that there is not, the value is key and value at once.
func keyOfRecord(kind, a, b byte, value []byte) []byte {
	switch kind % 8 {
	case 0:
		return []byte(keyBase)
	case 1:
		return []byte(keyFormat)
	case 2:
		return []byte(keyHardState)
	case 3:
		return []byte(keyLatest)
	case 4:
		return []byte(keyReceiving)
	case 5:
		return keyOf(uint64(a))
	case 6:
		return keyOfChunk(uint64(a), uint64(b))
	}
	return value
}

// recordsOf are all records of a store, as the fuzzer is given them.
func recordsOf(f *testing.F, s *Pebble) (all []byte) {
	iter, err := s.db.NewIter(nil)
	require.NoError(f, err)
	for valid := iter.First(); valid; valid = iter.Next() {
		key := iter.Key()
		for kind := range byte(7) {
			a, b := key[len(key)-1], byte(0)
			if kind == 6 && len(key) > 16 {
				a, b = key[len(key)-9], key[len(key)-1]
			}
			if string(keyOfRecord(kind, a, b, nil)) == string(key) {
				all = append(all, record(kind, a, b, iter.Value())...)
			}
		}
	}
	require.NoError(f, iter.Close())
	return all
}

// Would catch records that crash a node which starts on them, or with which it starts and cannot live: whatever a disk
// has come to hold, the node refuses it or has a log.
func FuzzRecords(f *testing.F) {
	open := func(t testing.TB, fs vfs.FS) *Pebble {
		s, err := OpenPebble("/data", fs, nil)
		require.NoError(t, err)
		return s
	}
	s := open(f, vfs.NewMem())
	require.NoError(f, s.Bootstrap(genesis))
	f.Add(recordsOf(f, s))
	log := entriesAfter(chainOf(genesis), "x", 1, 1, 2, 2, 2)
	require.NoError(f, s.Save(&raft.HardState{Term: 2, Vote: "n2"}, log))
	f.Add(recordsOf(f, s))
	latest, chunks := snapshotAt(log[3], "first", "second")
	for _, c := range chunks {
		require.NoError(f, s.TakeChunk(c))
	}
	require.NoError(f, s.Publish(latest))
	require.NoError(f, s.Compact(baseAt(log[1])))
	coming, chunks := snapshotAt(raft.Entry{Index: 20, Term: 2, Checksum: 77}, "a", "b", "c")
	for _, c := range chunks[:2] {
		require.NoError(f, s.Gather(raft.Gathered{Snapshot: coming, Chunk: c}))
	}
	f.Add(recordsOf(f, s))
	require.NoError(f, s.Close())

	f.Fuzz(func(t *testing.T, data []byte) {
		disk := vfs.NewMem()
		s := open(t, disk)
		require.NoError(t, s.commit(func(b *pebble.Batch) error {
			for len(data) >= 5 {
				size := min(int(binary.BigEndian.Uint16(data[3:])), len(data)-5)
				value := data[5 : 5+size]
				if err := b.Set(keyOfRecord(data[0], data[1], data[2], value), value, nil); err != nil {
					return err
				}
				data = data[5+size:]
			}
			return nil
		}))
		state, err := s.Load()
		if err != nil {
			require.NoError(t, s.Close())
			return
		}
		entries, err := s.Entries(state.Base.Index+1, state.Last+1, 1<<30)
		require.NoError(t, err)
		require.EqualValues(t, state.Last-state.Base.Index, len(entries))
		for number := range state.Snapshot.Chunks {
			_, err := s.Chunk(state.Snapshot.Index, number)
			require.NoError(t, err)
		}
		require.NoError(t, s.Close())
		s = open(t, disk)
		again, err := s.Load()
		require.NoError(t, err)
		require.Equal(t, state, again)
		require.NoError(t, s.Close())
	})
}

// Would catch a damaged or shortened file of the database that crashes the node, or is taken for good: then a log would
// come back that was never saved.
func FuzzDamagedFile(f *testing.F) {
	// As it was after each deed: what damage may leave is one of these, for the end of the newest log is told from a
	// write that was cut short by nothing.
	var allowed []*Memory
	disk := vfs.NewCrashableMem()
	s, err := OpenPebble("/data", disk, nil)
	require.NoError(f, err)
	now := NewMemory()
	both := func(deed func(Store) error) {
		require.NoError(f, deed(s))
		require.NoError(f, deed(now))
		allowed = append(allowed, now.Clone())
	}
	allowed = append(allowed, now.Clone())
	both(func(s Store) error { return s.Bootstrap(genesis) })
	log := entriesAfter(chainOf(genesis), "some text that is looked for in files", 1, 1, 2, 2, 2)
	both(func(s Store) error { return s.Save(&raft.HardState{Term: 2, Vote: "n2"}, log[:3]) })
	require.NoError(f, s.db.Flush())
	both(func(s Store) error { return s.Save(nil, log[3:]) })
	latest, chunks := snapshotAt(log[3], "first", "second")
	for _, c := range chunks {
		both(func(s Store) error { return s.TakeChunk(c) })
	}
	both(func(s Store) error { return s.Publish(latest) })
	both(func(s Store) error { return s.Compact(baseAt(log[1])) })
	require.NoError(f, s.Close())
	names, err := disk.List("/data")
	require.NoError(f, err)

	f.Add(uint8(0), uint16(10), uint8(1), uint16(0))
	for i := range names {
		f.Add(uint8(i), uint16(40), uint8(0x80), uint16(0))
		f.Add(uint8(i), uint16(0), uint8(0), uint16(20))
	}
	f.Fuzz(func(t *testing.T, file uint8, at uint16, flip uint8, cut uint16) {
		image := disk.CrashClone(vfs.CrashCloneCfg{})
		name := "/data/" + names[int(file)%len(names)]
		damage(t, image, name, int(at), flip, int(cut))
		s, err := OpenPebble("/data", image, nil)
		if err != nil {
			return
		}
		if _, err := s.Load(); err == nil {
			requireOneOf(t, s, allowed...)
		}
		_ = s.Close()
	})
}

// damage flips bits of a byte of a file, and cuts some bytes off its end.
func damage(t *testing.T, fs vfs.FS, name string, at int, flip uint8, cut int) {
	info, err := fs.Stat(name)
	require.NoError(t, err)
	if info.IsDir() {
		return
	}
	content := make([]byte, info.Size())
	in, err := fs.Open(name)
	require.NoError(t, err)
	if len(content) > 0 {
		_, err = in.ReadAt(content, 0)
		require.NoError(t, err)
		content[at%len(content)] ^= flip
	}
	require.NoError(t, in.Close())
	content = content[:max(0, len(content)-cut)]
	out, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = out.Write(content)
	require.NoError(t, err)
	require.NoError(t, out.Sync())
	require.NoError(t, out.Close())
}

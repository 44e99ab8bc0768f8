package faultfs_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"coup/raftnode/faultfs"
)

const category = vfs.WriteCategoryUnspecified

func write(t require.TestingT, f vfs.File, data string) {
	n, err := f.Write([]byte(data))
	require.NoError(t, err)
	require.Equal(t, len(data), n)
}

func contents(t require.TestingT, fs vfs.FS, name string) string {
	f, err := fs.Open(name)
	require.NoError(t, err)
	data, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	info, err := fs.Stat(name)
	require.NoError(t, err)
	require.EqualValues(t, len(data), info.Size())
	return string(data)
}

// bases are what the tests wrap. The names of files are made by the function.
func bases(t *testing.T, test func(t *testing.T, base vfs.FS, dir string)) {
	t.Run("memory", func(t *testing.T) {
		base := vfs.NewMem()
		require.NoError(t, base.MkdirAll("/d", 0o755))
		test(t, base, "/d")
	})
	t.Run("disk", func(t *testing.T) { test(t, vfs.Default, t.TempDir()) })
}

// Would catch a write that reaches the base without a sync, and one that its writer cannot read.
func TestUnsyncedIsVisibleHereOnly(t *testing.T) {
	bases(t, func(t *testing.T, base vfs.FS, dir string) {
		fs, name := faultfs.New(base), dir+"/a"
		f, err := fs.Create(name, category)
		require.NoError(t, err)
		reader, err := fs.Open(name)
		require.NoError(t, err)
		write(t, f, "one")
		require.NoError(t, f.Sync())
		write(t, f, "two")
		_, err = f.SyncTo(6)
		require.NoError(t, err)

		require.Equal(t, "one", contents(t, base, name))
		require.Equal(t, "onetwo", contents(t, fs, name))
		through, err := io.ReadAll(reader)
		require.NoError(t, err)
		require.Equal(t, "onetwo", string(through), "an older handle")
		info, err := reader.Stat()
		require.NoError(t, err)
		require.EqualValues(t, 6, info.Size())
		_, err = reader.Write([]byte("x"))
		require.Error(t, err, "a handle for reading")
		require.NoError(t, reader.Close())

		require.NoError(t, f.Close())
		require.Equal(t, "one", contents(t, base, name), "closing is no sync")
		require.Equal(t, "onetwo", contents(t, fs, name), "closing loses nothing")

		f, err = fs.OpenReadWrite(name, category)
		require.NoError(t, err)
		require.NoError(t, f.SyncData())
		require.NoError(t, f.Close())
		require.Equal(t, "onetwo", contents(t, base, name), "a sync through another handle")
		require.Equal(t, "onetwo", contents(t, faultfs.New(base), name))
	})
}

// Would catch un-synced content that is left behind, or that turns up in another file.
func TestContentFollowsFile(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(t *testing.T, fs vfs.FS, dir string)
		here   map[string]string // content by name; others must be gone
		base   map[string]string
	}{
		"rename": {
			func(t *testing.T, fs vfs.FS, dir string) { require.NoError(t, fs.Rename(dir+"/a", dir+"/c")) },
			map[string]string{"c": "a+", "b": "b+"}, map[string]string{"c": "a", "b": "b"},
		},
		"rename over another": {
			func(t *testing.T, fs vfs.FS, dir string) { require.NoError(t, fs.Rename(dir+"/a", dir+"/b")) },
			map[string]string{"b": "a+"}, map[string]string{"b": "a"},
		},
		"remove": {
			func(t *testing.T, fs vfs.FS, dir string) { require.NoError(t, fs.Remove(dir+"/a")) },
			map[string]string{"b": "b+"}, map[string]string{"b": "b"},
		},
		"create again": {
			func(t *testing.T, fs vfs.FS, dir string) {
				f, err := fs.Create(dir+"/a", category)
				require.NoError(t, err)
				require.NoError(t, f.Close())
			},
			map[string]string{"a": "", "b": "b+"}, map[string]string{"a": "", "b": "b"},
		},
		"link, and write through the second name": {
			func(t *testing.T, fs vfs.FS, dir string) {
				require.NoError(t, fs.Link(dir+"/a", dir+"/c"))
				f, err := fs.OpenReadWrite(dir+"/c", category)
				require.NoError(t, err)
				_, err = f.WriteAt([]byte("A"), 0)
				require.NoError(t, err)
				require.NoError(t, f.Close())
			},
			map[string]string{"a": "A+", "c": "A+", "b": "b+"}, map[string]string{"a": "a", "c": "a", "b": "b"},
		},
		"link, and remove the first name": {
			func(t *testing.T, fs vfs.FS, dir string) {
				require.NoError(t, fs.Link(dir+"/a", dir+"/c"))
				require.NoError(t, fs.Remove(dir+"/a"))
			},
			map[string]string{"c": "a+", "b": "b+"}, map[string]string{"c": "a", "b": "b"},
		},
		"reuse": {
			func(t *testing.T, fs vfs.FS, dir string) {
				f, err := fs.ReuseForWrite(dir+"/a", dir+"/c", category)
				require.NoError(t, err)
				write(t, f, "r")
				require.NoError(t, f.Close())
			},
			map[string]string{"c": "r+", "b": "b+"}, map[string]string{"c": "a", "b": "b"},
		},
		"reuse and sync": {
			func(t *testing.T, fs vfs.FS, dir string) {
				f, err := fs.ReuseForWrite(dir+"/a", dir+"/c", category)
				require.NoError(t, err)
				write(t, f, "r")
				require.NoError(t, f.Sync())
				require.NoError(t, f.Close())
			},
			map[string]string{"c": "r+", "b": "b+"}, map[string]string{"c": "r+", "b": "b"},
		},
		"remove all, and create again": {
			func(t *testing.T, fs vfs.FS, dir string) {
				require.NoError(t, fs.RemoveAll(dir))
				require.NoError(t, fs.MkdirAll(dir, 0o755))
				f, err := fs.Create(dir+"/b", category)
				require.NoError(t, err)
				require.NoError(t, f.Close())
			},
			map[string]string{"b": ""}, map[string]string{"b": ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bases(t, func(t *testing.T, base vfs.FS, parent string) {
				fs, dir := faultfs.New(base), parent+"/sub"
				require.NoError(t, fs.MkdirAll(dir, 0o755))
				for _, name := range []string{"a", "b"} {
					f, err := fs.Create(dir+"/"+name, category)
					require.NoError(t, err)
					write(t, f, name)
					require.NoError(t, f.Sync())
					write(t, f, "+")
					require.NoError(t, f.Close())
				}
				tt.change(t, fs, dir)
				requireFiles(t, fs, dir, tt.here)
				requireFiles(t, base, dir, tt.base)

				// The directory's own name may change as well.
				require.NoError(t, fs.Rename(dir, parent+"/moved"))
				requireFiles(t, fs, parent+"/moved", tt.here)
				requireFiles(t, base, parent+"/moved", tt.base)
			})
		})
	}
}

func requireFiles(t *testing.T, fs vfs.FS, dir string, want map[string]string) {
	names, err := fs.List(dir)
	require.NoError(t, err)
	got := make(map[string]string)
	for _, name := range names {
		got[name] = contents(t, fs, fs.PathJoin(dir, name))
	}
	require.Equal(t, want, got)
}

// A removed file lives on for whoever holds it, and its writes go nowhere else.
func TestRemovedWhileOpen(t *testing.T) {
	bases(t, func(t *testing.T, base vfs.FS, dir string) {
		fs := faultfs.New(base)
		old, err := fs.Create(dir+"/a", category)
		require.NoError(t, err)
		write(t, old, "old")
		require.NoError(t, fs.Remove(dir+"/a"))
		fresh, err := fs.Create(dir+"/a", category)
		require.NoError(t, err)
		write(t, fresh, "new")
		write(t, old, "er")
		require.NoError(t, old.Sync())
		require.NoError(t, old.Close())
		require.Equal(t, "new", contents(t, fs, dir+"/a"))
		require.Equal(t, "", contents(t, base, dir+"/a"))
		require.NoError(t, fresh.Close())
		require.Error(t, fresh.Close(), "closing twice")
	})
}

func TestMissingFiles(t *testing.T) {
	bases(t, func(t *testing.T, base vfs.FS, dir string) {
		fs := faultfs.New(base)
		_, err := fs.Open(dir + "/none")
		require.Error(t, err)
		_, err = fs.Stat(dir + "/none")
		require.Error(t, err)
		require.Error(t, fs.Rename(dir+"/none", dir+"/a"))
		require.Error(t, fs.Link(dir+"/none", dir+"/a"))
		require.Error(t, fs.Remove(dir+"/none"))
	})
}

// A random life of one file, beside two plain byte slices: what is cached, and what is durable.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := vfs.NewMem()
		fs := faultfs.New(base)
		f, err := fs.Create("a", category)
		require.NoError(t, err)
		var cached, durable []byte
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"write", "write", "write", "sync", "reopen", "read"}).Draw(t, "step") {
			case "write":
				offset := rapid.IntRange(0, 60).Draw(t, "offset")
				if rapid.Bool().Draw(t, "at the end") {
					offset = len(cached)
				}
				p := bytes.Repeat([]byte{byte(rapid.IntRange(1, 255).Draw(t, "byte"))}, rapid.IntRange(0, 20).Draw(t, "length"))
				_, err := f.WriteAt(p, int64(offset))
				require.NoError(t, err)
				if grow := offset + len(p) - len(cached); grow > 0 && len(p) > 0 {
					cached = append(cached, make([]byte, grow)...)
				}
				copy(cached[min(offset, len(cached)):], p)
				clear(p)
			case "sync":
				require.NoError(t, f.Sync())
				durable = bytes.Clone(cached)
			case "reopen":
				require.NoError(t, f.Close())
				f, err = fs.OpenReadWrite("a", category)
				require.NoError(t, err)
			case "read":
				offset := rapid.IntRange(0, 80).Draw(t, "offset")
				p := bytes.Repeat([]byte{7}, rapid.IntRange(1, 30).Draw(t, "length"))
				n, err := f.ReadAt(p, int64(offset))
				require.Equal(t, string(cached[min(offset, len(cached)):min(offset+len(p), len(cached))]), string(p[:n]))
				if n < len(p) {
					require.ErrorIs(t, err, io.EOF)
				} else {
					require.NoError(t, err)
				}
			}
			require.Equal(t, string(cached), contents(t, fs, "a"))
			require.Equal(t, string(durable), contents(t, base, "a"))
		}
		require.NoError(t, f.Close())
	})
}

// Would catch a data race between a writer, a syncer and readers; for the race detector.
func TestConcurrentUse(t *testing.T) {
	fs := faultfs.New(vfs.NewMem())
	f, err := fs.Create("a", category)
	require.NoError(t, err)
	done := make(chan error)
	go func() {
		random := rand.New(rand.NewPCG(1, 1))
		var err error
		for i := 0; i < 500 && err == nil; i++ {
			if _, err = f.Write([]byte{1, 1, 1}); err == nil && random.IntN(5) == 0 {
				err = f.Sync()
			}
		}
		done <- err
	}()
	for {
		select {
		case err := <-done:
			require.NoError(t, err)
			require.NoError(t, f.Close())
			require.Len(t, contents(t, fs, "a"), 1500)
			return
		default:
			r, err := fs.Open("a")
			require.NoError(t, err)
			data, err := io.ReadAll(r)
			require.NoError(t, err)
			require.Zero(t, len(data)%3, "a torn write")
			require.NoError(t, r.Close())
		}
	}
}

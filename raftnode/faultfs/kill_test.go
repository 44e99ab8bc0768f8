package faultfs_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"coup/raftnode/faultfs"
	"coup/raftnode/raft"
	"coup/raftnode/store"
)

// victim names, in the environment of this test's child process, the directory to use; fileSystem
// names the file system.
const (
	victim     = "COUP_FAULTFS_VICTIM"
	fileSystem = "COUP_FAULTFS_OVER"
)

// SIGKILL takes from a process over faultfs what was not synced, and nothing that was. Without
// faultfs the same write survives in the kernel's page cache: the proof that it bites.
func TestKilledProcess(t *testing.T) {
	if dir := os.Getenv(victim); dir != "" {
		live(t, dir, os.Getenv(fileSystem))
		t.Fatal("still alive")
	}
	for name, survives := range map[string]bool{"faultfs": false, "default": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			child := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$")
			child.Env = append(os.Environ(), victim+"="+dir, fileSystem+"="+name)
			out, err := child.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "%s", out)
			require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "%s", out)

			db, err := pebble.Open(dir+"/db", &pebble.Options{Logger: silent{}})
			require.NoError(t, err)
			require.Equal(t, "1", get(t, db, "synced"))
			if survives {
				require.Equal(t, marker, get(t, db, "not synced"))
			} else {
				require.Equal(t, "", get(t, db, "not synced"))
			}
			require.NoError(t, db.Close())

			s, err := store.OpenPebble(dir+"/store", nil, nil)
			require.NoError(t, err)
			state, err := s.Load()
			require.NoError(t, err)
			require.Equal(t, raft.HardState{Term: 1, Vote: "n1"}, state.HardState)
			require.EqualValues(t, 20, state.Last)
			require.NoError(t, s.Close())
		})
	}
}

const marker = "a value to be looked for in the log"

// live writes and then dies.
func live(t *testing.T, dir, over string) {
	fs := vfs.Default
	if over == "faultfs" {
		fs = faultfs.New(fs)
	}
	s, err := store.OpenPebble(dir+"/store", fs, nil)
	require.NoError(t, err)
	require.NoError(t, s.Bootstrap(raft.Base{Configuration: raft.Configuration{Voters: []raft.NodeID{"n1"}}}))
	require.NoError(t, s.Save(&raft.HardState{Term: 1, Vote: "n1"}, nil))
	var last raft.Entry
	for range 20 {
		e := raft.Entry{Index: last.Index + 1, Term: 1, Data: bytes.Repeat([]byte("x"), 30_000)}
		e.Checksum = raft.NextChecksum(last.Checksum, e)
		require.NoError(t, s.Save(nil, []raft.Entry{e}))
		last = e
	}

	db, err := pebble.Open(dir+"/db", &pebble.Options{FS: fs, Logger: silent{}})
	require.NoError(t, err)
	require.NoError(t, db.Set([]byte("synced"), []byte("1"), pebble.Sync))
	require.NoError(t, db.Set([]byte("not synced"), []byte(marker), pebble.NoSync))
	require.Equal(t, marker, get(t, db, "not synced"))
	// Pebble writes full blocks of its log in the background, and only what was written can be lost. So
	// push it out, but not so far that a full memtable closes the log, which syncs it.
	require.NoError(t, db.Set([]byte("padding"), make([]byte, 100<<10), pebble.NoSync))
	require.Eventually(t, func() bool { return written(fs, dir+"/db") }, 10*time.Second, time.Millisecond)
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGKILL))
	select {}
}

// written tells whether the marker is in a log, as seen through fs.
func written(fs vfs.FS, dir string) bool {
	names, err := fs.List(dir)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(names, func(name string) bool {
		if !strings.HasSuffix(name, ".log") {
			return false
		}
		f, err := fs.Open(fs.PathJoin(dir, name))
		if err != nil {
			return false
		}
		data, err := io.ReadAll(f)
		return f.Close() == nil && err == nil && bytes.Contains(data, []byte(marker))
	})
}

func get(t *testing.T, db *pebble.DB, key string) string {
	value, closer, err := db.Get([]byte(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return ""
	}
	require.NoError(t, err)
	defer func(c io.Closer) { require.NoError(t, c.Close()) }(closer)
	return string(value)
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic(format)
}

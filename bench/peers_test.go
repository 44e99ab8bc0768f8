package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A command line that is wrong is refused by one line that names the flag, before anything is started.
func TestWrongFlagsAreRefused(t *testing.T) {
	for line, flag := range map[string]string{
		"--nodes 0":             "--nodes",
		"--nodes 5,2":           "--nodes",
		"--clients 1,0":         "--clients",
		"--operations cas":      "--operations",
		"--rounds 0":            "--rounds",
		"--duration 1":          "--duration",
		"--duration 1ms":        "--duration",
		"--etcd-connections -1": "--etcd-connections",
		"--keys 0":              "--keys",
		"--value-size 0":        "--value-size",
		"--kills 31":            "--kills",
		"--idle 1ms":            "--idle",
		"--connections 0":       "--connections",
		"--products zookeeper":  "--products",
		"--profiles /none":      "--profiles",
		"--raftnode /none":      "--raftnode",
		"--etcd /":              "--etcd",
		"--dir /none":           "--dir",
		"--unheard-of":          "--unheard-of",
		"--nodes 2 --kills 0":   "--raftnode", // two nodes are enough, and there is no binary beside the test
	} {
		root := newRoot()
		args := strings.Fields(line)
		if flag != "--raftnode" {
			args = append(args, "--raftnode", os.Args[0])
			if flag != "--etcd" {
				args = append(args, "--etcd", os.Args[0])
			}
		}
		root.SetArgs(args)
		err := root.Execute()
		require.ErrorContains(t, err, flag, line)
		require.NotContains(t, err.Error(), "\n", line)
		require.NotErrorAs(t, err, new(failure), line)
	}
}

// Catches a wrong field of /proc: work must show as processor time, and memory as memory.
func TestAProcessIsMeasured(t *testing.T) {
	before, err := processorTime(os.Getpid())
	require.NoError(t, err)
	begun := time.Now()
	require.Eventually(t, func() bool {
		after, err := processorTime(os.Getpid())
		for range 1_000_000 {
			_ = fmt.Sprint()
		}
		return err == nil && after > before && after-before <= 64*time.Since(begun)
	}, 30*time.Second, time.Millisecond)
	rss, own, err := residentSet(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, rss, int64(1<<20))
	require.Less(t, rss, int64(1<<33))
	require.Less(t, own, rss)
	require.Greater(t, own, int64(1<<20))
	_, err = processorTime(1 << 30)
	require.Error(t, err)
}

// Catches a run that removes what another one is using, or leaves what nobody will remove.
func TestLeftoversAreRemoved(t *testing.T) {
	dead := exec.Command("true")
	require.NoError(t, dead.Run())
	dir := t.TempDir()
	gone := filepath.Join(dir, folderName(dead.Process.Pid)+"-1")
	mine := filepath.Join(dir, folderName(os.Getpid())+"-1")
	other := filepath.Join(dir, folderPrefix+"notes")
	for _, folder := range []string{gone, mine, other} {
		require.NoError(t, os.Mkdir(folder, 0o755))
	}
	require.NoError(t, removeLeftovers(dir))
	require.NoDirExists(t, gone)
	require.DirExists(t, mine)
	require.DirExists(t, other)
}

func TestMedian(t *testing.T) {
	require.Equal(t, 2*time.Second, median([]time.Duration{3 * time.Second, time.Second, 2 * time.Second}))
	require.Equal(t, 2*time.Second, median([]time.Duration{3 * time.Second, time.Second}))
}

// Rounds are added: a rate is of all rounds, and memory is the most of any.
func TestRoundsAreAdded(t *testing.T) {
	round := func(operations int, rss int64) measurement {
		m := measurement{latency: newHistogram(), took: time.Second, cpu: time.Second, memory: memory{rss, rss / 2, 3 * rss}}
		require.NoError(t, m.latency.RecordValues(1000, int64(operations)))
		return m
	}
	var sum measurement
	sum.add(round(100, 7))
	sum.add(round(300, 5))
	require.InDelta(t, 200, sum.perSecond(), 0.01)
	require.InDelta(t, 5000, sum.cpuEach(), 0.01)
	require.Equal(t, memory{7, 3, 21}, sum.memory)
	require.InDelta(t, 1, inMilliseconds(sum.quantile(99)), 0.01)
}

// Catches clients that are given fewer connections than they are said to have, or none.
func TestClientsShareConnections(t *testing.T) {
	for _, c := range []struct {
		p             product
		clients, want int
	}{{raftnode{scheme: "http"}, 256, 256}, {raftnode{scheme: "grpc", shared: 4}, 256, 4}, {etcd{shared: 16}, 256, 16}, {etcd{shared: 16}, 3, 3}, {etcd{}, 256, 256}} {
		require.Equal(t, c.want, c.p.connections(c.clients))
	}
}

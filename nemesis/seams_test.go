package nemesis_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/cluster"
	"coup/nemesis"
	"coup/raftnode/client"
)

// Catches faults of disk and clock that do nothing to real nodes, a node that outlives a disk that failed, and one that is
// not whole after the healing. What each does is looked at through the node's clients and its log.
func TestSeamsInNamespaces(t *testing.T) {
	dir := t.TempDir()
	inNamespaces(t, "../cmd/raftnode", cluster.Options{Run: "seams", Nodes: 3, Dir: dir, Seams: true}, func(c cluster.Cluster) {
		trySeams(t, c, func(node string) string { return nodeLog(t, dir, node) }, nemesis.Seamed()...)
	}, "clock-rate")
}

// nodeLog is what a node has written to its log.
func nodeLog(t *testing.T, dir, node string) string {
	log, err := os.ReadFile(filepath.Join(dir, "nodes", node, "node.log"))
	require.NoError(t, err)
	return string(log)
}

// Catches the same in containers, where a node is the first process of its namespace, which SIGKILL from itself does not end.
func TestSeamsInDocker(t *testing.T) {
	dir := t.TempDir()
	inDocker(t, "../cmd/raftnode", cluster.Options{Run: "seams", Nodes: 3, Dir: dir, Seams: true}, func(c cluster.Cluster) {
		faults, err := nemesis.Parse("slow-fsync,fail-fsync,torn-write,clock-rate")
		require.NoError(t, err)
		trySeams(t, c, func(node string) string {
			require.NoError(t, c.Collect(t.Context(), false))
			return nodeLog(t, dir, node)
		}, faults...)
	})
}

// says is what the log of a node must hold that a fault has ended.
var says = map[string]string{
	"fail-fsync": "injected: fsync of", "fail-write": "injected: write to",
	"full-disk": "no space left on device", "torn-write": "injected: torn write",
}

// asked is the leader as the nodes say.
type asked struct {
	client *client.Client
	nodes  []string
}

func (a asked) Leaders(ctx context.Context) (leaders []string) {
	for _, id := range a.nodes {
		if s, err := a.client.Status(ctx, id); err == nil && s.Role == "leader" {
			leaders = append(leaders, id)
		}
	}
	return leaders
}

func trySeams(t *testing.T, c cluster.Cluster, log func(node string) string, faults ...nemesis.Fault) {
	urls := map[string]string{}
	view := asked{}
	for _, n := range c.Nodes() {
		urls[n.ID] = n.ClientURL
		view.nodes = append(view.nodes, n.ID)
	}
	var err error
	view.client, err = client.New(urls, client.Options{Timeout: 1500 * time.Millisecond})
	require.NoError(t, err)
	defer view.client.Close()

	// Somebody writes all along: a disk on which nothing is done does not fail.
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for _, id := range view.nodes {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, _ = view.client.Write(ctx, id, "load", fmt.Sprint(id, i))
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	defer writers.Wait()
	defer stop()
	writes := func(node string) bool {
		_, err := view.client.Write(ctx, node, "k", "v")
		return err == nil
	}

	for i, fault := range faults {
		t.Run(fault.Name(), func(t *testing.T) {
			for _, id := range view.nodes {
				require.Eventually(t, func() bool { return writes(id) }, 30*time.Second, 20*time.Millisecond, "%s never serves", id)
			}
			require.NoError(t, fault.Check(c))
			breaker := c.(cluster.Breaker)
			was := map[string]cluster.ProcessState{}
			for _, id := range view.nodes {
				was[id], err = breaker.Process(ctx, id)
				require.NoError(t, err)
			}
			before := map[string]time.Duration{}
			for _, id := range view.nodes {
				r, err := breaker.Seams(ctx, id)
				require.NoError(t, err)
				before[id] = r.Clock.Offset
			}
			installed, out := fault.Install(ctx, c, view, rand.New(rand.NewPCG(7, uint64(i))))
			require.Equal(t, nemesis.ResultInstalled, out.Result, out.Reason)
			require.Len(t, out.Targets, 1)
			target := out.Targets[0]
			others := slices.DeleteFunc(slices.Clone(view.nodes), func(id string) bool { return id == target })

			state, err := breaker.Process(ctx, target)
			require.NoError(t, err)
			words, ends := says[fault.Name()]
			if ends {
				require.Equal(t, "dead", state.State)
				require.Contains(t, log(target), words)
			} else {
				require.Equal(t, was[target], state)
			}
			if fault.Name() == "slow-fsync" {
				r, err := breaker.Seams(ctx, target)
				require.NoError(t, err)
				require.Positive(t, r.Disk.Counts.SyncsDelayed)
				if r.Disk.Faults.SyncTakes > time.Minute {
					require.Eventually(t, func() bool {
						_, err := view.client.Status(ctx, target)
						return err != nil
					}, 10*time.Second, 20*time.Millisecond, "its loop waits for the disk")
				}
			}
			if fault.Name() == "jump-clock" {
				r, err := breaker.Seams(ctx, target)
				require.NoError(t, err)
				require.Greater(t, (r.Clock.Offset - before[target]).Abs(), 100*time.Millisecond)
			}
			require.Eventually(t, func() bool { return slices.ContainsFunc(others, writes) }, 20*time.Second, 20*time.Millisecond,
				"the others go on without %s", target)

			cancelled, cancel := context.WithCancel(ctx)
			cancel()
			healed := installed.Heal(cancelled)
			require.Equal(t, nemesis.ResultHealed, healed.Result, healed.Reason)
			require.Equal(t, nemesis.ResultHealed, installed.Heal(cancelled).Result, "healing twice")
			require.Eventually(t, func() bool { return writes(target) }, 30*time.Second, 20*time.Millisecond, "%s serves again", target)
			state, err = breaker.Process(ctx, target)
			require.NoError(t, err)
			require.Equal(t, ends, state.PID != was[target].PID)
			require.Empty(t, c.(cluster.Watcher).Unexpected())
		})
	}
}

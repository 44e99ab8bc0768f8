package netns

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/cluster"
)

// TestMain runs the tests inside namespaces of their own, where the machine permits it, and outside
// otherwise.
func TestMain(m *testing.M) {
	Init()
	if !Inside() && os.Getenv(actVariable) == "" && Available(context.Background()) == nil {
		code, err := Enter()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}
	if role := os.Getenv(actVariable); role != "" {
		os.Exit(act(role))
	}
	os.Exit(m.Run())
}

func needNamespaces(t *testing.T) {
	t.Helper()
	if !Inside() {
		t.Skip("no network namespaces: ", Available(t.Context()))
	}
}

func buildNode(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node")
	build := exec.Command("go", "build", "-o", path, "./testdata/node")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

func startCluster(t *testing.T, o cluster.Options) *local {
	t.Helper()
	needNamespaces(t)
	if o.Binary == "" {
		o.Binary = buildNode(t)
	}
	o.Run, o.Dir = t.Name(), t.TempDir()
	c, err := Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close(context.Background())) })
	return c.(*local)
}

type answer struct {
	ID    string
	Lives int
	Peers string
	Lose  bool
	Extra string
	Join  bool
}

// ask waits until the node answers.
func ask(t *testing.T, n cluster.Node) (a answer) {
	t.Helper()
	client := http.Client{Timeout: time.Second}
	require.Eventually(t, func() bool {
		response, err := client.Get(n.ClientURL)
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return json.NewDecoder(response.Body).Decode(&a) == nil
	}, 20*time.Second, 20*time.Millisecond, "%s never answers", n.ID)
	return a
}

// reaches says whether one node gets an answer from another over TCP.
func reaches(t *testing.T, from, to cluster.Node) bool {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(from.ClientURL + "/fetch?url=" + to.ClientURL)
	require.NoError(t, err)
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Catches nodes that get wrong arguments, or cannot be reached by clients or by each other.
func TestNodesRunAndAnswer(t *testing.T) {
	c := startCluster(t, cluster.Options{Nodes: 3, LoseUnsynced: true, NodeArguments: []string{"--extra", "yes"}})
	require.Equal(t, "netns", c.Environment())
	nodes := c.Nodes()
	require.Len(t, nodes, 3)
	require.Equal(t, cluster.Node{ID: "n1", ClientURL: "http://10.77.0.11:4100", Address: "10.77.0.11"}, nodes[0])
	for _, n := range nodes {
		require.Equal(t, answer{
			ID: n.ID, Lives: 1, Lose: true, Extra: "yes",
			Peers: "n1=10.77.0.11,n2=10.77.0.12,n3=10.77.0.13",
		}, ask(t, n))
	}
	require.True(t, reaches(t, nodes[0], nodes[2]))
	require.Empty(t, c.Unexpected())
}

// Catches a kill that is not one, a restart on other data or another address, and a wanted death
// that is reported as a crash.
func TestKillAndRestart(t *testing.T) {
	c := startCluster(t, cluster.Options{Nodes: 1})
	n := c.Nodes()[0]
	ask(t, n)
	before, err := c.Process(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, "running", before.State)
	require.ErrorContains(t, c.Restart(t.Context(), "n1"), "runs")

	require.NoError(t, c.Kill(t.Context(), "n1"))
	dead, err := c.Process(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, cluster.ProcessState{State: "dead"}, dead)
	require.ErrorIs(t, c.Kill(t.Context(), "n1"), os.ErrProcessDone)

	require.NoError(t, c.Restart(t.Context(), "n1"))
	require.Equal(t, 2, ask(t, n).Lives, "it must live on the same data")
	after, err := c.Process(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, "running", after.State)
	require.NotEqual(t, before.PID, after.PID)
	require.Empty(t, c.Unexpected())

	log, err := os.ReadFile(filepath.Join(c.options.Dir, "nodes/n1/node.log"))
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(log), "node n1 begins"), "both lives log into one file")
}

// Catches a pause that does not stop the node, or that a kill cannot end.
func TestPauseAndResume(t *testing.T) {
	c := startCluster(t, cluster.Options{Nodes: 2})
	n := c.Nodes()[0]
	ask(t, n)
	ask(t, c.Nodes()[1])
	require.NoError(t, c.Pause(t.Context(), "n1"))
	state, err := c.Process(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, "paused", state.State)
	require.False(t, reaches(t, c.Nodes()[1], n))

	require.NoError(t, c.Resume(t.Context(), "n1"))
	state, err = c.Process(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, "running", state.State)
	require.Equal(t, 1, ask(t, n).Lives)

	require.NoError(t, c.Pause(t.Context(), "n1"))
	require.NoError(t, c.Kill(t.Context(), "n1"), "SIGKILL ends a stopped process too")
	require.Empty(t, c.Unexpected())
}

// Catches a cut in the wrong direction, one that lets TCP or UDP through, one that hits the
// clients' path, and a heal that heals nothing.
func TestCutAndRestore(t *testing.T) {
	c := startCluster(t, cluster.Options{Nodes: 3})
	nodes := c.Nodes()
	for _, n := range nodes {
		ask(t, n)
	}
	var all []cluster.Link
	for _, a := range nodes {
		for _, b := range nodes {
			if a != b {
				all = append(all, cluster.Link{From: a.ID, To: b.ID})
			}
		}
	}
	received := func() map[string]int {
		probes, err := c.Probe(t.Context(), all)
		require.NoError(t, err)
		got := map[string]int{}
		for _, p := range probes {
			require.Equal(t, 5, p.Sent)
			got[p.Link.String()] = p.Received
		}
		return got
	}
	whole := map[string]int{"n1>n2": 5, "n1>n3": 5, "n2>n1": 5, "n2>n3": 5, "n3>n1": 5, "n3>n2": 5}
	require.Eventually(t, func() bool { return fmt.Sprint(received()) == fmt.Sprint(whole) }, 10*time.Second, time.Millisecond)

	cut := []cluster.Link{{From: "n1", To: "n2"}}
	require.NoError(t, c.Cut(t.Context(), cut))
	require.ErrorContains(t, c.Cut(t.Context(), []cluster.Link{{From: "n3", To: "n1"}, {From: "n1", To: "n2"}}), "already cut")
	require.Eventually(t, func() bool {
		return fmt.Sprint(received()) == fmt.Sprint(map[string]int{"n1>n2": 0, "n1>n3": 5, "n2>n1": 5, "n2>n3": 5, "n3>n1": 5, "n3>n2": 5})
	}, 10*time.Second, time.Millisecond, "the failed cut must have been taken back")
	require.False(t, reaches(t, nodes[0], nodes[1]), "requests are dropped")
	require.False(t, reaches(t, nodes[1], nodes[0]), "so are the answers to requests the other way")
	require.True(t, reaches(t, nodes[0], nodes[2]))
	ask(t, nodes[1])

	require.ErrorContains(t, c.Restore(t.Context(), []cluster.Link{{From: "n2", To: "n1"}}), "not cut")
	require.NoError(t, c.Restore(t.Context(), cut))
	require.Eventually(t, func() bool { return fmt.Sprint(received()) == fmt.Sprint(whole) }, 10*time.Second, time.Millisecond)
	require.True(t, reaches(t, nodes[0], nodes[1]))

	_, err := c.Probe(t.Context(), []cluster.Link{{From: "n1", To: "n9"}})
	require.ErrorContains(t, err, "n1>n9")
}

// Catches a crash that nobody hears of: a run must not pass over a node that died by itself.
func TestUnexpectedDeath(t *testing.T) {
	c := startCluster(t, cluster.Options{Nodes: 2})
	n := c.Nodes()[1]
	ask(t, n)
	request, err := http.NewRequest(http.MethodPost, n.ClientURL+"/crash", nil)
	require.NoError(t, err)
	if response, err := http.DefaultClient.Do(request); err == nil {
		response.Body.Close()
	}
	require.Eventually(t, func() bool { return len(c.Unexpected()) == 1 }, 10*time.Second, 10*time.Millisecond)
	death := c.Unexpected()[0]
	require.Equal(t, "n2", death.Node)
	require.Equal(t, "exit status 7", death.Exit)
	require.Equal(t, "panic: the test asked for it", death.Log[len(death.Log)-1])
}

// Catches leavings of a closed cluster, and a second one that cannot start after it.
func TestCloseLeavesNothing(t *testing.T) {
	binary := ""
	for range 2 {
		if binary == "" {
			binary = buildNode(t)
		}
		c := startCluster(t, cluster.Options{Nodes: 2, Binary: binary})
		ask(t, c.Nodes()[0])
		require.NoError(t, c.Collect(t.Context(), true))
		lives, err := os.ReadFile(filepath.Join(c.options.Dir, "nodes/n1/data/lives"))
		require.NoError(t, err)
		require.Equal(t, "x", string(lives))
		process := c.nodes[0].process
		require.NoError(t, c.Close(t.Context()))
		require.NoError(t, c.Close(t.Context()))
		require.True(t, process.dead())
		require.NoDirExists(t, c.temp)
		require.Empty(t, c.Unexpected())
	}
}

// Catches a start that leaves a network behind when the binary cannot run.
func TestStartFailsWhole(t *testing.T) {
	needNamespaces(t)
	_, err := Start(t.Context(), cluster.Options{Nodes: 2, Binary: "/nonexistent", Dir: t.TempDir()})
	require.ErrorContains(t, err, "/nonexistent")
	c := startCluster(t, cluster.Options{Nodes: 1})
	ask(t, c.Nodes()[0])
}

// Catches a stop that kills, one that passes for a crash, and one that hides that the node ended badly.
func TestStop(t *testing.T) {
	binary := ""
	for _, code := range []int{0, 3} {
		if needNamespaces(t); binary == "" {
			binary = buildNode(t)
		}
		c := startCluster(t, cluster.Options{Nodes: 1, Binary: binary, NodeArguments: []string{"--stop-code", fmt.Sprint(code)}})
		ask(t, c.Nodes()[0])
		err := c.Stop(t.Context(), "n1")
		state, failure := c.Process(t.Context(), "n1")
		require.NoError(t, failure)
		require.Equal(t, "dead", state.State)
		log, failure := os.ReadFile(filepath.Join(c.options.Dir, "nodes/n1/node.log"))
		require.NoError(t, failure)
		require.Contains(t, string(log), "node n1 was told to stop")
		if code != 0 {
			require.ErrorContains(t, err, "exit status 3")
			require.Eventually(t, func() bool { return len(c.Unexpected()) == 1 }, 10*time.Second, 10*time.Millisecond)
			require.NoError(t, c.Close(t.Context()))
			continue
		}
		require.NoError(t, err)
		require.ErrorIs(t, c.Stop(t.Context(), "n1"), os.ErrProcessDone)
		require.NoError(t, c.Restart(t.Context(), "n1"))
		require.Equal(t, 2, ask(t, c.Nodes()[0]).Lives)
		require.Empty(t, c.Unexpected())
		require.NoError(t, c.Close(t.Context()))
	}
}

// Catches a further node that begins as a first member, on somebody's disk or at somebody's address, one that faults or
// other nodes do not reach, and one that was removed and is still there, or comes back on a disk that should be empty.
func TestAddAndRemove(t *testing.T) {
	c := startCluster(t, cluster.Options{Nodes: 2})
	require.ErrorContains(t, c.Remove(t.Context(), "n2", true), "runs")
	added, err := c.Add(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, cluster.Node{ID: "n3", ClientURL: "http://10.77.0.13:4100", Address: "10.77.0.13"}, added)
	require.Equal(t, added, c.Nodes()[2])
	require.Equal(t, answer{ID: "n3", Lives: 1, Join: true, Peers: "n1=10.77.0.11,n2=10.77.0.12"}, ask(t, added))
	ask(t, c.Nodes()[0])
	require.True(t, reaches(t, c.Nodes()[0], added))
	cut := []cluster.Link{{From: "n1", To: "n3"}}
	require.NoError(t, c.Cut(t.Context(), cut))
	require.False(t, reaches(t, c.Nodes()[0], added))
	require.NoError(t, c.Restore(t.Context(), cut))

	for lives, wipe := range []bool{false, true, false} {
		require.NoError(t, c.Kill(t.Context(), "n3"))
		require.NoError(t, c.Remove(t.Context(), "n3", wipe))
		require.Len(t, c.Nodes(), 2)
		require.ErrorContains(t, c.Restart(t.Context(), "n3"), "no such node")
		_, err := c.Probe(t.Context(), cut)
		require.ErrorContains(t, err, "n1>n3")
		again, err := c.Add(t.Context(), "n3")
		require.NoError(t, err)
		require.Equal(t, added.ClientURL, again.ClientURL)
		require.Equal(t, []int{2, 1, 2}[lives], ask(t, again).Lives)
		require.Equal(t, []int{0, 1, 1}[lives], again.Wiped)
	}
	_, err = c.Add(t.Context(), "n1")
	require.ErrorContains(t, err, "no such node was removed")
	next, err := c.Add(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "n4", next.ID)
	require.Empty(t, c.Unexpected())
}

package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	engine "github.com/ory/dockertest/v3/docker"
	"github.com/stretchr/testify/require"

	"coup/cluster"
)

// built are the binaries that the tests put into images.
var built struct{ node, agent string }

// TestMain builds the binaries once, and removes the images that the tests made of them. A build of
// its own keeps them apart from those of tests that run beside it.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		if _, err := dial(context.Background()); err != nil {
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "coup-docker-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		built.node, built.agent = filepath.Join(dir, "node"), filepath.Join(dir, "agent")
		for path, source := range map[string]string{built.node: "../cluster/netns/testdata/node", built.agent: "./testdata/agent"} {
			build := exec.Command("go", "build", "-ldflags", fmt.Sprint("-buildid=", os.Getpid()), "-o", path, source)
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "%v: %s\n", err, out)
				return 1
			}
		}
		defer func() {
			if err := RemoveImages(context.Background(), built.node, built.agent); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
		return m.Run()
	}())
}

func needEngine(t *testing.T) *engine.Client {
	t.Helper()
	client, err := dial(t.Context())
	if err != nil {
		t.Skip("no Docker engine: ", err)
	}
	return client
}

func startCluster(t *testing.T, o cluster.Options) *containers {
	t.Helper()
	needEngine(t)
	o.Binary, o.Dir = built.node, t.TempDir()
	o.Run = fmt.Sprintf("%s-%d", t.Name(), os.Getpid())
	c, err := Environment{Agent: built.agent}.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close(context.Background())) })
	return c.(*containers)
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
	}, 30*time.Second, 20*time.Millisecond, "%s never answers", n.ID)
	return a
}

// reaches says whether one node gets an answer from another over TCP.
func reaches(t *testing.T, from, to cluster.Node) bool {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(from.ClientURL + "/fetch?url=http://" + to.Address + ":4100/")
	require.NoError(t, err)
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Catches nodes that get wrong arguments or rights, or cannot be reached by clients or by each
// other, and data and logs that do not come out.
func TestNodesRunAndAnswer(t *testing.T) {
	c := startCluster(t, cluster.Options{Nodes: 3, LoseUnsynced: true, NodeArguments: []string{"--extra", "yes"}})
	require.Equal(t, "docker", c.Environment())
	nodes := c.Nodes()
	require.Len(t, nodes, 3)
	peers := fmt.Sprintf("n1=%s,n2=%s,n3=%s", nodes[0].Address, nodes[1].Address, nodes[2].Address)
	for _, n := range nodes {
		require.Equal(t, answer{ID: n.ID, Lives: 1, Lose: true, Extra: "yes", Peers: peers}, ask(t, n))
	}
	require.True(t, reaches(t, nodes[0], nodes[2]))
	require.Empty(t, c.Unexpected())

	for _, container := range []string{c.nodes[0].container, c.nodes[0].helper.container} {
		found, err := c.client.InspectContainer(container)
		require.NoError(t, err)
		require.False(t, found.HostConfig.Privileged)
		require.Equal(t, []string{"ALL"}, found.HostConfig.CapDrop)
		if container == c.nodes[0].container {
			require.Empty(t, found.HostConfig.CapAdd)
		} else {
			require.Len(t, found.HostConfig.CapAdd, 1)
		}
		for _, bindings := range found.NetworkSettings.Ports {
			for _, b := range bindings {
				require.Equal(t, "127.0.0.1", b.HostIP)
			}
		}
	}

	require.NoError(t, c.Collect(t.Context(), true))
	log, err := os.ReadFile(filepath.Join(c.options.Dir, "nodes/n2/node.log"))
	require.NoError(t, err)
	require.Equal(t, "node n2 begins\n", string(log))
	lives, err := os.ReadFile(filepath.Join(c.options.Dir, "nodes/n2/data/lives"))
	require.NoError(t, err)
	require.Equal(t, "x", string(lives))
	state, err := c.Process(t.Context(), "n2")
	require.NoError(t, err)
	require.Equal(t, "running", state.State, "it goes on after its data was copied")
}

// Catches a kill that is not one, a restart on other data, another address or without the packet
// rules, and a wanted death that is reported as a crash.
func TestKillAndRestart(t *testing.T) {
	c := startCluster(t, cluster.Options{Nodes: 2})
	n := c.Nodes()[0]
	ask(t, n)
	ask(t, c.Nodes()[1])
	before, err := c.Process(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, "running", before.State)
	require.ErrorContains(t, c.Restart(t.Context(), "n1"), "runs")
	cut := []cluster.Link{{From: "n2", To: "n1"}}
	require.NoError(t, c.Cut(t.Context(), cut))

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
	require.False(t, reaches(t, c.Nodes()[1], n), "the link is still cut")
	require.NoError(t, c.Restore(t.Context(), cut))
	require.True(t, reaches(t, c.Nodes()[1], n))
	require.Empty(t, c.Unexpected())
}

// Catches a pause that does not stop the node.
func TestPauseAndResume(t *testing.T) {
	c := startCluster(t, cluster.Options{Nodes: 2})
	for _, n := range c.Nodes() {
		ask(t, n)
	}
	require.NoError(t, c.Pause(t.Context(), "n1"))
	state, err := c.Process(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, "paused", state.State)
	require.False(t, reaches(t, c.Nodes()[1], c.Nodes()[0]))
	require.NoError(t, c.Resume(t.Context(), "n1"))
	require.Equal(t, 1, ask(t, c.Nodes()[0]).Lives)
	require.NoError(t, c.Pause(t.Context(), "n1"), "Close must take a frozen node away too")
}

// Catches a cut in the wrong direction, one that hits the clients' path, and a heal that heals
// nothing.
func TestCutAndRestore(t *testing.T) {
	c := startCluster(t, cluster.Options{Nodes: 3})
	nodes := c.Nodes()
	for _, n := range nodes {
		ask(t, n)
	}
	links := []cluster.Link{{From: "n1", To: "n2"}, {From: "n2", To: "n1"}, {From: "n1", To: "n3"}}
	received := func() (got []int) {
		probes, err := c.Probe(t.Context(), links)
		require.NoError(t, err)
		for _, p := range probes {
			got = append(got, p.Received)
		}
		return got
	}
	expect := func(want ...int) {
		t.Helper()
		require.Eventually(t, func() bool { return slices.Equal(received(), want) }, 10*time.Second, time.Millisecond)
	}
	expect(5, 5, 5)
	require.NoError(t, c.Cut(t.Context(), links[:1]))
	expect(0, 5, 5)
	require.ErrorContains(t, c.Cut(t.Context(), links[:1]), "already cut")
	require.False(t, reaches(t, nodes[0], nodes[1]))
	require.True(t, reaches(t, nodes[0], nodes[2]))
	ask(t, nodes[1])
	require.NoError(t, c.Restore(t.Context(), links[:1]))
	expect(5, 5, 5)
	require.True(t, reaches(t, nodes[0], nodes[1]))
	require.ErrorContains(t, c.Restore(t.Context(), links[:1]), "not cut")
}

// Catches a crash that nobody hears of: a run must not pass over a node that died by itself.
func TestUnexpectedDeath(t *testing.T) {
	c := startCluster(t, cluster.Options{Nodes: 1})
	n := c.Nodes()[0]
	ask(t, n)
	request, err := http.NewRequest(http.MethodPost, n.ClientURL+"/crash", nil)
	require.NoError(t, err)
	if response, err := http.DefaultClient.Do(request); err == nil {
		response.Body.Close()
	}
	require.Eventually(t, func() bool { return len(c.Unexpected()) == 1 }, 20*time.Second, 20*time.Millisecond)
	death := c.Unexpected()[0]
	require.Equal(t, "n1", death.Node)
	require.Equal(t, "exit status 7", death.Exit)
	require.Equal(t, []string{"node n1 begins", "panic: the test asked for it"}, death.Log)
}

// left are the containers, networks and volumes of a run that the engine knows.
func left(t *testing.T, c *engine.Client, run string) (all []string) {
	t.Helper()
	containers, err := c.ListContainers(engine.ListContainersOptions{All: true, Filters: map[string][]string{"label": {labelRun + "=" + run}}})
	require.NoError(t, err)
	for _, x := range containers {
		all = append(all, x.Names...)
	}
	networks, err := c.FilteredListNetworks(engine.NetworkFilterOpts{"label": {labelRun + "=" + run: true}})
	require.NoError(t, err)
	for _, x := range networks {
		all = append(all, x.Name)
	}
	return all
}

// volumesOf are the volumes that a run's containers have mounted.
func volumesOf(t *testing.T, c *engine.Client, run string) (names []string) {
	t.Helper()
	containers, err := c.ListContainers(engine.ListContainersOptions{All: true, Filters: map[string][]string{"label": {labelRun + "=" + run}}})
	require.NoError(t, err)
	for _, x := range containers {
		for _, mount := range x.Mounts {
			names = append(names, mount.Name)
		}
	}
	return names
}

// Catches leavings of a closed cluster, and of one whose start was interrupted.
func TestCloseLeavesNothing(t *testing.T) {
	client := needEngine(t)
	c := startCluster(t, cluster.Options{Nodes: 2})
	require.NotEmpty(t, left(t, client, c.options.Run))
	volumes := volumesOf(t, client, c.options.Run)
	require.Len(t, volumes, 2, "one for each node's data")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, c.Close(cancelled), "an interrupted run closes too")
	require.NoError(t, c.Close(t.Context()))
	require.Empty(t, left(t, client, c.options.Run))
	for _, volume := range volumes {
		_, err := client.InspectVolume(volume)
		require.ErrorIs(t, err, engine.ErrNoSuchVolume)
	}

	for _, when := range []string{"making a network", "starting"} {
		interrupted, interrupt := context.WithCancel(t.Context())
		run := fmt.Sprintf("interrupted-%d", os.Getpid())
		_, err := Environment{Agent: built.agent}.Start(interrupted, cluster.Options{
			Run: run, Nodes: 2, Binary: built.node, Dir: t.TempDir(),
			Progress: func(what string) {
				if strings.HasPrefix(what, when) {
					interrupt()
				}
			},
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, left(t, client, run), when)
	}
}

// Catches a clean-up that takes what is in use, or leaves what a dead run made.
func TestCleanRemovesDeadRunsOnly(t *testing.T) {
	client := needEngine(t)
	labels, err := runLabels(fmt.Sprintf("alive-%d", os.Getpid()))
	require.NoError(t, err)
	dead, err := runLabels(fmt.Sprintf("dead-%d", os.Getpid()))
	require.NoError(t, err)
	ended, err := cluster.Self()
	require.NoError(t, err)
	ended.PID = 4194304 // no pid is that high
	dead[labelOwner] = ended.String()
	foreign, err := runLabels(fmt.Sprintf("foreign-%d", os.Getpid()))
	require.NoError(t, err)
	foreign[labelOwner], foreign[labelHost] = dead[labelOwner], "elsewhere.example"
	for _, l := range []map[string]string{labels, dead, foreign} {
		network, _, err := createNetwork(client, containerName(l[labelRun]), l)
		require.NoError(t, err)
		t.Cleanup(func() {
			if len(left(t, client, l[labelRun])) > 0 {
				require.NoError(t, client.RemoveNetwork(network.ID))
			}
		})
	}
	removed, err := Clean(t.Context(), CleanOptions{})
	require.NoError(t, err)
	require.Contains(t, removed, "network "+containerName(dead[labelRun]))
	require.Empty(t, left(t, client, dead[labelRun]))
	require.NotEmpty(t, left(t, client, labels[labelRun]))
	require.NotEmpty(t, left(t, client, foreign[labelRun]))
}

// Catches a binary that would fail in the container with "no such file": say so before.
func TestDynamicBinaryIsRefused(t *testing.T) {
	source := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(source, []byte("package main\n\nimport \"C\"\n\nfunc main() {}\n"), 0o644))
	dynamic := filepath.Join(t.TempDir(), "dynamic")
	build := exec.Command("go", "build", "-o", dynamic, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("no C compiler to build a dynamic binary: %s", out)
	}
	require.ErrorContains(t, static(dynamic), "CGO_ENABLED=0")
	require.ErrorContains(t, static(source), "no Linux binary")
	if built.node != "" {
		require.NoError(t, static(built.node))
	}
}

// Catches an archive that writes outside the folder that it is unpacked to.
func TestUnpackStaysInside(t *testing.T) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, name := range []string{"data/", "data/a/b", "data/../../evil", "../evil", "/evil"} {
		h := &tar.Header{Name: name, Mode: 0o644, Size: 1, Typeflag: tar.TypeReg}
		if strings.HasSuffix(name, "/") {
			h.Size, h.Typeflag = 0, tar.TypeDir
		}
		require.NoError(t, w.WriteHeader(h))
		if h.Size > 0 {
			_, err := w.Write([]byte("x"))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	dir := filepath.Join(t.TempDir(), "in", "target")
	_ = unpack(&archive, dir)
	require.FileExists(t, filepath.Join(dir, "a/b"))
	require.NoFileExists(t, filepath.Join(dir, "../evil"))
	require.NoFileExists(t, filepath.Join(dir, "../../evil"))
}

// Catches a network laid over one that this machine is on.
func TestSubnetsInUseAreSeen(t *testing.T) {
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addresses {
		if p := netip.MustParsePrefix(a.String()); p.Addr().Is4() {
			require.True(t, usedHere(netip.PrefixFrom(p.Addr(), 24).Masked()), a)
		}
	}
	require.False(t, usedHere(netip.MustParsePrefix("203.0.113.0/24")))
	require.NotEqual(t, candidate(0), candidate(1))
	require.Equal(t, "10.77.64.13", addressOf(candidate(0), 3).String())
}

// Catches a stop that kills or passes for a crash; a further node that begins as a first member or that nobody reaches; one
// that was removed and is still there, or comes back on a disk that should be empty; and logs that go with a disk.
func TestStopAddAndRemove(t *testing.T) {
	c := startCluster(t, cluster.Options{Nodes: 1})
	first := c.Nodes()[0]
	ask(t, first)
	require.NoError(t, c.Stop(t.Context(), "n1"))
	require.ErrorIs(t, c.Stop(t.Context(), "n1"), os.ErrProcessDone)
	require.NoError(t, c.Restart(t.Context(), "n1"))
	require.Equal(t, 2, ask(t, first).Lives)

	added, err := c.Add(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, []cluster.Node{first, added}, c.Nodes())
	require.Equal(t, answer{ID: "n2", Lives: 1, Join: true, Peers: "n1=" + first.Address}, ask(t, added))
	require.True(t, reaches(t, first, added))
	require.ErrorContains(t, c.Remove(t.Context(), "n2", true), "runs")
	for i, wipe := range []bool{false, true} {
		require.NoError(t, c.Kill(t.Context(), "n2"))
		require.NoError(t, c.Remove(t.Context(), "n2", wipe))
		require.Len(t, c.Nodes(), 1)
		again, err := c.Add(t.Context(), "n2")
		require.NoError(t, err)
		require.Equal(t, added.ClientURL, again.ClientURL)
		require.Equal(t, []int{2, 1}[i], ask(t, again).Lives)
		require.Equal(t, i, again.Wiped)
	}
	require.NoError(t, c.Collect(t.Context(), true))
	for name, lives := range map[string]int{"node.log": 2, "node-2.log": 1} {
		log, err := os.ReadFile(filepath.Join(c.options.Dir, "nodes/n2", name))
		require.NoError(t, err)
		require.Equal(t, lives, strings.Count(string(log), "node n2 begins"), name)
	}
	require.FileExists(t, filepath.Join(c.options.Dir, "nodes/n2/data/lives"))
	require.Empty(t, c.Unexpected())
}

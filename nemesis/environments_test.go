package nemesis_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	engine "github.com/ory/dockertest/v3"
	"github.com/stretchr/testify/require"

	"coup/cluster"
	"coup/cluster/netns"
	"coup/docker"
	"coup/nemesis"
)

// insideVariable makes the test binary enter namespaces before it runs its tests.
const insideVariable = "COUP_NEMESIS_TEST_INSIDE"

func TestMain(m *testing.M) {
	netns.Init()
	if os.Getenv(insideVariable) != "" && !netns.Inside() {
		code, err := netns.Enter()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// inNamespaces has nodes of a program tried in namespaces. The test enters those as another process, which must have passed
// the subtests of these names.
func inNamespaces(t *testing.T, program string, o cluster.Options, try func(cluster.Cluster), subtests ...string) {
	if testing.Short() {
		t.Skip("starts real clusters")
	}
	if netns.Inside() {
		o.Binary = build(t, program)
		c, err := netns.Start(t.Context(), o)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close(context.Background())) })
		try(c)
		return
	}
	if err := netns.Available(t.Context()); err != nil {
		t.Skip("no network namespaces: ", err)
	}
	child := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), insideVariable+"=yes")
	out, err := child.CombinedOutput()
	require.NoError(t, err, string(out))
	for _, name := range subtests {
		require.Contains(t, string(out), "--- PASS: "+t.Name()+"/"+name)
	}
}

// inDocker has nodes of a program tried in containers.
func inDocker(t *testing.T, program string, o cluster.Options, try func(cluster.Cluster)) {
	if testing.Short() {
		t.Skip("starts real clusters")
	}
	if netns.Inside() {
		t.Skip("published ports are out of reach in here")
	}
	pool, err := engine.NewPool("")
	if err == nil {
		err = pool.Client.PingWithContext(t.Context())
	}
	if err != nil {
		t.Skip("no Docker engine: ", err)
	}
	node, agent := build(t, program), build(t, "../docker/testdata/agent")
	t.Cleanup(func() { require.NoError(t, docker.RemoveImages(context.Background(), node, agent)) })
	o.Run, o.Binary = fmt.Sprintf("%s-%d", o.Run, os.Getpid()), node
	c, err := docker.Environment{Agent: agent}.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close(context.Background())) })
	try(c)
}

// Catches faults that prove themselves but do nothing to real processes and links, or leave something
// broken: what each does is looked at through the nodes, not through the fault's own proofs.
func TestFaultsInNamespaces(t *testing.T) {
	inNamespaces(t, "../cluster/netns/testdata/node", cluster.Options{Run: "faults", Nodes: 5, Dir: t.TempDir()},
		func(c cluster.Cluster) { tryAll(t, c) }, "crash-bridge", "half-open")
}

// Catches the same in containers.
func TestFaultsInDocker(t *testing.T) {
	inDocker(t, "../cluster/netns/testdata/node", cluster.Options{Run: "faults", Nodes: 3, Dir: t.TempDir()},
		func(c cluster.Cluster) { tryAll(t, c) })
}

func build(t *testing.T, source string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(source))
	cmd := exec.Command("go", "build", "-ldflags", fmt.Sprint("-buildid=", os.Getpid()), "-o", path, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

type n1Leads struct{}

func (n1Leads) Leaders(context.Context) []string { return []string{"n1"} }

func tryAll(t *testing.T, c cluster.Cluster) {
	for _, fault := range nemesis.All() {
		t.Run(fault.Name(), func(t *testing.T) {
			if err := fault.Check(c); err != nil {
				t.Skip(err)
			}
			before := awaitWhole(t, c)
			ctx, cancel := context.WithCancel(t.Context())
			installed, out := fault.Install(ctx, c, n1Leads{}, rand.New(rand.NewPCG(7, 7)))
			require.Equal(t, nemesis.ResultInstalled, out.Result, out.Reason)
			switch {
			case fault.Name() == "crash-bridge":
				requireLinks(t, c, out.Links, out.Targets...)
			case out.Degradation != nil:
				requireBad(t, c, out)
			case len(out.Links) > 0:
				requireLinks(t, c, out.Links)
			default:
				for _, n := range c.Nodes() {
					_, err := ask(n)
					require.Equal(t, slices.Contains(out.Targets, n.ID), err != nil, "%s: %v", n.ID, err)
				}
			}
			if restless, ok := installed.(nemesis.Restless); ok {
				restless.Act(ctx) // up, or another node cut off
				switch fault.Name() {
				case "crash-bridge":
					awaitLife(t, c, out.Targets[0])
				case "flapping":
					requireLinks(t, c, nil)
				}
				restless.Act(ctx) // and down again
			}
			cancel()
			healed := installed.Heal(ctx)
			require.Equal(t, nemesis.ResultHealed, healed.Result, healed.Reason)
			require.Equal(t, nemesis.ResultHealed, installed.Heal(ctx).Result, "healing twice")

			after := awaitWhole(t, c)
			for _, n := range c.Nodes() {
				deaths := 0
				if slices.Contains(out.Targets, n.ID) && strings.HasPrefix(fault.Name(), "kill") {
					deaths = 1
				}
				if slices.Contains(out.Targets, n.ID) && fault.Name() == "crash-bridge" {
					require.Equal(t, 2, healed.Crashes)
					deaths = healed.Crashes
				}
				require.Equal(t, before[n.ID]+deaths, after[n.ID], "lives of %s", n.ID)
			}
			require.Empty(t, c.(cluster.Watcher).Unexpected())
		})
	}
}

// requireBad looks at bad links through the nodes. However bad, TCP gets through, unless hardly anything passes, or
// connections themselves are refused.
func requireBad(t *testing.T, c cluster.Cluster, out nemesis.Outcome) {
	switch d := out.Degradation; {
	case d.Kind == cluster.Silence:
		requireLinks(t, c, out.Links)
	case d.Kind == cluster.Refuse, d.Kind == cluster.Limit:
		// The nodes keep connections, and shape no traffic: what the faults measure is all there is to see.
	default:
		requireLinks(t, c, nil)
	}
	require.Len(t, out.Measurements, len(out.Links))
}

// awaitLife waits until a node answers: only then has it counted its start.
func awaitLife(t *testing.T, c cluster.Cluster, id string) {
	at := slices.IndexFunc(c.Nodes(), func(n cluster.Node) bool { return n.ID == id })
	require.Eventually(t, func() bool {
		_, err := ask(c.Nodes()[at])
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
}

// ask returns how often the node has been started.
func ask(n cluster.Node) (lives int, err error) {
	client := http.Client{Timeout: time.Second}
	response, err := client.Get(n.ClientURL)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var a struct{ Lives int }
	err = json.NewDecoder(response.Body).Decode(&a)
	return a.Lives, err
}

// awaitWhole waits until each node answers clients and every other node, and returns their lives.
func awaitWhole(t *testing.T, c cluster.Cluster) map[string]int {
	t.Helper()
	lives := map[string]int{}
	for _, n := range c.Nodes() {
		require.Eventually(t, func() bool {
			count, err := ask(n)
			lives[n.ID] = count
			return err == nil
		}, 30*time.Second, 20*time.Millisecond, "%s never answers", n.ID)
	}
	requireLinks(t, c, nil)
	return lives
}

// requireLinks waits until requests between nodes fail exactly where a link is cut: they need both
// directions. What the nodes to leave out do is not looked at.
func requireLinks(t *testing.T, c cluster.Cluster, cut []cluster.Link, leaveOut ...string) {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second}
	var wrong []string
	require.Eventually(t, func() bool {
		wrong = nil
		var mu sync.Mutex
		var group sync.WaitGroup
		for _, a := range c.Nodes() {
			for _, b := range c.Nodes() {
				if a == b || slices.Contains(leaveOut, a.ID) || slices.Contains(leaveOut, b.ID) {
					continue
				}
				group.Go(func() {
					passes := false
					response, err := client.Get(a.ClientURL + "/fetch?url=http://" + b.Address + ":4100/")
					if err == nil {
						response.Body.Close()
						passes = response.StatusCode == http.StatusOK
					}
					there, back := cluster.Link{From: a.ID, To: b.ID}, cluster.Link{From: b.ID, To: a.ID}
					if passes == (slices.Contains(cut, there) || slices.Contains(cut, back)) {
						mu.Lock()
						defer mu.Unlock()
						wrong = append(wrong, fmt.Sprintf("%s: passes %v", there, passes))
					}
				})
			}
		}
		group.Wait()
		return len(wrong) == 0
	}, 20*time.Second, 10*time.Millisecond, "links cut: %v; wrong: %v", cut, &wrong)
}

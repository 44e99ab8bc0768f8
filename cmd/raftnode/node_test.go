package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/api"
	"coup/raftnode/client"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
)

// asNode makes the test's own program behave as raftnode.
const asNode = "RAFTNODE_TEST_AS_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(asNode) != "" {
		main()
	}
	os.Exit(m.Run())
}

// node is a process on a loopback address of its own, so that all use the default ports.
type node struct {
	id, host, data, logFile string
	arguments               []string
	process                 *exec.Cmd
}

func (n *node) start(t testing.TB) {
	log, err := os.OpenFile(n.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	defer log.Close()
	n.process = exec.Command(os.Args[0], n.arguments...)
	n.process.Env = append(os.Environ(), asNode+"=1")
	n.process.Stderr = log
	require.NoError(t, n.process.Start())
}

// kill ends the process as a power cut would, and waits for it.
func (n *node) kill() {
	if n.process != nil {
		n.process.Process.Kill()
		n.process.Wait()
		n.process = nil
	}
}

func (n *node) log(t testing.TB) string {
	b, err := os.ReadFile(n.logFile)
	require.NoError(t, err)
	return string(b)
}

type testCluster struct {
	network string // the first three bytes of its addresses
	nodes   map[string]*node
	client  *client.Client
}

var clusters atomic.Int32

// newCluster is one without nodes.
func newCluster(t testing.TB) *testCluster {
	network := fmt.Sprintf("127.%d.%d", 64+os.Getpid()%128, clusters.Add(1))
	if l, err := net.Listen("tcp", network+".1:4100"); err != nil {
		t.Skipf("needs all of 127.0.0.0/8 on the loopback interface: %v", err)
	} else {
		l.Close()
	}
	t.TempDir() // is removed after what is cleaned up below
	c := &testCluster{network: network, nodes: make(map[string]*node)}
	var err error
	c.client, err = client.New(nil, client.Options{Timeout: 2 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() {
		c.client.Close()
		for _, n := range c.nodes {
			n.kill()
			if t.Failed() {
				t.Logf("log of %s:\n%s", n.id, n.log(t))
			}
		}
	})
	return c
}

// place is where node i is, as an element of --peers.
func (c *testCluster) place(i int) string { return fmt.Sprintf("n%d=%s.%d", i, c.network, i) }

func (c *testCluster) places(of ...int) string {
	var all []string
	for _, i := range of {
		all = append(all, c.place(i))
	}
	return strings.Join(all, ",")
}

// prepare makes node i, on an empty disk, to be started with these arguments besides those that say where it is.
func (c *testCluster) prepare(t testing.TB, i int, arguments ...string) *node {
	id, host := fmt.Sprintf("n%d", i), fmt.Sprintf("%s.%d", c.network, i)
	n := &node{id: id, host: host, data: filepath.Join(t.TempDir(), "data"), logFile: filepath.Join(t.TempDir(), "log")}
	n.arguments = append([]string{
		"--id", id, "--data", n.data, "--log-format", "json", "--advertise", host,
		"--listen-http", host + ":4100", "--listen-bus", host + ":4200", "--listen-gossip", host + ":4300",
	}, arguments...)
	require.NoError(t, c.client.Learn(id, "http://"+host+":4100"))
	c.nodes[id] = n
	return n
}

// startCluster starts size nodes, n1 and on, with further arguments for each.
func startCluster(t testing.TB, size int, arguments ...string) *testCluster {
	c := newCluster(t)
	var all []int
	for i := 1; i <= size; i++ {
		all = append(all, i)
	}
	for _, i := range all {
		c.prepare(t, i, append([]string{"--peers", c.places(all...), "--bootstrap"}, arguments...)...).start(t)
	}
	return c
}

func eventually(t testing.TB, what func() bool) {
	t.Helper()
	require.Eventually(t, what, 60*time.Second, 20*time.Millisecond)
}

// leader waits for a node, other than one, that leads and can commit.
func (c *testCluster) leader(t testing.TB, other string) (leader string) {
	t.Helper()
	eventually(t, func() bool {
		for id, n := range c.nodes {
			if id == other || n.process == nil {
				continue
			}
			if s, err := c.client.Status(t.Context(), id); err == nil && s.Role == "leader" {
				leader = id
				_, err := c.client.Read(t.Context(), id, "ready")
				return err == nil
			}
		}
		return false
	})
	return leader
}

// The node as a whole: writes and reads through any node, a leader lost and replaced, nothing lost,
// and the old leader brought up to date.
func TestClusterOutlivesItsLeader(t *testing.T) {
	for _, c := range []struct {
		name      string
		arguments []string
	}{
		{"on the disk", nil},
		{"with un-synced writes held back", []string{"--unsafe-lose-unsynced"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster := startCluster(t, 3, c.arguments...)
			first := cluster.leader(t, "")
			ctx := t.Context()
			i := 0
			for id := range cluster.nodes {
				i++
				wrote, err := cluster.client.Write(ctx, id, "k", fmt.Sprint("v", i))
				require.NoError(t, err)
				read, err := cluster.client.Read(ctx, id, "k")
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint("v", i), read.Value)
				require.Equal(t, wrote.Revision, read.Revision)
				require.Equal(t, first, read.Node)
			}
			_, err := cluster.client.CAS(ctx, first, "k", "v1", "no")
			var refused *client.Error
			require.ErrorAs(t, err, &refused)
			require.Equal(t, api.CASMismatch, refused.Type)
			require.Equal(t, "v3", *refused.Value)
			last, err := cluster.client.CAS(ctx, first, "k", "v3", "kept")
			require.NoError(t, err)

			cluster.nodes[first].kill()
			second := cluster.leader(t, first)
			read, err := cluster.client.Read(ctx, second, "k")
			require.NoError(t, err)
			require.Equal(t, "kept", read.Value)
			require.Equal(t, last.Revision, read.Revision)
			require.Greater(t, read.Term, last.Term)
			require.Contains(t, cluster.nodes[second].log(t), `"became leader"`)
			_, err = cluster.client.Write(ctx, first, "k", "lost")
			require.ErrorAs(t, err, &refused)
			require.True(t, refused.Definite, "nobody listens there")
			_, err = cluster.client.Write(ctx, second, "k", "after")
			require.NoError(t, err)

			cluster.nodes[first].start(t)
			eventually(t, func() bool {
				stale, err := cluster.client.Stale(ctx, first, "k")
				return err == nil && stale.Value == "after" && stale.Node == first
			})
		})
	}
}

// All nodes lost at once must come back with what they acknowledged.
func TestClusterOutlivesAPowerCut(t *testing.T) {
	cluster := startCluster(t, 3, "--unsafe-lose-unsynced")
	leader := cluster.leader(t, "")
	wrote, err := cluster.client.Write(t.Context(), leader, "k", "v")
	require.NoError(t, err)
	for _, n := range cluster.nodes {
		n.kill()
	}
	for _, n := range cluster.nodes {
		require.Contains(t, n.log(t), "UNSAFE")
		n.start(t)
	}
	read, err := cluster.client.Read(t.Context(), cluster.leader(t, ""), "k")
	require.NoError(t, err)
	require.Equal(t, client.Result{Value: "v", Found: true, Revision: wrote.Revision, Index: read.Index, Term: read.Term, Node: read.Node}, read)
}

// A client that never heard whether its write succeeded asks the next leader under the same number. It
// would catch sessions that are one node's own, or that a restart forgets.
func TestSessionOutlivesItsLeader(t *testing.T) {
	cluster := startCluster(t, 3)
	ctx := t.Context()
	first := cluster.leader(t, "")
	session, err := cluster.client.OpenSession(ctx, first, time.Minute)
	require.NoError(t, err)
	wrote, err := session.Write(ctx, first, "k", "v")
	require.NoError(t, err)
	require.False(t, wrote.Repeated)
	_, err = cluster.client.Write(ctx, first, "k", "another's")
	require.NoError(t, err)
	cluster.nodes[first].kill()
	second := cluster.leader(t, first)

	body := fmt.Sprintf(`{"value":"v","session":%d,"sequence":1,"acked":0}`, session.ID())
	request, err := http.NewRequest(http.MethodPut, "http://"+cluster.nodes[second].host+":4100/kv/k", strings.NewReader(body))
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	var again api.Answer
	require.NoError(t, json.NewDecoder(response.Body).Decode(&again))
	require.True(t, again.Repeated)
	require.Equal(t, wrote.Revision, again.Revision)
	read, err := cluster.client.Read(ctx, second, "k")
	require.NoError(t, err)
	require.Equal(t, "another's", read.Value)

	require.NoError(t, session.Close(ctx, second))
	var refused *client.Error
	_, err = session.Delete(ctx, second, "k")
	require.ErrorAs(t, err, &refused)
	require.Equal(t, api.SessionExpired, refused.Type)
}

// A dump says what each command is, with the fields that it uses.
func TestCommandsInADump(t *testing.T) {
	for _, c := range []struct {
		command fsm.Command
		want    string
	}{
		{fsm.Command{Op: fsm.Write, Key: "k"}, `{"op":"write","key":"k","value":""}`},
		{fsm.Command{Op: fsm.CAS, Key: "k", Expect: "u", Value: "v", Session: 9, Sequence: 3, Acked: 2},
			`{"op":"cas","key":"k","expect":"u","value":"v","session":9,"sequence":3,"acked":2}`},
		{fsm.Command{Op: fsm.Delete, Key: "k"}, `{"op":"delete","key":"k"}`},
		{fsm.Command{Op: fsm.OpenSession, TTL: 5000}, `{"op":"open-session","ttl_ms":5000}`},
		{fsm.Command{Op: fsm.CloseSession, Session: 9}, `{"op":"close-session","session":9}`},
		{fsm.Command{Op: fsm.Clock, Now: 70}, `{"op":"clock","now_ms":70}`},
	} {
		line, err := describe(raft.Entry{Index: 1, Data: c.command.Encode()})
		require.NoError(t, err)
		got, err := json.Marshal(line.Command)
		require.NoError(t, err)
		require.Equal(t, c.want, string(got))
	}
}

func TestStoppedNodeCanBeDumped(t *testing.T) {
	cluster := startCluster(t, 1)
	n := cluster.nodes["n1"]
	_, err := cluster.client.Write(t.Context(), cluster.leader(t, ""), "k", "v")
	require.NoError(t, err)
	require.NoError(t, n.process.Process.Signal(syscall.SIGTERM))
	require.NoError(t, n.process.Wait(), "a node that was told to stop ends with 0")
	n.process = nil

	var out bytes.Buffer
	require.NoError(t, dump(&out, n.data))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 3)
	var state dumpedState
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &state))
	require.Equal(t, dumpedState{Term: 1, Vote: "n1", Base: state.Base, Last: 2}, state)
	require.Contains(t, lines[1], `"no-op"`)
	require.Contains(t, lines[2], `"command":{"op":"write","key":"k","value":"v"}`)

	missing := filepath.Join(t.TempDir(), "missing")
	require.Error(t, dump(&out, missing))
	require.NoDirExists(t, missing)
}

// Would catch a leader that stops and leaves the others to an election: it must have seen another lead, in a term for which it voted,
// before it ended.
func TestStoppedLeaderHandsOver(t *testing.T) {
	cluster := startCluster(t, 3)
	leader := cluster.leader(t, "")
	before, err := cluster.client.Status(t.Context(), leader)
	require.NoError(t, err)
	n := cluster.nodes[leader]
	require.NoError(t, n.process.Process.Signal(syscall.SIGTERM))
	require.NoError(t, n.process.Wait())
	n.process = nil
	var out bytes.Buffer
	require.NoError(t, dump(&out, n.data))
	var state dumpedState
	require.NoError(t, json.NewDecoder(&out).Decode(&state))
	require.Greater(t, state.Term, before.Term)
	require.NotEqual(t, raft.NodeID(leader), state.Vote)
}

// What cannot start says why in one line, and its exit code says whose fault it is.
func TestExitCodes(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	address := busy.Addr().String()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := closed.Addr().String()
	require.NoError(t, closed.Close())
	for _, c := range []struct {
		name string
		line string
		code int
		want string
	}{
		{"unknown flag", "--colour red", 2, "unknown flag: --colour"},
		{"unknown command", "explode", 2, "explode"},
		{"no flags", "", 2, "--id"},
		{"dump without a directory", "dump", 2, "--data"},
		{"dump of nothing", "dump --data " + filepath.Join(t.TempDir(), "none"), 1, "none"},
		{"busy HTTP port", "--id n1 --peers n1=127.0.0.1 --data " + t.TempDir() + " --listen-http " + address, 1, address},
		{"an address that is none", "members --at a/b", 2, "--at"},
		{"an order to nobody", "members --timeout 5s --at " + nobody, 1, "unreachable"},
		{"an order without a name", "add --at " + nobody, 2, "arg"},
		{"a name that is none", "remove a/b --at " + nobody, 2, "a/b"},
		{"nothing to change", "change --at " + nobody, 2, "--add"},
		{"version", "version", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stderr bytes.Buffer
			p := exec.Command(os.Args[0], strings.Fields(c.line)...)
			p.Env = append(os.Environ(), asNode+"=1")
			p.Stderr = &stderr
			p.Run()
			require.Equal(t, c.code, p.ProcessState.ExitCode(), stderr.String())
			require.Contains(t, stderr.String(), c.want)
			require.LessOrEqual(t, strings.Count(stderr.String(), "\n"), 1, stderr.String())
		})
	}
}

// BenchmarkOperations measures whole operations by 32 clients, all asking the leader.
func BenchmarkOperations(b *testing.B) {
	for _, size := range []int{3, 5} {
		cluster := startCluster(b, size)
		leader := cluster.leader(b, "")
		for _, op := range []struct {
			name string
			do   func(ctx context.Context, key string, i int) error
		}{
			{"write", func(ctx context.Context, key string, i int) error {
				_, err := cluster.client.Write(ctx, leader, key, fmt.Sprint(i))
				return err
			}},
			{"read", func(ctx context.Context, key string, _ int) error {
				_, err := cluster.client.Read(ctx, leader, key)
				return err
			}},
		} {
			b.Run(fmt.Sprintf("%s/nodes=%d", op.name, size), func(b *testing.B) {
				var next, failed atomic.Int64
				var clients sync.WaitGroup
				for range 32 {
					clients.Go(func() {
						for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
							if err := op.do(context.Background(), fmt.Sprint("k", i%100), int(i)); err != nil {
								failed.Add(1)
							}
						}
					})
				}
				clients.Wait()
				require.Zero(b, failed.Load())
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
			})
		}
	}
}

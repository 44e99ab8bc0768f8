package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/api"
	"coup/raftnode/client"
	"coup/raftnode/raft"
)

// quick shortens elections, and keeps so little log that it is truncated all the time.
var quick = []string{"--tick", "25ms", "--snapshot-every", "100", "--snapshot-keep", "10"}

// joining starts node i as one that joins the cluster of some others, and waits until it may be added.
func (c *testCluster) joining(t *testing.T, i int, of []int, arguments ...string) *node {
	n := c.prepare(t, i, slices.Concat([]string{"--peers", c.places(of...), "--join"}, quick, arguments)...)
	n.start(t)
	c.awaitStanding(t, n.id, api.PhaseOutside, "to be added")
	return n
}

// awaitStanding waits until a node says of itself that it stands so.
func (c *testCluster) awaitStanding(t *testing.T, id string, phase api.Phase, waiting string) {
	t.Helper()
	var last api.Status
	defer func() {
		if t.Failed() {
			t.Logf("%s says %+v", id, last.Standing)
		}
	}()
	eventually(t, func() bool {
		s, err := c.client.Status(t.Context(), id)
		last = s
		return err == nil && s.Phase == phase && strings.Contains(s.Waiting, waiting) && (waiting != "" || s.Waiting == "")
	})
}

// raftnode gives an order by the command line, at a node, and returns what it prints, and its exit code.
func (c *testCluster) raftnode(t *testing.T, at string, line ...string) (stdout, stderr string, code int) {
	var out, problem bytes.Buffer
	p := exec.Command(os.Args[0], append(line, "--at", c.nodes[at].host)...)
	p.Env = append(os.Environ(), asNode+"=1")
	p.Stdout, p.Stderr = &out, &problem
	err := p.Run()
	var exit *exec.ExitError
	require.True(t, err == nil || errors.As(err, &exit), err)
	return out.String(), problem.String(), p.ProcessState.ExitCode()
}

// done gives an order that must succeed.
func (c *testCluster) done(t *testing.T, at string, line ...string) string {
	t.Helper()
	stdout, stderr, code := c.raftnode(t, at, line...)
	require.Zero(t, code, stderr)
	return stdout
}

// refused gives an order that must be refused, in one line.
func (c *testCluster) refused(t *testing.T, at string, line ...string) string {
	t.Helper()
	stdout, stderr, code := c.raftnode(t, at, line...)
	require.Equal(t, exitFailure, code, stdout+stderr)
	require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
	return stderr
}

// voters waits until the members are these voters, and nobody else, by the word of the leader.
func (c *testCluster) voters(t *testing.T, at string, want ...raft.NodeID) {
	t.Helper()
	eventually(t, func() bool {
		got, err := c.client.Members(t.Context(), at)
		return err == nil && got.Committed && slices.Equal(got.Voters, want) && slices.Equal(got.Members(), want)
	})
}

// load is writers that go on until they are stopped, each with a register of its own and at any node that lives.
type load struct {
	stop   context.CancelFunc
	done   sync.WaitGroup
	wrote  []int // by writer: the last number that was acknowledged
	failed []error
}

func (c *testCluster) underLoad(t *testing.T, nodes ...string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{stop: cancel, wrote: make([]int, 2), failed: make([]error, 2)}
	t.Cleanup(func() { cancel(); l.done.Wait() })
	for w := range l.wrote {
		l.done.Go(func() {
			for i := 1; ctx.Err() == nil; i++ {
				_, err := c.client.Write(ctx, nodes[i%len(nodes)], fmt.Sprint("load-", w), fmt.Sprint(i))
				if err == nil {
					l.wrote[w] = i
				}
			}
		})
	}
	return l
}

// ends stops the writers; what they were acknowledged must be there, or something later.
func (l *load) ends(t *testing.T, c *testCluster, at string) {
	l.stop()
	l.done.Wait()
	for w, wrote := range l.wrote {
		require.Positive(t, wrote, "the writer came to nothing")
		read, err := c.client.Read(t.Context(), at, fmt.Sprint("load-", w))
		require.NoError(t, err)
		var value int
		_, err = fmt.Sscan(read.Value, &value)
		require.NoError(t, err)
		require.GreaterOrEqual(t, value, wrote)
	}
}

// From one node to three, to five and back to three while clients write: nothing is lost, several changes are one
// step, the leader removes itself, and the removed know it.
func TestClusterGrowsAndShrinksUnderLoad(t *testing.T) {
	c := startCluster(t, 1, quick...)
	c.leader(t, "")
	load := c.underLoad(t, "n1", "n2", "n3")
	c.joining(t, 2, []int{1})
	c.joining(t, 3, []int{2}) // knows only of a node that is none itself yet, and hears of the leader by gossip
	out := c.done(t, "n1", "add", c.place(2), "n3", "--wait", "30s")
	require.Contains(t, out, "n2 is a voter\nn3 is a voter\n")
	c.voters(t, "n3", "n1", "n2", "n3")

	c.joining(t, 4, []int{1, 2, 3})
	c.joining(t, 5, []int{1, 2, 3})
	c.done(t, "n2", "change", "--add", c.place(4), "--add", c.place(5), "--wait", "30s")
	c.voters(t, "n5", "n1", "n2", "n3", "n4", "n5")
	var config api.Configuration
	require.NoError(t, json.Unmarshal([]byte(c.done(t, "n4", "config")), &config))
	require.Equal(t, c.network+".4:4200/4100/4300", config.Addresses["n4"])
	require.Equal(t, c.network+".1:4200/4100/4300", config.Addresses["n1"])
	require.NotContains(t, config.Addresses, raft.NodeID("n3"), "gossip found it")
	list := c.done(t, "n3", "members")
	require.Regexp(t, `(?m)^n1 +voter +127\.\S+ +\d+ +\d+ +\w+$`, list)
	require.Contains(t, list, "committed; ")

	leader := c.leader(t, "")
	other := map[bool]string{true: "n5", false: "n4"}[leader == "n4"]
	require.Contains(t, c.done(t, leader, "remove", leader, other), other+" is no member any more\n")
	next := c.leader(t, leader)
	require.NotEqual(t, other, next)
	c.awaitStanding(t, leader, api.PhaseRemoved, "was removed from the cluster")
	c.awaitStanding(t, other, api.PhaseRemoved, "add it again")
	require.Contains(t, c.nodes[other].log(t), "this node was removed from the cluster")
	load.ends(t, c, next)
	st, err := c.client.Status(t.Context(), next)
	require.NoError(t, err)
	require.Len(t, st.Configuration.Voters, 3)
	require.Greater(t, st.First, uint64(1), "the log is truncated behind snapshots")

	// A removed node that is added again goes on from its own disk.
	c.done(t, next, "add", other, "--wait", "30s")
	c.awaitStanding(t, other, api.PhaseMember, "")
	c.done(t, next, "transfer", other)
	require.Equal(t, other, c.leader(t, ""))
}

// Every refusal says why, and that nothing was done.
func TestOrdersThatCannotBe(t *testing.T) {
	c := startCluster(t, 3, append(quick, "--promotion-lag", "1")...)
	leader := c.leader(t, "")
	require.Contains(t, c.refused(t, "n1", "add", "n2"), "change_refused: confchange: add n2 refused: it is a member already")
	require.Contains(t, c.refused(t, "n1", "remove", "n1", "n2", "n3"), "no voter would be left")
	require.Contains(t, c.refused(t, "n1", "change", "--remove", "n1", "--promote", "n7"), "promote n7 refused: it is no learner")
	require.Contains(t, c.refused(t, "n1", "transfer", "n7"), "transfer_refused")
	require.Contains(t, c.refused(t, "n1", "transfer", leader), "it leads already")
	c.done(t, "n2", "add", "n8", "--learner")
	require.Contains(t, c.refused(t, "n3", "promote", "n8"), "lagging: raft: n8 lags by")
	c.done(t, "n2", "remove", "n8")
	c.voters(t, "n1", "n1", "n2", "n3")

	// A change that cannot be committed is in flight for as long as that takes, and its fate is unknown meanwhile.
	var others []string
	for id := range c.nodes {
		if id != leader {
			others = append(others, id)
		}
	}
	c.done(t, leader, "demote", others[0])
	c.done(t, leader, "promote", others[0])
	_, err := c.client.Write(t.Context(), leader, "k", "v")
	require.NoError(t, err)
	c.done(t, leader, "snapshot")
	require.Contains(t, c.refused(t, leader, "snapshot"), "snapshot_current")
	require.Contains(t, c.done(t, others[0], "step-down"), leader+" leads no longer")
	c.leader(t, "")
}

// A change that waits for a quorum is in flight: another is refused and told of it, and whoever asked for the
// first learns that its fate is unknown.
func TestChangeInFlightIsTold(t *testing.T) {
	c := startCluster(t, 3, "--election-ticks", "100", "--request-timeout", "500ms")
	leader := c.leader(t, "")
	for id, n := range c.nodes {
		if id != leader {
			n.kill() // the leader notices after five seconds
		}
	}
	_, stderr, code := c.raftnode(t, leader, "demote", leader)
	require.Equal(t, exitUnknown, code, stderr)
	require.Contains(t, stderr, "effect unknown")
	require.Contains(t, c.refused(t, leader, "remove", leader), "change_in_flight: raft: a change of members is in flight: the configuration of entry")
}

// The disk of a member is lost, and it is started as ever. It must not vote: it may have voted, and acknowledged what
// it no longer holds. It says what is to be done, and that works.
func TestWipedNodeIsReplacedUnderItsOldName(t *testing.T) {
	c := startCluster(t, 3, quick...)
	leader := c.leader(t, "")
	load := c.underLoad(t, "n1", "n2", "n3")
	n := c.nodes[map[bool]string{true: "n1", false: "n2"}[leader != "n1"]]
	n.kill()
	require.NoError(t, os.RemoveAll(n.data))
	n.start(t)
	c.awaitStanding(t, n.id, api.PhaseJoining, n.id+" to be removed: the cluster has a member of that name, and this disk is empty")
	require.Contains(t, n.log(t), "it joins as a new one")
	_, err := c.client.Read(t.Context(), n.id, "k")
	var refused *client.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, api.NotReady, refused.Type)
	require.True(t, refused.Definite)

	// With it and one other alone nobody is elected, though a majority is up: one of the two has no memory.
	third := map[string]string{"n1": "n2", "n2": "n1"}[n.id]
	if third == leader {
		third = "n3"
	}
	c.nodes[leader].kill()
	require.Never(t, func() bool {
		st, err := c.client.Status(context.Background(), third)
		return err == nil && st.Role == "leader"
	}, 2*time.Second, 50*time.Millisecond)
	c.nodes[leader].start(t)
	leader = c.leader(t, n.id)

	c.done(t, leader, "remove", n.id)
	c.awaitStanding(t, n.id, api.PhaseOutside, n.id+" to be added")
	n.kill() // that it may begin is on its disk
	n.start(t)
	c.awaitStanding(t, n.id, api.PhaseOutside, n.id+" to be added")
	c.done(t, leader, "add", n.id+"="+n.host, "--wait", "30s")
	c.awaitStanding(t, n.id, api.PhaseMember, "")
	c.done(t, leader, "transfer", n.id)
	load.ends(t, c, n.id)
}

// A directory that is empty is nobody's: a node says so in one line, unless it was told how to begin; and one that is
// another node's is left alone.
func TestNodeMustBeToldHowToBegin(t *testing.T) {
	c := newCluster(t)
	n := c.prepare(t, 1, "--peers", c.places(1, 2))
	n.start(t)
	require.Error(t, n.process.Wait())
	require.Equal(t, exitFailure, n.process.ProcessState.ExitCode())
	require.Contains(t, n.log(t), "the directory is empty: say whether this node is a first member of a new cluster, --bootstrap, or joins one, --join")
	other := c.prepare(t, 2, "--peers", c.places(1, 2), "--bootstrap")
	other.arguments = append(other.arguments, "--data", n.data)
	other.start(t)
	require.Error(t, other.process.Wait())
	require.Contains(t, other.log(t), "is the directory of n1, and this node is to be n2")
}

// First members wait for each other and say for whom; a node that waits stops when it is told to.
func TestFirstMembersWaitForEachOther(t *testing.T) {
	c := newCluster(t)
	for i := 1; i <= 3; i++ {
		c.prepare(t, i, append([]string{"--peers", c.places(1, 2, 3), "--bootstrap"}, quick...)...)
	}
	c.nodes["n1"].start(t)
	c.awaitStanding(t, "n1", api.PhaseBlank, "n2 does not answer; n3 does not answer")
	require.NoError(t, c.nodes["n1"].process.Process.Signal(os.Interrupt))
	require.NoError(t, c.nodes["n1"].process.Wait())
	c.nodes["n1"].start(t)
	c.nodes["n2"].start(t)
	c.awaitStanding(t, "n2", api.PhaseBlank, "n3 does not answer")
	c.nodes["n3"].start(t)
	c.leader(t, "")
	for id := range c.nodes {
		c.awaitStanding(t, id, api.PhaseMember, "")
	}
}

// A joiner whose entries the log no longer has is sent a snapshot.
func TestJoinerBeginsWithASnapshot(t *testing.T) {
	c := startCluster(t, 1, append(quick, "--snapshot-chunk-bytes", "1024")...)
	c.leader(t, "")
	for i := range 300 {
		_, err := c.client.Write(t.Context(), "n1", fmt.Sprint("k", i%50), strings.Repeat("v", 100))
		require.NoError(t, err)
	}
	eventually(t, func() bool {
		s, err := c.client.Status(t.Context(), "n1")
		return err == nil && s.First > 100
	})
	c.joining(t, 2, []int{1})
	c.done(t, "n1", "add", c.place(2), "--wait", "30s")
	eventually(t, func() bool {
		one, err1 := c.client.Status(t.Context(), "n1")
		two, err2 := c.client.Status(t.Context(), "n2")
		return err1 == nil && err2 == nil && two.Snapshot > 0 && two.First > 1 && one.Applied == two.Applied && one.StateHash == two.StateHash
	})
	require.Contains(t, c.nodes["n2"].log(t), "snapshot installed")
}

// A read-only peer is fed by a follower, goes to another one when that dies, counts for nothing, and answers reads.
func TestReadOnlyPeerFindsAnotherUpstream(t *testing.T) {
	c := startCluster(t, 3, quick...)
	leader := c.leader(t, "")
	reader := c.joining(t, 4, []int{1, 2, 3}, "--read-only", "--upstreams", "n1,n2")
	c.done(t, leader, "add", "n4="+reader.host, "--read-only")
	fed := func(value string) {
		t.Helper()
		eventually(t, func() bool {
			read, err := c.client.Stale(t.Context(), "n4", "k")
			return err == nil && read.Value == value && read.Node == "n4"
		})
	}
	_, err := c.client.Write(t.Context(), leader, "k", "one")
	require.NoError(t, err)
	fed("one")
	c.awaitStanding(t, "n4", api.PhaseMember, "")
	upstream := func() string {
		s, err := c.client.Status(t.Context(), "n4")
		require.NoError(t, err)
		require.Empty(t, s.Vote)
		return string(s.Upstream)
	}
	var first string
	eventually(t, func() bool { first = upstream(); return first != leader })
	c.nodes[first].kill()
	_, err = c.client.Write(t.Context(), leader, "k", "two")
	require.NoError(t, err)
	fed("two")
	require.NotEqual(t, first, upstream())
	require.Regexp(t, `(?m)^n4 +read-only `, c.done(t, leader, "members"))

	reader.kill() // and goes on from its own disk
	reader.start(t)
	c.nodes[first].start(t)
	_, err = c.client.Write(t.Context(), c.leader(t, ""), "k", "three")
	require.NoError(t, err)
	fed("three")
	c.done(t, leader, "remove", "n4")
	c.awaitStanding(t, "n4", api.PhaseRemoved, "was removed from the cluster")
}

// Every node is stopped and started again, one after the other, while clients write.
func TestRollingRestart(t *testing.T) {
	c := startCluster(t, 3, quick...)
	c.leader(t, "")
	load := c.underLoad(t, "n1", "n2", "n3")
	for _, id := range []string{"n1", "n2", "n3"} {
		n := c.nodes[id]
		require.NoError(t, n.process.Process.Signal(os.Interrupt))
		require.NoError(t, n.process.Wait())
		n.start(t)
		eventually(t, func() bool {
			own, err := c.client.Status(t.Context(), id)
			leader, err2 := c.client.Status(t.Context(), string(own.Leader))
			return err == nil && err2 == nil && own.Phase == api.PhaseMember && own.Applied+50 > leader.Commit
		})
	}
	load.ends(t, c, c.leader(t, ""))
}

// Leaders that may not lead for long hand over, or end themselves with a code of their own and are started again;
// either way clients get their work done.
func TestReignsEnd(t *testing.T) {
	for _, how := range []string{"abdicate", "exit"} {
		t.Run(how, func(t *testing.T) {
			c := startCluster(t, 3, append(quick, "--max-leader-ticks", "40", "--at-max-reign", how)...)
			supervised := make(map[string]int) // how often each ended itself
			var supervisors sync.WaitGroup
			ctx, cancel := context.WithCancel(t.Context())
			var mu sync.Mutex
			for _, n := range c.nodes {
				supervisors.Go(func() {
					for {
						n.process.Wait()
						if ctx.Err() != nil {
							return
						}
						mu.Lock()
						if n.process.ProcessState.ExitCode() == exitReignOver {
							supervised[n.id]++
						}
						mu.Unlock()
						n.start(t)
					}
				})
			}
			load := c.underLoad(t, "n1", "n2", "n3")
			terms := map[uint64]bool{}
			eventually(t, func() bool {
				for _, id := range []string{"n1", "n2", "n3"} {
					if s, err := c.client.Status(t.Context(), id); err == nil && s.Leader != "" {
						terms[s.Term] = true
					}
				}
				return len(terms) >= 4
			})
			mu.Lock()
			ended := len(supervised)
			mu.Unlock()
			require.Equal(t, how == "exit", ended > 0)
			load.ends(t, c, "n1")
			cancel()
			for _, n := range c.nodes {
				n.process.Process.Kill()
			}
			supervisors.Wait()
			for _, n := range c.nodes {
				n.process = nil
			}
		})
	}
}

// What is stored wins over the command line; the difference is logged and told.
func TestStoreWinsOverTheCommandLine(t *testing.T) {
	c := startCluster(t, 1, quick...)
	c.leader(t, "")
	n := c.nodes["n1"]
	n.kill()
	n.arguments = append(n.arguments, "--peers", c.places(1, 2, 3))
	n.start(t)
	c.leader(t, "")
	st, err := c.client.Status(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, []raft.NodeID{"n1"}, st.Configuration.Voters)
	require.Equal(t, []string{"--peers names n2, which is no member", "--peers names n3, which is no member"}, st.Disagreements)
	require.Contains(t, n.log(t), "the store wins over the command line")
}

// A node that comes back at another address is found by gossip, though the configuration still has the old one; then
// that is corrected.
func TestNodeThatMovedIsFound(t *testing.T) {
	c := startCluster(t, 3, quick...)
	leader := c.leader(t, "")
	n := c.nodes[map[bool]string{true: "n1", false: "n2"}[leader != "n1"]]
	n.kill()
	host := c.network + ".77"
	for i, a := range n.arguments {
		n.arguments[i] = strings.Replace(a, n.host+":", host+":", 1)
	}
	n.arguments = append(n.arguments, "--advertise", host)
	n.host = host
	require.NoError(t, c.client.Learn(n.id, "http://"+host+":4100"))
	n.start(t)
	_, err := c.client.Write(t.Context(), leader, "k", "moved")
	require.NoError(t, err)
	eventually(t, func() bool {
		read, err := c.client.Stale(t.Context(), n.id, "k")
		return err == nil && read.Value == "moved"
	})
	st, err := c.client.Status(t.Context(), n.id)
	require.NoError(t, err)
	require.Contains(t, strings.Join(st.Disagreements, "\n"), "raftnode move "+n.id+"="+host)
	c.done(t, leader, "move", n.id+"="+host)
	eventually(t, func() bool {
		st, err := c.client.Status(t.Context(), n.id)
		return err == nil && !strings.Contains(strings.Join(st.Disagreements, "\n"), "raftnode move")
	})
}

// Streams between nodes are secured in both directions, and the gossip is encrypted, when keys are given; a node
// without them is not heard.
func TestClusterWithKeys(t *testing.T) {
	c := newCluster(t)
	keys := newKeys(t)
	for i := 1; i <= 3; i++ {
		c.prepare(t, i, slices.Concat([]string{"--peers", c.places(1, 2, 3), "--bootstrap"}, quick, keys.of(t, fmt.Sprint("n", i)))...).start(t)
	}
	leader := c.leader(t, "")
	_, err := c.client.Write(t.Context(), leader, "k", "v")
	require.NoError(t, err)
	c.joining(t, 4, []int{1}, keys.of(t, "n4")...)
	c.done(t, leader, "add", "n4", "--wait", "30s") // by gossip, with the key

	somebody, err := parse("--id n9 --peers n1=h --advertise me --data d " + strings.Join(keys.of(t, "somebody"), " "))
	require.NoError(t, err)
	for _, way := range []struct {
		scheme string
		heard  bool
	}{{"grpcs", true}, {"grpc", false}} {
		streams, err := client.New(map[string]string{"n4": way.scheme + "://" + c.nodes["n4"].host + ":4100"},
			client.Options{TLS: somebody.clientTLS, FollowURLs: true})
		require.NoError(t, err)
		defer streams.Close()
		got, err := streams.Read(t.Context(), "n4", "k") // goes on to the leader
		require.Equal(t, way.heard, err == nil, "%v", err)
		if way.heard {
			require.Equal(t, "v", got.Value)
		}
	}

	stranger := c.joining(t, 5, []int{1})
	c.done(t, leader, "add", "n5="+stranger.host, "--learner")
	eventually(t, func() bool {
		return strings.Contains(c.nodes[leader].log(t), `"bus: link down","node":"`+leader+`","peer":"n5"`)
	})
	st, err := c.client.Status(t.Context(), "n5")
	require.NoError(t, err)
	require.Zero(t, st.LastIndex)
}

// residentMegabytes is what a node's process holds in memory.
func (n *node) residentMegabytes(t *testing.T) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.process.Process.Pid))
	require.NoError(t, err)
	var kilobytes int
	for line := range strings.Lines(string(b)) {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			_, err = fmt.Sscan(rest, &kilobytes)
			require.NoError(t, err)
		}
	}
	return kilobytes / 1024
}

// A follower that stands still, and one that is behind by far more than memory is to hold, cost the leader none: what
// they lack is on the disk. Catches a queue to a peer, or a log, that grows for as long as somebody is slow.
func TestFrozenFollowerCostsNoMemory(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("needs /proc: ", err)
	}
	c := startCluster(t, 3, append(quick, "--tick", "200ms")...) // a busy disk must not cost the leader its office
	leader := c.leader(t, "")
	frozen := c.nodes[map[bool]string{true: "n1", false: "n2"}[leader != "n1"]]
	write := func(megabytes int) {
		value := strings.Repeat("v", 256<<10)
		for i := range 4 * megabytes {
			eventually(t, func() bool {
				_, err := c.client.Write(t.Context(), leader, fmt.Sprint("k", i%8), value)
				return err == nil
			})
		}
	}
	write(40)
	before := c.nodes[leader].residentMegabytes(t)
	require.NoError(t, frozen.process.Process.Signal(syscall.SIGSTOP))
	write(150)
	after := c.nodes[leader].residentMegabytes(t)
	t.Logf("the leader's memory: %d MiB before, %d MiB after 150 MiB of writes that a follower did not take", before, after)
	require.Less(t, after, before+100)
	require.NoError(t, frozen.process.Process.Signal(syscall.SIGCONT))
	eventually(t, func() bool {
		one, err1 := c.client.Status(t.Context(), leader)
		two, err2 := c.client.Status(t.Context(), frozen.id)
		return err1 == nil && err2 == nil && one.Applied == two.Applied && one.StateHash == two.StateHash
	})
	require.Less(t, frozen.residentMegabytes(t), before+100)
}

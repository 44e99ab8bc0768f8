package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
	"coup/raftnode/store"
)

// join starts a node that belongs to nobody yet.
func (g *group) join(id raft.NodeID, upstreams ...raft.NodeID) *Replica {
	g.seed++
	g.stores[id] = store.NewMemory()
	r, err := New(Config{
		ID: id, Store: g.stores[id], Bus: g.bus, Seed: g.seed, ElectionTicks: 10, HeartbeatTicks: 2, Upstreams: upstreams,
	})
	require.NoError(g.t, err)
	g.nodes[id], g.names = r, append(g.names, id)
	g.bus.Register(id, r.Receive)
	return r
}

func (g *group) change(r *Replica, changes ...confchange.Change) *answer {
	a := &answer{}
	r.Change(changes, a.done)
	g.process()
	return a
}

// Catches a newcomer that never becomes a voter, and a change whose asker is told too early or never.
func TestNewMemberCatchesUpAndIsPromotedByItself(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.leader()
	var wrote answer
	leader.Propose(fsm.Command{Op: fsm.Write, Key: "k", Value: "v"}, wrote.done)
	g.process()
	n4 := g.join("n4")
	added := g.change(leader, confchange.Change{Op: confchange.Add, Node: "n4"})
	require.Equal(t, 1, added.calls)
	require.NoError(t, added.err)
	g.tick(10)
	require.Equal(t, []raft.NodeID{"n1", "n2", "n3", "n4"}, n4.Status().Configuration.Voters)
	require.False(t, n4.Status().Configuration.Joint())
	require.Equal(t, "v", stale(t, n4).Value)
	require.Equal(t, leader.Status().StateHash, n4.Status().StateHash)
}

// Catches a change that is answered when only its joint configuration is committed.
func TestChangeOfVotersIsAnsweredWhenItIsOver(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.leader()
	removed := g.change(leader, confchange.Change{Op: confchange.Remove, Node: other(g, leader)})
	require.Equal(t, 1, removed.calls)
	require.NoError(t, removed.err)
	require.Len(t, leader.Status().Configuration.Voters, 2)
	require.False(t, leader.Status().Configuration.Joint())
}

func other(g *group, r *Replica) raft.NodeID {
	for _, id := range g.names {
		if id != r.id {
			return id
		}
	}
	return ""
}

// Two administrators ask at once: one is accepted, and the other is told what is in flight.
func TestConcurrentChanges(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.leader()
	var first, second answer
	leader.Change([]confchange.Change{{Op: confchange.AddLearner, Node: "n8"}}, first.done)
	leader.Change([]confchange.Change{{Op: confchange.AddLearner, Node: "n9"}}, second.done)
	require.Equal(t, 1, second.calls)
	var flying *raft.ChangeInFlightError
	require.ErrorAs(t, second.err, &flying)
	require.Equal(t, []raft.NodeID{"n8"}, flying.Configuration.Learners)
	g.process()
	require.NoError(t, first.err)
	require.Equal(t, 1, first.calls)
}

// A leader that removes itself leads until that is committed, and then another leads (thesis, 4.2.2).
func TestLeaderRemovesItself(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.leader()
	removed := g.change(leader, confchange.Change{Op: confchange.Remove, Node: leader.id})
	require.NoError(t, removed.err)
	require.Equal(t, 1, removed.calls)
	g.tick(2)
	require.Equal(t, raft.Follower, leader.Status().Role)
	next := g.leader()
	require.NotEqual(t, leader.id, next.id)
	require.Len(t, next.Status().Configuration.Voters, 2)
	term := next.Status().Term
	g.tick(100)
	require.Equal(t, term, next.Status().Term, "the removed node disturbs the others")
}

// A read-only peer learns what is committed from a follower, is counted by nobody, and finds another
// upstream when it loses its own.
func TestReadOnlyPeer(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.leader()
	reader := g.join("r1", "n1", "n2", "n3")
	require.NoError(t, g.change(leader, confchange.Change{Op: confchange.AddReadOnly, Node: "r1"}).err)
	write := func(value string) {
		var wrote answer
		leader.Propose(fsm.Command{Op: fsm.Write, Key: "k", Value: value}, wrote.done)
		g.process()
		require.NoError(t, wrote.err)
		require.Equal(t, 1, wrote.calls)
	}
	write("a")
	g.tick(30)
	require.Equal(t, "a", stale(t, reader).Value)
	upstream := reader.Status().Upstream
	require.NotEqual(t, leader.id, upstream, "it hangs off a follower")
	g.stop(upstream)
	write("b")
	g.tick(60)
	require.Equal(t, "b", stale(t, reader).Value)
	require.NotEqual(t, upstream, reader.Status().Upstream)
	require.Equal(t, leader.Status().Commit, stale(t, reader).Index, "a stale read says what it is good for")

	// One voter of three and the reader are no majority.
	g.stop(other(g, leader))
	for _, id := range []raft.NodeID{"n1", "n2", "n3"} {
		if id != leader.id && g.nodes[id] != nil {
			g.stop(id)
		}
	}
	var lonely answer
	leader.Propose(fsm.Command{Op: fsm.Write, Key: "k", Value: "c"}, lonely.done)
	g.process()
	require.Zero(t, lonely.calls)
}

func TestTransferAndStepDown(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.leader()
	to := other(g, leader)
	require.NoError(t, leader.Transfer(to))
	g.process()
	require.Equal(t, raft.Leader, g.nodes[to].Status().Role)
	require.NoError(t, g.nodes[to].StepDown())
	require.NotEqual(t, raft.Leader, g.nodes[to].Status().Role)
	require.NotEqual(t, to, g.leader().id)
}

// A follower answers a read by what the leader had committed when it was asked.
func TestFollowerRead(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.leader()
	follower := g.nodes[other(g, leader)]
	var wrote, read answer
	leader.Propose(fsm.Command{Op: fsm.Write, Key: "k", Value: "v"}, wrote.done)
	g.process()
	require.NoError(t, wrote.err)
	follower.Read("k", Follower, read.done)
	g.process()
	require.Equal(t, 1, read.calls)
	require.NoError(t, read.err)
	require.Equal(t, "v", read.Value)
	require.Equal(t, follower.id, read.Node)
}

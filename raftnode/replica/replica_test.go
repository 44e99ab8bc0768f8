package replica

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/bus"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/store"
)

// group is replicas joined by a bus in memory.
type group struct {
	t      *testing.T
	bus    *bus.Memory
	names  []raft.NodeID
	nodes  map[raft.NodeID]*Replica
	stores map[raft.NodeID]*store.Memory
	seed   uint64
	cut    raft.NodeID // nothing moves from or to it
}

func newGroup(t *testing.T, size int) *group {
	g := &group{t: t, bus: bus.NewMemory(time.Second), nodes: map[raft.NodeID]*Replica{}, stores: map[raft.NodeID]*store.Memory{}}
	for i := range size {
		g.names = append(g.names, raft.NodeID(fmt.Sprintf("n%d", i+1)))
	}
	for _, id := range g.names {
		g.stores[id] = store.NewMemory()
		g.start(id, g.stores[id])
	}
	return g
}

// stale is what a node holds of the key k.
func stale(t *testing.T, r *Replica) Result {
	got, err := r.Stale("k")
	require.NoError(t, err)
	return got
}

func (g *group) start(id raft.NodeID, s store.Store) {
	g.seed++
	r, err := New(Config{ID: id, Voters: g.names, Store: s, Bus: g.bus, Seed: g.seed, ElectionTicks: 10, HeartbeatTicks: 2})
	require.NoError(g.t, err)
	g.nodes[id] = r
	g.bus.Register(id, r.Receive)
}

func (g *group) stop(id raft.NodeID) {
	delete(g.nodes, id)
	g.bus.Unregister(id)
}

func (g *group) process() {
	for moved := true; moved; {
		for _, id := range g.names {
			if r := g.nodes[id]; r != nil {
				require.NoError(g.t, r.Process())
			}
		}
		moved = false
		for transit := g.bus.Transit(); len(transit) > 0; transit = g.bus.Transit() {
			if m := transit[0].Message; g.cut != "" && (m.From == g.cut || m.To == g.cut) {
				g.bus.Drop(0)
				continue
			}
			g.bus.Deliver(0)
			moved = true
		}
	}
}

func (g *group) tick(n int) {
	for range n {
		for _, id := range g.names {
			if r := g.nodes[id]; r != nil {
				r.Tick()
			}
		}
		g.bus.Advance(50 * time.Millisecond)
		g.process()
	}
}

func (g *group) leader() *Replica {
	for range 200 {
		g.tick(1)
		for _, id := range g.names {
			if r := g.nodes[id]; r != nil && r.Status().Role == raft.Leader {
				return r
			}
		}
	}
	require.FailNow(g.t, "no leader")
	return nil
}

// answer is what a callback was called with, and how often.
type answer struct {
	Result
	err   error
	calls int
}

func (a *answer) done(r Result, err error) { a.Result, a.err, a.calls = r, err, a.calls+1 }

func TestWriteThenRead(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.leader()
	var wrote, read answer
	leader.Propose(fsm.Command{Op: fsm.Write, Key: "k", Value: "v"}, wrote.done)
	require.Zero(t, wrote.calls, "answered before a majority has it")
	g.process()
	require.Equal(t, 1, wrote.calls)
	require.NoError(t, wrote.err)
	require.EqualValues(t, 2, wrote.Revision, "after the no-op")
	require.Equal(t, leader.Status().ID, wrote.Node)

	leader.Read("k", Linearizable, read.done)
	require.Zero(t, read.calls, "answered before leadership is confirmed")
	g.process()
	require.Equal(t, 1, read.calls)
	require.Equal(t, "v", read.Value)
	require.Equal(t, wrote.Revision, read.Revision)
	require.Equal(t, leader.Status().Term, read.Term)

	g.tick(3)
	for _, r := range g.nodes {
		require.Equal(t, "v", stale(t, r).Value)
	}
}

func TestFollowerRefusesAtOnce(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.leader()
	g.tick(2)
	for id, r := range g.nodes {
		if r == leader {
			continue
		}
		var wrote, read answer
		r.Propose(fsm.Command{Op: fsm.Write, Key: "k"}, wrote.done)
		r.Read("k", Linearizable, read.done)
		for _, a := range []answer{wrote, read} {
			var notLeader *raft.NotLeaderError
			require.ErrorAs(t, a.err, &notLeader, "%s", id)
			require.Equal(t, leader.Status().ID, notLeader.Leader)
		}
	}
}

func TestReadIsRefusedAndWriteSupersededWhenLeadershipIsLost(t *testing.T) {
	g := newGroup(t, 3)
	old := g.leader()
	g.tick(3)
	oldID := old.Status().ID
	g.cut = oldID
	var wrote, read answer
	old.Propose(fsm.Command{Op: fsm.Write, Key: "k", Value: "lost"}, wrote.done)
	old.Read("k", Linearizable, read.done)
	g.tick(60)
	require.Zero(t, wrote.calls, "its fate is not known yet")
	require.Equal(t, 1, read.calls)
	var notLeader *raft.NotLeaderError
	require.ErrorAs(t, read.err, &notLeader)

	leader := g.leader()
	require.NotEqual(t, oldID, leader.Status().ID)
	var other answer
	leader.Propose(fsm.Command{Op: fsm.Write, Key: "k", Value: "kept"}, other.done)
	g.process()
	require.NoError(t, other.err)
	g.cut = ""
	g.tick(30)
	require.Equal(t, 1, wrote.calls)
	require.ErrorIs(t, wrote.err, ErrSuperseded)
	require.Equal(t, "kept", stale(t, old).Value)
	require.Equal(t, []Reign{{Term: 1, Over: true}}, old.Status().Reigns)
}

func TestRestartRebuildsStateFromLog(t *testing.T) {
	g := newGroup(t, 3)
	var wrote answer
	g.leader().Propose(fsm.Command{Op: fsm.Write, Key: "k", Value: "v"}, wrote.done)
	g.process()
	require.NoError(t, wrote.err)
	for _, id := range g.names {
		g.stop(id)
	}
	for _, id := range g.names {
		g.start(id, g.stores[id])
	}
	var read answer
	g.leader().Read("k", Linearizable, read.done)
	g.tick(5)
	require.Equal(t, "v", read.Value)
	require.Equal(t, wrote.Revision, read.Revision)
}

// A node without members and without memory waits to be made a member: its vote could take back one that it forgot.
func TestBlankNodeWaitsAndGivesNoVote(t *testing.T) {
	b, disk := bus.NewMemory(time.Second), store.NewMemory()
	for range 2 { // a restart of it is no different
		r, err := New(Config{ID: "n4", Store: disk, Bus: b})
		require.NoError(t, err)
		for range 100 {
			r.Tick()
		}
		require.NoError(t, r.Process())
		require.Equal(t, raft.Follower, r.Status().Role)
		r.Receive(raft.Message{Type: raft.MsgVote, From: "n2", To: "n4", Term: 9, ID: 1, Index: 5, LogTerm: 8})
		require.NoError(t, r.Process())
		require.True(t, b.Transit()[0].Message.Reject)
		b.Drop(0)
	}
}

// failing is a store whose writes fail from some moment on.
type failing struct {
	store.Store
	err error
}

func (f *failing) Save(hs *raft.HardState, entries []raft.Entry) error {
	if f.err != nil {
		return f.err
	}
	return f.Store.Save(hs, entries)
}

// A node whose disk fails must say nothing that relied on the write: no vote leaves it.
func TestFailedWriteStopsTheNodeBeforeItSpeaks(t *testing.T) {
	b := bus.NewMemory(time.Second)
	disk := &failing{Store: store.NewMemory()}
	r, err := New(Config{ID: "n1", Voters: []raft.NodeID{"n1", "n2", "n3"}, Store: disk, Bus: b, ElectionTicks: 10, HeartbeatTicks: 2})
	require.NoError(t, err)
	disk.err = errors.New("the disk is gone")
	r.Receive(raft.Message{Type: raft.MsgVote, From: "n2", To: "n1", Term: 1, ID: 1})
	require.ErrorIs(t, r.Process(), disk.err)
	require.Empty(t, b.Transit())
}

// Catches a node that remembers, without a bound, those whose request it may never answer: nothing of what is asked here
// is ever committed or confirmed.
func TestWhoeverWaitsIsCounted(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.leader()
	g.cut = leader.id
	refused := 0
	count := func(_ Result, err error) {
		require.ErrorIs(t, err, raft.ErrOverloaded)
		refused++
	}
	for range maxWaiting + 3 {
		leader.Propose(fsm.Command{Op: fsm.Write, Key: "k"}, count)
	}
	require.Equal(t, 3, refused)
	require.Len(t, leader.proposals, maxWaiting)
	for range maxWaiting + 3 {
		leader.Read("k", Linearizable, count)
	}
	require.Equal(t, 6, refused)
	require.Len(t, leader.asked, maxWaiting)
}

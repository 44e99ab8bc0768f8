package replica

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/store"
)

// ledger notes what becomes of a state.
type ledger struct {
	applied  []uint64
	restored []uint64
}

func (l *ledger) Applied(e raft.Entry, _ fsm.Result, _ uint64) {
	l.applied = append(l.applied, e.Index)
}
func (l *ledger) Restored(b raft.Base, _ uint64) { l.restored = append(l.restored, b.Index) }

// onPebble starts a node whose log and state are in Pebble.
func (g *group) onPebble(id raft.NodeID, disk vfs.FS, l *ledger) *store.Pebble {
	db, err := store.OpenPebble("/data", disk, nil)
	require.NoError(g.t, err)
	state, err := db.State()
	require.NoError(g.t, err)
	g.seed++
	r, err := New(Config{
		ID: id, Voters: g.names, Store: db, State: state, Bus: g.bus, Seed: g.seed, ElectionTicks: 10, HeartbeatTicks: 2, Observer: l,
		Snapshots: Snapshots{RestoreBytes: 4 << 10},
	})
	require.NoError(g.t, err)
	g.nodes[id] = r
	g.bus.Register(id, r.Receive)
	return db
}

func (g *group) write(r *Replica, key, value string) {
	var wrote answer
	r.Propose(fsm.Command{Op: fsm.Write, Key: key, Value: value}, wrote.done)
	g.process()
	require.NoError(g.t, wrote.err)
	require.Equal(g.t, 1, wrote.calls)
}

// Would catch a start that makes the state anew, and one that applies an entry twice or leaves one out.
func TestStateOutlivesItsProcess(t *testing.T) {
	g := newGroup(t, 3)
	g.stop("n1")
	disk := vfs.NewMem()
	first := &ledger{}
	db := g.onPebble("n1", disk, first)
	leader := g.leader()
	for i := range 20 {
		g.write(leader, "k", fmt.Sprint(i))
	}
	g.tick(4)
	applied := first.applied[len(first.applied)-1]
	hash := g.nodes["n1"].Status().StateHash
	g.stop("n1")
	require.NoError(t, db.Close())

	again := &ledger{}
	db = g.onPebble("n1", disk, again)
	require.Equal(t, []uint64{applied}, again.restored)
	require.Empty(t, again.applied)
	status := g.nodes["n1"].Status()
	require.Equal(t, applied, status.Applied)
	require.Equal(t, applied, status.Commit, "what was applied is committed")
	require.Equal(t, hash, status.StateHash)
	require.Equal(t, "19", stale(t, g.nodes["n1"]).Value)

	leader = g.leader()
	g.write(leader, "k", "later")
	g.tick(4)
	require.Equal(t, applied+1, again.applied[0], "the next entry, once")
	require.Equal(t, "later", stale(t, g.nodes["n1"]).Value)
	require.Equal(t, leader.Status().StateHash, g.nodes["n1"].Status().StateHash)
	g.stop("n1")
	require.NoError(t, db.Close())
}

// Would catch a restoration that holds up all else, one in which two states are mixed, and an entry that is applied to the
// state before it. In the midst of it the process ends once, and the next begins it anew.
func TestRestorationInSteps(t *testing.T) {
	g := newGroup(t, 3)
	behind := raft.NodeID("n1")
	g.stop(behind)
	disk := vfs.NewMem()
	l := &ledger{}
	db := g.onPebble(behind, disk, l)
	g.cut = behind
	leader := g.leader()
	for leader.id == behind {
		leader = g.leader()
	}
	g.cut = ""
	g.tick(30)
	leader = g.leader()
	require.NotEqual(t, behind, leader.id)
	g.write(leader, "k", "old")
	g.tick(4)
	g.cut = behind
	for i := range 60 {
		g.write(leader, fmt.Sprint("key-", i), strings.Repeat("v", 1000))
	}
	g.write(leader, "k", "new")
	leader.snapshots.ChunkBytes = 1 << 10
	require.NoError(t, leader.TakeSnapshot())
	g.tick(30)
	g.cut = ""

	// until steps on until a condition holds.
	until := func(condition func() bool) {
		for step := 0; !condition(); step++ {
			require.Less(t, step, 5000)
			if transit := g.bus.Transit(); len(transit) > 0 {
				g.bus.Deliver(0)
			} else {
				for _, id := range g.names {
					g.nodes[id].Tick()
				}
				g.bus.Advance(50 * time.Millisecond)
			}
			for _, id := range g.names {
				if g.nodes[id].restoring == nil {
					require.NoError(t, g.nodes[id].Process())
				}
			}
		}
	}
	until(func() bool { return g.nodes[behind].restoring != nil })
	require.Equal(t, "old", stale(t, g.nodes[behind]).Value)
	require.NoError(t, g.nodes[behind].Process())
	require.NotNil(t, g.nodes[behind].restoring, "one step is not enough")
	require.Equal(t, "old", stale(t, g.nodes[behind]).Value)
	require.ErrorIs(t, g.nodes[behind].TakeSnapshot(), ErrSnapshotting)
	status := g.nodes[behind].Status()
	require.Less(t, status.Applied, status.Snapshot)

	require.NoError(t, db.Close())
	l = &ledger{}
	db = g.onPebble(behind, disk, l)
	r := g.nodes[behind]
	require.NotNil(t, r.restoring, "it begins anew")
	require.Equal(t, "old", stale(t, r).Value)
	// What is committed meanwhile waits.
	g.write(leader, "k", "newest")
	snapshot := r.Status().Snapshot
	for step := 0; r.restoring != nil; step++ {
		require.Equal(t, "old", stale(t, r).Value)
		require.Empty(t, l.applied)
		require.NoError(t, r.Process())
		require.Less(t, step, 100)
	}
	require.Equal(t, []uint64{snapshot}, l.restored)
	g.tick(10)
	require.Equal(t, snapshot+1, l.applied[0])
	require.Equal(t, "newest", stale(t, r).Value)
	require.Equal(t, g.nodes[leader.id].Status().StateHash, r.Status().StateHash)
	g.stop(behind)
	require.NoError(t, db.Close())
}

// Would catch a store that takes back what the state rests on, and a node that starts on it.
func TestStateAheadOfTheLogIsRefused(t *testing.T) {
	g := newGroup(t, 1)
	disk := vfs.NewMem()
	db, err := store.OpenPebble("/data", disk, nil)
	require.NoError(t, err)
	state, err := db.State()
	require.NoError(t, err)
	require.NoError(t, db.Bootstrap(raft.Base{Configuration: raft.Configuration{Voters: g.names}}))
	kv, err := fsm.Open(state)
	require.NoError(t, err)
	for index := uint64(1); index <= 9; index++ {
		require.NoError(t, kv.Skip(index))
	}
	require.NoError(t, kv.Commit())
	_, err = New(Config{ID: "n9", Voters: g.names, Store: db, State: state, Bus: g.bus})
	require.ErrorContains(t, err, "were applied, and the log ends at 0")
	require.NoError(t, db.Close())
}

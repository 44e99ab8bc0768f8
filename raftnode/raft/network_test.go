package raft

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft/confchange"
	"coup/raftnode/raft/invariant"
)

// network is some cores, their disks, and the messages between them. After every step the invariants
// are checked.
type network struct {
	t         require.TestingT
	nodes     map[NodeID]*Raft
	disks     map[NodeID]*disk
	names     []NodeID
	flying    []Message
	cut       func(from, to NodeID) bool
	config    Config
	seed      uint64
	upstreams map[NodeID][]NodeID // of those that joined later
	applied   map[NodeID][]Entry
	answers   map[NodeID][]ReadState
	checker   *invariant.Checker

	committed []Entry // ever, on any node
	truncated int     // suffixes that were replaced
	installed int     // snapshots of others
	fed       int     // entries that read-only peers applied
	handed    int     // leaders that their predecessor chose
	leased    int     // reads that a lease answered
	followed  int     // reads that a follower answered

	chosen map[uint64]bool   // terms for which a leader told somebody to campaign
	lives  map[NodeID]uint64 // which life of a node this is
}

func newNetwork(t require.TestingT, size int, seed uint64) *network {
	n := &network{
		t: t, nodes: map[NodeID]*Raft{}, disks: map[NodeID]*disk{}, seed: seed,
		applied: map[NodeID][]Entry{}, answers: map[NodeID][]ReadState{}, checker: invariant.New(),
		upstreams: map[NodeID][]NodeID{}, chosen: map[uint64]bool{}, lives: map[NodeID]uint64{},
	}
	for i := range size {
		n.names = append(n.names, NodeID(fmt.Sprintf("n%d", i+1)))
	}
	for _, id := range n.names {
		n.disks[id] = newDisk(slices.Clone(n.names)...)
		n.start(id)
	}
	return n
}

// join starts an empty node that knows no members, and whom to ask should it become a read-only peer.
func (n *network) join(id NodeID) {
	n.upstreams[id] = slices.Clone(n.names)
	n.names = append(n.names, id)
	n.disks[id] = newDisk()
	n.start(id)
}

func (n *network) start(id NodeID) {
	c := n.config
	n.seed++
	c.ID, c.Storage, c.Seed, c.Upstreams = id, n.disks[id], n.seed, n.upstreams[id]
	r, err := New(c)
	require.NoError(n.t, err)
	n.nodes[id], n.applied[id], n.lives[id] = r, nil, n.seed
	n.holds(n.checker.Start(id, core{r}, n.disks[id]))
	if n.disks[id].snapshot.Index > 0 {
		n.restore(id)
	}
}

func (n *network) crash(id NodeID) {
	delete(n.nodes, id)
	n.checker.Stop(id)
}

// holds fails the test if an invariant does not hold.
func (n *network) holds(err error) {
	if err != nil {
		require.NoError(n.t, err)
	}
}

func (n *network) restore(id NodeID) {
	s := n.disks[id].snapshot
	n.applied[id] = n.disks[id].restored(n.t)
	m := invariant.Mark{Index: s.Index, Term: s.Term, Checksum: s.Checksum}
	n.holds(n.checker.Restore(id, m, s.Configuration, stateHash(n.applied[id])))
}

// stateHash tells states apart that came from different entries: checksums are cumulative.
func stateHash(applied []Entry) uint64 { return uint64(applied[len(applied)-1].Checksum) }

func (n *network) send(id NodeID, messages []Message) {
	for _, m := range messages {
		n.holds(n.checker.Sent(id, promise(m)))
		if m.Type == MsgReadIndex {
			m.ID = n.lives[id]
		}
		n.flying = append(n.flying, m)
	}
}

// process does what a driver does for one Ready. crashAt, if positive, ends the node after that many
// of the parts: early messages, the write, the messages.
func (n *network) process(id NodeID, crashAt int) {
	r := n.nodes[id]
	for r != nil {
		last := n.disks[id].LastIndex()
		rd, err := r.Ready()
		require.NoError(n.t, err)
		if rd.Empty() {
			break
		}
		n.send(id, rd.Early)
		if crashAt == 1 {
			n.crash(id)
			return
		}
		if len(rd.Entries) > 0 && rd.Entries[0].Index <= last {
			n.truncated++
		}
		n.disks[id].save(rd)
		if crashAt == 2 {
			n.crash(id)
			return
		}
		if rd.Install != nil {
			n.installed++
			n.restore(id)
		}
		n.send(id, rd.Messages)
		if crashAt == 3 {
			n.crash(id)
			return
		}
		if r.fed() {
			n.fed += len(rd.Committed)
		}
		for _, e := range rd.Committed {
			n.apply(id, e)
		}
		n.answers[id] = append(n.answers[id], rd.Reads...)
		r.Advance()
	}
	n.holds(n.checker.Step(id))
}

func (n *network) apply(id NodeID, e Entry) {
	n.applied[id] = append(n.applied[id], e)
	n.holds(n.checker.Apply(id, invariant.Mark{Index: e.Index, Term: e.Term, Checksum: e.Checksum}, stateHash(n.applied[id])))
	if int(e.Index) > len(n.committed) {
		n.committed = append(n.committed, e)
	}
}

// snapshot publishes one of what a node has applied, and truncates its log behind it but for keep entries.
func (n *network) snapshot(id NodeID, keep uint64) {
	r := n.nodes[id]
	if r.Applied() <= r.LatestSnapshot().Index {
		return
	}
	b, err := r.BaseAt(r.Applied())
	require.NoError(n.t, err)
	if len(b.Configuration.Voters) == 0 {
		return // a new member that has not come to the entry that made it one
	}
	r.Snapshotted(n.disks[id].publish(b, n.applied[id]))
	b, err = r.BaseAt(r.Truncatable(keep, 4*keep))
	require.NoError(n.t, err)
	n.disks[id].truncate(b)
	r.Truncated(b)
}

// deliver hands over message i, if there is somebody to take it.
func (n *network) deliver(i int, keep bool) {
	m := n.flying[i]
	if !keep {
		n.flying = slices.Delete(n.flying, i, i+1)
	}
	r := n.nodes[m.To]
	if r == nil || n.cut != nil && n.cut(m.From, m.To) {
		if sender := n.nodes[m.From]; sender != nil {
			sender.Unreachable(m)
		}
		return
	}
	if m.Type == MsgReadIndexReply && m.ID != n.lives[m.To] {
		return // the bus hands nobody an answer to what he asked before he was restarted
	}
	if m.Type == MsgVote && m.Transfer {
		n.chosen[m.Term] = true
	}
	require.NoError(n.t, r.Step(m))
}

// settle ticks everybody and delivers everything, rounds times, in order.
func (n *network) settle(rounds int) {
	for range rounds {
		for _, id := range n.names {
			if r := n.nodes[id]; r != nil {
				r.Tick()
				n.process(id, 0)
			}
		}
		n.drain()
	}
}

func (n *network) drain() {
	for len(n.flying) > 0 {
		to := n.flying[0].To
		n.deliver(0, false)
		n.process(to, 0)
	}
}

// leader is the node that leads the highest term, or nil.
func (n *network) leader() *Raft {
	var best *Raft
	for _, id := range n.names {
		if r := n.nodes[id]; r != nil && r.role == Leader && (best == nil || r.term > best.term) {
			best = r
		}
	}
	return best
}

// elect settles until somebody leads.
func (n *network) elect() *Raft {
	for range 20 {
		n.settle(10)
		if l := n.leader(); l != nil {
			return l
		}
	}
	require.FailNow(n.t, "no leader after 200 ticks")
	return nil
}

func (n *network) isolate(cut ...NodeID) {
	n.cut = func(from, to NodeID) bool { return slices.Contains(cut, from) != slices.Contains(cut, to) }
}

func (n *network) heal() { n.cut = nil }

// TestRandomSchedules would catch most bugs of elections, replication, commitment, membership and
// snapshots: under random delays, losses, duplicates, cuts, changes of members, snapshots, truncations,
// and crashes at every point of a write, the invariants hold after every step; healed, the cluster
// elects a leader, answers and converges.
func TestRandomSchedules(t *testing.T) {
	seeds := 400
	if testing.Short() {
		seeds = 50
	}
	elections, truncated, installed, changed, promoted, fed, handed, leased, followed := 0, 0, 0, 0, 0, 0, 0, 0, 0
	for seed := range seeds {
		n := runRandomSchedule(t, uint64(seed))
		elections += n.checker.Leaders()
		truncated += n.truncated
		installed += n.installed
		fed += n.fed
		handed += n.handed
		leased += n.leased
		followed += n.followed
		joined := false
		for _, e := range n.committed {
			if e.Type == EntryConfiguration {
				changed++
				c, err := decodeConfiguration(&e)
				require.NoError(t, err)
				joined = joined || slices.Contains(c.Voters, "s1") || slices.Contains(c.Voters, "s2")
			}
		}
		if joined {
			promoted++
		}
	}
	require.Greater(t, elections, 2*seeds, "the schedules force too few elections to prove anything")
	require.Greater(t, truncated, seeds/8, "the schedules truncate too few suffixes to prove anything")
	require.Greater(t, installed, seeds/4, "the schedules install too few snapshots to prove anything")
	require.Greater(t, changed, seeds, "the schedules change members too rarely to prove anything")
	require.Greater(t, promoted, seeds/10, "too few newcomers become voters to prove anything")
	require.Greater(t, fed, seeds, "read-only peers are fed too little to prove anything")
	require.Greater(t, handed, seeds/10, "leadership is handed over too rarely to prove anything")
	require.Greater(t, leased, seeds, "leases answer too few reads to prove anything")
	require.Greater(t, followed, seeds, "followers answer too few reads to prove anything")
}

func runRandomSchedule(t *testing.T, seed uint64) *network {
	rng := rand.New(rand.NewPCG(seed, 1))
	n := newNetwork(t, 3+2*rng.IntN(2), seed*1000)
	dropRate, duplicateRate, crashRate := rng.IntN(20), rng.IntN(20), rng.IntN(8)
	batchRate := []int{0, 0, 30, 70}[rng.IntN(4)] // of events that are processed along with later ones
	changeRate, snapshotRate, keep := rng.IntN(4), rng.IntN(4), uint64(rng.IntN(8))
	// With leases the clocks of all nodes go on together, also those of nodes that are down.
	leases := rng.IntN(3) == 0
	if leases {
		n.config.LeaseDrift = 10
		for _, id := range n.names {
			n.start(id)
		}
	}
	if changeRate > 0 {
		n.join("s1")
		n.join("s2")
	}
	readID := uint64(0)
	floor := map[uint64]uint64{} // of each read, what it must at least see
	for step := range 4000 {
		id := n.names[rng.IntN(len(n.names))]
		r := n.nodes[id]
		switch k := rng.IntN(100); {
		case r == nil:
			if rng.IntN(10) == 0 {
				n.start(id)
			}
		case k < 25 && !leases:
			r.Tick()
		case k < 25:
			if rng.IntN(len(n.names)) == 0 {
				for _, r := range n.nodes {
					r.Tick()
				}
			}
		case k < 70 && len(n.flying) > 0:
			i := rng.IntN(min(len(n.flying), 12))
			id = n.flying[i].To
			if rng.IntN(100) < dropRate {
				n.nodes[id].dropped(n, i)
			} else {
				n.deliver(i, rng.IntN(100) < duplicateRate)
			}
		case k < 80:
			_, _, _ = r.Propose([]byte(fmt.Sprint(step)))
		case k < 85:
			if l := n.leader(); l != nil && rng.IntN(6) < changeRate {
				id = l.config.ID
				_, _, _ = l.ProposeChange(n.randomChanges(rng))
			} else if rng.IntN(10) < snapshotRate {
				n.snapshot(id, keep)
			} else if l != nil && rng.IntN(10) == 0 {
				id = l.config.ID
				_ = l.Transfer(n.names[rng.IntN(len(n.names))])
			}
		case k < 92:
			readID++
			floor[readID] = n.checker.BeginRead()
			ask := []func(uint64) error{r.ReadIndex, r.LeaseRead, r.FollowerReadIndex}[rng.IntN(3)]
			_ = ask(readID)
		case k == 92:
			n.isolate(n.names[:1+rng.IntN(len(n.names)-1)]...)
		case k == 93:
			from, to := n.names[rng.IntN(len(n.names))], id
			n.cut = func(f, t NodeID) bool { return f == from && t == to }
		case k < 96:
			n.heal()
		}
		if batched := rng.IntN(100) < batchRate; n.nodes[id] != nil && !batched {
			crashAt := 0
			if rng.IntN(300) < crashRate {
				crashAt = 1 + rng.IntN(3)
			}
			n.process(id, crashAt)
		}
		for _, id := range n.names {
			for _, a := range n.answers[id] {
				if a.Err == nil {
					n.holds(n.checker.AnswerRead(floor[a.ID], a.Index))
					if a.Lease {
						n.leased++
					} else if r := n.nodes[id]; r != nil && r.role != Leader {
						n.followed++
					}
				}
			}
			if r := n.nodes[id]; r != nil && r.role == Leader && n.chosen[r.term] {
				delete(n.chosen, r.term)
				n.handed++
			}
			n.answers[id] = nil
		}
		// Whatever is committed may have been acknowledged.
		n.checker.Acknowledged(n.checker.Committed())
		if t.Failed() {
			t.Fatalf("seed %d, step %d", seed, step)
		}
	}

	n.heal()
	for _, id := range n.names {
		if n.nodes[id] == nil {
			n.start(id)
		}
	}
	n.drain()
	n.elect()
	n.settle(100) // a change that was under way ends
	leader := n.elect()
	for _, id := range n.names {
		if !leader.Configuration().Contains(id) {
			n.crash(id) // or a read-only peer may go on asking it, and learn nothing new
		}
	}
	n.settle(100)
	leader = n.elect()
	_, _, err := leader.Propose([]byte("last"))
	require.NoError(t, err, "L2: seed %d", seed)
	n.settle(100)
	// A read-only peer is on its own: one that an older configuration sends to nodes that serve it no more,
	// or that does not know yet that it is one, has nobody to tell it.
	members := slices.DeleteFunc(leader.Configuration().Members(), func(id NodeID) bool {
		return leader.Configuration().IsReadOnly(id) && n.nodes[id].ConfigurationIndex() != leader.ConfigurationIndex()
	})
	require.NoError(t, n.checker.Converged(members...), "seed %d", seed)
	for _, id := range members {
		require.Equal(t, n.committed, n.applied[id], "L3: seed %d: %s did not converge", seed, id)
	}
	last := func(e Entry) bool { return string(e.Data) == "last" }
	require.True(t, slices.ContainsFunc(n.committed, last), "L2: seed %d", seed) // perhaps a promotion came after it
	return n
}

// randomChanges are one to three; most of them are refused.
func (n *network) randomChanges(rng *rand.Rand) []confchange.Change {
	var changes []confchange.Change
	for range 1 + rng.IntN(3) {
		changes = append(changes, confchange.Change{
			Op: []confchange.Op{
				confchange.Add, confchange.AddLearner, confchange.AddReadOnly,
				confchange.Promote, confchange.Demote, confchange.Remove,
			}[rng.IntN(6)],
			Node: n.names[rng.IntN(len(n.names))],
		})
	}
	return changes
}

// dropped loses message i; its sender hears of it as of a time-out.
func (r *Raft) dropped(n *network, i int) {
	m := n.flying[i]
	n.flying = slices.Delete(n.flying, i, i+1)
	if sender := n.nodes[m.From]; sender != nil && !m.Type.IsReply() {
		sender.Unreachable(m)
	}
	if sender := n.nodes[m.To]; sender != nil && m.Type.IsReply() {
		sender.Unreachable(Message{Type: m.Type - 1, To: m.From, Term: sender.term, Epoch: m.Epoch, ReadRound: m.ReadRound})
	}
}

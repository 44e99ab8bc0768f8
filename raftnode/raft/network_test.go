package raft

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// disk is a Storage that forgets nothing and checks nothing.
type disk struct {
	hs      HardState
	base    Base
	entries []Entry
	writes  int
}

func newDisk(voters ...NodeID) *disk {
	slices.Sort(voters)
	return &disk{base: Base{Configuration: Configuration{Voters: voters}}}
}

func (d *disk) Load() (State, error) {
	s := State{HardState: d.hs, Base: d.base, Last: d.base.Index + uint64(len(d.entries))}
	for _, e := range d.entries {
		if e.Type == EntryConfiguration {
			s.Configurations = append(s.Configurations, e)
		}
	}
	return s, nil
}

func (d *disk) Entries(lo, hi uint64, maxBytes int) ([]Entry, error) {
	if lo <= d.base.Index || hi > d.base.Index+uint64(len(d.entries))+1 {
		return nil, fmt.Errorf("no entries [%d, %d)", lo, hi)
	}
	found := d.entries[lo-1-d.base.Index : hi-1-d.base.Index]
	size := 0
	for i, e := range found {
		if size += len(e.Data); i > 0 && size > maxBytes {
			return found[:i], nil
		}
	}
	return found, nil
}

func (d *disk) save(rd Ready) {
	if rd.HardState != nil {
		d.hs = *rd.HardState
		d.writes++
	}
	if len(rd.Entries) > 0 {
		d.entries = append(slices.Clip(d.entries[:rd.Entries[0].Index-1-d.base.Index]), rd.Entries...)
		d.writes++
	}
}

// network is some cores, their disks, and the messages between them. After every step it checks
// what Raft promises of all histories so far; the names I1... are those of the invariants.
type network struct {
	t       require.TestingT
	nodes   map[NodeID]*Raft
	disks   map[NodeID]*disk
	names   []NodeID
	flying  []Message
	cut     func(from, to NodeID) bool
	config  Config
	seed    uint64
	applied map[NodeID][]Entry
	answers map[NodeID][]ReadState

	leaders   map[uint64]NodeID // of each term, ever (I1)
	committed []Entry           // ever, on any node (I4, I5)
	terms     map[NodeID]uint64 // highest seen (I6)
	votes     map[NodeID]map[uint64]NodeID
	elections int
	truncated int
}

func newNetwork(t require.TestingT, size int, seed uint64) *network {
	n := &network{
		t: t, nodes: map[NodeID]*Raft{}, disks: map[NodeID]*disk{}, seed: seed,
		applied: map[NodeID][]Entry{}, answers: map[NodeID][]ReadState{},
		leaders: map[uint64]NodeID{}, terms: map[NodeID]uint64{}, votes: map[NodeID]map[uint64]NodeID{},
	}
	for i := range size {
		n.names = append(n.names, NodeID(fmt.Sprintf("n%d", i+1)))
	}
	for _, id := range n.names {
		n.disks[id] = newDisk(slices.Clone(n.names)...)
		n.votes[id] = map[uint64]NodeID{}
		n.start(id)
	}
	return n
}

func (n *network) start(id NodeID) {
	c := n.config
	n.seed++
	c.ID, c.Storage, c.Seed = id, n.disks[id], n.seed
	r, err := New(c)
	require.NoError(n.t, err)
	n.nodes[id], n.applied[id] = r, nil
	require.GreaterOrEqual(n.t, r.term, n.terms[id], "I6: %s forgot its term", id)
}

func (n *network) crash(id NodeID) { delete(n.nodes, id) }

// process does what a driver does for one Ready. crashAt, if positive, ends the node after that many
// of the parts: early messages, the write, the messages.
func (n *network) process(id NodeID, crashAt int) {
	r := n.nodes[id]
	for r != nil {
		last := n.disks[id].base.Index + uint64(len(n.disks[id].entries))
		rd, err := r.Ready()
		require.NoError(n.t, err)
		if rd.Empty() {
			break
		}
		n.flying = append(n.flying, rd.Early...)
		if crashAt == 1 {
			n.crash(id)
			return
		}
		if len(rd.Entries) > 0 && rd.Entries[0].Index <= last {
			require.NotEqual(n.t, Leader, r.role, "I2: leader %s rewrites its log", id)
			n.truncated++
		}
		n.disks[id].save(rd)
		if crashAt == 2 {
			n.crash(id)
			return
		}
		n.flying = append(n.flying, rd.Messages...)
		if crashAt == 3 {
			n.crash(id)
			return
		}
		for _, e := range rd.Committed {
			n.apply(id, e)
		}
		n.answers[id] = append(n.answers[id], rd.Reads...)
		r.Advance()
	}
	n.check(id)
}

func (n *network) apply(id NodeID, e Entry) {
	require.EqualValues(n.t, len(n.applied[id])+1, e.Index, "I12: %s applies out of order", id)
	n.applied[id] = append(n.applied[id], e)
	if int(e.Index) > len(n.committed) {
		n.committed = append(n.committed, e)
		return
	}
	require.Equal(n.t, n.committed[e.Index-1], e, "I5: %s applies another entry %d", id, e.Index)
}

func (n *network) check(id NodeID) {
	r := n.nodes[id]
	if r == nil {
		return
	}
	require.GreaterOrEqual(n.t, r.term, n.terms[id], "I6: the term of %s went back", id)
	n.terms[id] = r.term
	if r.vote != "" {
		if before, voted := n.votes[id][r.term]; voted {
			require.Equal(n.t, before, r.vote, "I7: %s votes twice in term %d", id, r.term)
		}
		n.votes[id][r.term] = r.vote
	}
	require.LessOrEqual(n.t, r.log.applied, r.log.commit, "I8")
	require.LessOrEqual(n.t, r.log.commit, r.log.last(), "I8")
	if r.role != Leader {
		return
	}
	if _, known := n.leaders[r.term]; !known {
		n.leaders[r.term] = id
		n.elections++
		for _, e := range n.committed {
			at, err := r.log.at(e.Index)
			require.NoError(n.t, err, "I4: %s leads term %d without entry %d", id, r.term, e.Index)
			require.Equal(n.t, e.Checksum, at.checksum, "I4: %s leads term %d with another entry %d", id, r.term, e.Index)
		}
	}
	require.Equal(n.t, n.leaders[r.term], id, "I1: two leaders in term %d", r.term)
	for peer, p := range r.peers {
		require.Less(n.t, p.match, p.next, "I9")
		require.LessOrEqual(n.t, p.match, n.disks[peer].base.Index+uint64(len(n.disks[peer].entries)), "I9: match of %s is not durable", peer)
	}
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

// TestRandomSchedules would catch most bugs of elections, replication and commitment: under random
// delays, losses, duplicates, cuts and crashes at every point of a write, the invariants hold after
// every step; healed, the cluster elects a leader, answers and converges.
func TestRandomSchedules(t *testing.T) {
	seeds := 400
	if testing.Short() {
		seeds = 50
	}
	elections, truncated := 0, 0
	for seed := range seeds {
		n := runRandomSchedule(t, uint64(seed))
		elections += n.elections
		truncated += n.truncated
	}
	require.Greater(t, elections, 2*seeds, "the schedules force too few elections to prove anything")
	require.Greater(t, truncated, seeds/4, "the schedules truncate too few suffixes to prove anything")
}

func runRandomSchedule(t *testing.T, seed uint64) *network {
	rng := rand.New(rand.NewPCG(seed, 1))
	n := newNetwork(t, 3+2*rng.IntN(2), seed*1000)
	dropRate, duplicateRate, crashRate := rng.IntN(20), rng.IntN(20), rng.IntN(8)
	acknowledged, readID := uint64(0), uint64(0)
	floor := map[uint64]uint64{} // of each read, what was committed when it was asked
	for step := range 3000 {
		id := n.names[rng.IntN(len(n.names))]
		r := n.nodes[id]
		switch k := rng.IntN(100); {
		case r == nil:
			if rng.IntN(10) == 0 {
				n.start(id)
			}
		case k < 25:
			r.Tick()
		case k < 75 && len(n.flying) > 0:
			i := rng.IntN(min(len(n.flying), 12))
			id = n.flying[i].To
			if rng.IntN(100) < dropRate {
				n.nodes[id].dropped(n, i)
			} else {
				n.deliver(i, rng.IntN(100) < duplicateRate)
			}
		case k < 85:
			_, _, _ = r.Propose([]byte(fmt.Sprint(step)))
		case k < 92:
			readID++
			if r.ReadIndex(readID) == nil {
				floor[readID] = acknowledged
			}
		case k == 92:
			n.isolate(n.names[:1+rng.IntN(len(n.names)-1)]...)
		case k == 93:
			from, to := n.names[rng.IntN(len(n.names))], id
			n.cut = func(f, t NodeID) bool { return f == from && t == to }
		case k < 96:
			n.heal()
		}
		if n.nodes[id] != nil {
			crashAt := 0
			if rng.IntN(300) < crashRate {
				crashAt = 1 + rng.IntN(3)
			}
			n.process(id, crashAt)
		}
		for _, id := range n.names {
			for _, a := range n.answers[id] {
				if a.Err == nil {
					require.GreaterOrEqual(t, a.Index, floor[a.ID], "I16: seed %d: a read misses what was committed before it", seed)
				}
			}
			n.answers[id] = nil
		}
		acknowledged = uint64(len(n.committed))
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
	leader := n.elect()
	_, _, err := leader.Propose([]byte("last"))
	require.NoError(t, err)
	n.settle(30)
	for _, id := range n.names {
		require.Equal(t, n.committed, n.applied[id], "L3: seed %d: %s did not converge", seed, id)
	}
	require.Equal(t, "last", string(n.committed[len(n.committed)-1].Data), "L2: seed %d", seed)
	return n
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

func (d *disk) Snapshot() (Snapshot, error)      { return Snapshot{}, nil }
func (d *disk) Chunk(_, _ uint64) (Chunk, error) { return Chunk{}, ErrSnapshotGone }

package raft

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Snapshots and truncation (paper, 7; thesis, 5).

// lacking is three voters, of which n1 leads; n3 has been cut off for so long that n1 and n2, who have
// snapshots of the same state, no longer have what it needs. It is connected again, and nothing was sent.
func lacking(t *testing.T) *network {
	n := led(t, 3, Config{})
	n.isolate("n3")
	n.fill("n1", 20)
	n.settle(2)
	n.snapshot("n1", 0)
	n.snapshot("n2", 0)
	require.EqualValues(t, 21, n.nodes["n1"].log.base.Index)
	require.True(t, n.nodes["n1"].snapshot.Same(n.nodes["n2"].snapshot))
	n.heal()
	return n
}

// chunks has a leader send until k chunks of a snapshot have been answered by n3, and stops the one after.
func (n *network) chunks(leader NodeID, k int) {
	for range 20 {
		n.nodes[leader].Tick()
		n.process(leader, 0)
		n.hold(func(m Message) bool {
			return m.Type == MsgSnapshot && m.To == "n3" && m.Chunk.Number >= uint64(k)
		})
		if n.nodes["n3"].received.Next >= uint64(k) {
			return
		}
	}
	require.FailNow(n.t, "no chunk came")
}

// converge settles, and all must have applied the same.
func (n *network) converge() {
	n.settle(60)
	for _, id := range n.names {
		if n.nodes[id] != nil {
			require.Equal(n.t, n.committed, n.applied[id], "%s", id)
		}
	}
}

// Each chunk is checked against all before it, and the last against what the leader said of the whole.
func TestSnapshotComesInOrderUnderCumulativeChecksum_7(t *testing.T) {
	n := lacking(t)
	r, d := n.nodes["n3"], n.disks["n3"]
	n.chunks("n1", 1)
	s, have := r.received.Snapshot, r.received
	require.Equal(t, have, d.received)
	send := func(c Chunk) error {
		return n.step(Message{Type: MsgSnapshot, From: "n1", To: "n3", Term: r.term, Snapshot: &s, Chunk: c})
	}
	chunk := func(i int) Chunk { return n.disks["n1"].chunks[i] }
	wants := func() uint64 {
		m := n.flying[len(n.flying)-1]
		require.Equal(t, MsgSnapshotReply, m.Type)
		require.Zero(t, m.Index)
		return m.Chunk.Number
	}
	require.NoError(t, send(chunk(2)))
	require.EqualValues(t, 1, wants(), "one that is not the next is left")
	require.NoError(t, send(chunk(0)))
	require.EqualValues(t, 1, wants())
	bad := chunk(1)
	bad.Data = append(slices.Clone(bad.Data), '!')
	require.ErrorContains(t, send(bad), "chunk 1 fails its checksum")
	require.EqualValues(t, 1, wants())
	bad = chunk(1)
	bad.Checksum++
	require.ErrorContains(t, send(bad), "chunk 1 fails its checksum")
	require.Equal(t, have, r.received)
	require.NoError(t, send(chunk(1)))
	require.EqualValues(t, 2, wants())

	wrong := s
	wrong.ContentChecksum++ // another snapshot, of which these are no chunks
	for i := range 3 {
		err := n.step(Message{Type: MsgSnapshot, From: "n1", To: "n3", Term: r.term, Snapshot: &wrong, Chunk: chunk(i)})
		require.Equal(t, i == 2, err != nil)
	}
	require.EqualValues(t, 0, wants(), "all of it is worth nothing")
	require.Nil(t, r.install)
	n.converge()
	require.Equal(t, 1, n.installed)
	require.Equal(t, s, r.snapshot)
	require.Equal(t, s.Base, r.log.base)
}

// Whatever chunks and answers are lost, doubled and come in disorder, the snapshot arrives.
func TestSnapshotSurvivesLossDuplicationAndDisorder_7(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 2))
		n := lacking(t)
		for range 400 {
			if len(n.flying) == 0 || rng.IntN(8) == 0 {
				n.nodes["n1"].Tick()
				n.process("n1", 0)
				continue
			}
			i := rng.IntN(len(n.flying))
			m := n.flying[i]
			if rng.IntN(4) == 0 {
				n.nodes[m.To].dropped(n, i)
			} else {
				n.deliver(i, rng.IntN(4) == 0)
			}
			n.process(m.To, 0)
		}
		require.Equal(t, 1, n.installed, "seed %d", seed)
		n.flying = nil
		n.converge()
	}
}

// The next leader goes on where the last one was stopped, if its snapshot is the same, and begins anew
// if it is not; and so it is after a restart of the receiver.
func TestSnapshotIsResumedFromNextLeader_7(t *testing.T) {
	for _, k := range []struct {
		same, restart bool
	}{{true, false}, {true, true}, {false, false}, {false, true}} {
		t.Run(fmt.Sprintf("%+v", k), func(t *testing.T) {
			n := lacking(t)
			n.chunks("n1", 2)
			n.crash("n1")
			if k.restart {
				n.start("n3")
				require.EqualValues(t, 2, n.nodes["n3"].received.Next)
			}
			sent := map[uint64]int{}
			count := func() {
				n.hold(func(m Message) bool {
					if m.Type == MsgSnapshot {
						sent[m.Chunk.Number]++
						require.Equal(t, NodeID("n2"), m.From)
					}
					return false
				})
			}
			if !k.same {
				n.nodes["n3"].timeout = 1 << 30
				for n.nodes["n2"].role != Leader {
					n.nodes["n2"].Tick()
					n.nodes["n3"].Tick()
					n.process("n2", 0)
					n.hold(isType(MsgSnapshot))
				}
				d, r := n.disks["n2"], n.nodes["n2"]
				b := d.snapshot.Base
				d.publish(b, n.applied["n2"][:b.Index])
				d.chunks[0].Data = append([]byte(" "), d.chunks[0].Data...) // the same state, written otherwise
				sum := uint32(0)
				for i := range d.chunks {
					sum = NextContentChecksum(sum, d.chunks[i].Data)
					d.chunks[i].Checksum = sum
				}
				d.snapshot.ContentChecksum = sum
				r.snapshot = d.snapshot
				for _, p := range r.peers {
					p.probe(1)
				}
			}
			for range 60 {
				for _, id := range []NodeID{"n2", "n3"} {
					n.nodes[id].Tick()
					n.process(id, 0)
				}
				count()
			}
			require.Equal(t, NodeID("n2"), n.leader().config.ID)
			require.Equal(t, 1, n.installed)
			require.Equal(t, n.committed, n.applied["n3"])
			if k.same {
				require.Zero(t, sent[1], "what was received is not sent again: %v", sent)
			} else {
				require.Positive(t, sent[1], "%v", sent)
			}
		})
	}
}

// While a snapshot is sent a newer one takes its place: the sender begins anew, and a late chunk of the
// older one does not make the receiver go back.
func TestSnapshotIsOvertakenByNewer_7(t *testing.T) {
	n := lacking(t)
	n.chunks("n1", 2)
	r := n.nodes["n3"]
	older, late := r.received.Snapshot, n.disks["n1"].chunks
	n.isolate("n3")
	n.fill("n1", 5)
	n.snapshot("n1", 0)
	_, err := n.disks["n1"].Chunk(older.Index, 2)
	require.ErrorIs(t, err, ErrSnapshotGone)
	n.heal()
	n.chunks("n1", 1)
	require.Greater(t, r.received.Snapshot.Index, older.Index)
	have := r.received
	for _, c := range late {
		require.NoError(t, n.step(Message{Type: MsgSnapshot, From: "n1", To: "n3", Term: r.term, Snapshot: &older, Chunk: c}))
	}
	require.Equal(t, have, r.received)
	n.flying = nil
	n.converge()
	require.Equal(t, 1, n.installed)
	require.Equal(t, have.Snapshot, r.snapshot)
}

// The next leader's snapshot may be older than what was received of the last one's: it is the one that comes.
func TestSnapshotOfNextLeaderMayBeOlder_7(t *testing.T) {
	n := lacking(t)
	n.isolate("n3")
	n.fill("n1", 5)
	n.snapshot("n1", 0)
	n.heal()
	n.chunks("n1", 2)
	n.settle(0)
	newer := n.nodes["n3"].received.Snapshot
	require.Greater(t, newer.Index, n.nodes["n2"].snapshot.Index)
	n.crash("n1")
	n.converge()
	require.Equal(t, 1, n.installed)
	require.Equal(t, n.nodes["n2"].snapshot, n.nodes["n3"].snapshot)
}

// A receiver that hears nothing for an election time-out campaigns, and loses nothing of what it has.
func TestReceiverThatCampaignsKeepsWhatItReceived_7(t *testing.T) {
	n := lacking(t)
	n.chunks("n1", 2)
	r := n.nodes["n3"]
	have := r.received
	for _, ask := range []Role{PreCandidate, Candidate} {
		r.campaign(ask, false)
		n.process("n3", 0)
		n.flying = nil
		require.Equal(t, have, r.received)
	}
	n.settle(60)
	require.Equal(t, have.Snapshot, n.disks["n3"].snapshot)
	n.converge()
	require.Equal(t, 1, n.installed)
}

// It would take back what was applied (I13).
func TestSnapshotIsNeverInstalledBelowCommit_7(t *testing.T) {
	n := led(t, 3, Config{})
	n.fill("n1", 5)
	n.snapshot("n1", 0)
	s := n.disks["n1"].snapshot
	n.fill("n1", 5)
	n.settle(2)
	r := n.nodes["n2"]
	before := r.log.commit
	require.Greater(t, before, s.Index)
	for _, c := range n.disks["n1"].chunks {
		require.NoError(t, n.step(Message{Type: MsgSnapshot, From: "n1", To: "n2", Term: r.term, Snapshot: &s, Chunk: c}))
		answer := n.flying[len(n.flying)-1]
		require.Equal(t, before, answer.Index, "it says what it holds instead")
	}
	require.Zero(t, n.installed)
	require.Zero(t, r.received)
	require.Equal(t, before, r.log.commit)
}

// Of a snapshot whose last entry the log holds only that is news that it is committed: what follows it
// must stay, for the leader may count on it.
func TestSnapshotOfEntriesThatAreHeldOnlyCommits_7(t *testing.T) {
	entries := build(1, 1, 1, 1)
	n := newNetwork(t, 3, 1)
	r := n.nodes["n2"]
	require.NoError(t, n.step(Message{Type: MsgAppend, From: "n1", To: "n2", Term: 1, Entries: entries}))
	s := Snapshot{Base: Base{Index: 2, Term: 1, Checksum: entries[1].Checksum}, Chunks: 1}
	require.NoError(t, n.step(Message{Type: MsgSnapshot, From: "n1", To: "n2", Term: 1, Snapshot: &s}))
	require.EqualValues(t, 2, n.flying[len(n.flying)-1].Index)
	require.EqualValues(t, 2, r.log.commit)
	require.EqualValues(t, 4, r.log.last())
	require.Zero(t, n.installed)

	other := s
	other.Index, other.Term, other.Chunks = 3, 2, 2
	require.NoError(t, n.step(Message{Type: MsgSnapshot, From: "n1", To: "n2", Term: 1, Snapshot: &other}))
	require.EqualValues(t, 1, n.flying[len(n.flying)-1].Chunk.Number, "an entry of another term is another entry")
	require.EqualValues(t, 2, r.log.commit)

	s.Index, s.Checksum = 3, 1
	err := r.Step(Message{Type: MsgSnapshot, From: "n1", To: "n2", Term: 1, Snapshot: &s})
	var broken *InvariantError
	require.ErrorAs(t, err, &broken, "an equal entry over another past")
	_, err = r.Ready()
	require.ErrorAs(t, err, &broken)
}

// Entries that are not on disk yet, and that conflict with the snapshot, are gone with its installation, and
// so is the configuration among them; entries that come after it in the same batch stay.
func TestSnapshotTakesPlaceOfEntriesThatWait_7(t *testing.T) {
	n := lacking(t)
	n.chunks("n1", 2)
	r := n.nodes["n3"]
	from := r.log.last()
	end, err := r.log.end()
	require.NoError(t, err)
	stale := Entry{
		Index: from + 1, Term: r.term, Type: EntryConfiguration,
		Data: EncodeConfiguration(Configuration{Voters: []NodeID{"n1", "n2", "n3", "n9"}, Outgoing: []NodeID{"n1", "n2", "n3"}}),
	}
	stale.Checksum = NextChecksum(end.checksum, stale)
	r.fail(r.append(stale))
	require.True(t, r.Configuration().Joint())
	s := r.received.Snapshot
	require.NoError(t, r.Step(Message{Type: MsgSnapshot, From: "n1", To: "n3", Term: r.term, Snapshot: &s, Chunk: n.disks["n1"].chunks[2]}))
	require.Equal(t, s.Configuration, r.Configuration())
	next := Entry{Index: s.Index + 1, Term: r.term, Data: []byte("x")}
	next.Checksum = NextChecksum(s.Checksum, next)
	require.NoError(t, r.Step(Message{Type: MsgAppend, From: "n1", To: "n3", Term: r.term, Index: s.Index, LogTerm: s.Term, Checksum: s.Checksum, Entries: []Entry{next}}))
	rd, err := r.Ready()
	require.NoError(t, err)
	require.Equal(t, &s, rd.Install)
	require.Equal(t, []Entry{next}, rd.Entries)
	require.Empty(t, rd.Committed)
}

// A newer snapshot may begin to come before the driver has installed the last one, of which nothing must
// get lost.
func TestSnapshotIsInstalledBeforeNextIsGathered(t *testing.T) {
	n := lacking(t)
	n.chunks("n1", 2)
	r := n.nodes["n3"]
	s, last := r.received.Snapshot, n.disks["n1"].chunks[2]
	n.isolate("n3")
	n.fill("n1", 5)
	n.snapshot("n1", 0)
	newer := n.disks["n1"].snapshot
	require.NoError(t, r.Step(Message{Type: MsgSnapshot, From: "n1", To: "n3", Term: r.term, Snapshot: &s, Chunk: last}))
	require.NoError(t, r.Step(Message{Type: MsgSnapshot, From: "n1", To: "n3", Term: r.term, Snapshot: &newer, Chunk: n.disks["n1"].chunks[0]}))
	n.process("n3", 0)
	require.Equal(t, s, n.disks["n3"].snapshot)
	require.Len(t, n.applied["n3"], int(s.Index))
	n.heal()
	n.converge()
}

// A node that restarts goes on from its snapshot and the configuration in it.
func TestSnapshotCarriesConfiguration_5_1(t *testing.T) {
	n := led(t, 3, Config{})
	n.blank("n4")
	n.change("n1", "add", "n4")
	n.settle(3)
	n.isolate("n3")
	n.change("n1", "remove", "n2")
	n.fill("n1", 5)
	n.settle(1)
	n.snapshot("n1", 0)
	n.snapshot("n4", 0)
	want := Configuration{Voters: []NodeID{"n1", "n3", "n4"}}
	require.Equal(t, want, n.nodes["n1"].log.base.Configuration)
	n.start("n1")
	require.Equal(t, want, n.configuration("n1"))
	n.heal()
	n.crash("n2")
	n.settle(60)
	require.Equal(t, want, n.configuration("n3"))
	require.Equal(t, want, n.nodes["n3"].log.base.Configuration)
	require.Positive(t, n.installed)
	require.Equal(t, n.committed, n.applied["n3"])
}

// A snapshot may be taken in the middle of a change: the joint configuration is then that of the base.
func TestSnapshotInJointConfiguration_5_1(t *testing.T) {
	n := withSpares(t)
	require.NoError(t, n.ask("n1", "promote", "n4", "remove", "n3"))
	n.process("n1", 0)
	n.hold(func(m Message) bool { return m.Type == MsgAppend && !n.configuration("n1").Joint() })
	n.flying = nil
	joint := n.nodes["n1"].ConfigurationIndex() - 1
	b, err := n.nodes["n1"].BaseAt(joint)
	require.NoError(t, err)
	require.True(t, b.Configuration.Joint())
	r := n.nodes["n2"]
	r.log.commit = joint
	n.process("n2", 0)
	n.snapshot("n2", 0)
	require.Equal(t, joint, r.log.base.Index)
	require.Equal(t, joint, r.ConfigurationIndex())
	n.start("n2")
	require.Equal(t, b.Configuration, n.configuration("n2"))
	n.crash("n1")
	n.crown("n2")
	n.settle(5)
	require.Equal(t, []NodeID{"n1", "n2", "n4"}, n.configuration("n2").Voters)
	require.False(t, n.configuration("n2").Joint(), "a leader finishes what its base began")
}

// Truncation spares what peers that answer still need, but not for ever, and nothing for those that are
// silent, and never more than the snapshot covers.
func TestTruncationSparesSlowFollowersUpToBound(t *testing.T) {
	n := led(t, 3, Config{})
	leader := n.nodes["n1"]
	require.Zero(t, leader.Truncatable(0, 100), "there is no snapshot")
	n.fill("n1", 20)
	n.settle(1)
	match := leader.peers["n3"].match
	for range 20 {
		_, _, err := leader.Propose([]byte("x"))
		require.NoError(t, err)
		n.process("n1", 0)
		n.hold(func(m Message) bool { return m.Type == MsgAppend && m.To == "n3" })
	}
	b, err := leader.BaseAt(leader.log.applied - 2)
	require.NoError(t, err)
	leader.Snapshotted(n.disks["n1"].publish(b, n.applied["n1"][:b.Index]))
	last := leader.log.last()
	require.Equal(t, match, leader.Truncatable(0, 100), "what n3 needs")
	require.Equal(t, last-5, leader.Truncatable(0, 5), "but no more than 5 for that")
	require.Equal(t, b.Index, leader.Truncatable(0, 0), "no more than the snapshot covers")
	require.Equal(t, match, leader.Truncatable(3, 100))
	require.Equal(t, last-10, leader.Truncatable(10, 0), "the last 10 stay in any case")
	require.Zero(t, leader.Truncatable(1000, 0))
	n.isolate("n3")
	n.settle(15)
	require.Equal(t, Leader, leader.role)
	require.Equal(t, b.Index, leader.Truncatable(0, 100), "n3 is not heard any more")
	require.Equal(t, n.nodes["n2"].snapshot.Index, n.nodes["n2"].Truncatable(0, 100))
}

// A receiver of a snapshot needs what comes after that.
func TestTruncationSparesWhatFollowsSnapshotBeingSent(t *testing.T) {
	n := led(t, 3, Config{})
	n.isolate("n3")
	n.fill("n1", 20)
	n.settle(15)
	n.snapshot("n1", 5)
	require.Less(t, n.nodes["n1"].log.base.Index, n.nodes["n1"].snapshot.Index, "else the test proves nothing")
	n.heal()
	n.chunks("n1", 1)
	sent := n.nodes["n1"].peers["n3"].snapshot.Index
	require.True(t, n.nodes["n1"].Sending())
	for range 10 {
		_, _, err := n.nodes["n1"].Propose([]byte("x"))
		require.NoError(t, err)
		n.process("n1", 0)
		n.hold(func(m Message) bool { return m.To == "n3" })
	}
	n.nodes["n1"].Snapshotted(Snapshot{Base: Base{Index: n.nodes["n1"].log.applied}})
	require.Equal(t, sent, n.nodes["n1"].Truncatable(0, 100))
}

// Below the base a leader cannot compare: a probe that gets there turns into a snapshot, whether the follower's
// log is short, or conflicts at the base itself.
func TestProbeBelowBaseTurnsIntoSnapshot_7(t *testing.T) {
	for name, log := range map[string][]Entry{
		"empty": nil, "short": build(1, 1), "conflicting": build(1, 1, 1, 2, 2, 2, 2, 2),
		"longer": build(1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2), "shorter and of an older term": build(1, 1, 1, 1, 1),
	} {
		for _, another := range []bool{false, true} { // leader, that begins to probe at its base
			t.Run(fmt.Sprint(name, another), func(t *testing.T) {
				entries := build(1, 1, 1, 3, 3, 3)
				n := withLogs(t, entries, entries, log)
				n.isolate("n3")
				n.crown("n1")
				n.fill("n1", 3)
				n.settle(1)
				n.snapshot("n1", 0)
				n.snapshot("n2", 0)
				require.EqualValues(t, 10, n.nodes["n2"].log.base.Index)
				n.heal()
				if another {
					n.crash("n1")
					n.crown("n2")
				}
				n.converge()
				require.Equal(t, 1, n.installed)
			})
		}
	}
}

// A follower that only misses the last entries is not sent a snapshot.
func TestNoSnapshotWhereEntriesDo_7(t *testing.T) {
	n := led(t, 3, Config{})
	n.fill("n1", 10)
	n.settle(1)
	n.isolate("n3")
	n.fill("n1", 5)
	n.snapshot("n1", 5)
	require.Positive(t, n.nodes["n1"].log.base.Index)
	n.heal()
	n.converge()
	require.Zero(t, n.installed)
}

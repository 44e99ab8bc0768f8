package raft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Reads: sections are those of the thesis.

// A round that half of four voters confirmed is enough once one of them is removed: the read must not wait
// for who was lost meanwhile, nor for another read (L2).
func TestReadIsAnsweredWhenConfigurationShrinks_6_4(t *testing.T) {
	n := led(t, 4, Config{})
	require.NoError(t, n.ask("n1", "remove", "n4"))
	n.process("n1", 0)
	appends := n.hold(isType(MsgAppend))
	require.NoError(t, n.nodes["n1"].ReadIndex(1))
	n.process("n1", 0)
	n.isolate("n3", "n4")
	n.drain()
	require.Empty(t, n.answers["n1"])
	n.heal()
	for _, m := range appends[:2] { // to n2 and n3
		require.NoError(t, n.step(m))
	}
	require.Len(t, n.flying, 2)
	for _, m := range n.flying {
		require.NoError(t, n.nodes["n1"].Step(m))
	}
	n.flying = nil
	n.isolate("n3", "n4")
	n.process("n1", 0)
	n.settle(3)
	require.Equal(t, []NodeID{"n1", "n2", "n3"}, n.configuration("n1").Voters)
	require.Equal(t, n.nodes["n1"].log.last(), n.nodes["n1"].log.commit)
	require.Len(t, n.answers["n1"], 1)
	require.NoError(t, n.answers["n1"][0].Err)
}

// What was said before a read arrived proves nothing about it, also when a round is under way.
func TestReadNeedsAnswersThatPostdateIt_6_4(t *testing.T) {
	n := led(t, 3, Config{})
	leader := n.nodes["n1"]
	require.NoError(t, leader.ReadIndex(1))
	n.process("n1", 0)
	first := n.flying
	n.flying = nil
	require.NoError(t, leader.ReadIndex(2))
	n.process("n1", 0)
	n.flying = nil // the second round is lost
	for _, m := range first {
		require.NoError(t, n.step(m))
	}
	n.drain()
	require.Len(t, n.answers["n1"], 1)
	require.EqualValues(t, 1, n.answers["n1"][0].ID)
	n.settle(1)
	require.Len(t, n.answers["n1"], 2, "the next heartbeat asks again")
}

// A new leader does not know what is committed before an entry of its own term is.
func TestReadOfNewLeaderWaitsForItsNoOp_6_4(t *testing.T) {
	n := led(t, 3, Config{})
	n.propose(n.nodes["n1"], "acknowledged")
	acknowledged := n.nodes["n1"].log.commit
	require.Less(t, n.nodes["n2"].log.commit, acknowledged, "else the test proves nothing")
	n.crash("n1")
	r := n.nodes["n2"]
	n.cut = func(from, to NodeID) bool { return to == "n2" && r.role == Leader }
	n.nodes["n3"].timeout = 1 << 30
	for range 40 {
		n.settle(1)
		if r.role == Leader {
			break
		}
	}
	require.Equal(t, Leader, r.role)
	require.NoError(t, r.ReadIndex(1))
	require.NoError(t, r.LeaseRead(2))
	n.process("n2", 0)
	n.drain()
	require.Empty(t, n.answers["n2"])
	n.heal()
	n.settle(2)
	require.Len(t, n.answers["n2"], 2)
	for _, a := range n.answers["n2"] {
		require.NoError(t, a.Err)
		require.Greater(t, a.Index, acknowledged)
	}
}

// Heartbeats are answered and the no-op is not: that is a lease, and no knowledge of what is committed.
func TestLeaseReadOfNewLeaderWaitsForItsNoOp_6_4_1(t *testing.T) {
	n := led(t, 3, Config{LeaseDrift: 10})
	n.crash("n1")
	r := n.nodes["n2"]
	for range 60 {
		n.nodes["n3"].timeout = 1 << 30
		n.nodes["n3"].Tick()
		r.Tick()
		n.process("n2", 0)
		n.hold(isType(MsgAppendReply))
		if r.lease.held {
			break
		}
	}
	require.True(t, r.lease.held)
	require.False(t, n.lease("n2"))
}

// lease asks for a read by the lease, and tells whether it was answered without asking anybody.
func (n *network) lease(id NodeID) bool {
	n.answers[id] = nil
	require.NoError(n.t, n.nodes[id].LeaseRead(9))
	n.process(id, 0)
	quiet := len(n.flying) == 0
	n.flying = nil
	answered := len(n.answers[id]) == 1
	if answered {
		require.True(n.t, n.answers[id][0].Lease)
		require.True(n.t, quiet)
	}
	return answered
}

// The lease begins when a round is sent that a quorum answers, not when the answers come, and is over before
// anybody who answered may vote for another.
func TestLeaseReadWithinLeaseOnly_6_4_1(t *testing.T) {
	n := led(t, 3, Config{LeaseDrift: 10})
	require.Equal(t, uint64(8), n.nodes["n1"].leaseTicks(), "9 ticks less 10 percent")
	n.nodes["n1"].Tick()
	n.process("n1", 0)
	replies := n.hold(isType(MsgHeartbeatReply))
	for range 3 {
		n.nodes["n1"].Tick()
		n.process("n1", 0)
		n.flying = nil
	}
	n.hand(replies)
	for range 4 {
		n.nodes["n1"].Tick()
		n.process("n1", 0)
		n.flying = nil
		require.True(t, n.lease("n1"))
	}
	n.nodes["n1"].Tick() // the eighth since the round was sent
	n.process("n1", 0)
	n.flying = nil
	require.False(t, n.lease("n1"))
	n.settle(1)
	require.True(t, n.lease("n1"))
}

func TestOneAnswerOfFiveIsNoLease_6_4_1(t *testing.T) {
	n := led(t, 5, Config{LeaseDrift: 10})
	n.isolate("n3", "n4", "n5")
	n.settle(8)
	require.Equal(t, Leader, n.nodes["n1"].role)
	require.False(t, n.lease("n1"))
}

func TestNoLeaseWithoutDriftBound_6_4_1(t *testing.T) {
	n := led(t, 3, Config{})
	n.settle(2)
	require.False(t, n.lease("n1"))
}

// Once somebody was told to campaign, nothing that is heard later brings the lease back in this term: the
// order may be under way for long.
func TestNoLeaseAfterTransferWasBegun_3_10(t *testing.T) {
	n := led(t, 3, Config{LeaseDrift: 10})
	n.settle(1)
	require.True(t, n.lease("n1"))
	require.NoError(t, n.nodes["n1"].Transfer("n2"))
	n.process("n1", 0)
	order := n.hold(isType(MsgTimeoutNow))
	require.Len(t, order, 1)
	require.False(t, n.lease("n1"))
	n.nodes["n2"].timeout, n.nodes["n3"].timeout = 1<<30, 1<<30
	for range 15 {
		n.settle(1)
	}
	require.Equal(t, Leader, n.nodes["n1"].role)
	_, _, err := n.nodes["n1"].Propose([]byte("x"))
	require.NoError(t, err, "the transfer was given up")
	require.False(t, n.lease("n1"), "and n2 may still come to hear of it")
	n.hand(order)
	require.Equal(t, NodeID("n2"), n.leader().config.ID)
}

// Two of three answered a round; one of them restarts, and must not help to elect another while the lease
// that rests on its answer may last.
func TestRestartedVoterKeepsLease_6_4_1(t *testing.T) {
	for _, drift := range []int{10, 0} {
		n := led(t, 3, Config{LeaseDrift: drift})
		n.settle(2)
		n.isolate("n3")
		n.settle(11) // n3 has heard nobody for long
		n.start("n2")
		ask := Message{Type: MsgVote, From: "n3", To: "n2", Term: 9, Index: 99, LogTerm: 9}
		require.NoError(t, n.step(ask))
		require.Equal(t, drift > 0, n.flying[len(n.flying)-1].Reject)
		if drift == 0 {
			continue
		}
		for range n.nodes["n2"].config.ElectionTicks {
			n.nodes["n2"].Tick()
		}
		require.NoError(t, n.step(ask))
		require.False(t, n.flying[len(n.flying)-1].Reject, "it keeps still for an election time-out, and no longer")
	}
}

// A voter that answered the leader, and hears of a later term, goes on defending that leader's lease: a
// candidate of the later term may still collect votes.
func TestVoterOfLaterTermKeepsLease_6_4_1(t *testing.T) {
	n := led(t, 5, Config{LeaseDrift: 10})
	n.isolate("n3", "n4", "n5")
	r := n.nodes["n3"]
	// n3 hears the leader no more, asks for pre-votes, and gives one to n4, which campaigns with n5.
	for range 25 {
		n.nodes["n3"].Tick()
		n.process("n3", 0)
	}
	term := n.nodes["n1"].term
	late := Message{Type: MsgPreVoteReply, From: "n5", To: "n3", Term: term + 1, Reject: true}
	// Then it is back with the leader, and is one of the three that answer.
	n.flying = nil
	n.cut = func(from, to NodeID) bool { return from == "n4" || from == "n5" || to == "n4" || to == "n5" }
	n.settle(2)
	require.Equal(t, NodeID("n1"), r.leader)
	require.NoError(t, n.step(late))
	require.Equal(t, term+1, r.term)
	n.flying = nil
	require.NoError(t, n.step(Message{Type: MsgVote, From: "n4", To: "n3", Term: term + 1, Index: 99, LogTerm: term}))
	n.flying = nil
	require.True(t, n.lease("n1"), "else the test proves nothing")
	require.Equal(t, NodeID(""), r.vote, "with n4, n5 and n3 there would be another leader")
}

// A follower answers by what the leader has committed when it is asked, though it does not know that yet.
func TestFollowerReadTakesLeadersIndex_6_4(t *testing.T) {
	n := led(t, 3, Config{})
	n.propose(n.nodes["n1"], "x")
	r := n.nodes["n2"]
	require.Less(t, r.log.commit, n.nodes["n1"].log.commit, "else the test proves nothing")
	require.NoError(t, r.FollowerReadIndex(7))
	n.process("n2", 0)
	n.drain()
	require.Equal(t, []ReadState{{ID: 7, Index: n.nodes["n1"].log.commit}}, n.answers["n2"])
}

// The leader confirms itself for a follower's read as it does for its own: a deposed one must not answer.
func TestFollowerReadIsConfirmedByQuorum_6_4(t *testing.T) {
	n := led(t, 5, Config{})
	n.isolate("n1", "n2")
	require.NoError(t, n.nodes["n2"].FollowerReadIndex(7))
	n.process("n2", 0)
	n.drain()
	n.settle(5)
	require.Empty(t, n.answers["n2"])
	n.settle(60)
	require.Len(t, n.answers["n2"], 1, "it ends when the leader steps down")
	require.Error(t, n.answers["n2"][0].Err)
}

func TestFollowerReadEndsWithoutLeader_6_4(t *testing.T) {
	refused := func(t *testing.T, n *network) {
		n.nodes["n2"].campaign(PreCandidate, false) // must not refuse once more
		n.process("n2", 0)
		require.Len(t, n.answers["n2"], 1)
		var notLeader *NotLeaderError
		require.ErrorAs(t, n.answers["n2"][0].Err, &notLeader)
	}
	t.Run("none known", func(t *testing.T) {
		n := newNetwork(t, 3, 1)
		var notLeader *NotLeaderError
		require.ErrorAs(t, n.nodes["n2"].FollowerReadIndex(7), &notLeader)
	})
	t.Run("question lost", func(t *testing.T) {
		n := led(t, 3, Config{})
		n.isolate("n2")
		require.NoError(t, n.nodes["n2"].FollowerReadIndex(7))
		n.process("n2", 0)
		n.drain()
		n.process("n2", 0)
		refused(t, n)
	})
	t.Run("leader lost", func(t *testing.T) {
		n := led(t, 3, Config{})
		require.NoError(t, n.nodes["n2"].FollowerReadIndex(7))
		n.process("n2", 0)
		n.flying = nil // neither answered nor known to be lost
		n.crash("n1")
		n.settle(40)
		refused(t, n)
	})
	t.Run("leader is none any more", func(t *testing.T) {
		n := led(t, 3, Config{})
		require.NoError(t, n.nodes["n2"].FollowerReadIndex(7))
		require.NoError(t, n.nodes["n1"].StepDown())
		n.process("n2", 0)
		n.drain()
		refused(t, n)
	})
}

// What an earlier leader answered is too old for a read that was asked of a later one.
func TestAnswerOfEarlierTermIsNone_6_4(t *testing.T) {
	n := led(t, 3, Config{})
	r := n.nodes["n2"]
	require.NoError(t, r.FollowerReadIndex(7))
	n.process("n2", 0)
	late := n.hold(isType(MsgReadIndexReply))
	require.Len(t, late, 1)
	n.crash("n1")
	n.crown("n3")
	n.propose(n.nodes["n3"], "x")
	require.Len(t, n.answers["n2"], 1)
	require.Error(t, n.answers["n2"][0].Err)
	require.NoError(t, r.FollowerReadIndex(8))
	late[0].ReadRound = r.readRound
	require.NoError(t, n.step(late[0]))
	require.Len(t, n.answers["n2"], 1)
	n.drain()
	require.Len(t, n.answers["n2"], 2)
	require.Equal(t, n.nodes["n3"].log.commit, n.answers["n2"][1].Index)
}

// Each answer belongs to its question, in whatever order they come.
func TestFollowerReadsAreAnsweredInAnyOrder_6_4(t *testing.T) {
	n := led(t, 3, Config{})
	r := n.nodes["n2"]
	var replies []Message
	for id := range uint64(3) {
		n.propose(n.nodes["n1"], "x")
		require.NoError(t, r.FollowerReadIndex(id))
		n.process("n2", 0)
		replies = append(replies, n.hold(isType(MsgReadIndexReply))...)
	}
	require.Len(t, replies, 3)
	for _, i := range []int{2, 0, 1, 1} {
		require.NoError(t, n.step(replies[i]))
	}
	var got []ReadState
	for _, i := range []int{2, 0, 1} {
		got = append(got, ReadState{ID: uint64(i), Index: replies[i].Index})
	}
	require.Equal(t, got, n.answers["n2"])
	require.Less(t, got[1].Index, got[0].Index)
}

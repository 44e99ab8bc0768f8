package raft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The handing over of leadership (thesis, 3.10), and the end of reigns.

// The order to campaign waits until the transferee holds all; nothing is taken in meanwhile.
func TestTransferWaitsForCatchUp_3_10(t *testing.T) {
	n := led(t, 3, Config{})
	leader := n.nodes["n1"]
	_, _, err := leader.Propose([]byte("x"))
	require.NoError(t, err)
	n.process("n1", 0)
	behind := n.hold(func(m Message) bool { return m.To == "n2" })
	require.NoError(t, leader.Transfer("n2"))
	n.process("n1", 0)
	require.Empty(t, n.hold(isType(MsgTimeoutNow)))
	last := leader.log.last()
	_, _, err = leader.Propose([]byte("y"))
	require.ErrorIs(t, err, ErrTransferring)
	require.ErrorIs(t, n.ask("n1", "remove", "n3"), ErrTransferring)
	require.ErrorIs(t, leader.Transfer("n3"), ErrTransferring)
	require.Equal(t, last, leader.log.last())
	n.hand(behind)
	require.Equal(t, NodeID("n2"), n.leader().config.ID)
	require.Equal(t, leader.term, n.leader().term)
	n.propose(n.leader(), "z")
	n.settle(2)
	require.Equal(t, n.committed, n.applied["n1"])
}

// Voters that hear their leader refuse all others, but not the one that the leader itself has chosen.
func TestTransferIsNotRefusedByThoseThatHearTheLeader_3_10(t *testing.T) {
	for _, drift := range []int{0, 10} {
		n := led(t, 3, Config{LeaseDrift: drift})
		term := n.nodes["n1"].term
		require.NoError(t, n.nodes["n1"].Transfer("n3"))
		n.process("n1", 0)
		n.drain()
		require.Equal(t, Leader, n.nodes["n3"].role, "without a tick having passed")
		require.Equal(t, term+1, n.nodes["n3"].term)
	}
}

func TestTransferIsGivenUpAfterElectionTimeout_3_10(t *testing.T) {
	n := led(t, 3, Config{})
	require.NoError(t, n.nodes["n1"].Transfer("n2"))
	n.isolate("n2")
	n.settle(9)
	_, _, err := n.nodes["n1"].Propose([]byte("x"))
	require.ErrorIs(t, err, ErrTransferring)
	n.settle(1)
	_, _, err = n.nodes["n1"].Propose([]byte("x"))
	require.NoError(t, err)
	n.settle(1)
	require.Equal(t, Leader, n.nodes["n1"].role)
	require.Equal(t, n.nodes["n1"].log.last(), n.nodes["n1"].log.commit)
}

func TestRefusedTransfers(t *testing.T) {
	n := led(t, 3, Config{})
	n.blank("n4")
	n.change("n1", "add-learner", "n4")
	n.isolate("n3")
	n.settle(15)
	for to, reason := range map[NodeID]string{
		"n1": "it leads already", "n4": "it is no voter", "n9": "it is no voter", "": "it is no voter", "n3": "it was not heard lately",
	} {
		var refused *TransferRefusedError
		require.ErrorAs(t, n.nodes["n1"].Transfer(to), &refused, to)
		require.Equal(t, TransferRefusedError{to, reason}, *refused)
	}
	var notLeader *NotLeaderError
	require.ErrorAs(t, n.nodes["n2"].Transfer("n1"), &notLeader)
	require.ErrorAs(t, n.nodes["n2"].StepDown(), &notLeader)
}

// An order to campaign that comes late, in a later term, is none.
func TestLateOrderToCampaignIsIgnored_3_10(t *testing.T) {
	n := led(t, 3, Config{})
	require.NoError(t, n.nodes["n1"].Transfer("n2"))
	n.process("n1", 0)
	order := n.hold(isType(MsgTimeoutNow))
	n.crash("n1")
	n.crown("n3")
	term := n.nodes["n3"].term
	n.hand(order)
	require.Equal(t, Leader, n.nodes["n3"].role)
	require.Equal(t, term, n.nodes["n3"].term)
}

// Who steps down leaves the next election to the others.
func TestStepDownLeavesElectionToOthers(t *testing.T) {
	for seed := range uint64(20) {
		n := newNetwork(t, 3, seed)
		old := n.elect()
		n.settle(2)
		require.NoError(t, old.StepDown())
		require.Equal(t, Follower, old.role)
		n.settle(25)
		require.NotNil(t, n.leader())
		require.NotEqual(t, old.config.ID, n.leader().config.ID)
	}
}

// At the end of its reign a leader hands over to who holds the most, and the next one does so in turn.
func TestReignEndsWithHeir(t *testing.T) {
	n := led(t, 3, Config{MaxLeaderTicks: 30})
	n.isolate("n2")
	n.settle(1)
	n.propose(n.nodes["n1"], "x")
	n.flying = nil
	n.cut = func(from, to NodeID) bool { return to == "n2" && len(n.committed) > 0 && n.nodes["n1"].role == Leader }
	n.settle(25)
	require.Equal(t, Leader, n.nodes["n1"].role)
	n.settle(5)
	require.Equal(t, Leader, n.nodes["n3"].role, "n3 holds more than n2")
	n.heal()
	terms := n.nodes["n3"].term
	n.settle(300)
	require.InDelta(t, 10, n.leader().term-terms, 2, "no reign is longer than 30 ticks, and none leaves a gap")
}

// Where nobody can take over, the leader steps down all the same.
func TestReignEndsWithoutHeir(t *testing.T) {
	n := led(t, 1, Config{MaxLeaderTicks: 30})
	n.settle(40)
	require.NotEqual(t, Leader, n.nodes["n1"].role)
	n.settle(40)
	require.Equal(t, Leader, n.nodes["n1"].role, "and may be elected again")

	n = led(t, 3, Config{MaxLeaderTicks: 30})
	for range 39 {
		n.nodes["n1"].Tick()
		n.process("n1", 0)
		n.hold(isType(MsgTimeoutNow))
	}
	require.NotEqual(t, Leader, n.nodes["n1"].role, "the order is lost, and the reign ends all the same")
}

// The heir is a voter, was heard lately, and holds the most.
func TestHeir(t *testing.T) {
	n := led(t, 3, Config{})
	n.blank("n0", "n4")
	n.change("n1", "add-learner", "n0", "add-learner", "n4")
	r := n.nodes["n1"]
	for id, match := range map[NodeID]uint64{"n0": 9, "n2": 3, "n3": 4, "n4": 9} {
		r.peers[id].match = match
	}
	require.Equal(t, NodeID("n3"), r.heir())
	r.peers["n2"].match = 5
	require.Equal(t, NodeID("n2"), r.heir())
	r.now += 100
	r.peers["n3"].heard = r.now
	require.Equal(t, NodeID("n3"), r.heir())
	r.now += 100
	require.Empty(t, r.heir())
}

// Who may not vote may not lead, whoever says so.
func TestOrderToCampaignIsForVotersOnly_3_10(t *testing.T) {
	n := led(t, 3, Config{})
	n.blank("n4")
	n.change("n1", "add-learner", "n4")
	r := n.nodes["n4"]
	term := r.term
	require.NoError(t, n.step(Message{Type: MsgTimeoutNow, From: "n1", To: "n4", Term: term}))
	require.Equal(t, Follower, r.role)
	require.Equal(t, term, r.term)
}

// The leader ends itself, where it was told so.
func TestReignEndsWithNode(t *testing.T) {
	n := led(t, 3, Config{MaxLeaderTicks: 30, AtMaxReign: Exit})
	r := n.nodes["n1"]
	for r.reign < 29 {
		n.settle(1)
	}
	r.Tick()
	_, err := r.Ready()
	require.ErrorIs(t, err, ErrReignOver)
	_, err = r.Ready()
	require.ErrorIs(t, err, ErrReignOver, "for good")
}

// Would catch a node that hands over to whoever comes first: one that lacks entries, or that has not been heard lately.
func TestHandOverIsToTheBestHeir(t *testing.T) {
	n := led(t, 3, Config{})
	leader := n.nodes["n1"]
	behind := func() { n.hold(func(m Message) bool { return m.To == "n2" }) }
	_, _, err := leader.Propose([]byte("x"))
	require.NoError(t, err)
	n.process("n1", 0)
	behind()
	n.drain()
	require.NoError(t, leader.HandOver())
	n.process("n1", 0)
	n.drain()
	require.Equal(t, Leader, n.nodes["n3"].role, "without a tick having passed")

	var notLeader *NotLeaderError
	require.ErrorAs(t, leader.HandOver(), &notLeader)
	alone := led(t, 1, Config{})
	var refused *TransferRefusedError
	require.ErrorAs(t, alone.nodes["n1"].HandOver(), &refused)
	require.Equal(t, Leader, alone.nodes["n1"].role)
}

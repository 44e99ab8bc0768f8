package raft

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft/confchange"
)

// Joint consensus, learners, and who is asked and counted: sections are those of the thesis.

// A joint configuration counts from its append on, is remembered over a restart though it is not
// committed, and is gone with its entry.
func TestJointConfigurationInForceOnAppendAndRolledBack_4_3(t *testing.T) {
	n := led(t, 3, Config{})
	n.blank("n4")
	n.change("n1", "add-learner", "n4")
	n.settle(2)
	before := n.configuration("n1")
	n.isolate("n1")
	require.NoError(t, n.ask("n1", "promote", "n4", "demote", "n3"))
	require.Equal(t, Configuration{
		Voters: []NodeID{"n1", "n2", "n4"}, Outgoing: []NodeID{"n1", "n2", "n3"}, LearnersNext: []NodeID{"n3"},
	}, n.configuration("n1"), "in force before it is sent to anybody")
	n.process("n1", 0)
	n.start("n1")
	require.True(t, n.configuration("n1").Joint(), "a restart does not forget it")
	n.crown("n2")
	n.heal()
	n.settle(5)
	require.Equal(t, before, n.configuration("n1"), "the older one is in force again")
	n.start("n1")
	require.Equal(t, before, n.configuration("n1"))
}

// jointLog is a log that ends with a joint configuration, of term 1.
func jointLog(c Configuration) []Entry {
	entries := build(1)
	e := Entry{Index: 2, Term: 1, Type: EntryConfiguration, Data: EncodeConfiguration(c)}
	e.Checksum = NextChecksum(entries[0].Checksum, e)
	return append(entries, e)
}

func TestElectionInJointConfigurationNeedsBothMajorities_4_3(t *testing.T) {
	joint := Configuration{Voters: []NodeID{"n1", "n4", "n5"}, Outgoing: []NodeID{"n1", "n2", "n3"}}
	for _, k := range []struct {
		voters []NodeID
		wins   bool
	}{
		{nil, false},
		{[]NodeID{"n2", "n3"}, false}, // all of Cold
		{[]NodeID{"n4", "n5"}, false}, // all of Cnew
		{[]NodeID{"n2", "n4"}, true},
		{[]NodeID{"n3", "n5"}, true},
	} {
		for _, real := range []bool{false, true} {
			t.Run(fmt.Sprint(k.voters, real), func(t *testing.T) {
				d := newDisk("n1", "n2", "n3")
				d.hs, d.entries = HardState{Term: 1}, jointLog(joint)
				r, err := New(Config{ID: "n1", Storage: d, Seed: 1})
				require.NoError(t, err)
				r.campaign(PreCandidate, false)
				reply := MsgPreVoteReply
				if real {
					r.campaign(Candidate, false)
					reply = MsgVoteReply
				}
				asked := map[NodeID]bool{}
				for _, m := range r.messages {
					asked[m.To] = true
				}
				require.Len(t, asked, 4, "all voters of both halves are asked")
				for _, id := range k.voters {
					require.NoError(t, r.Step(Message{Type: reply, From: id, To: "n1", Term: 2}))
				}
				require.Equal(t, k.wins, r.role != map[bool]Role{false: PreCandidate, true: Candidate}[real])
			})
		}
	}
}

// withSpares is three voters, of which n1 leads, and two learners that have caught up.
func withSpares(t *testing.T) *network {
	n := led(t, 3, Config{})
	n.blank("n4", "n5")
	n.change("n1", "add-learner", "n4", "add-learner", "n5")
	n.settle(2)
	return n
}

// It replaces two of three voters at once, which needs a majority of each half: of n2 and n3 one, and of
// n4 and n5 one. And only then is the joint configuration left.
func TestCommitmentInJointConfigurationNeedsBothMajorities_4_3(t *testing.T) {
	for name, cut := range map[string][]NodeID{"without Cold": {"n2", "n3"}, "without Cnew": {"n4", "n5"}} {
		t.Run(name, func(t *testing.T) {
			n := withSpares(t)
			n.isolate(cut...)
			commit := n.nodes["n1"].log.commit
			n.change("n1", "promote", "n4", "promote", "n5", "remove", "n2", "remove", "n3")
			n.settle(5)
			require.Equal(t, commit, n.nodes["n1"].log.commit)
			require.True(t, n.configuration("n1").Joint())
			require.Equal(t, commit+1, n.nodes["n1"].log.last(), "it must not be left before it is committed")

			n.isolate(cut[0])
			n.settle(5)
			require.Equal(t, Configuration{Voters: []NodeID{"n1", "n4", "n5"}}, n.configuration("n1"))
			require.Equal(t, n.nodes["n1"].log.last(), n.nodes["n1"].log.commit)
		})
	}
}

// Cnew counts alone from its append on: none of Cold is needed to commit it, or waited for.
func TestNewConfigurationCountsAlone_4_3(t *testing.T) {
	n := withSpares(t)
	require.NoError(t, n.ask("n1", "promote", "n4", "promote", "n5", "remove", "n2", "remove", "n3"))
	n.process("n1", 0)
	n.hold(func(m Message) bool {
		return !n.configuration("n1").Joint() && slices.Contains([]NodeID{"n2", "n3"}, m.From)
	})
	n.isolate("n2", "n3")
	n.settle(2)
	require.Equal(t, []NodeID{"n1", "n4", "n5"}, n.configuration("n4").Voters)
	require.Equal(t, n.nodes["n1"].log.last(), n.nodes["n1"].log.commit)
	require.Len(t, n.nodes["n1"].peers, 2, "nothing is sent to removed nodes")
}

// A leader that is elected in a joint configuration, of an earlier leader's and not committed, first
// commits it and then leaves it; never the other way round.
func TestNewLeaderFinishesJointChange_4_3(t *testing.T) {
	n := withSpares(t)
	require.NoError(t, n.ask("n1", "promote", "n4", "demote", "n3"))
	n.process("n1", 0)
	n.hold(isType(MsgAppendReply)) // nobody knows it to be committed
	n.flying = nil
	n.crash("n1")
	r := n.nodes["n2"]
	n.cut = func(from, to NodeID) bool { return to == "n2" && r.role == Leader }
	n.crown("n2")
	n.settle(3)
	require.Equal(t, Leader, r.role)
	require.True(t, r.Configuration().Joint(), "it must not be left before it is committed")
	n.heal()
	n.settle(5)
	for _, id := range []NodeID{"n2", "n3", "n4", "n5"} {
		require.Equal(t, Configuration{Voters: []NodeID{"n1", "n2", "n4"}, Learners: []NodeID{"n3", "n5"}}, n.configuration(id))
	}
}

// Though it knows the joint configuration to be committed, a new leader appends no other before an entry of its
// own term is committed.
func TestNewLeaderLeavesJointOnlyAfterItsNoOp_4_3(t *testing.T) {
	n := withSpares(t)
	require.NoError(t, n.ask("n1", "promote", "n4", "demote", "n3"))
	n.process("n1", 0)
	n.hold(func(m Message) bool { return m.Type == MsgAppend && !n.configuration("n1").Joint() })
	n.flying = nil
	n.crash("n1")
	r := n.nodes["n2"]
	r.log.commit = r.ConfigurationIndex() // as an append could have told it
	n.cut = func(from, to NodeID) bool { return to == "n2" && r.role == Leader }
	n.crown("n2")
	require.True(t, r.Configuration().Joint())
	n.heal()
	n.settle(3)
	require.False(t, r.Configuration().Joint())
}

// A leader outside Cnew leads until that is committed, does not count itself, steps down, and has the
// best of the others take over at once.
func TestLeaderOutsideNewConfigurationStepsDownWhenItCommits_4_2_2(t *testing.T) {
	for _, op := range []string{"remove", "demote"} {
		t.Run(op, func(t *testing.T) {
			n := led(t, 3, Config{})
			old := n.nodes["n1"]
			require.NoError(t, n.ask("n1", op, "n1"))
			n.process("n1", 0)
			late := n.hold(func(m Message) bool { return m.Type == MsgAppendReply && !old.Configuration().Joint() })
			require.False(t, old.Configuration().IsVoter("n1"))
			require.Less(t, old.log.commit, old.log.last())
			require.Equal(t, Leader, old.role, "it leads until Cnew is committed")
			require.NoError(t, n.step(late[0]))
			require.Equal(t, Leader, old.role, "one of n2 and n3 is no majority, and its own log counts for nothing")
			last := old.log.last()
			n.hand(late[1:])
			require.GreaterOrEqual(t, old.log.commit, last)
			require.Equal(t, Follower, old.role)
			next := n.leader()
			require.NotNil(t, next, "the heir campaigns without waiting for a time-out")
			require.NotEqual(t, NodeID("n1"), next.config.ID)
			term := next.term
			n.settle(100)
			require.Equal(t, term, n.leader().term, "who was removed disturbs nobody")
		})
	}
}

// The heir may be lost on the way: then a time-out brings the next leader.
func TestLeaderOutsideNewConfigurationMayLeaveNoHeir_4_2_2(t *testing.T) {
	n := led(t, 3, Config{})
	require.NoError(t, n.ask("n1", "remove", "n1"))
	n.process("n1", 0)
	n.hold(isType(MsgTimeoutNow))
	require.Nil(t, n.leader())
	require.Equal(t, n.nodes["n1"].log.commit, n.nodes["n2"].log.commit, "it tells what it committed before it goes")
	n.settle(40)
	require.NotNil(t, n.leader())
	require.Equal(t, Configuration{Voters: []NodeID{"n2", "n3"}}, n.leader().Configuration())
}

// The leader that removes itself dies when it alone holds Cnew. The other voter of Cold cannot win without its
// vote, and does not get it, for its log is behind: who is not in its own configuration must campaign all the
// same, by the votes of others alone, until it knows that configuration to be committed.
func TestRemovedVoterCampaignsUntilThatIsCommitted_4_2_2(t *testing.T) {
	for _, op := range []string{"remove", "demote"} {
		n := led(t, 2, Config{})
		require.NoError(t, n.ask("n1", op, "n1"))
		n.process("n1", 0)
		n.hold(func(m Message) bool { return m.Type == MsgAppend && !n.configuration("n1").Joint() })
		require.False(t, n.configuration("n1").IsVoter("n1"))
		require.True(t, n.configuration("n2").Joint())
		n.flying = nil
		n.start("n1")
		n.settle(80)
		require.Equal(t, Leader, n.nodes["n2"].role)
		require.Equal(t, []NodeID{"n2"}, n.configuration("n2").Voters)
		term := n.nodes["n2"].term
		n.settle(100)
		require.Equal(t, term, n.nodes["n2"].term)
	}
}

// Two of five are demoted while one of them, and one other, cannot be reached: n4 still votes in Cold.
func TestDemotedVoterVotesUntilLeft_4_3(t *testing.T) {
	n := led(t, 5, Config{})
	n.isolate("n3", "n5")
	n.change("n1", "demote", "n4", "demote", "n5")
	n.settle(2)
	require.Equal(t, Configuration{Voters: []NodeID{"n1", "n2", "n3"}, Learners: []NodeID{"n4", "n5"}}, n.configuration("n1"))
	commit := n.nodes["n1"].log.commit
	n.isolate("n2", "n3")
	n.propose(n.nodes["n1"], "x")
	require.Equal(t, commit, n.nodes["n1"].log.commit, "as learners they do not count")
	require.Equal(t, commit+1, n.nodes["n1"].peers["n4"].match)
}

func TestSeveralChangesAtOnce_4_3(t *testing.T) {
	n := withSpares(t)
	n.blank("n6")
	n.change("n1", "promote", "n4", "promote", "n5", "remove", "n2", "demote", "n3", "add-learner", "n6")
	n.settle(2)
	want := Configuration{Voters: []NodeID{"n1", "n4", "n5"}, Learners: []NodeID{"n3", "n6"}}
	for _, id := range []NodeID{"n1", "n3", "n4", "n5", "n6"} {
		require.Equal(t, want, n.configuration(id))
	}
	entries := 0
	for _, e := range n.committed {
		if e.Type == EntryConfiguration {
			entries++
		}
	}
	require.Equal(t, 3, entries, "the spares, the joint one, and the last")
}

// A second change is refused in every phase of the first, and nothing is logged.
func TestSecondChangeIsRefused_4_1(t *testing.T) {
	n := withSpares(t)
	leader := n.nodes["n1"]
	refused := func(phase string) {
		last := leader.log.last()
		err := n.ask("n1", "add-learner", "n9")
		var flying *ChangeInFlightError
		require.ErrorAs(t, err, &flying, phase)
		require.Equal(t, leader.ConfigurationIndex(), flying.Index)
		require.Equal(t, leader.Configuration(), flying.Configuration)
		require.Equal(t, last, leader.log.last())
	}
	require.NoError(t, n.ask("n1", "promote", "n4"))
	refused("joint, not sent")
	n.process("n1", 0)
	replies := n.hold(isType(MsgAppendReply))
	refused("joint, not committed")
	n.flying = replies
	for len(n.flying) > 0 && leader.Configuration().Joint() {
		m := n.flying[0]
		n.flying = n.flying[1:]
		require.NoError(t, leader.Step(m))
		leader.advanceCommit()
		refused("joint, perhaps committed")
		n.process("n1", 0)
	}
	require.False(t, leader.Configuration().Joint())
	refused("left, not committed")
	n.drain()
	require.NoError(t, n.ask("n1", "add-learner", "n9"))
}

// Ongaro's correction of July 2015: a change before an entry of the leader's own term is committed may
// be in force along with one of an earlier term that never was.
func TestChangeBeforeNoOpIsRefused(t *testing.T) {
	n := led(t, 3, Config{})
	n.crash("n1")
	r := n.nodes["n2"]
	for r.role != Leader {
		n.nodes["n3"].Tick() // so that it grants
		r.Tick()
		n.process("n2", 0)
		n.hold(isType(MsgAppend))
	}
	require.ErrorIs(t, n.ask("n2", "remove", "n1"), ErrNotReady)
	n.settle(2)
	require.NoError(t, n.ask("n2", "remove", "n1"))
}

func TestOnlyLeaderTakesChanges(t *testing.T) {
	n := led(t, 3, Config{})
	var notLeader *NotLeaderError
	require.ErrorAs(t, n.ask("n2", "remove", "n3"), &notLeader)
	require.Equal(t, NodeID("n1"), notLeader.Leader)
	var refused *confchange.RefusedError
	require.ErrorAs(t, n.ask("n1", "add", "n3"), &refused)
	require.Equal(t, "it is a member already", refused.Reason)
}

// A learner that is behind would hold up commitment (thesis, 4.2.1).
func TestLaggingLearnerIsNotPromoted_4_2_1(t *testing.T) {
	n := led(t, 3, Config{PromotionLag: 5})
	n.blank("n4")
	n.isolate("n4")
	n.change("n1", "add-learner", "n4")
	n.fill("n1", 10)
	err := n.ask("n1", "promote", "n4")
	var lagging *LaggingError
	require.ErrorAs(t, err, &lagging)
	require.Equal(t, LaggingError{"n4", 0, n.nodes["n1"].log.last()}, *lagging)
	n.heal()
	n.settle(5)
	for range 5 {
		_, _, err := n.nodes["n1"].Propose([]byte("x"))
		require.NoError(t, err)
		n.process("n1", 0)
		n.hold(func(m Message) bool { return m.To == "n4" })
	}
	require.NoError(t, n.ask("n1", "promote", "n4"), "5 behind may be")
}

// However few entries it lacks: without the one that made it a member it is blank, and gives no vote. As a voter
// it would be missed.
func TestBlankLearnerIsNotPromoted_4_2_1(t *testing.T) {
	n := led(t, 1, Config{MaxMessageBytes: 1})
	n.fill("n1", 5)
	n.blank("n4")
	require.NoError(t, n.ask("n1", "add", "n4"))
	n.process("n1", 0)
	for n.nodes["n1"].matchOf("n4") == 0 {
		m := n.flying[0]
		n.flying = n.flying[1:]
		require.NoError(t, n.step(m))
	}
	require.Zero(t, n.nodes["n4"].ConfigurationIndex(), "else the test proves nothing")
	var lagging *LaggingError
	require.ErrorAs(t, n.ask("n1", "promote", "n4"), &lagging)
	require.False(t, n.configuration("n1").Joint())
	n.drain()
	require.Equal(t, []NodeID{"n1", "n4"}, n.configuration("n4").Voters)
}

func TestSilentLearnerIsNotPromoted_4_2_1(t *testing.T) {
	n := led(t, 3, Config{})
	n.blank("n4")
	n.change("n1", "add-learner", "n4")
	n.settle(2)
	for range 12 {
		n.nodes["n1"].Tick()
		n.process("n1", 0)
		n.hold(func(m Message) bool { return m.To == "n4" || m.From == "n4" }) // and nobody hears of the loss
	}
	var lagging *LaggingError
	require.ErrorAs(t, n.ask("n1", "promote", "n4"), &lagging, "it holds all, and may be dead")
}

// A newcomer becomes a voter by itself, though the leader that added it dies in the midst of that, in
// any phase.
func TestNewcomerIsPromotedByItselfAndByNextLeader_4_2_1(t *testing.T) {
	for phase, until := range map[string]func(c Configuration) bool{
		"added":     func(c Configuration) bool { return c.Contains("n4") },
		"joint":     func(c Configuration) bool { return c.Joint() },
		"left":      func(c Configuration) bool { return c.IsVoter("n4") && !c.Joint() },
		"not dying": nil,
	} {
		t.Run(phase, func(t *testing.T) {
			n := led(t, 3, Config{})
			n.blank("n4")
			require.NoError(t, n.ask("n1", "add", "n4"))
			n.process("n1", 0)
			n.hold(func(m Message) bool {
				// Others have what it logged last, and it hears nothing of that any more.
				return until != nil && m.To == "n1" && until(n.configuration("n1"))
			})
			if until != nil {
				n.crash("n1")
			}
			n.settle(60)
			for _, id := range n.names {
				if n.nodes[id] != nil {
					require.Equal(t, Configuration{Voters: []NodeID{"n1", "n2", "n3", "n4"}}, n.configuration(id))
				}
			}
		})
	}
}

// Newcomers that never answer stay learners, hold up nobody, and keep no other from being added.
func TestDeadNewcomerBlocksNobody(t *testing.T) {
	n := led(t, 3, Config{})
	n.change("n1", "add", "dead")
	n.settle(5)
	n.blank("n4")
	n.change("n1", "add", "n4")
	n.settle(5)
	require.Equal(t, Configuration{
		Voters: []NodeID{"n1", "n2", "n3", "n4"}, Learners: []NodeID{"dead"}, Promote: []NodeID{"dead"},
	}, n.configuration("n4"))
	n.propose(n.nodes["n1"], "x")
	require.Equal(t, n.nodes["n1"].log.last(), n.nodes["n1"].log.commit)
	n.change("n1", "remove", "dead")
	n.settle(2)
	require.Equal(t, Configuration{Voters: []NodeID{"n1", "n2", "n3", "n4"}}, n.configuration("n4"))
}

// Neither commitment, nor reads, nor the leader's own quorum count learners, and they do not campaign.
func TestLearnersAreNeverCounted_4_2_1(t *testing.T) {
	n := withSpares(t)
	n.isolate("n2", "n3")
	leader := n.nodes["n1"]
	commit := leader.log.commit
	n.propose(leader, "x")
	require.NoError(t, leader.ReadIndex(1))
	n.process("n1", 0)
	n.drain()
	require.Equal(t, commit+1, leader.peers["n4"].match)
	require.Equal(t, commit, leader.log.commit)
	require.Empty(t, n.answers["n1"])
	n.settle(2*leader.config.ElectionTicks + 1)
	require.NotEqual(t, Leader, leader.role, "it hears no quorum")
	n.isolate("n4", "n5")
	n.settle(100)
	require.Equal(t, Follower, n.nodes["n4"].role)
	require.Equal(t, Follower, n.nodes["n5"].role)
}

// Who knows no configuration may have lost its memory, and with that a vote that it gave.
func TestBlankNodeGivesNoVote(t *testing.T) {
	n := newNetwork(t, 3, 1)
	n.blank("n4")
	for _, ask := range []MessageType{MsgPreVote, MsgVote} {
		require.NoError(t, n.step(Message{Type: ask, From: "n1", To: "n4", Term: 1, Index: 9, LogTerm: 1}))
		require.True(t, n.flying[len(n.flying)-1].Reject)
	}
	n.flying = nil
	for range 100 {
		n.nodes["n4"].Tick()
		n.process("n4", 0)
	}
	require.Empty(t, n.flying, "nor does it campaign")
}

// A voter may not have the entry yet that made the candidate a member; without its vote there would be
// no leader to send it.
func TestVoterAnswersWhoIsNotInItsConfiguration_4_2_3(t *testing.T) {
	n := newNetwork(t, 3, 1)
	for _, ask := range []MessageType{MsgPreVote, MsgVote} {
		require.NoError(t, n.step(Message{Type: ask, From: "stranger", To: "n2", Term: 1, Index: 9, LogTerm: 1}))
		require.False(t, n.flying[len(n.flying)-1].Reject)
	}
}

// The joint configuration is committed without n3, which is cut off, and left. Then n4, new in it, must
// be able to win though n2 does not know the change.
func TestCandidateOfLaterConfigurationIsElected_4_2_3(t *testing.T) {
	n := withSpares(t)
	require.NoError(t, n.ask("n1", "promote", "n4"))
	n.process("n1", 0)
	n.hold(func(m Message) bool { return m.To == "n2" || m.Type == MsgAppend && !n.configuration("n1").Joint() })
	n.flying = nil
	require.False(t, n.configuration("n2").IsVoter("n4"))
	require.True(t, n.configuration("n4").Joint())
	n.crash("n1")
	n.force("n4")
	n.settle(15) // those that heard the leader must forget it
	n.force("n4")
	n.settle(20)
	require.Equal(t, []NodeID{"n1", "n2", "n3", "n4"}, n.leader().Configuration().Voters)
	require.Equal(t, []NodeID{"n1", "n2", "n3", "n4"}, n.configuration("n2").Voters)
}

// A removed node never learns that it was, and asks for votes for ever.
func TestRemovedNodeDoesNotDisturb_4_2_3(t *testing.T) {
	n := led(t, 3, Config{})
	n.change("n1", "remove", "n3")
	term := n.nodes["n1"].term
	asked := 0
	n.cut = func(from, _ NodeID) bool {
		if from == "n3" {
			asked++
		}
		return false
	}
	for range 200 {
		n.settle(1)
		require.Equal(t, Leader, n.nodes["n1"].role)
	}
	require.Positive(t, asked, "else the test proves nothing")
	require.Equal(t, term, n.nodes["n1"].term)
	require.Equal(t, term, n.nodes["n3"].term)
}

// What a node said before it was removed counts for nothing after it was added again, though the leader
// and the term are the same: its disk may have been lost in between.
func TestReplyFromBeforeRemovalDoesNotCountAfterReAdd(t *testing.T) {
	n := led(t, 3, Config{})
	n.fill("n1", 5)
	n.propose(n.nodes["n1"], "x")
	require.NoError(t, n.nodes["n1"].ReadIndex(1))
	n.process("n1", 0)
	late := n.hold(func(m Message) bool { return m.From == "n3" })
	require.NotEmpty(t, late)
	for _, m := range late {
		require.NotZero(t, m.ReadRound)
	}
	n.propose(n.nodes["n1"], "y")
	late = append(late, Message{
		Type: MsgAppendReply, From: "n3", To: "n1", Term: n.nodes["n1"].term, Epoch: n.nodes["n1"].peers["n3"].epoch,
		Index: n.nodes["n1"].log.last(), ReadRound: n.nodes["n1"].readRound,
	})
	n.change("n1", "remove", "n3")
	n.crash("n3")
	n.checker.Wipe("n3")
	n.flying = nil
	n.change("n1", "add-learner", "n3")
	p := n.nodes["n1"].peers["n3"]
	before := *p
	for _, m := range late {
		require.NoError(t, n.nodes["n1"].Step(m))
	}
	require.Equal(t, before.match, p.match)
	require.Equal(t, before.readRound, p.readRound)
	require.Equal(t, before.heard, p.heard)
	n.blank("n3")
	n.settle(5)
	require.Equal(t, n.committed, n.applied["n3"])
	require.Equal(t, replicating, p.state)
	n.nodes["n1"].Unreachable(Message{Type: MsgAppend, To: "n3", Term: n.nodes["n1"].term, Epoch: late[len(late)-1].Epoch})
	require.Equal(t, replicating, p.state, "nor does a loss from then")
}

// A node that lost its disk and was made a member again holds, for a while, a log that ends where it was the only
// voter. It must not take that for now: it would lead alone, and overwrite what the others committed since.
func TestWhoReturnsWithoutMemoryNeitherVotesNorCampaigns(t *testing.T) {
	d := newDisk("n1")
	d.entries = build(1, 1, 1)
	d.hs = HardState{Term: 1, Joined: 4}
	r, err := New(Config{ID: "n1", Storage: d, Seed: 1})
	require.NoError(t, err)
	for range 100 {
		r.Tick()
	}
	require.Equal(t, Follower, r.role)
	require.NoError(t, r.Step(Message{Type: MsgVote, From: "n2", To: "n1", Term: 9, Index: 9, LogTerm: 8}))
	rd, err := r.Ready()
	require.NoError(t, err)
	require.True(t, rd.Messages[0].Reject)

	// With the entry that made it a member it holds all that it may have promised.
	d.entries, d.hs = build(1, 1, 1, 2), HardState{Term: 2, Joined: 4}
	r, err = New(Config{ID: "n1", Storage: d, Seed: 1})
	require.NoError(t, err)
	for range 100 {
		r.Tick()
	}
	require.Equal(t, Leader, r.role)
}

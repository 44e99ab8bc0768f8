package raft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft/invariant"
)

// Each test is named after a claim of the Raft paper (USENIX ATC 2014) or of Ongaro's thesis.

// build makes a log with one entry for each of terms.
func build(terms ...uint64) []Entry {
	var entries []Entry
	checksum := uint32(0)
	for i, term := range terms {
		e := Entry{Index: uint64(i + 1), Term: term, Data: []byte{byte(term)}}
		e.Checksum = NextChecksum(checksum, e)
		checksum = e.Checksum
		entries = append(entries, e)
	}
	return entries
}

// withLogs is a network whose nodes begin with the given logs and the largest of their terms.
func withLogs(t *testing.T, logs ...[]Entry) *network {
	n := newNetwork(t, len(logs), 1)
	for i, id := range n.names {
		n.disks[id].entries = logs[i]
		if k := len(logs[i]); k > 0 {
			n.disks[id].hs.Term = logs[i][k-1].Term
		}
		n.start(id)
	}
	return n
}

// force makes id campaign, and deliver everything.
func (n *network) force(id NodeID) {
	for range 3 * n.nodes[id].config.ElectionTicks {
		if n.nodes[id].role == Leader {
			return
		}
		n.nodes[id].Tick()
		n.process(id, 0)
		n.drain()
	}
}

func (n *network) propose(r *Raft, data string) uint64 {
	index, _, err := r.Propose([]byte(data))
	require.NoError(n.t, err)
	n.process(r.config.ID, 0)
	n.drain()
	return index
}

func TestSingleNodeElectsItselfAndCommits_5_2(t *testing.T) {
	n := newNetwork(t, 1, 1)
	n.settle(30)
	require.Equal(t, Leader, n.nodes["n1"].role)
	n.propose(n.nodes["n1"], "x")
	require.Len(t, n.applied["n1"], 2, "the no-op and the command")
}

func TestElectionTimeoutIsRandomised_5_2(t *testing.T) {
	n := newNetwork(t, 3, 1)
	seen := map[int]bool{}
	for range 200 {
		r := n.nodes["n1"]
		r.restartTimer()
		require.GreaterOrEqual(t, r.timeout, r.config.ElectionTicks)
		require.Less(t, r.timeout, 2*r.config.ElectionTicks)
		seen[r.timeout] = true
	}
	require.Len(t, seen, n.nodes["n1"].config.ElectionTicks)
}

func TestSameSeedSameBytes(t *testing.T) {
	history := func() []Entry {
		n := newNetwork(t, 3, 7)
		n.propose(n.elect(), "x")
		n.settle(50)
		return n.committed
	}
	require.Equal(t, history(), history())
}

func TestVoteIsPersistedBeforeItIsGiven_5_2(t *testing.T) {
	n := newNetwork(t, 3, 1)
	require.NoError(t, n.nodes["n1"].Step(Message{Type: MsgVote, From: "n2", To: "n1", Term: 1, ID: 9}))
	rd, err := n.nodes["n1"].Ready()
	require.NoError(t, err)
	require.Equal(t, &HardState{Term: 1, Vote: "n2"}, rd.HardState)
	require.Empty(t, rd.Early)
	require.Equal(t, []Message{{Type: MsgVoteReply, From: "n1", To: "n2", Term: 1, ID: 9}}, rd.Messages)
}

func TestVoteOncePerTermAlsoAfterRestart_5_2(t *testing.T) {
	n := newNetwork(t, 3, 1)
	vote := func(from NodeID) bool {
		require.NoError(t, n.nodes["n1"].Step(Message{Type: MsgVote, From: from, To: "n1", Term: 1}))
		n.process("n1", 0)
		granted := !n.flying[0].Reject
		n.flying = nil
		return granted
	}
	require.True(t, vote("n2"))
	require.False(t, vote("n3"))
	require.True(t, vote("n2"), "the same candidate may ask again")
	n.start("n1")
	require.False(t, vote("n3"), "a restart does not free the vote")
	require.True(t, vote("n2"))
}

func TestVoteOnlyForLogAtLeastAsUpToDate_5_4_1(t *testing.T) {
	for _, c := range []struct {
		name        string
		index, term uint64
		granted     bool
	}{
		{"same", 2, 2, true},
		{"longer", 3, 2, true},
		{"later term, shorter", 1, 3, true},
		{"shorter", 1, 2, false},
		{"earlier term, longer", 9, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, ask := range []MessageType{MsgPreVote, MsgVote} {
				n := withLogs(t, build(1, 2), nil, nil)
				require.NoError(t, n.nodes["n1"].Step(Message{Type: ask, From: "n2", To: "n1", Term: 5, Index: c.index, LogTerm: c.term}))
				n.process("n1", 0)
				require.Equal(t, c.granted, !n.flying[0].Reject)
			}
		})
	}
}

// Figure 7: a leader of term 8 brings every one of these followers to its own log.
func TestLeaderRepairsEveryLog_Figure7(t *testing.T) {
	leader := build(1, 1, 1, 4, 4, 5, 5, 6, 6, 6)
	for name, follower := range map[string][]Entry{
		"a": build(1, 1, 1, 4, 4, 5, 5, 6, 6),
		"b": build(1, 1, 1, 4),
		"c": build(1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
		"d": build(1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
		"e": build(1, 1, 1, 4, 4, 4, 4),
		"f": build(1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
	} {
		t.Run(name, func(t *testing.T) {
			n := withLogs(t, leader, follower, nil)
			n.disks["n1"].hs.Term = 7
			n.start("n1")
			if name == "c" || name == "d" {
				// n2 would not vote for n1, whose log is behind; the third node makes the majority.
				n.isolate("n2")
			}
			n.force("n1")
			require.Equal(t, Leader, n.nodes["n1"].role)
			n.heal()
			n.settle(40)
			require.Equal(t, n.disks["n1"].entries, n.disks["n2"].entries)
			require.Equal(t, n.committed, n.applied["n2"])
		})
	}
}

// Figure 8: an entry of an earlier term, though on a majority, is not committed by counting; only
// together with one of the leader's own term.
func TestCommitOnlyEntriesOfOwnTerm_Figure8(t *testing.T) {
	n := withLogs(t, build(1, 2), build(1, 2), build(1))
	r := n.nodes["n1"]
	n.isolate("n3")
	n.force("n1")
	require.Equal(t, Leader, r.role)

	r = n.nodes["n1"]
	r.log.commit, r.termCommitted = 1, false
	r.peers["n2"].match = 2
	r.log.durable = 2
	r.advanceCommit()
	require.EqualValues(t, 1, r.log.commit, "entry 2 is on a majority, but of term 2")
}

func TestLeaderCommitsNoOpAtElection_8(t *testing.T) {
	n := withLogs(t, build(1), build(1), build(1))
	n.elect()
	n.settle(5)
	require.Equal(t, EntryNoOp, n.committed[1].Type)
	for _, id := range n.names {
		require.Len(t, n.applied[id], 2)
	}
}

func TestPreVoteDoesNotDisturb_9_6(t *testing.T) {
	n := newNetwork(t, 3, 3)
	term := n.elect().term
	cut := n.names[0]
	if n.leader().config.ID == cut {
		cut = n.names[1]
	}
	n.isolate(cut)
	n.settle(100)
	require.Equal(t, term, n.nodes[cut].term, "it asked, and nobody answered: its term must not grow")
	n.heal()
	n.settle(30)
	require.Equal(t, term, n.leader().term, "its return must not depose the leader")
}

func TestLeaderWithoutQuorumStepsDown_6_2(t *testing.T) {
	n := newNetwork(t, 5, 3)
	old := n.elect()
	n.isolate(old.config.ID)
	n.settle(2*old.config.ElectionTicks + 1)
	require.NotEqual(t, Leader, old.role)
}

func TestVoterThatHearsItsLeaderRefuses_4_2_3(t *testing.T) {
	n := newNetwork(t, 3, 3)
	leader := n.elect()
	n.settle(1)
	for _, id := range n.names {
		term := n.nodes[id].term
		require.NoError(t, n.nodes[id].Step(Message{Type: MsgVote, From: "stranger", To: id, Term: term + 5, Index: 99, LogTerm: 99, ID: 1}))
		n.process(id, 0)
		answer := n.flying[len(n.flying)-1]
		require.True(t, answer.Reject, "%s must answer whoever asks, and refuse", id)
		require.Equal(t, term, n.nodes[id].term)
		n.flying = nil
	}
	require.Equal(t, Leader, leader.role)
}

func TestReadWaitsForRoundThatBeganAfterIt_6_4(t *testing.T) {
	n := newNetwork(t, 3, 3)
	leader := n.elect()
	n.settle(1)
	n.isolate(leader.config.ID)
	require.NoError(t, leader.ReadIndex(1))
	n.process(leader.config.ID, 0)
	for _, m := range n.flying {
		// Late acknowledgements of an earlier round must not count.
		require.NoError(t, leader.Step(Message{Type: MsgHeartbeatReply, From: m.To, To: m.From, Term: m.Term, ReadRound: m.ReadRound - 1}))
	}
	n.process(leader.config.ID, 0)
	require.Empty(t, n.answers[leader.config.ID])
	n.flying = nil
	n.settle(2*leader.config.ElectionTicks + 1)
	require.Len(t, n.answers[leader.config.ID], 1)
	var notLeader *NotLeaderError
	require.ErrorAs(t, n.answers[leader.config.ID][0].Err, &notLeader)
}

func TestFollowerRefusesCommandsAndNamesLeader(t *testing.T) {
	n := newNetwork(t, 3, 3)
	leader := n.elect().config.ID
	n.settle(1)
	for _, id := range n.names {
		if id == leader {
			continue
		}
		_, _, err := n.nodes[id].Propose([]byte("x"))
		var notLeader *NotLeaderError
		require.ErrorAs(t, err, &notLeader)
		require.Equal(t, leader, notLeader.Leader)
		require.ErrorAs(t, n.nodes[id].ReadIndex(1), &notLeader)
	}
}

func TestPipelineDoesNotWaitForAnswers_10_2_1(t *testing.T) {
	n := newNetwork(t, 3, 3)
	leader := n.elect()
	n.settle(2)
	for i := range 3 {
		_, _, err := leader.Propose([]byte{byte(i)})
		require.NoError(t, err)
		n.process(leader.config.ID, 0)
	}
	appends := map[NodeID]int{}
	for _, m := range n.flying {
		if m.Type == MsgAppend {
			appends[m.To]++
		}
	}
	for id, k := range appends {
		require.Equal(t, 3, k, "appends to %s", id)
	}
	require.Len(t, appends, 2)
}

func TestWindowBoundsWhatIsInFlight(t *testing.T) {
	n := newNetwork(t, 3, 3)
	n.config.MaxInFlight = 2
	for _, id := range n.names {
		n.start(id)
	}
	leader := n.elect()
	n.settle(2)
	for i := range 5 {
		_, _, err := leader.Propose([]byte{byte(i)})
		require.NoError(t, err)
		n.process(leader.config.ID, 0)
	}
	require.Len(t, n.flying, 4, "two to each of two peers")
	n.drain()
	require.Equal(t, leader.log.last(), leader.log.commit)
}

func TestUncommittedBytesAreBounded(t *testing.T) {
	n := newNetwork(t, 3, 3)
	n.config.MaxUncommittedBytes = 10
	for _, id := range n.names {
		n.start(id)
	}
	leader := n.elect()
	n.settle(2)
	_, _, err := leader.Propose(make([]byte, 8))
	require.NoError(t, err)
	_, _, err = leader.Propose(make([]byte, 8))
	require.ErrorIs(t, err, ErrOverloaded)
	n.process(leader.config.ID, 0)
	n.drain()
	_, _, err = leader.Propose(make([]byte, 8))
	require.NoError(t, err, "what was committed no longer counts")
}

func TestLogsOfEqualIndexAndTermMustBeEqual(t *testing.T) {
	other := build(1, 1)
	other[1].Data = []byte("other")
	other[1].Checksum = NextChecksum(other[0].Checksum, other[1])
	n := withLogs(t, build(1, 1), build(1, 1), build(1, 1))
	n.isolate("n2")
	n.force("n1")
	n.heal()
	leader := n.nodes["n1"]
	n.disks["n2"].entries = other
	r, err := New(Config{ID: "n2", Storage: n.disks["n2"]})
	require.NoError(t, err)
	var violation *invariant.Violation
	require.ErrorAs(t, n.checker.Start("n2", core{r}, n.disks["n2"]), &violation, "the test's own check sees it too")
	err = r.Step(Message{Type: MsgAppend, From: "n1", To: "n2", Term: leader.term, Index: 2, LogTerm: 1, Checksum: build(1, 1)[1].Checksum})
	var broken *InvariantError
	require.ErrorAs(t, err, &broken)
	require.Contains(t, broken.What, "differs from leader n1's")
	_, err = r.Ready()
	require.ErrorAs(t, err, &broken, "the node stops")
}

func TestAppendThatFailsItsChecksumIsIgnored(t *testing.T) {
	n := newNetwork(t, 3, 3)
	entries := build(1, 1)
	entries[1].Data = []byte("flipped")
	err := n.nodes["n2"].Step(Message{Type: MsgAppend, From: "n1", To: "n2", Term: 1, Entries: entries})
	require.ErrorContains(t, err, "entry 2 fails its checksum")
	n.process("n2", 0)
	require.Empty(t, n.disks["n2"].entries)
}

func TestTwoLeadersInOneTermStopTheNode(t *testing.T) {
	n := newNetwork(t, 3, 3)
	require.NoError(t, n.nodes["n3"].Step(Message{Type: MsgHeartbeat, From: "n1", To: "n3", Term: 1}))
	err := n.nodes["n3"].Step(Message{Type: MsgHeartbeat, From: "n2", To: "n3", Term: 1})
	require.ErrorContains(t, err, "n1 and n2 both lead term 1")
	_, err = n.nodes["n3"].Ready()
	require.Error(t, err)
}

func TestConfigurationInForceOnAppendAndRolledBackOnTruncation_4_1(t *testing.T) {
	n := newNetwork(t, 3, 3)
	r := n.nodes["n2"]
	entry := Entry{Index: 1, Term: 1, Type: EntryConfiguration, Data: []byte(`{"voters":["n1","n2","n3","n4"],"outgoing":["n1","n2","n3"]}`)}
	entry.Checksum = NextChecksum(0, entry)
	require.NoError(t, r.Step(Message{Type: MsgAppend, From: "n1", To: "n2", Term: 1, Entries: []Entry{entry}}))
	require.Len(t, r.Configuration().Voters, 4)
	n.process("n2", 0)
	n.start("n2")
	r = n.nodes["n2"]
	require.Len(t, r.Configuration().Voters, 4, "a restart remembers it")

	other := Entry{Index: 1, Term: 2, Type: EntryNoOp}
	other.Checksum = NextChecksum(0, other)
	require.NoError(t, r.Step(Message{Type: MsgAppend, From: "n3", To: "n2", Term: 2, Entries: []Entry{other}}))
	require.Len(t, r.Configuration().Voters, 3)
}

func TestSlowFollowerIsServedFromStorage(t *testing.T) {
	n := newNetwork(t, 3, 3)
	leader := n.elect()
	n.settle(2)
	slow := n.names[0]
	if leader.config.ID == slow {
		slow = n.names[1]
	}
	n.isolate(slow)
	for i := range 3 * keptEntries {
		_, _, err := leader.Propose([]byte{byte(i), byte(i >> 8)})
		require.NoError(t, err)
		if i%100 == 0 {
			n.process(leader.config.ID, 0)
			n.drain()
		}
	}
	n.settle(2)
	require.Less(t, len(leader.log.tail), 2*keptEntries+1, "what is applied must not stay in memory")
	n.heal()
	n.settle(20)
	require.Equal(t, n.committed, n.applied[slow])
}

// An append that begins before what the follower knows to be committed may end behind it: the rest is
// news, and a follower that leaves it makes the leader wait for ever for an answer that it has had.
func TestAppendThatReachesOverTheCommitIndex_5_3(t *testing.T) {
	n := withLogs(t, build(1, 1, 1), build(1, 1, 1), build(1, 1, 1))
	all := build(1, 1, 1, 2, 2)
	r := n.nodes["n2"]
	require.NoError(t, r.Step(Message{Type: MsgHeartbeat, From: "n1", To: "n2", Term: 2, Commit: 3}))
	n.process("n2", 0)
	require.EqualValues(t, 3, r.log.commit)
	n.flying = nil
	require.NoError(t, r.Step(Message{
		Type: MsgAppend, From: "n1", To: "n2", Term: 2, Index: 1, LogTerm: 1, Checksum: all[0].Checksum, Entries: all[1:],
	}))
	n.process("n2", 0)
	require.EqualValues(t, 5, r.log.last())
	require.EqualValues(t, 5, n.flying[0].Index)
}

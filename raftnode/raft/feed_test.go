package raft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Read-only peers: they are fed by followers, and counted by nobody.

// withReader is three voters, of which n1 leads, and a read-only peer that has caught up.
func withReader(t *testing.T) *network {
	n := led(t, 3, Config{})
	n.join("r1")
	n.change("n1", "add-read-only", "r1")
	n.settle(25)
	require.Equal(t, n.committed, n.applied["r1"])
	return n
}

// A server takes in all that came before it asks what to do. Among that may be the last chunk of a
// snapshot, and a question that only the snapshot answers.
func TestSnapshotIsNotFedBeforeItIsInstalled(t *testing.T) {
	n := withReader(t)
	n.isolate("n3", "r1")
	n.fill("n1", 10)
	n.snapshot("n1", 0)
	n.isolate("r1")
	var last []Message
	for range 10 {
		n.nodes["n1"].Tick()
		n.process("n1", 0)
		last = append(last, n.hold(func(m Message) bool { return m.Type == MsgSnapshot && m.Chunk.Number+1 == m.Snapshot.Chunks })...)
	}
	require.NotEmpty(t, last)
	r := n.nodes["n3"]
	require.NoError(t, r.Step(last[0]))
	require.NoError(t, r.Step(Message{Type: MsgFetch, From: "r1", To: "n3", Term: r.term, Index: 1}))
	n.process("n3", 0)
	require.Equal(t, last[0].Snapshot.Index, r.log.base.Index)
	answer := n.flying[len(n.flying)-1]
	require.Equal(t, MsgFetchReply, answer.Type)
	require.True(t, answer.Reject)
}

// It is handed nothing before that is committed.
func TestReaderIsFedCommittedEntriesOnly(t *testing.T) {
	n := withReader(t)
	n.cut = func(from, to NodeID) bool { return to == "n1" && from != "r1" } // nothing is committed
	commit := n.nodes["n1"].log.commit
	_, _, err := n.nodes["n1"].Propose([]byte("x"))
	require.NoError(t, err)
	n.process("n1", 0)
	for range 5 {
		n.settle(1)
		require.Equal(t, commit, n.nodes["r1"].log.last())
		require.Equal(t, commit, n.nodes["r1"].log.commit)
	}
	require.Equal(t, commit+1, n.nodes["n2"].log.last(), "else the test proves nothing")
}

// The leader sends it nothing and counts it for nothing, and it neither campaigns nor decides.
func TestReaderIsNeverCounted(t *testing.T) {
	n := withReader(t)
	require.NotContains(t, n.nodes["n1"].peers, NodeID("r1"))
	n.cut = func(from, to NodeID) bool { return (from == "n2" || from == "n3") && to == "n1" }
	commit := n.nodes["n1"].log.commit
	n.propose(n.nodes["n1"], "x")
	n.settle(3)
	require.Equal(t, commit, n.nodes["n1"].log.commit)
	n.settle(20)
	require.NotEqual(t, Leader, n.nodes["n1"].role, "it hears no quorum")
	n.crash("n2")
	n.crash("n3")
	n.heal()
	n.settle(100)
	require.Nil(t, n.leader())
	require.Equal(t, Follower, n.nodes["r1"].role)
}

// A leader has better things to do, as long as others follow it and the reader knows of them.
func TestLeaderFeedsNobodyWhileItHasFollowers(t *testing.T) {
	n := withReader(t)
	held, err := n.nodes["n1"].log.at(n.nodes["n1"].inForce().index)
	require.NoError(t, err)
	fetch := func(to NodeID) bool {
		require.NoError(t, n.step(Message{
			Type: MsgFetch, From: "r1", To: to, Term: 1, Index: held.index, LogTerm: held.term, Checksum: held.checksum,
		}))
		refused := n.flying[len(n.flying)-1].Reject
		n.flying = nil
		return !refused
	}
	require.False(t, fetch("n1"))
	require.True(t, fetch("n2"))
	require.True(t, fetch("n3"))
	require.NoError(t, n.step(Message{Type: MsgFetch, From: "stranger", To: "n2"}))
	require.True(t, n.flying[len(n.flying)-1].Reject, "who is no member is fed by nobody")

	n = led(t, 1, Config{})
	n.join("r1")
	n.change("n1", "add-read-only", "r1")
	n.settle(10)
	n.propose(n.nodes["n1"], "x")
	n.settle(2)
	require.Equal(t, n.committed, n.applied["r1"], "a leader without followers feeds")
}

// One that waits for its upstream in vain, or is refused, or is told nothing new because that one hears no
// leader, asks another.
func TestReaderFindsAnotherUpstream(t *testing.T) {
	for name, lose := range map[string]func(n *network, upstream NodeID){
		"crashed":         func(n *network, upstream NodeID) { n.crash(upstream) },
		"cut from it":     func(n *network, up NodeID) { n.cut = func(f, t NodeID) bool { return f == up && t == "r1" } },
		"cut from leader": func(n *network, up NodeID) { n.cut = func(f, t NodeID) bool { return f == "n1" && t == up } },
		"silent": func(n *network, up NodeID) {
			n.nodes["r1"].feed.asking, n.nodes["r1"].feed.idle = true, -1000
			n.crash(up)
		},
		"removed":          func(n *network, up NodeID) { n.change("n1", "remove", string(up)) },
		"leader by itself": func(n *network, up NodeID) { require.NoError(n.t, n.nodes["n1"].Transfer(up)); n.process("n1", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			n := withReader(t)
			upstream := n.nodes["r1"].Status().Upstream
			require.Contains(t, []NodeID{"n2", "n3"}, upstream)
			n.settle(3)
			lose(n, upstream)
			n.drain()
			n.settle(5)
			n.propose(n.leader(), "x")
			n.settle(40)
			require.Equal(t, n.committed, n.applied["r1"])
			require.NotEqual(t, upstream, n.nodes["r1"].Status().Upstream)
		})
	}
}

// Where the upstream's log does not reach back so far, its snapshot does; chunks may be lost or doubled, and the
// upstream in the midst of it.
func TestReaderIsFedSnapshot_7(t *testing.T) {
	for _, lose := range []bool{false, true} {
		n := withReader(t)
		n.isolate("r1")
		n.fill("n1", 10)
		n.settle(2)
		for _, id := range []NodeID{"n1", "n2", "n3"} {
			n.snapshot(id, 0)
		}
		n.heal()
		r := n.nodes["r1"]
		asked := map[uint64]int{}
		for range 60 {
			n.settle(0)
			r.Tick()
			n.process("r1", 0)
			n.hold(func(m Message) bool {
				if m.Type == MsgFetchReply && m.Snapshot != nil {
					asked[m.Chunk.Number]++
					if asked[m.Chunk.Number] == 1 {
						require.NoError(t, r.Step(m)) // and once more
					}
					if lose && m.Chunk.Number == 1 && asked[1] == 1 {
						n.crash(m.From)
						return true
					}
				}
				return false
			})
		}
		require.Equal(t, 1, n.installed)
		n.settle(40)
		require.Equal(t, n.committed, n.applied["r1"])
		require.LessOrEqual(t, asked[0], 2, "what was received is not asked for again: %v", asked)
	}
}

// Its own snapshots and its restart change nothing.
func TestReaderRestartsFromSnapshot(t *testing.T) {
	n := withReader(t)
	n.fill("n1", 10)
	n.settle(3)
	n.snapshot("r1", 0)
	require.Positive(t, n.nodes["r1"].log.base.Index)
	n.fill("n1", 10)
	n.start("r1")
	n.settle(30)
	require.Equal(t, n.committed, n.applied["r1"])
}

// A lost question is asked again, a refusal sends it to another, both with the next tick; and who is asked no
// more has no say.
func TestReaderAsksAgainAtOnce(t *testing.T) {
	n := withReader(t)
	r := n.nodes["r1"]
	upstream := r.feed.upstream
	ask := func() Message {
		n.flying = nil
		r.Tick()
		n.process("r1", 0)
		require.Len(t, n.flying, 1)
		require.Equal(t, MsgFetch, n.flying[0].Type)
		return n.flying[0]
	}
	r.Unreachable(ask())
	again := ask()
	require.Equal(t, upstream, again.To)
	refusal := Message{Type: MsgFetchReply, From: upstream, To: "r1", Term: r.term, Reject: true}
	require.NoError(t, r.Step(refusal))
	next := ask()
	require.NotEqual(t, upstream, next.To)
	require.NoError(t, r.Step(refusal))
	r.Tick()
	n.process("r1", 0)
	require.Equal(t, next.To, r.feed.upstream)
}

// A question of which nobody says that it was lost is asked again before the upstream counts as silent.
func TestReaderChangesSilentUpstream(t *testing.T) {
	n := withReader(t)
	r := n.nodes["r1"]
	upstream := r.feed.upstream
	for range r.config.ElectionTicks {
		r.Tick()
		n.process("r1", 0)
		n.flying = nil
	}
	require.NotEqual(t, upstream, r.feed.upstream)
	for range 20 {
		upstream = r.feed.upstream
		r.hang()
		require.NotEqual(t, upstream, r.feed.upstream)
	}
}

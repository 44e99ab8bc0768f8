package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/actionlog"
	"coup/raftnode/bus"
	"coup/raftnode/raft"
	"coup/raftnode/store"
)

// Catches an action that is told before it is true: a vote or an entry that is not durable yet, an answer that leaves
// before what it promises, and what a message brought about before the message.
func TestActionsAreToldInTheOrderInWhichTheyAreTrue(t *testing.T) {
	var told []actionlog.Action
	voters := []raft.NodeID{"n1", "n2", "n3"}
	r, err := New(Config{ID: "n1", Voters: voters, Store: store.NewMemory(), Bus: bus.NewMemory(time.Second), Seed: 1,
		Actions: func(a actionlog.Action) { told = append(told, a) }})
	require.NoError(t, err)
	next := func(m raft.Message) (kinds []actionlog.Kind) {
		told = nil
		r.Receive(m)
		require.NoError(t, r.Process())
		for _, a := range told {
			require.Equal(t, raft.NodeID("n1"), a.Node)
			kinds = append(kinds, a.Kind)
		}
		return kinds
	}
	require.Equal(t, actionlog.Start, told[0].Kind)
	require.Equal(t, voters, []raft.NodeID(told[0].Configuration.Voters))
	const receive, term, vote, send, role = actionlog.Receive, actionlog.Term, actionlog.Vote, actionlog.Send, actionlog.Role
	require.Equal(t, []actionlog.Kind{receive, term, vote, send}, next(raft.Message{Type: raft.MsgVote, From: "n2", To: "n1", Term: 1, ID: 1}))
	entry := func(term uint64) raft.Entry {
		e := raft.Entry{Index: 1, Term: term, Type: raft.EntryNoOp}
		e.Checksum = raft.NextChecksum(0, e)
		return e
	}
	require.Equal(t, []actionlog.Kind{receive, role, actionlog.Append, send},
		next(raft.Message{Type: raft.MsgAppend, From: "n2", To: "n1", Term: 1, ID: 2, Entries: []raft.Entry{entry(1)}}))
	require.Equal(t, []actionlog.Kind{receive, term, role, actionlog.Truncate, actionlog.Append, actionlog.Commit, send, actionlog.Apply},
		next(raft.Message{Type: raft.MsgAppend, From: "n3", To: "n1", Term: 2, ID: 3, Entries: []raft.Entry{entry(2)}, Commit: 1}))
}

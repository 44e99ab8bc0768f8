package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/bus"
	"coup/raftnode/raft"
	"coup/raftnode/store"
)

// Catches a snapshot without members: the first ones stand before the log that a node is sent when it joins,
// and whoever begins from such a snapshot would go by none.
func TestANodeThatJoinsTakesNoSnapshotBeforeItKnowsTheMembers(t *testing.T) {
	r, err := New(Config{
		ID: "n4", Store: store.NewMemory(), Bus: bus.NewMemory(time.Second), ElectionTicks: 10, HeartbeatTicks: 2,
		Snapshots: Snapshots{Every: 1},
	})
	require.NoError(t, err)
	receive := func(previous raft.Entry, e raft.Entry) {
		e.Checksum = raft.NextChecksum(previous.Checksum, e)
		r.Receive(raft.Message{
			Type: raft.MsgAppend, From: "n1", To: "n4", Term: 1, Index: previous.Index, LogTerm: previous.Term,
			Checksum: previous.Checksum, Entries: []raft.Entry{e}, Commit: e.Index,
		})
		require.NoError(t, r.Process())
		require.Equal(t, e.Index, r.Status().Applied)
	}
	first := raft.Entry{Index: 1, Term: 1, Type: raft.EntryNoOp}
	receive(raft.Entry{}, first)
	first.Checksum = raft.NextChecksum(0, first)
	require.ErrorIs(t, r.TakeSnapshot(), ErrMembersUnknown)
	require.Zero(t, r.Status().Snapshot)

	members := raft.Configuration{Voters: []raft.NodeID{"n1", "n2", "n3"}, Learners: []raft.NodeID{"n4"}}
	receive(first, raft.Entry{Index: 2, Term: 1, Type: raft.EntryConfiguration, Data: raft.EncodeConfiguration(members)})
	require.EqualValues(t, 2, r.Status().Snapshot)
}

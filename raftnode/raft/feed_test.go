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

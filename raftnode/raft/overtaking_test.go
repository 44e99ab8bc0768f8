package raft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Appends are pipelined, and one may overtake the one before it. The follower refuses it for lack of that; once
// that one is acknowledged, the refusal speaks of an entry that the leader knows to be there, and still the
// refused one must be sent again, or the follower lacks it until the next proposal.
func TestAppendThatWasOvertakenIsSentAgain_5_3(t *testing.T) {
	n := newNetwork(t, 3, 1)
	n.crown("n1")
	n.drain()
	appends := func(m Message) bool { return m.Type == MsgAppend && m.To == "n2" }
	propose := func() []Message {
		_, _, err := n.nodes["n1"].Propose([]byte("command"))
		require.NoError(t, err)
		n.process("n1", 0)
		return n.hold(appends)
	}
	first, second := propose(), propose()
	require.Len(t, first, 1)
	require.Len(t, second, 1)

	require.NoError(t, n.step(second[0]))
	refusal := n.hold(isType(MsgAppendReply))
	require.Len(t, refusal, 1)
	require.True(t, refusal[0].Reject)
	n.hand(first)
	n.hand(refusal)
	require.Equal(t, n.nodes["n1"].LastIndex(), n.nodes["n2"].LastIndex())
}

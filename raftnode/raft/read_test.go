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

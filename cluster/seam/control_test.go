package seam

import (
	"testing"

	"github.com/stretchr/testify/require"

	"coup/cluster"
	"coup/raftnode/faultfs"
)

// Catches a crash that passes for the end that a fault was to cause, and an excuse that outlives its fault.
func TestOnlyTheDeathThatWasToBeIsExcused(t *testing.T) {
	c := New(true, func() []cluster.Node { return nil })
	death := func(node, last string) cluster.Death {
		return cluster.Death{Node: node, Log: []string{"node takes part", last}}
	}
	failed := "store: saving: faultfs: injected: fsync of 000002.log: input/output error"
	require.False(t, c.Excused(death("n1", failed)), "nothing is in force")
	c.Excuse("n1", "injected: fsync")
	require.True(t, c.Excused(death("n1", failed)))
	require.False(t, c.Excused(death("n2", failed)), "another node's disk is whole")
	require.False(t, c.Excused(death("n1", "panic: runtime error: index out of range")))
	c.Excuse("n1", "")
	require.False(t, c.Excused(death("n1", failed)))
}

// Catches a control that asks nodes that cannot be broken, and would take their refusal for a fault's.
func TestNodesWithoutSeamsCannotBeBroken(t *testing.T) {
	c := New(false, func() []cluster.Node { t.Fatal("it was asked"); return nil })
	require.ErrorContains(t, c.Breakable(), Flag)
	_, err := c.BreakDisk(t.Context(), "n1", faultfs.Faults{SyncFails: true})
	require.ErrorContains(t, err, Flag)
}

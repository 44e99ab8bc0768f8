package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/fsm"
	"coup/raftnode/replica"
)

// pass ticks everything until a condition holds.
func passUntil(t *testing.T, h *Hand, condition func() bool) {
	t.Helper()
	for range 200 {
		if condition() {
			return
		}
		for i := range h.Len() {
			h.Tick(i)
		}
		h.Bus()
		h.Time()
		require.NoError(t, h.Err())
	}
	require.Fail(t, "the condition never holds")
}

func leads(h *Hand, i int) func() bool {
	return func() bool { return h.Look(i).Alive && h.Look(i).Replica.Core().Leads() }
}

func TestByHandElectsWritesAndSettles(t *testing.T) {
	h, err := ByHand(HandOptions{Nodes: 3})
	require.NoError(t, err)
	h.Look(0).Replica.Core().SetElectionIn(0)
	passUntil(t, h, leads(h, 0))
	answered := false
	require.NoError(t, h.Propose(0, fsm.Command{Op: fsm.Write, Key: "data", Value: "x"}, func(r replica.Result, err error) {
		require.NoError(t, err)
		answered = true
	}))
	require.False(t, answered)
	passUntil(t, h, func() bool { return answered })
	h.Release()
	require.NoError(t, h.Settle())
}

// What is lost in a crash is what was not durable, and what hung.
func TestByHandArmedWrites(t *testing.T) {
	for _, c := range []struct {
		name    string
		action  WriteAction
		kept    int
		durable uint64 // entries afterwards, of 3
	}{
		{"the write is lost", CrashBefore, 0, 2},
		{"the write stays", CrashAfter, 0, 3},
		{"the fsync fails", FailWrite, 0, 2},
		{"the fsync fails and the write stays", FailButWrite, 0, 3},
		{"it hangs and is lost", HangWrite, 0, 2},
		{"it hangs and stays", HangWrite, 1, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := ByHand(HandOptions{Nodes: 3})
			require.NoError(t, err)
			h.Look(0).Replica.Core().SetElectionIn(0)
			passUntil(t, h, leads(h, 0))
			write := func() {
				require.NoError(t, h.Propose(0, fsm.Command{Op: fsm.Write, Key: "data", Value: "x"}, func(replica.Result, error) {}))
			}
			write()
			passUntil(t, h, func() bool { return h.Look(1).Durable.Last == 2 })
			h.Arm(0, Armed{"log", c.action})
			write()
			if c.action == HangWrite {
				require.Equal(t, uint64(2), h.Look(0).Durable.Last)
				require.True(t, h.Look(0).Hangs)
				h.Crash(0, c.kept)
			}
			require.False(t, h.Look(0).Alive)
			require.Equal(t, c.durable, h.Look(0).Durable.Last)
			require.NoError(t, h.Start(0))
			h.Release()
			require.NoError(t, h.Settle())
		})
	}
}

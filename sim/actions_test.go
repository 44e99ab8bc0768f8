package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/actionlog"
	"coup/raftnode/raft"
)

// Catches a log that tells of a world that was not: messages that arrive and were never sent, dead nodes that act, terms
// that go back, and a kind of action that is never told.
func TestActionsTellWhatHappened(t *testing.T) {
	kinds := map[actionlog.Kind]bool{}
	for seed := range uint64(60) {
		var number uint64
		type letter struct {
			kind     string
			from, to raft.NodeID
			id       uint64
		}
		under := map[letter]int{}
		alive, term := map[raft.NodeID]bool{}, map[raft.NodeID]uint64{}
		o := ordinary(seed)
		o.Actions = func(a actionlog.Action) {
			kinds[a.Kind] = true
			number++
			require.Equal(t, number, a.Number)
			if m := a.Message; m != nil {
				l := letter{m.Type, m.From, m.To, m.ID}
				switch a.Kind {
				case actionlog.Send, actionlog.Duplicate:
					under[l]++
				case actionlog.Receive, actionlog.Lose:
					under[l]--
					require.GreaterOrEqual(t, under[l], 0, "seed %d, action %d: %v", seed, a.Number, a)
				}
			}
			switch a.Kind {
			case actionlog.Start:
				alive[a.Node] = true
				term[a.Node] = a.Term
			case actionlog.Crash, actionlog.Stop:
				alive[a.Node] = false
			case actionlog.Term:
				require.Greater(t, a.Term, term[a.Node], "seed %d, action %d", seed, a.Number)
				term[a.Node] = a.Term
			}
			switch a.Kind {
			case actionlog.Role, actionlog.Vote, actionlog.Append, actionlog.Commit, actionlog.Send, actionlog.Receive:
				require.True(t, alive[a.Node], "seed %d, action %d: %s %v", seed, a.Number, a.Node, a)
			}
		}
		play(t, o)
	}
	for _, k := range actionlog.Kinds() {
		require.Equal(t, k != actionlog.Violation, kinds[k], "%s", k)
	}
}

package quorum

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func ids(n int, prefix string) []NodeID {
	var all []NodeID
	for i := range n {
		all = append(all, NodeID(fmt.Sprintf("%s%d", prefix, i+1)))
	}
	return all
}

func TestMajorityOfOneToSeven(t *testing.T) {
	for n, size := range []int{1, 1, 2, 2, 3, 3, 4, 4} {
		if n == 0 {
			continue
		}
		m := NewMajority(ids(n, "n")...)
		require.Equal(t, size, m.Size(), "of %d", n)
		votes := map[NodeID]bool{}
		for i, id := range m {
			want := Pending
			if i >= size {
				want = Won
			}
			require.Equal(t, want, m.Tally(votes), "%d of %d yes", i, n)
			votes[id] = true
		}
	}
}

func TestEmptyMajorityHasNoSay(t *testing.T) {
	require.Equal(t, Won, Majority{}.Tally(nil))
	require.Equal(t, ^uint64(0), Majority{}.Committed(func(NodeID) uint64 { return 0 }))
}

func TestNewMajoritySortsAndDeduplicates(t *testing.T) {
	require.Equal(t, Majority{"a", "b"}, NewMajority("b", "a", "b"))
}

func drawMajority(t *rapid.T, label string) Majority {
	return NewMajority(rapid.SliceOfNDistinct(rapid.SampledFrom(ids(9, "n")), 0, 7, rapid.ID[NodeID]).Draw(t, label)...)
}

// Committed is compared with its definition: the largest value that is reached by enough members.
func TestCommittedAgainstDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := Joint{drawMajority(t, "new"), drawMajority(t, "old")}
		reached := map[NodeID]uint64{}
		for _, id := range ids(9, "n") {
			reached[id] = rapid.Uint64Range(0, 5).Draw(t, string(id))
		}
		enough := func(v uint64) bool {
			votes := map[NodeID]bool{}
			for _, id := range j.Members() {
				votes[id] = reached[id] >= v
			}
			return j.Tally(votes) == Won
		}
		got := j.Committed(func(id NodeID) uint64 { return reached[id] })
		require.True(t, enough(min(got, 6)) || got <= 5 && enough(got))
		if got < ^uint64(0) {
			require.False(t, enough(got+1))
		}
	})
}

// Any two sets that win must share a member, in each half: the ground that safety stands on.
func TestWinnersIntersect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := Joint{drawMajority(t, "new"), drawMajority(t, "old")}
		if len(j[0]) == 0 {
			t.Skip("no voters")
		}
		draw := func(label string) map[NodeID]bool {
			votes := map[NodeID]bool{}
			for _, id := range j.Members() {
				votes[id] = rapid.Bool().Draw(t, label+string(id))
			}
			return votes
		}
		a, b := draw("a"), draw("b")
		if j.Tally(a) != Won || j.Tally(b) != Won {
			return
		}
		require.True(t, slices.ContainsFunc(j.Members(), func(id NodeID) bool { return a[id] && b[id] }))
	})
}

// A tally is monotone: votes still to come change Pending only.
func TestTallyIsFinal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := Joint{drawMajority(t, "new"), drawMajority(t, "old")}
		votes := map[NodeID]bool{}
		decided := Pending
		for _, id := range rapid.Permutation(j.Members()).Draw(t, "order") {
			votes[id] = rapid.Bool().Draw(t, "vote")
			now := j.Tally(votes)
			if decided != Pending {
				require.Equal(t, decided, now)
			}
			decided = now
		}
		require.NotEqual(t, Pending, j.Tally(votes), "all have voted")
	})
}

// A tally is what all ways in which the missing votes may fall have in common, and each of these is
// counted here by hand: won or lost only if there is no way out.
func TestTallyAgainstAllOutcomes(t *testing.T) {
	more := func(m Majority, yes map[NodeID]bool) bool {
		k := 0
		for _, id := range m {
			if yes[id] {
				k++
			}
		}
		return len(m) == 0 || 2*k > len(m)
	}
	rapid.Check(t, func(t *rapid.T) {
		j := Joint{drawMajority(t, "new"), drawMajority(t, "old")}
		votes := map[NodeID]bool{}
		var missing []NodeID
		for _, id := range j.Members() {
			if rapid.Bool().Draw(t, "voted"+string(id)) {
				votes[id] = rapid.Bool().Draw(t, "vote"+string(id))
			} else {
				missing = append(missing, id)
			}
		}
		wins, losses := 0, 0
		for set := range 1 << len(missing) {
			outcome := map[NodeID]bool{}
			for id, v := range votes {
				outcome[id] = v
			}
			for i, id := range missing {
				outcome[id] = set&(1<<i) != 0
			}
			if more(j[0], outcome) && more(j[1], outcome) {
				wins++
			} else {
				losses++
			}
		}
		got := j.Tally(votes)
		require.Equal(t, losses == 0, got == Won)
		require.Equal(t, wins == 0, got == Lost)
	})
}

// The largest committed value is found here by trying them all, counting each half by hand.
func TestJointCommittedAgainstCounting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := Joint{drawMajority(t, "new"), drawMajority(t, "old")}
		if len(j.Members()) == 0 {
			t.Skip("nobody has a say")
		}
		reached := map[NodeID]uint64{}
		for _, id := range j.Members() {
			reached[id] = rapid.Uint64Range(0, 5).Draw(t, string(id))
		}
		var want uint64
		for v := range uint64(6) {
			all := true
			for _, half := range j {
				k := 0
				for _, id := range half {
					if reached[id] >= v {
						k++
					}
				}
				all = all && (len(half) == 0 || 2*k > len(half))
			}
			if all {
				want = v
			}
		}
		require.Equal(t, want, j.Committed(func(id NodeID) uint64 { return reached[id] }))
	})
}

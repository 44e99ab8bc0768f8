package runner

import (
	"testing"

	"github.com/stretchr/testify/require"

	"coup/checker"
)

func follower(node, leader string, term, applied uint64) checker.Observation {
	return checker.Observation{Node: node, Role: "follower", Term: term, Leader: leader, Commit: applied, Applied: applied}
}

func leading(node string, term, applied uint64) checker.Observation {
	o := follower(node, node, term, applied)
	o.Role = roleLeader
	o.Reigns = []checker.Reign{{Term: term}}
	return o
}

// Catches a cluster taken for settled that is not: each of these kept a run from being believed.
func TestDiscordAndUnrest(t *testing.T) {
	for _, test := range []struct {
		name            string
		round           []checker.Observation
		discord, unrest string
	}{
		{"quiet", []checker.Observation{leading("n1", 3, 9), follower("n2", "n1", 3, 9)}, "", ""},
		{"nobody asked", nil, "no node was asked yet", "no node was asked yet"},
		{"one does not answer", []checker.Observation{leading("n1", 3, 9), {Node: "n2", Error: "refused"}},
			"n2 does not answer: refused", "n2 does not answer: refused"},
		{"one knows no leader", []checker.Observation{leading("n1", 3, 9), follower("n2", "", 3, 9)},
			"n2 knows no leader in term 3", "n2 knows no leader in term 3"},
		{"an old leader", []checker.Observation{leading("n1", 3, 9), leading("n2", 4, 9)},
			"n1 follows n1 in term 3, but n2 follows n2 in term 4", "n1 follows n1 in term 3, but n2 follows n2 in term 4"},
		{"a leader that does not know", []checker.Observation{follower("n1", "n1", 3, 9), follower("n2", "n1", 3, 9)},
			"all follow n1, which does not lead", "all follow n1, which does not lead"},
		{"one is behind", []checker.Observation{leading("n1", 3, 9), follower("n2", "n1", 3, 8)},
			"", "n1 has applied 9 of 9, n2 8 of 8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.discord, discord(test.round))
			require.Equal(t, test.unrest, unrest(test.round))
		})
	}
}

// Catches a reign between two questions that nobody hears of, the same news told twice, and a log
// that grows taken for news.
func TestMonitor(t *testing.T) {
	m := newMonitor()
	news, reigns := m.saw([]checker.Observation{leading("n1", 1, 1), follower("n2", "n1", 1, 1)})
	require.Len(t, news, 2)
	require.Equal(t, []Leadership{{Node: "n1", Term: 1}}, reigns)

	news, reigns = m.saw([]checker.Observation{leading("n1", 1, 5), follower("n2", "n1", 1, 5)})
	require.Empty(t, news)
	require.Empty(t, reigns)

	back := leading("n2", 4, 6)
	back.Reigns = []checker.Reign{{Term: 2, Over: true}, {Term: 4}}
	news, reigns = m.saw([]checker.Observation{{Node: "n1", Error: "refused"}, back})
	require.Len(t, news, 2)
	require.Equal(t, []Leadership{{Node: "n2", Term: 2}, {Node: "n2", Term: 4}}, reigns)
	node, term := m.leader()
	require.Equal(t, "n2", node)
	require.EqualValues(t, 4, term)

	news, _ = m.saw([]checker.Observation{{Node: "n1", Error: "timeout"}, back})
	require.Empty(t, news, "silence stays silence, whatever its reason")
	m.forget()
	news, reigns = m.saw([]checker.Observation{{Node: "n1", Error: "timeout"}, back})
	require.Len(t, news, 2)
	require.Empty(t, reigns)
}

// Catches leaders in the wrong order during a partition.
func TestLeaders(t *testing.T) {
	require.Equal(t, []string{"n3", "n1"}, leaders([]checker.Observation{leading("n1", 5, 1), follower("n2", "n1", 5, 1), leading("n3", 4, 1)}))
}

// Catches a leader that has left the cluster and is shown for its leader still.
func TestWhoHasLeftLeadsNobody(t *testing.T) {
	m := newMonitor()
	m.saw([]checker.Observation{leading("n1", 3, 9), follower("n2", "n1", 3, 9)})
	m.saw([]checker.Observation{follower("n2", "", 3, 9)})
	node, _ := m.leader()
	require.Empty(t, node)
	news, _ := m.saw([]checker.Observation{leading("n1", 3, 9), follower("n2", "", 3, 9)})
	require.Len(t, news, 1, "what it says when it is back is news")
}

package checker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestVotes(t *testing.T) {
	at := func(seconds int, node string, term uint64, vote string) Observation {
		return Observation{
			Asked: time.Duration(seconds) * time.Second, Time: time.Duration(seconds)*time.Second + time.Millisecond,
			Node: node, Role: "follower", Term: term, Vote: vote,
		}
	}
	late := at(1, "n1", 1, "")
	late.Asked, late.Time = 500*time.Millisecond, 3*time.Second
	wiped, wipedLater := at(2, "n1", 1, ""), at(4, "n1", 0, "")
	wiped.Wiped, wipedLater.Wiped = 1, 1
	for _, c := range []struct {
		name   string
		seen   []Observation
		broken string // part of the accusation; empty for a sound story
	}{
		{"votes in later terms", []Observation{at(1, "n1", 1, "n2"), at(2, "n1", 2, ""), at(3, "n1", 2, "n3")}, ""},
		{"each node for another", []Observation{at(1, "n1", 1, "n2"), at(2, "n2", 1, "n3")}, ""},
		{"silence between", []Observation{at(1, "n1", 1, "n2"), {Node: "n1", Error: "no answer"}, at(3, "n1", 1, "n2")}, ""},
		{"an answer that was under way", []Observation{at(1, "n1", 1, "n2"), late}, ""},
		{"a vote forgotten in a restart", []Observation{at(1, "n1", 4, "n2"), at(2, "n1", 4, "")}, "n1 had voted for n2 in term 4 at 1.001 s, and at 2.001 s for nobody"},
		{"two votes in a term", []Observation{at(1, "n1", 4, "n2"), at(2, "n1", 4, "n3")}, "and at 2.001 s for n3"},
		{"a node that was wiped", []Observation{at(1, "n1", 4, "n2"), wiped}, ""},
		{"one that forgot after it was wiped", []Observation{wiped, at(3, "n1", 4, "n2"), wipedLater}, "n1 was in term 1 at 2.001 s, and in term 0"},
		{"a term forgotten", []Observation{at(1, "n1", 4, "n2"), at(2, "n1", 3, "n2")}, "n1 was in term 4 at 1.001 s, and in term 3 at 2.001 s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			finding := Votes(c.seen)
			if c.broken == "" {
				require.Empty(t, finding.Broken)
				return
			}
			require.Len(t, finding.Broken, 1)
			require.Contains(t, finding.Broken[0], c.broken)
		})
	}
}

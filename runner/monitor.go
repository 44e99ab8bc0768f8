package runner

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"coup/checker"
)

// roleLeader is a leader's Role.
const roleLeader = "leader"

// monitor keeps what the nodes said last, and finds what is new in what they say now.
type monitor struct {
	last map[string]checker.Observation
	led  map[uint64]bool // the terms that somebody was seen to lead
}

func newMonitor() *monitor {
	return &monitor{last: map[string]checker.Observation{}, led: map[uint64]bool{}}
}

// saw takes in one round of answers, of all nodes that are there. It returns those that tell something new, and the reigns that
// nobody had told of, in the order of their terms.
func (m *monitor) saw(round []checker.Observation) (news []checker.Observation, reigns []Leadership) {
	maps.DeleteFunc(m.last, func(node string, _ checker.Observation) bool {
		return !slices.ContainsFunc(round, func(o checker.Observation) bool { return o.Node == node })
	})
	for _, o := range round {
		before, known := m.last[o.Node]
		m.last[o.Node] = o
		if known && same(before, o) {
			continue
		}
		news = append(news, o)
		for _, term := range claimed(o) {
			if !m.led[term] {
				m.led[term] = true
				reigns = append(reigns, Leadership{At: o.Time, Node: o.Node, Term: term})
			}
		}
	}
	slices.SortStableFunc(reigns, func(a, b Leadership) int { return cmp.Compare(a.Term, b.Term) })
	return news, reigns
}

// forget makes whatever the nodes say next news.
func (m *monitor) forget() { clear(m.last) }

// same tells whether two answers of a node tell the same story. That its log grows is no news.
func same(a, b checker.Observation) bool {
	if a.Error != "" || b.Error != "" {
		return a.Error != "" && b.Error != ""
	}
	return a.Role == b.Role && a.Term == b.Term && a.Leader == b.Leader && a.Vote == b.Vote && a.Wiped == b.Wiped && slices.Equal(a.Reigns, b.Reigns)
}

// claimed are the terms that a node says it leads or led.
func claimed(o checker.Observation) []uint64 {
	var terms []uint64
	for _, reign := range o.Reigns {
		terms = append(terms, reign.Term)
	}
	if o.Role == roleLeader && !slices.Contains(terms, o.Term) {
		terms = append(terms, o.Term)
	}
	return terms
}

// leaders are the nodes that call themselves leader, highest term last.
func leaders(round []checker.Observation) []string {
	var leading []checker.Observation
	for _, o := range round {
		if o.Role == roleLeader {
			leading = append(leading, o)
		}
	}
	slices.SortStableFunc(leading, func(a, b checker.Observation) int { return cmp.Compare(a.Term, b.Term) })
	names := make([]string, len(leading))
	for i, o := range leading {
		names[i] = o.Node
	}
	return names
}

// leader is the leader of the highest term that any node claims in its last answer.
func (m *monitor) leader() (node string, term uint64) {
	for _, o := range m.last {
		if o.Role == roleLeader && o.Term > term {
			node, term = o.Node, o.Term
		}
	}
	return node, term
}

// discord says why the nodes do not agree on a leader yet: all must answer and name the same one in
// the same term, and that one must say so too. It is empty when they agree.
func discord(round []checker.Observation) string {
	if len(round) == 0 {
		return "no node was asked yet"
	}
	for _, o := range round {
		if o.Error != "" {
			return fmt.Sprintf("%s does not answer: %s", o.Node, o.Error)
		}
	}
	first := round[0]
	for _, o := range round {
		switch {
		case o.Leader == "":
			return fmt.Sprintf("%s knows no leader in term %d", o.Node, o.Term)
		case o.Leader != first.Leader || o.Term != first.Term:
			return fmt.Sprintf("%s follows %s in term %d, but %s follows %s in term %d",
				first.Node, first.Leader, first.Term, o.Node, o.Leader, o.Term)
		}
	}
	if !slices.Contains(leaders(round), first.Leader) {
		return fmt.Sprintf("all follow %s, which does not lead", first.Leader)
	}
	return ""
}

// unrest says why the nodes are not quiet yet: they must agree on a leader and have applied all that
// any of them knows to be committed. It is empty when they are.
func unrest(round []checker.Observation) string {
	if why := discord(round); why != "" {
		return why
	}
	first := round[0]
	for _, o := range round {
		if o.Applied != first.Applied || o.Commit != o.Applied {
			return fmt.Sprintf("%s has applied %d of %d, %s %d of %d",
				first.Node, first.Applied, first.Commit, o.Node, o.Applied, o.Commit)
		}
	}
	return ""
}

package checker

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"coup/history"
)

// Finding is what a checker of an invariant came to.
type Finding struct {
	Summary string   // what it looked at
	Broken  []string // where the invariant does not hold, a sentence each
}

// claim is evidence that a node led a term.
type claim struct {
	at   time.Duration
	node string
	life string // of the node
	term uint64
	how  string
	past bool // told after the fact: at is only when it became known
}

// Leaders checks that no term has two leaders (Raft paper, figure 3: Election Safety), and that a
// node that has led a term is never again in a lower one. A node claims a term when it says that it
// leads or has led it. Answering an operation claims nothing: a deposed leader answers for an entry
// that its successor committed, from the successor's term.
func Leaders(evidence Evidence) Finding {
	claims := leaderClaims(evidence.Observations)
	finding := Finding{}
	first := make(map[uint64]claim) // by term
	highest := make(map[string]claim)
	accused := make(map[string]bool)
	for _, c := range claims {
		holder, taken := first[c.term]
		switch pair := fmt.Sprint(c.term, c.node); {
		case !taken:
			first[c.term] = c
		case holder.node != c.node && !accused[pair]:
			accused[pair] = true
			finding.Broken = append(finding.Broken, fmt.Sprintf(
				"Term %d had two leaders: %s %s at %s, and %s %s at %s.",
				c.term, holder.node, holder.how, clock(holder.at), c.node, c.how, clock(c.at)))
		}
	}
	// A node speaks at some moment between question and answer, so that only what was asked after a
	// claim was made can contradict it.
	next := 0
	told := make(map[string]bool)
	for _, s := range spokenTerms(evidence) {
		for ; next < len(claims) && claims[next].at < s.asked; next++ {
			if c := claims[next]; c.term > highest[c.life].term {
				highest[c.life] = c
			}
		}
		if was := highest[s.life]; s.term < was.term && !told[s.life] {
			told[s.life] = true
			finding.Broken = append(finding.Broken, fmt.Sprintf(
				"%s fell back: it %s of term %d at %s, and was in term %d at %s.",
				s.node, was.how, was.term, clock(was.at), s.term, clock(s.at)))
		}
	}
	finding.Summary = fmt.Sprintf("%d terms with a leader were seen; %d contradictions.", len(first), len(finding.Broken))
	return finding
}

// leaderClaims are in the order of time.
func leaderClaims(observations []Observation) []claim {
	var claims []claim
	for _, o := range observations {
		if o.Role == "leader" {
			claims = append(claims, claim{o.Time, o.Node, o.life(), o.Term, "said that it was the leader", false})
		}
		for _, reign := range o.Reigns {
			claims = append(claims, claim{o.Time, o.Node, o.life(), reign.Term, "said that it had been the leader", true})
		}
	}
	slices.SortStableFunc(claims, func(a, b claim) int { return cmp.Compare(a.at, b.at) })
	return claims
}

// speech is a node telling its own term of some moment between asked and at.
type speech struct {
	asked, at time.Duration
	node      string
	life      string // of the node; of one that answers an operation, its first
	term      uint64
}

// spokenTerms are what nodes said of their own term, in the order in which they were asked.
func spokenTerms(evidence Evidence) []speech {
	var spoken []speech
	for _, o := range evidence.Observations {
		if o.Error == "" {
			spoken = append(spoken, speech{o.Asked, o.Time, o.Node, o.life(), o.Term})
		}
	}
	for _, op := range evidence.Ops {
		if op.Outcome == history.OK && op.Term > 0 {
			spoken = append(spoken, speech{op.Invoke, op.Return, op.Node, op.Node, op.Term})
		}
	}
	slices.SortStableFunc(spoken, func(a, b speech) int { return cmp.Compare(a.asked, b.asked) })
	return spoken
}

// clock writes a time of the run for people.
func clock(at time.Duration) string {
	return fmt.Sprintf("%.3f s", at.Seconds())
}

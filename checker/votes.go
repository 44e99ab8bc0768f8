package checker

import "fmt"

// ballot is what a node said of its term and of its vote in it.
type ballot struct {
	Observation
	known bool
}

// Votes checks that a node's term never goes back and that it votes at most once in a term, restarts
// included (Raft paper, 5.2 and figure 2). A node says of its term and vote only what is on its disk;
// so one that later names another vote in the same term, or none, has forgotten.
func Votes(observations []Observation) Finding {
	finding := Finding{}
	latest := map[string]ballot{}
	cast := 0
	for _, o := range observations {
		if o.Error != "" {
			continue
		}
		was := latest[o.life()]
		if was.known && o.Asked < was.Time {
			// Both may have been said at the same moment.
			continue
		}
		switch {
		case !was.known || o.Term > was.Term:
		case o.Term < was.Term:
			finding.Broken = append(finding.Broken, fmt.Sprintf("%s was in term %d at %s, and in term %d at %s.",
				o.Node, was.Term, clock(was.Time), o.Term, clock(o.Time)))
		case was.Vote != "" && o.Vote != was.Vote:
			finding.Broken = append(finding.Broken, fmt.Sprintf("%s had voted for %s in term %d at %s, and at %s for %s.",
				o.Node, was.Vote, o.Term, clock(was.Time), clock(o.Time), orNobody(o.Vote)))
		}
		if o.Vote != "" && (!was.known || o.Term != was.Term || o.Vote != was.Vote) {
			cast++
		}
		latest[o.life()] = ballot{o, true}
	}
	finding.Summary = fmt.Sprintf("%d votes of %d nodes were seen; %d contradictions.", cast, len(latest), len(finding.Broken))
	return finding
}

func orNobody(node string) string {
	if node == "" {
		return "nobody"
	}
	return node
}

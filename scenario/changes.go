package scenario

import (
	"fmt"
	"strings"
)

// glance is what is told of a node when it changes.
type glance struct {
	state  string
	term   string
	log    string
	commit string
	data   string
	remark string
}

// glance looks at all nodes.
func (s *stage) glance() (all []glance) {
	if s.hand == nil {
		return nil
	}
	for i := range s.hand.Len() {
		n := s.hand.Look(i)
		g := glance{state: role(s.hand, i).text, log: s.logText(i), term: fmt.Sprint(n.Durable.Term)}
		if n.Alive {
			c := n.Replica.Core()
			data, _ := stored(s, i, dataKey)
			g.term, g.commit, g.data = fmt.Sprint(c.Term()), fmt.Sprint(c.Commit()), data.String()
		}
		switch {
		case n.Paused:
			g.remark = "paused"
		case n.Hangs:
			g.remark = "waits for its disk"
		case n.Died != nil:
			g.remark = n.Died.Error()
		}
		all = append(all, g)
	}
	return all
}

// changes tells what a line has changed, a node a line; all nodes are shown when the cluster is new.
func (s *stage) changes(before []glance, l *Line) string {
	var b strings.Builder
	if before == nil {
		s.printNodes(&b)
		return b.String()
	}
	for i, now := range s.glance() {
		var was glance
		if i < len(before) {
			was = before[i]
		}
		if parts := now.since(was); len(parts) > 0 {
			fmt.Fprintf(&b, "%s  %s\n", name(i), strings.Join(parts, ", "))
		}
	}
	if l.verb == "tick" && strings.Contains(l.Text, "until") {
		fmt.Fprintf(&b, "time is %d\n", s.hand.Ticks())
	}
	return b.String()
}

// since tells what has changed.
func (g glance) since(was glance) (parts []string) {
	for _, x := range []struct{ what, was, now string }{
		{"", was.state, g.state}, {"term ", was.term, g.term}, {"log ", was.log, g.log}, {"commit ", was.commit, g.commit}, {"data ", was.data, g.data},
	} {
		switch {
		case x.now == x.was || x.now == "":
		case x.was == "":
			parts = append(parts, x.what+x.now)
		default:
			parts = append(parts, fmt.Sprintf("%s%s > %s", x.what, x.was, x.now))
		}
	}
	switch {
	case g.remark == was.remark:
	case g.remark == "":
		parts = append(parts, "no longer "+strings.Replace(was.remark, "waits", "waiting", 1))
	default:
		parts = append(parts, g.remark)
	}
	return parts
}

// answer tells what a client was answered.
func (s *stage) answer(who int, r *response) string {
	return fmt.Sprintf("%s  %s: %s\n", s.clients[who].name, r.what, r.outcome())
}

package actionlog

import "coup/raftnode/raft"

// standing is what a node is at a time.
type standing struct {
	role   string // empty: not known
	term   uint64
	down   bool
	paused bool
}

// after is what a node is once it has done something.
func (s standing) after(a *Action) standing {
	switch a.Kind {
	case Start:
		return standing{role: raft.Follower.String(), term: a.Term}
	case Stop, Crash:
		return standing{term: s.term, down: true}
	case Pause:
		s.paused = true
	case Resume:
		s.paused = false
	case Term:
		s.term = a.Term
	case Role:
		s.role, s.term = a.Role, a.Term
	}
	return s
}

// look names how a lane is drawn.
func (s standing) look() string {
	switch {
	case s.down:
		return "down"
	case s.paused:
		return "paused"
	case s.role == "":
		return "unknown"
	}
	return s.role
}

// band is a part of a node's lane on which it stays what it is.
type band struct {
	column   int
	from, to float64
	standing standing
}

// bands are those of all lanes, from top to bottom.
func (l *layout) bands() (all []band) {
	bottom := top(len(l.rows))
	for _, id := range l.lanes {
		now := band{column: l.column(id), from: header}
		for i := range l.actions {
			a := &l.actions[i]
			if a.Node != id {
				continue
			}
			next := now.standing.after(a)
			if next == now.standing {
				continue
			}
			if now.to = min(bottom, l.place[i]); now.to > now.from {
				all = append(all, now)
			}
			now = band{column: now.column, from: now.to, standing: next}
		}
		if now.to = bottom; now.to > now.from {
			all = append(all, now)
		}
	}
	return all
}

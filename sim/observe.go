package sim

import (
	"slices"
	"time"

	"coup/checker"
	"coup/raftnode/replica"
	"coup/runner"
)

// round is one question to all nodes at once.
type round struct {
	id      uint64
	asked   time.Duration
	answers []checker.Observation
	waiting []bool
	left    int
	done    func(runner.Round)
}

// observeTimeout bounds one question to one node about itself.
const observeTimeout = 400 * time.Millisecond

// Observe implements runner.World. Only members are asked that are not lost: of other nodes nothing is owed.
func (w *World) Observe(done func(runner.Round)) {
	w.clients.lastID++
	r := &round{id: w.clients.lastID, asked: w.now, done: done}
	w.rounds = append(w.rounds, r)
	w.schedule(event{at: w.now + w.clients.latency(w), kind: evObserve, id: r.id})
}

func (w *World) round(id uint64) *round {
	for _, r := range w.rounds {
		if r.id == id {
			return r
		}
	}
	return nil
}

// observe is the arrival of the question at the nodes.
func (w *World) observe(id uint64) {
	r := w.round(id)
	members, _ := w.configured()
	r.answers, r.waiting = make([]checker.Observation, len(w.nodes)), make([]bool, len(w.nodes))
	for i, n := range w.nodes {
		if r.waiting[i] = members.Contains(n.id) && !n.lost; r.waiting[i] {
			r.left++
			r.answers[i] = checker.Observation{Node: string(n.id), Asked: r.asked, Time: r.asked + observeTimeout, Error: "timeout: no answer in time"}
		}
	}
	for i := range r.waiting {
		switch n := w.nodes[i]; {
		case !r.waiting[i]:
		case !n.alive():
			w.silence(n, id)
		case n.idle():
			w.tellStatus(n, id)
		default:
			n.inbox = append(n.inbox, work{kind: workStatus, id: id})
		}
	}
	w.schedule(event{at: r.asked + observeTimeout, kind: evObserved, id: id})
}

// tellStatuses answers who asked during a turn, now that what it wrote is durable.
func (w *World) tellStatuses(n *node) {
	for _, id := range n.inquiries {
		w.tellStatus(n, id)
	}
	n.inquiries = n.inquiries[:0]
}

// tellStatus is a node's answer. It tells only what is durable: the process is not writing.
func (w *World) tellStatus(n *node, id uint64) {
	if r := w.round(id); r != nil && n.index < len(r.waiting) && r.waiting[n.index] {
		r.answers[n.index] = observation(n, n.replica.Status())
		w.answered(r, n)
	}
}

// silence is the answer of a node that is dead.
func (w *World) silence(n *node, id uint64) {
	if r := w.round(id); r != nil && n.index < len(r.waiting) && r.waiting[n.index] {
		r.answers[n.index].Error = "unreachable: connection refused"
		w.answered(r, n)
	}
}

func (w *World) answered(r *round, n *node) {
	o := &r.answers[n.index]
	o.Asked, o.Time = r.asked, w.now
	r.waiting[n.index] = false
	if r.left--; r.left == 0 {
		w.schedule(event{at: w.now, kind: evObserved, id: r.id})
	}
}

// tellObserved ends a round.
func (w *World) tellObserved(id uint64) {
	for i, r := range w.rounds {
		if r.id == id {
			w.rounds = append(w.rounds[:i], w.rounds[i+1:]...)
			w.told = true
			members := slices.DeleteFunc(r.answers, func(o checker.Observation) bool { return o.Node == "" })
			r.done(runner.Round{Nodes: members, Deaths: w.deaths})
			return
		}
	}
}

func observation(n *node, s replica.Status) checker.Observation {
	o := checker.Observation{
		Node: string(n.id), Role: s.Role.String(), Term: s.Term, Leader: string(s.Leader), Vote: string(s.Vote),
		Commit: s.Commit, Applied: s.Applied, Wiped: n.wiped,
	}
	for _, reign := range s.Reigns {
		o.Reigns = append(o.Reigns, checker.Reign(reign))
	}
	return o
}

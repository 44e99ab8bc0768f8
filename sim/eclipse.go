package sim

import (
	"slices"
	"time"

	"coup/history"
	"coup/raftnode/raft"
	"coup/raftnode/replica"
	"coup/runner"
	"coup/workload"
)

// eclipses cut a leader off from the other nodes, though not from clients, at the moments that leases, terms and
// transfers turn on, and have clients ask it and whoever comes after it meanwhile, as fast as they can.
type eclipses struct {
	dice  dice
	every time.Duration // between two, on average; 0 for none
	node  int           // the leader that is eclipsed
	life  uint32        // of its process
	eager int           // is cut off from it first, and wants to lead
	until time.Duration // clients ask
	lull  time.Duration // nobody else writes until then: who wants to lead may hold all that there is
	held  []int32       // letters: what the others ask the eager one while nobody hears the leader
	late  bool          // what the leader is answered takes long
	stage stage
}

// stage is how far an eclipse has come.
type stage uint8

const (
	stageNone   stage = iota
	stageNear         // nobody writes any more
	stageBegun        // one voter does not hear the leader
	stageStir         // nobody does; that one is to begin a term that the others do not hear of
	stageEnding       // and then the leader is cut off
	stageDark         // the leader is cut off, and clients ask
)

// probedKey is written by the clients of eclipses and by nobody else.
const probedKey = "eclipse"

// probing is the process that they are one operation of each.
const probing = -2

func newEclipses(o Options) eclipses {
	e := eclipses{dice: newDice(o.Seed, "eclipses")}
	if every := pick(&e.dice, 0, 500*time.Millisecond, 2*time.Second); slices.Contains(o.Trouble, "eclipses") {
		e.every = every
	}
	return e
}

func (w *World) beginEclipses() {
	if e := &w.eclipses; e.every > 0 {
		w.schedule(event{at: w.now + e.dice.between(0, 2*e.every), kind: evEclipse})
	}
}

// election is the shortest election time-out.
func (w *World) election() time.Duration {
	return time.Duration(w.options.ElectionTicks) * w.options.Tick
}

// approach comes before an eclipse, unless one is on: nobody writes any more, mostly, and all that was written gets
// about.
func (w *World) approach() {
	e := &w.eclipses
	if e.every == 0 {
		return
	}
	w.schedule(event{at: w.now + e.dice.between(e.every/2, 2*e.every), kind: evEclipse})
	if e.stage != stageNone {
		return
	}
	e.stage = stageNear
	if e.dice.below(4) > 0 {
		e.lull = w.now + 5*w.election()
	}
	w.schedule(event{at: w.now + w.election()/5, kind: evShade})
}

// eclipse begins one.
func (w *World) eclipse() {
	e := &w.eclipses
	w.release(0)
	if e.stage = stageNone; e.every == 0 {
		return
	}
	leader := w.foremost()
	now, _ := w.configured()
	others := w.others(now.Voters, leader)
	if leader == nil || len(others) < 2 {
		e.lull = 0
		return
	}
	w.reached.Eclipses++
	n := w.nodes[w.find(pickNode(&e.dice, others))]
	e.node, e.life, e.eager, e.stage = leader.index, leader.life, n.index, stageBegun
	after := e.dice.between(w.election(), 3*w.election())
	if e.late = false; e.dice.below(5) < 2 {
		after = 3 * w.election()
		e.stage = stageStir
		for _, id := range others {
			w.shutBoth(leader.index, w.find(id), w.now+after)
		}
	} else if e.late = e.dice.below(3) == 0; e.late {
		for _, id := range others {
			w.slow(w.find(id), leader.index, w.now+after)
		}
	}
	w.shutBoth(leader.index, n.index, w.now+6*w.election())
	w.trace.note(w.now, "is to be eclipsed", leader, uint64(n.index))
	w.remark(leader, "is to be eclipsed, and %s to take its place", n.id)
	w.schedule(event{at: w.now + after, kind: evDarken, id: uint64(w.reached.Eclipses)})
}

// foremost is the leader of the latest term, among those that run.
func (w *World) foremost() (leader *node) {
	for _, n := range w.nodes {
		if n.alive() && !n.frozen && !n.stalled && n.replica.Core().Leads() &&
			(leader == nil || n.replica.Core().Term() > leader.replica.Core().Term()) {
			leader = n
		}
	}
	return leader
}

// others are those of some nodes that run, without one.
func (w *World) others(of []raft.NodeID, without *node) (found []raft.NodeID) {
	for _, id := range of {
		if n := w.nodes[w.find(id)]; n != without && n.alive() {
			found = append(found, id)
		}
	}
	return found
}

func (w *World) shutBoth(a, b int, until time.Duration) {
	w.network.link(a, b).shut, w.network.link(b, a).shut = until, until
}

// slow has what is sent over a link from now on take long.
func (w *World) slow(from, to int, until time.Duration) { w.network.link(from, to).slow = until }

// stir looks at what is sent while an eclipse is on, and tells whether it is to be held.
func (w *World) stir(m *raft.Message, from, to int) (hold bool) {
	e := &w.eclipses
	switch {
	case e.every == 0:
	case m.Type == raft.MsgTimeoutNow && e.stage <= stageBegun && e.dice.below(2) == 0:
		// A transfer of which its leader never learns that it came about.
		e.node, e.life, e.eager = from, w.nodes[from].life, to
		w.darken(e.dice.between(w.election()/2, 2*w.election()))
		w.network.link(from, to).shut = 0
	case m.Type == raft.MsgVote && e.stage == stageStir && from == e.eager:
		// The new term begins, and its candidate reaches nobody; all hear the old leader again.
		e.stage = stageEnding
		for i := range w.nodes {
			if i != e.eager && i != e.node {
				w.shutBoth(e.node, i, 0)
				w.network.link(e.eager, i).shut = w.now + 2*w.trouble.latency + 1
			}
		}
		beat := time.Duration(w.options.HeartbeatTicks) * w.options.Tick
		w.release(e.dice.between(2*beat, 7*beat))
	case m.Type == raft.MsgPreVote && e.stage == stageStir && to == e.eager:
		// It comes when its sender asks for nothing any more.
		return true
	case m.Type == raft.MsgPreVoteReply && m.Reject && e.stage == stageEnding && from == e.eager && to != e.node:
		// The new term gets about. The leader is not to hear of it.
		w.darken(e.dice.between(w.election(), 2*w.election()))
	}
	return false
}

// release lets go, a while from now, of what was held.
func (w *World) release(d time.Duration) {
	for _, i := range w.eclipses.held {
		w.schedule(event{at: w.now + d, kind: evDeliver, ref: i})
	}
	w.eclipses.held = w.eclipses.held[:0]
}

// dark cuts the leader off and has clients ask, if it still leads.
func (w *World) dark(eclipse uint64) {
	e := &w.eclipses
	if e.every == 0 || e.stage <= stageNear || e.stage == stageDark || eclipse != uint64(w.reached.Eclipses) {
		return
	}
	leader := w.nodes[e.node]
	if leader.life != e.life || !leader.alive() || !leader.replica.Core().Leads() {
		e.stage, e.lull = stageNone, 0
		return
	}
	now, _ := w.configured()
	others := w.others(now.Voters, leader)
	switch how := e.dice.below(4); {
	case e.stage == stageStir || e.stage == stageEnding || e.late || how == 0:
	case how == 1:
		// Who has answered the leader forgets that it did.
		for _, id := range others {
			if n := w.nodes[w.find(id)]; n.index != e.eager && e.dice.below(4) > 0 {
				w.crash(n)
				if !n.killed && !n.gone() {
					w.schedule(event{at: w.now + e.dice.between(time.Millisecond, 30*time.Millisecond), kind: evRestart, node: uint8(n.index), id: uint64(n.life)})
				}
			}
		}
	default:
		if heirs := w.others(others, w.nodes[e.eager]); len(heirs) > 0 && !leader.waits {
			// Where it comes to that, the message to the heir begins the dark; where not, nothing was done.
			heir := w.find(pickNode(&e.dice, heirs))
			w.options.Script.transfers(leader, heir)
			w.arrive(leader, work{kind: workTransfer, ref: int32(heir)})
			e.stage, e.lull = stageNone, 0
			return
		}
	}
	w.darken(e.dice.between(w.election()/2, 5*w.election()/2))
}

// darken cuts the leader off for a while, in which clients ask.
func (w *World) darken(d time.Duration) {
	e := &w.eclipses
	e.stage, e.until = stageDark, w.now+d
	w.release(0)
	deaf := !e.late && e.dice.below(3) > 0
	for i := range w.nodes {
		if i == e.node {
			continue
		}
		w.network.link(e.node, i).shut = e.until
		if deaf || i == e.eager {
			w.network.link(i, e.node).shut = e.until
		}
	}
	w.trace.note(w.now, "is eclipsed", w.nodes[e.node], uint64(d))
	w.remark(w.nodes[e.node], "its links are shut for %v", (e.until - w.now).Round(time.Millisecond))
	w.schedule(event{at: w.now + time.Millisecond, kind: evProbe})
}

// probe has a client read at the eclipsed leader, or write at whoever leads besides.
func (w *World) probe() {
	e := &w.eclipses
	if w.now >= e.until || e.every == 0 {
		e.stage, e.lull = stageNone, 0
		return
	}
	w.schedule(event{at: w.now + e.dice.between(time.Millisecond, 8*time.Millisecond), kind: evProbe})
	ignore := func(runner.Completion) {}
	op := workload.Op{Process: probing, F: history.Read, Key: probedKey, Node: string(w.nodes[e.node].id)}
	how := pick(&e.dice, replica.Lease, replica.Linearizable)
	for _, n := range w.nodes {
		if n.index != e.node && n.alive() && n.replica.Core().Leads() && e.dice.below(2) == 0 {
			op.F, op.Value, op.Node = history.Write, history.Int(int64(w.now)), string(n.id)
		}
	}
	w.reached.Probes++
	w.submit(op, how, ignore)
}

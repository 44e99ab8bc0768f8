package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"coup/raftnode/actionlog"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
	"coup/raftnode/replica"
)

// membership is one or two administrators who change the members again and again, each at the node that
// it takes for the leader or at any other. They remember what they asked for: a node is stopped or wiped
// only once it is proven to be no member, and while nothing that was asked can make it one again.
type membership struct {
	dice  dice
	every time.Duration // between two requests of one administrator, on average; 0 for none
	asks  []ask
	extra int // nodes beyond the first
	// again is a node that was asked to be removed only to be added anew at once, until when that is waited for; nil
	// for none.
	again *node
	until time.Duration
}

// ask is a change that was asked for and whose fate is not known.
type ask struct {
	id      uint64 // 0 for none
	changes []confchange.Change
	node    int
	life    uint32 // of the process that was asked
	// until is a term of which any leader that has committed something shows what became of it; 0 while the process
	// may still take it up.
	until uint64
}

// standing is what the administrators know of a node.
type standing uint8

const (
	standingMember  standing = iota // it is one, or was asked to be
	standingRemoved                 // it was one and is proven to be none; it runs on
	standingStopped                 // and is stopped for good
)

const (
	mostExtra    = 6
	mostVoters   = 7
	maxAdmins    = 2
	removedAfter = 10 * time.Second // a removed node runs on for at most that
)

// beginMembership schedules the administrators' first requests.
func (w *World) beginMembership() {
	if m := &w.members; m.every > 0 {
		for i := range 1 + m.dice.below(maxAdmins) {
			w.schedule(event{at: w.now + m.dice.between(0, 2*m.every), kind: evAdmin, ref: int32(i)})
		}
	}
}

// configured is the latest configuration that anybody goes by who has heard of the latest term, and
// whether it is committed there.
func (w *World) configured() (c raft.Configuration, committed bool) {
	var best *raft.Raft
	for _, n := range w.nodes {
		if !n.alive() {
			continue
		}
		k := n.replica.Core()
		if len(k.Configuration().Voters) == 0 {
			continue // it was told of none yet
		}
		if best == nil || k.Term() > best.Term() || k.Term() == best.Term() && k.Leads() {
			best = k
		}
	}
	if best == nil {
		return raft.Configuration{Voters: w.voters}, false
	}
	return best.Configuration(), best.Leads() && best.ConfigurationIndex() <= best.Commit() && settled(best)
}

// settled tells whether a leader has committed an entry of its term. What it lacks then is in no log that can
// ever win.
func settled(leader *raft.Raft) bool {
	term, _, found := leader.Entry(leader.Commit())
	return found && term == leader.Term()
}

// administrate has an administrator ask for something.
func (w *World) administrate(who int32) {
	m := &w.members
	if m.every == 0 {
		return
	}
	w.schedule(event{at: w.now + m.dice.between(0, 2*m.every), kind: evAdmin, ref: who})
	w.noteFates()
	now, committed := w.configured()
	if len(now.Voters) == 0 {
		return
	}
	w.noteRemoved(now, committed)
	switch m.dice.below(12) {
	case 0:
		w.island(now)
		return
	case 1, 2:
		w.replace(now)
		return
	}
	changes := w.drawChanges(now)
	if len(changes) == 0 {
		return
	}
	// Mostly at the leader; else at anybody, who may have been deposed and not know.
	at := m.dice.below(len(w.nodes))
	if m.dice.below(4) > 0 {
		for _, n := range w.nodes {
			if n.alive() && n.replica.Core().Leads() {
				at = n.index
			}
		}
	}
	w.ask(at, changes)
}

// ask sends a request for changes to a node.
func (w *World) ask(at int, changes []confchange.Change) {
	m := &w.members
	w.clients.lastID++
	id := w.clients.lastID
	m.asks = append(m.asks, ask{id: id, changes: changes, node: at, life: w.nodes[at].life})
	for _, c := range changes {
		if adds(c.Op) {
			n := w.nodes[w.find(c.Node)]
			n.asked++
			n.standing = standingMember
		}
	}
	w.remark(w.nodes[at], "to be asked for %v", changes)
	w.schedule(event{at: w.now + w.clients.latency(w), kind: evAsk, node: uint8(at), id: id})
}

// maroon shuts all links of a node until then.
func (w *World) maroon(n *node, until time.Duration) {
	w.remark(n, "its links are shut for %v", (until - w.now).Round(time.Millisecond))
	for to := range w.nodes {
		w.network.link(n.index, to).shut, w.network.link(to, n.index).shut = until, until
	}
}

// strand perhaps cuts a node off that has just begun with a snapshot. What it holds then may be long out of date,
// and name a member that it was before it was wiped.
func (w *World) strand(n *node) {
	if w.members.every == 0 || w.members.dice.below(strandOneIn) > 0 {
		return
	}
	election := 2 * time.Duration(w.options.ElectionTicks) * w.options.Tick
	w.reached.Stranded++
	w.maroon(n, w.now+w.members.dice.between(election, 3*election))
}

// strandOneIn is how seldom a snapshot cuts its receiver off.
const strandOneIn = 4

// island cuts a leader off until it must have noticed, and asks it to remove all the others meanwhile.
func (w *World) island(now raft.Configuration) {
	for _, n := range w.nodes[:w.options.Nodes] {
		if !n.alive() || n.frozen || n.stalled || !n.replica.Core().Leads() || len(now.Voters) < 3 {
			continue
		}
		election := 2 * time.Duration(w.options.ElectionTicks) * w.options.Tick
		until := w.now + w.members.dice.between(2*election, 4*election)
		var changes []confchange.Change
		for _, id := range now.Members() {
			if id != n.id {
				changes = append(changes, confchange.Change{Op: confchange.Remove, Node: id})
			}
		}
		if !w.bears(now, "", changes) {
			return
		}
		w.maroon(n, until)
		w.reached.Islands++
		w.ask(n.index, changes)
		return
	}
}

// drawChanges draws what to ask for, all in one request.
func (w *World) drawChanges(now raft.Configuration) []confchange.Change {
	m := &w.members
	if m.dice.below(4) == 0 {
		if half := w.half(now); len(half) > 0 {
			return half
		}
	}
	count := 1
	if m.dice.below(3) == 0 {
		count += 1 + m.dice.below(2)
	}
	voters := len(now.Voters)
	var changes []confchange.Change
	for range count {
		var c confchange.Change
		switch m.dice.below(8) {
		case 0, 1, 2:
			c.Op = pick(&m.dice, confchange.Add, confchange.Add, confchange.AddLearner, confchange.AddReadOnly)
			if voters >= mostVoters {
				continue
			}
			c.Node = w.newcomer(now, c.Op == confchange.AddReadOnly)
		case 3:
			c.Op, c.Node = confchange.Promote, pickNode(&m.dice, w.present(now.Learners))
		case 4:
			c.Op, c.Node = confchange.Demote, pickNode(&m.dice, now.Voters)
		default:
			c.Op, c.Node = confchange.Remove, pickNode(&m.dice, now.Members())
			if lost := w.absent(now.Members()); len(lost) > 0 && m.dice.below(2) == 0 {
				c.Node = pickNode(&m.dice, lost)
			}
		}
		if c.Node == "" || slices.ContainsFunc(changes, func(d confchange.Change) bool { return d.Node == c.Node }) {
			continue
		}
		if c.Op == confchange.Demote || c.Op == confchange.Remove && slices.Contains(now.Voters, c.Node) {
			// Two voters more than are down must stay, so that a majority lives.
			if voters <= 2 {
				continue
			}
			voters--
		}
		changes = append(changes, c)
	}
	if !w.bears(now, "", changes) {
		return nil
	}
	return changes
}

// half removes half of an even number of voters, so that those that leave may hold up those that stay.
func (w *World) half(now raft.Configuration) (changes []confchange.Change) {
	for _, id := range now.Voters {
		if len(changes) < len(now.Voters)/2 && w.members.dice.below(2) == 0 {
			changes = append(changes, confchange.Change{Op: confchange.Remove, Node: id})
		}
	}
	if 2*len(changes) != len(now.Voters) || !w.bears(now, "", changes) {
		return nil
	}
	return changes
}

// replace removes a node whose answers are slow, and adds it again, blank, before they have come: in the same term of
// the same leader, if it can.
func (w *World) replace(now raft.Configuration) {
	m := &w.members
	leader := w.foremost()
	if leader == nil || m.again != nil || len(now.Voters) < 3 {
		return
	}
	others := w.others(now.Replicated(), leader)
	n := w.nodes[max(0, w.find(pickNode(&m.dice, others)))]
	changes := []confchange.Change{{Op: confchange.Remove, Node: n.id}}
	if len(others) == 0 || n.killed || n.gone() || !w.bears(now, "", changes) {
		return
	}
	m.again, m.until = n, w.now+time.Second
	w.slow(n.index, leader.index, m.until)
	w.ask(leader.index, changes)
	w.schedule(event{at: w.now + replacePoll, kind: evRejoin})
}

const replacePoll = 5 * time.Millisecond

// rejoin wipes the node that is to be replaced, once it is proven to be removed, and asks for it again.
func (w *World) rejoin() {
	m := &w.members
	n := m.again
	if n == nil || m.every == 0 || w.now >= m.until || n.standing == standingStopped {
		m.again = nil
		return
	}
	now, committed := w.configured()
	if !committed || now.Joint() || now.Contains(n.id) || n.asked > 0 || n.killed || n.gone() {
		w.schedule(event{at: w.now + replacePoll, kind: evRejoin})
		return
	}
	m.again = nil
	leader := w.foremost()
	if leader == nil || leader == n {
		return
	}
	w.reached.Removed++
	w.reached.Rejoins++
	w.network.link(n.index, leader.index).slow = 0
	n.killed = true
	w.crash(n)
	w.wipe(n)
	// What it comes to is noted there.
	_ = w.restart(n)
	w.ask(leader.index, []confchange.Change{{Op: pick(&m.dice, confchange.Add, confchange.AddLearner), Node: n.id}})
}

// present are those of some nodes that are not lost; absent are the others.
func (w *World) present(of []raft.NodeID) []raft.NodeID { return w.thatAre(false, of) }
func (w *World) absent(of []raft.NodeID) []raft.NodeID  { return w.thatAre(true, of) }

func (w *World) thatAre(gone bool, of []raft.NodeID) (found []raft.NodeID) {
	for _, id := range of {
		if w.nodes[w.find(id)].gone() == gone {
			found = append(found, id)
		}
	}
	return found
}

// adds tells whether an operation makes a node a member that is none.
func adds(op confchange.Op) bool {
	return op == confchange.Add || op == confchange.AddLearner || op == confchange.AddReadOnly
}

func pickNode(d *dice, from []raft.NodeID) raft.NodeID {
	if len(from) == 0 {
		return ""
	}
	return from[d.below(len(from))]
}

// newcomer is a node that runs and is no member: one that was removed, or a new one on a blank disk.
func (w *World) newcomer(now raft.Configuration, readOnly bool) raft.NodeID {
	m := &w.members
	if m.dice.below(2) == 0 {
		for _, n := range w.nodes {
			if n.standing != standingStopped && n.alive() && !now.Contains(n.id) && n.readOnly == readOnly {
				return n.id
			}
		}
	}
	if m.extra >= mostExtra {
		return ""
	}
	m.extra++
	n := w.addNode(raft.NodeID(fmt.Sprintf("n%d", len(w.nodes)+1)))
	n.joins, n.readOnly = true, readOnly
	if readOnly {
		n.upstreams = now.Replicated()
	}
	// What it comes to is noted there.
	_ = w.restart(n)
	return n.id
}

// arriveAsk has a node asked for a change.
func (w *World) arriveAsk(n *node, id uint64) {
	if n.alive() {
		w.scriptAsk(n, id)
		w.arrive(n, work{kind: workAsk, id: id})
	} else {
		w.resolve(id)
	}
}

// change hands a change to the replica. What is refused is settled; what is not answered may happen yet.
func (w *World) change(n *node, id uint64) {
	at := slices.IndexFunc(w.members.asks, func(a ask) bool { return a.id == id })
	if at < 0 {
		return
	}
	w.reached.Changes++
	n.replica.Change(w.members.asks[at].changes, func(_ replica.Result, err error) {
		if err == nil {
			w.reached.Changed++
		}
		if !errors.Is(err, replica.ErrFateUnknown) {
			w.resolve(id)
			return
		}
		if at := slices.IndexFunc(w.members.asks, func(a ask) bool { return a.id == id }); at >= 0 {
			w.members.asks[at].until = n.replica.Core().Term() + 1
		}
	})
}

// noteFates forgets the asks that a later leader has decided: it goes by what they came to, or they never will come
// to anything.
func (w *World) noteFates() {
	var highest, decided uint64
	for _, n := range w.nodes {
		highest = max(highest, n.term, n.disk.show().state.Term)
		if !n.alive() {
			continue
		}
		c := n.replica.Core()
		highest = max(highest, c.Term())
		if c.Leads() && settled(c) {
			decided = max(decided, c.Term())
		}
	}
	for i := len(w.members.asks) - 1; i >= 0; i-- {
		a := &w.members.asks[i]
		if a.until == 0 && w.nodes[a.node].life != a.life {
			a.until = highest + 1 // the process is no more, and led no later term
		}
		if a.until > 0 && decided >= a.until {
			w.resolve(a.id)
		}
	}
}

// resolve forgets an ask whose fate is known.
func (w *World) resolve(id uint64) {
	m := &w.members
	at := slices.IndexFunc(m.asks, func(a ask) bool { return a.id == id })
	if at < 0 {
		return
	}
	for _, c := range m.asks[at].changes {
		if adds(c.Op) {
			w.nodes[w.find(c.Node)].asked--
		}
	}
	m.asks = slices.Delete(m.asks, at, at+1)
}

// noteRemoved finds who is proven to be no member: the leader has committed a configuration without it,
// and nothing that was asked for can add it. It runs on for a while, and is then stopped for good, or
// wiped and free to join anew.
func (w *World) noteRemoved(now raft.Configuration, committed bool) {
	m := &w.members
	for _, n := range w.nodes {
		switch {
		case n.standing == standingStopped:
		case !committed || now.Joint() || now.Contains(n.id) || n.asked > 0:
			n.removedAt = never
		case n.removedAt == never:
			n.removedAt, n.standing = w.now, standingRemoved
			w.reached.Removed++
		case w.now-n.removedAt > m.dice.between(0, removedAfter):
			n.removedAt = never
			w.retire(n)
		}
	}
}

// retire ends a node that is no member, and perhaps lets it begin anew.
func (w *World) retire(n *node) {
	n.killed = true
	w.crash(n)
	if w.members.dice.below(2) == 0 {
		n.standing = standingStopped
		w.trace.note(w.now, "stopped for good", n, 0)
		w.remark(n, "is stopped for good")
		return
	}
	w.wipe(n)
	w.trouble.revive(w, n)
}

// wipe gives a dead node that is no member a blank disk.
func (w *World) wipe(n *node) {
	w.reached.Wiped++
	n.wiped++
	n.removedAt = never
	n.disk.close()
	n.disk, n.joins, n.killed = newDisk(w, n), true, false
	n.lost, n.damaged = false, ""
	w.check.Wipe(n.id)
	w.options.Script.happens(n, "wipe")
	w.trace.note(w.now, "wiped", n, 0)
	w.tell(n, actionlog.Action{Kind: actionlog.Disk, Text: "wiped"})
}

func newMembership(o Options) membership {
	m := membership{dice: newDice(o.Seed, "membership")}
	if every := pick(&m.dice, 0, 300*time.Millisecond, time.Second, 3*time.Second); slices.Contains(o.Trouble, "membership") {
		m.every = every
	}
	return m
}

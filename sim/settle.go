package sim

import (
	"fmt"
	"slices"
	"time"

	"coup/history"
	"coup/raftnode/actionlog"
	"coup/raftnode/raft"
	"coup/runner"
	"coup/workload"
)

// What a healthy cluster owes, in the longest time that an election takes.
const (
	leaderWithin   = 20 // L1
	answerWithin   = 20 // L2
	convergeWithin = 20 // L3
	stableFor      = 10 // L4
)

// probeKey is written by Settle. Generators use none like it.
const probeKey = "settle"

// Settle ends all trouble and all faults, starts what is dead, and holds the cluster to what it then
// owes: a leader, and another when that one hears nobody (L1), an answer (L2), equal states (L3), and no new
// term (L4). What it finds missing is
// a *Failure, as Err tells from then on.
func (w *World) Settle() error {
	w.options.Script.end()
	w.heal()
	election := 2 * time.Duration(w.options.ElectionTicks) * w.options.Tick
	if !w.within(leaderWithin*election, func() bool { return w.leader() != nil }) {
		return w.owed("L1", "no leader that all follow %v after healing", leaderWithin*election)
	}
	w.introduce()
	if !w.probed(answerWithin * election) {
		return w.owed("L2", "no write was answered within %v of the leader's election", answerWithin*election)
	}
	if !w.within(convergeWithin*election, func() bool { return w.apart() == "" }) {
		return w.owed("L3", "the members' states do not become equal within %v: %s", convergeWithin*election, w.apart())
	}
	if !w.succeeds(leaderWithin * election) {
		return w.owed("L1", "no other leader within %v although the leader heard nobody", leaderWithin*election)
	}
	if !w.within(convergeWithin*election, func() bool { return w.leader() != nil && w.apart() == "" }) {
		return w.owed("L3", "the members' states do not become equal within %v of a change of leader: %s", convergeWithin*election, w.apart())
	}
	// A transfer that was ordered before may still be on; it does not last longer than this.
	if !w.pass(election) {
		return w.Err()
	}
	// A reign may just have ended with its node.
	if !w.within(leaderWithin*election, func() bool { return w.leader() != nil }) {
		return w.owed("L1", "no leader that all follow within %v", leaderWithin*election)
	}
	before := w.highestTerm()
	if !w.pass(stableFor * election) {
		return w.Err()
	}
	if after := w.highestTerm(); after > before+w.mayGrow(stableFor*election) {
		return w.owed("L4", "the term grew from %d to %d within %v although nothing was wrong", before, after, stableFor*election)
	}
	return w.Err()
}

// introduce tells read-only peers of the members that there are. Before there was a leader nobody knew for sure.
func (w *World) introduce() {
	members, _ := w.inForce()
	known := members.Replicated()
	for _, n := range w.nodes {
		if !n.readOnly || !n.alive() || !members.IsReadOnly(n.id) || slices.Equal(n.upstreams, known) {
			continue
		}
		n.upstreams, n.killed = known, true
		w.crash(n)
		n.killed = false
		// What it comes to is noted there.
		_ = w.restart(n)
	}
}

// succeeds has the leader hear nobody for a while, though all hear it, and tells whether the others come
// to another: a leader that goes on without a quorum would hold them up for ever.
func (w *World) succeeds(bound time.Duration) bool {
	members, _ := w.inForce()
	old := w.leader()
	others := 0
	for _, id := range members.Voters {
		if n := w.nodes[w.find(id)]; n != old && n.alive() {
			others++
		}
	}
	if old == nil || 2*others <= len(members.Voters) {
		return true
	}
	deafen := func(cut bool) {
		for from := range w.nodes {
			w.network.link(from, old.index).cut = cut
			w.tellLink(from, old.index, cut, 0)
		}
	}
	term := old.replica.Core().Term()
	deafen(true)
	succeeded := w.within(bound, func() bool {
		for _, n := range w.nodes {
			if n != old && n.alive() && n.replica.Core().Leads() && n.replica.Core().Term() > term {
				return true
			}
		}
		return false
	})
	deafen(false)
	return succeeded
}

// mayGrow is by how much the term may grow in a while: each end of a reign costs an election, and perhaps
// a second one.
func (w *World) mayGrow(d time.Duration) uint64 {
	if w.operators.maxReign == 0 {
		return 0
	}
	return 2 + 2*uint64(d/(time.Duration(w.operators.maxReign)*w.options.Tick))
}

func (w *World) owed(check, format string, args ...any) error {
	w.fail(check, format, args...)
	return w.Err()
}

// heal ends all that is wrong.
func (w *World) heal() {
	w.trouble.calm()
	w.members.every, w.operators.every, w.session.every, w.past.every, w.eclipses.every, w.eclipses.lull = 0, 0, 0, 0, 0, 0
	for i := range w.network.links {
		w.network.links[i].cut, w.network.links[i].shut, w.network.links[i].slow = false, 0, 0
		w.network.links[i].bad = badness{}
	}
	w.release(0)
	w.loseHeld()
	for _, n := range w.nodes {
		n.disk.full = false
		n.rate = w.options.Tick
		n.killed = false
		if n.readOnly {
			// Whom it was once told to ask may all be gone.
			members, _ := w.inForce()
			n.upstreams, n.killed = members.Replicated(), true
			w.crash(n)
			n.killed = false
		}
		switch {
		case n.lost || n.standing == standingStopped:
		case !n.alive():
			// What it comes to is noted there.
			_ = w.restart(n)
		case n.frozen || n.stalled:
			n.stalled = false
			w.resume(n, &n.frozen)
		}
	}
}

// loseHeld drops the messages that were held back: what arrives long after all was healed is trouble, too.
func (w *World) loseHeld() {
	for i := range w.queue.events {
		if e := &w.queue.events[i]; e.kind == evDeliver && e.at > w.now+busTimeout {
			w.tellMessage(actionlog.Lose, nil, &w.network.letters[e.ref].m, "held back for too long")
			w.network.drop(e.ref)
			e.kind = evNothing
		}
	}
}

// pollEvery is how often Settle looks.
const pollEvery = 20 * time.Millisecond

// within steps until a condition holds, and tells whether it came to.
func (w *World) within(bound time.Duration, condition func() bool) bool {
	for until := w.now + bound; ; {
		if condition() {
			return true
		}
		if w.now >= until || !w.pass(pollEvery) {
			return false
		}
	}
}

// pass steps for a while. It is false when the world has ended.
func (w *World) pass(d time.Duration) bool {
	until := w.now + d
	for w.failure == nil && !w.closed && w.step(until) {
	}
	w.now = max(w.now, until)
	return w.failure == nil && !w.closed
}

// inForce is the configuration of the leader of the latest term that has committed something in it, and whether that
// configuration is committed. Removed nodes that never learned of it may have come to later terms. While no
// node leads so, it is what configured tells.
func (w *World) inForce() (c raft.Configuration, committed bool) {
	var best *raft.Raft
	for _, n := range w.nodes {
		if !n.alive() {
			continue
		}
		if k := n.replica.Core(); k.Leads() && settled(k) && (best == nil || k.Term() > best.Term()) {
			best = k
		}
	}
	if best == nil {
		return w.configured()
	}
	return best.Configuration(), best.ConfigurationIndex() <= best.Commit()
}

// leader is the one that all members but the read-only follow, if there is one.
func (w *World) leader() *node {
	var leader *node
	members, _ := w.inForce()
	for _, n := range w.nodes {
		if n.alive() && n.replica.Core().Leads() && (leader == nil || n.replica.Core().Term() > leader.replica.Core().Term()) {
			leader = n
		}
	}
	if leader == nil || members.Joint() || !members.IsVoter(leader.id) {
		return nil
	}
	for _, id := range members.Replicated() {
		n := w.nodes[w.find(id)]
		if n.alive() && (n.replica.Core().Leader() != leader.id || n.replica.Core().Term() != leader.replica.Core().Term()) {
			return nil
		}
	}
	return leader
}

// probed writes until a write is answered.
func (w *World) probed(bound time.Duration) bool {
	for until := w.now + bound; w.now < until; {
		ended, ok := false, false
		leader := w.leader()
		if leader == nil {
			if !w.pass(pollEvery) {
				return false
			}
			continue
		}
		op := workload.Op{Process: -1, F: history.Write, Key: probeKey, Value: history.Int(int64(w.now)), Node: string(leader.id)}
		w.Submit(op, func(c runner.Completion) { ended, ok = true, c.Type == history.OK })
		if w.within(w.options.OpTimeout+pollEvery, func() bool { return ended }) && ok {
			return true
		}
		if w.failure != nil {
			return false
		}
	}
	return false
}

// apart says why the members have not applied all there is and come to the same state; empty when they have.
func (w *World) apart() string {
	members, committed := w.inForce()
	if !committed {
		return "no leader has committed its configuration"
	}
	var names []raft.NodeID
	var last uint64
	all := members.Members()
	for _, id := range all {
		if n := w.nodes[w.find(id)]; n.alive() {
			last = max(last, n.replica.Core().LastIndex())
		}
	}
	for _, id := range all {
		n := w.nodes[w.find(id)]
		if !n.alive() {
			continue
		}
		c := n.replica.Core()
		if c.Applied() != last || c.LastIndex() != last {
			return fmt.Sprintf("%s has applied %d and holds %d, of %d", id, c.Applied(), c.LastIndex(), last)
		}
		names = append(names, n.id)
	}
	if !w.options.Unchecked {
		if err := w.check.Converged(names...); err != nil {
			return err.Error()
		}
		return ""
	}
	for _, id := range names {
		if a, b := w.nodes[w.find(names[0])], w.nodes[w.find(id)]; a.state != b.state {
			return fmt.Sprintf("%s is in state %016x, and %s in state %016x", a.id, a.state, b.id, b.state)
		}
	}
	return ""
}

// highestTerm is that of any member.
func (w *World) highestTerm() (term uint64) {
	members, _ := w.inForce()
	for _, id := range members.Replicated() {
		if n := w.nodes[w.find(id)]; n.alive() {
			term = max(term, n.replica.Core().Term())
		}
	}
	return term
}

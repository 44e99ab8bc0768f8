package sim

import (
	"slices"

	"coup/raftnode/actionlog"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
)

// spoil has a node's disk fail for good: all of it is gone, or a bit of it has flipped, which its next start must
// find. Either way the node is lost. That is done only where the members can go on without it for ever, whatever
// becomes of the changes that were asked for.
func (w *World) spoil(n *node) {
	t := &w.trouble
	if t.rot == 0 || !n.alive() || n.frozen || n.stalled || !w.spare() || !w.dispensable(n) {
		return
	}
	if t.dice.below(3) == 0 {
		n.lost = true
		w.reached.DisksLost++
		w.trace.note(w.now, "loses its disk", n, 0)
		w.tell(n, actionlog.Action{Kind: actionlog.Disk, Text: "lost for good"})
		w.crash(n)
		return
	}
	w.crash(n)
	n.damaged = n.disk.damage(&t.dice)
	w.options.Script.happens(n, "corrupt")
	w.trace.note(w.now, "disk has a flipped bit", n, uint64(len(n.damaged)))
	w.tell(n, actionlog.Action{Kind: actionlog.Disk, Text: "a bit flips: " + n.damaged})
}

// gone tells whether a node will never run again with what it holds.
func (n *node) gone() bool { return n.lost || n.damaged != "" }

// dispensable tells whether a node may be lost. No change may be open that would make it a voter.
func (w *World) dispensable(n *node) bool {
	now, committed := w.configured()
	if !committed || slices.Contains(now.LearnersNext, n.id) || slices.Contains(now.Promote, n.id) {
		return false
	}
	for _, a := range w.members.asks {
		for _, c := range a.changes {
			if c.Node == n.id {
				return false
			}
		}
	}
	return w.bears(now, n.id, nil)
}

// bears tells whether the voters can go on without those that are lost, and without one more, when all that was asked
// for and these changes take away as many as they may. Clients know the first nodes only: one of them must remain.
func (w *World) bears(now raft.Configuration, more raft.NodeID, changes []confchange.Change) bool {
	leaves := func(id raft.NodeID) bool {
		takes := func(c confchange.Change) bool {
			return c.Node == id && (c.Op == confchange.Remove || c.Op == confchange.Demote)
		}
		return slices.ContainsFunc(changes, takes) ||
			slices.ContainsFunc(w.members.asks, func(a ask) bool { return slices.ContainsFunc(a.changes, takes) })
	}
	known := func(n *node) bool {
		return !n.gone() && n.id != more && now.Contains(n.id) && !leaves(n.id)
	}
	if !slices.ContainsFunc(w.nodes[:w.options.Nodes], known) {
		return false
	}
	for _, voters := range [][]raft.NodeID{now.Voters, now.Outgoing} {
		lost, left := 0, 0
		for _, id := range voters {
			switch {
			case id == more || w.nodes[w.find(id)].gone():
				lost++
			case !leaves(id):
				left++
			}
		}
		if lost > 0 && lost >= left {
			return false
		}
	}
	return true
}

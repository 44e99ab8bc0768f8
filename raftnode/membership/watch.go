package membership

import (
	"context"
	"fmt"
	"slices"
	"time"

	"coup/raftnode/api"
	"coup/raftnode/raft"
	"coup/raftnode/replica"
)

// Replica is the node's replica, as it is watched.
type Replica interface {
	Status(ctx context.Context) (replica.Status, error)
	// Pause has time stand still for the replica, so that it campaigns no more, or lets it pass again.
	Pause(bool)
}

// Watch notices when the node is no member, or no longer, and keeps a removed one quiet, until ctx is done. Whoever
// knows a leader that has it as a member asks nobody.
func (n *Node) Watch(ctx context.Context, r Replica) {
	again := time.NewTicker(4 * n.o.Every)
	defer again.Stop()
	doubts := 0 // how often in a row nothing showed that the node is a member
	for {
		if st, err := r.Status(ctx); err == nil {
			readOnly := st.Configuration.IsReadOnly(n.o.ID)
			doubts++
			if st.Configuration.Contains(n.o.ID) && st.Leader != "" && !readOnly {
				doubts = 0
			}
			// A read-only peer hears no leader, and so asks now and then.
			n.look(ctx, st, doubts >= 2 && (!readOnly || doubts%8 == 2))
			n.mu.Lock()
			quiet := n.removed(st)
			n.mu.Unlock()
			r.Pause(quiet && st.Role != raft.Leader)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// look takes in what the replica knows, and what the leader says if it is asked.
func (n *Node) look(ctx context.Context, st replica.Status, ask bool) {
	n.mu.Lock()
	if o := n.outside; o != nil && st.Configuration.Contains(n.o.ID) && st.ConfigurationIndex > o.Index {
		n.outside = nil // it was made a member since
	}
	outside := n.outside != nil
	n.mu.Unlock()
	if !ask {
		if !outside {
			n.waitsFor("")
		}
		return
	}
	c, err := n.o.Peers.Members(ctx)
	switch {
	case err != nil:
		if !outside {
			n.waitsFor(fmt.Sprintf("a leader: %v", err))
		}
	case !c.Committed || c.Joint():
	case c.Contains(n.o.ID):
		n.heardToBeMember(st, c)
	default:
		n.heardToBeNone(st, c)
	}
}

func (n *Node) heardToBeMember(st replica.Status, c api.Configuration) {
	n.mu.Lock()
	n.outside = nil
	n.mu.Unlock()
	what := ""
	if st.Leader == "" && !st.Configuration.IsReadOnly(n.o.ID) {
		what = fmt.Sprintf("%s, which leads, to send what it needs", c.Node)
	}
	n.waitsFor(what)
}

func (n *Node) heardToBeNone(st replica.Status, c api.Configuration) {
	n.mu.Lock()
	news := n.outside == nil
	n.outside = &c
	removed := n.removed(st)
	if removed {
		n.waiting = fmt.Sprintf("nothing: %s was removed from the cluster, and keeps quiet; stop it, or add it again: as it is, or with an "+
			"empty directory and --join", n.o.ID)
	}
	advice := n.waiting
	n.mu.Unlock()
	switch {
	case !removed:
		n.waitsFor(fmt.Sprintf("%s to be added", n.o.ID))
	case news:
		n.o.Logger.Warn("this node was removed from the cluster", "configuration", c.Configuration, "index", c.Index, "waits_for", advice)
	}
}

// removed tells whether the node is none of the members that it once was among. n.mu is held.
func (n *Node) removed(st replica.Status) bool {
	return n.outside != nil && (st.LastIndex > 0 || len(st.Configuration.Voters) > 0)
}

// Standing is how the node stands to its cluster, given its replica's status, and whether it has a replica at all;
// without one the status counts for nothing, and the phase is empty as long as nothing is known of the disk.
func (n *Node) Standing(st replica.Status) (standing api.Standing, begun bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	standing = api.Standing{Phase: n.phase, Waiting: n.waiting}
	if !n.begun {
		if n.phase == api.PhaseBlank || n.phase == api.PhaseFounded {
			standing.Founders = slices.Clone(n.o.Founders)
		}
		return standing, false
	}
	switch {
	case n.removed(st):
		standing.Phase = api.PhaseRemoved
	case st.Configuration.Contains(n.o.ID):
		standing.Phase = api.PhaseMember
	default:
		standing.Phase = api.PhaseOutside
	}
	if n.o.Disagreements != nil && len(st.Configuration.Voters) > 0 {
		standing.Disagreements = n.o.Disagreements(st.Configuration)
	}
	return standing, true
}

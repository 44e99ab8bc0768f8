package raft

import (
	"encoding/json"
	"fmt"
	"slices"

	"coup/raftnode/raft/confchange"
)

// EncodeConfiguration is a configuration as the Data of its entry.
func EncodeConfiguration(c Configuration) []byte {
	data, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("raft: a configuration cannot be encoded: %v", err)) // it holds nothing but strings
	}
	return data
}

func decodeConfiguration(e *Entry) (Configuration, error) {
	var c Configuration
	if err := json.Unmarshal(e.Data, &c); err != nil {
		return c, fmt.Errorf("raft: configuration in entry %d: %w", e.Index, err)
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("raft: configuration in entry %d: %w", e.Index, err)
	}
	return c, nil
}

// ProposeChange appends a configuration to the log of a leader, in force at once: a joint one when
// the voters change (thesis, 4.3), which the leader leaves by itself once it is committed. Errors, by all
// of which nothing was done: *NotLeaderError, ErrTransferring, ErrNotReady, *ChangeInFlightError,
// *LaggingError, *confchange.RefusedError.
func (r *Raft) ProposeChange(changes []confchange.Change) (index, term uint64, err error) {
	switch {
	case r.role != Leader:
		return 0, 0, r.notLeader()
	case r.transfer.to != "":
		return 0, 0, ErrTransferring
	case !r.termCommitted:
		return 0, 0, ErrNotReady
	}
	if now := r.inForce(); now.Joint() || now.index > r.log.commit {
		return 0, 0, &ChangeInFlightError{now.index, now.Configuration}
	}
	next, err := confchange.Enter(r.Configuration(), changes)
	if err != nil {
		return 0, 0, err
	}
	for _, change := range changes {
		if change.Op == confchange.Promote && !r.caughtUp(change.Node) {
			return 0, 0, &LaggingError{change.Node, r.matchOf(change.Node), r.log.last()}
		}
	}
	return r.appendConfiguration(next), r.term, nil
}

func (r *Raft) appendConfiguration(c Configuration) uint64 {
	return r.appendAsLeader(Entry{Type: EntryConfiguration, Data: EncodeConfiguration(c)})
}

// caughtUp tells whether a learner may be promoted: the commitment of new entries would not wait for it, and
// it holds the entry that made it a member, before which it gives no vote.
func (r *Raft) caughtUp(id NodeID) bool {
	p := r.peers[id]
	return p != nil && r.recent(p) && p.state == replicating && p.match >= p.epoch && p.match+uint64(r.config.PromotionLag) >= r.log.last()
}

func (r *Raft) matchOf(id NodeID) uint64 {
	if p := r.peers[id]; p != nil {
		return p.match
	}
	return 0
}

// manageMembers does what a leader owes to the configuration in force once that is committed, whoever
// began the change: it leaves a joint one, promotes learners that have caught up, and gives up leading
// a cluster of which it is no voter (thesis, 4.2.2).
func (r *Raft) manageMembers() {
	now := r.inForce()
	if !r.termCommitted || now.index > r.log.commit {
		return
	}
	switch {
	case now.Joint():
		r.appendConfiguration(confchange.Leave(now.Configuration))
	case !now.IsVoter(r.config.ID):
		r.beat() // tells those that have the entry that it is committed
		r.crown(r.heir())
		r.becomeFollower(r.term, "")
	case len(now.Promote) > 0 && r.transfer.to == "":
		var ready []confchange.Change
		for _, id := range now.Promote {
			if r.caughtUp(id) {
				ready = append(ready, confchange.Change{Op: confchange.Promote, Node: id})
			}
		}
		if len(ready) == 0 {
			return
		}
		next, err := confchange.Enter(now.Configuration, ready)
		if err != nil {
			r.fail(err)
			return
		}
		r.appendConfiguration(next)
	}
}

// updatePeers has a leader know just those that it replicates to. Who is new begins an epoch, and is sent
// entries from next on.
func (r *Raft) updatePeers(next uint64) {
	if r.role != Leader {
		return
	}
	now := r.inForce()
	for id := range r.peers {
		if _, stays := slices.BinarySearch(now.replicated, id); !stays {
			delete(r.peers, id)
		}
	}
	for _, id := range now.replicated {
		if id != r.config.ID && r.peers[id] == nil {
			p := &progress{epoch: max(now.index, r.log.last()), heard: r.now}
			p.probe(next)
			r.peers[id] = p
		}
	}
	// Fewer may suffice now, and those may have nothing more to say.
	r.answerReads()
}

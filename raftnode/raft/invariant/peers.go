package invariant

import "slices"

// peer is what a leader was last seen to think of a peer.
type peer struct {
	id                 NodeID
	match, next, epoch uint64
	seen               uint64 // the round that saw it last
}

// lookAtPeers judges what a leader thinks of its peers: I9.
func (c *Checker) lookAtPeers(s *member) error {
	c.leader, c.visits, c.unfit = s, 0, nil
	c.round++
	s.node.Peers(c.visit)
	c.leader = nil
	if c.unfit != nil {
		return c.unfit
	}
	if c.visits != len(s.peers) {
		s.peers = slices.DeleteFunc(s.peers, func(p peer) bool { return p.seen != c.round })
	}
	return nil
}

// visitPeer is called in whatever order the leader keeps its peers; often it is the order of last time.
func (c *Checker) visitPeer(id NodeID, match, next, epoch uint64) {
	s, at := c.leader, c.visits
	c.visits++
	if at >= len(s.peers) || s.peers[at].id != id {
		at = slices.IndexFunc(s.peers, func(p peer) bool { return p.id == id })
	}
	if at < 0 {
		at = len(s.peers)
		s.peers = append(s.peers, peer{id: id, epoch: epoch})
	}
	p := &s.peers[at]
	p.seen = c.round
	if p.match == match && p.next == next && p.epoch == epoch {
		return
	}
	now := peer{id, match, next, epoch, c.round}
	// Of several the first by name is told, whatever the order was.
	if err := c.judgePeer(s, *p, now); err != nil && (c.unfit == nil || err.Error() < c.unfit.Error()) {
		c.unfit = err
	}
	*p = now
}

func (c *Checker) judgePeer(s *member, was, now peer) error {
	term := s.was.term
	if now.next <= now.match {
		return s.broke("I9", "%s leads term %d and takes %s to match up to %d, and sends it %d next.",
			s.id, term, now.id, now.match, now.next)
	}
	if was.epoch == now.epoch && now.match < was.match {
		return s.broke("I9", "%s leads term %d and took %s, a member since %d, to match up to %d, and now only up to %d.",
			s.id, term, now.id, now.epoch, was.match, now.match)
	}
	if now.match == 0 || was.epoch == now.epoch && now.match == was.match {
		return nil
	}
	f := c.members[now.id]
	// Once a later term has begun, whoever leads it may have replaced what the peer held, or removed
	// the peer and let its disk be wiped; the word it gave to this leader is still on its way.
	if f != nil && (f.wiped > term || f.disk != nil && f.disk.Term() > term) {
		return nil
	}
	mine, ok := c.at(s.node, now.match)
	if !ok {
		return s.broke("I9", "%s leads term %d and takes %s to match up to %d, which its own log does not hold.",
			s.id, term, now.id, now.match)
	}
	if f == nil || f.disk == nil {
		return s.broke("I9", "%s leads term %d and takes %s to match up to %d, and that node has no disk.",
			s.id, term, now.id, now.match)
	}
	theirs, ok := c.at(f.disk, now.match)
	if !ok {
		return s.broke("I9", "%s leads term %d and takes %s to match up to %d, and what is durable there is (%d, %d].",
			s.id, term, now.id, now.match, f.disk.BaseIndex(), f.disk.LastIndex())
	}
	if mine != theirs {
		return s.broke("I9", "%s leads term %d and takes %s to match up to entry %s, and durable there is %s.",
			s.id, term, now.id, mine, theirs)
	}
	return nil
}

// at is what stands at an index of a log; below its base, what is committed there.
func (c *Checker) at(l logged, index uint64) (Mark, bool) {
	if index < l.BaseIndex() {
		if index >= uint64(len(c.committed)) || !c.committed[index].known {
			return Mark{}, false
		}
		return c.committed[index].mark(index), true
	}
	return markAt(l, index)
}

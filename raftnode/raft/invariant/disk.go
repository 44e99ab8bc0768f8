package invariant

import "fmt"

// Promise is what a message says that must be durable at its sender before it leaves. What a message
// does not say is zero.
type Promise struct {
	// Term is the sender's. Not the later one that a pre-vote asks about.
	Term uint64
	// VoteFor has the sender's vote in Term: of a granted vote the candidate, of a request for votes
	// the sender itself. A pre-vote gives nothing.
	VoteFor NodeID
	// Accepted is up to where the sender says that its log holds the leader's entries, or the
	// snapshot that it installed.
	Accepted uint64
}

// grant is a vote that left its voter.
type grant struct {
	voter NodeID
	term  uint64
}

// durable is what was seen on a disk.
type durable struct {
	term uint64
	vote NodeID
	base uint64
	end  Mark
}

func (s *member) noteDurable() {
	end, _ := markAt(s.disk, s.disk.LastIndex())
	s.durable = durable{s.disk.Term(), s.disk.Vote(), s.disk.BaseIndex(), end}
}

// outlived judges whether d holds what was durable before a restart: I6, I7, I11.
func (c *Checker) outlived(s *member, d Disk) error {
	was := s.durable
	switch {
	case d.Term() < was.term:
		return s.broke("I6", "%s restarts with term %d, and term %d was durable.", s.id, d.Term(), was.term)
	case d.Term() == was.term && was.vote != "" && d.Vote() != was.vote:
		return s.broke("I7", "%s restarts in term %d with a vote for %q, and one for %s was durable.",
			s.id, was.term, d.Vote(), was.vote)
	case d.BaseIndex() < was.base:
		return s.broke("I11", "%s restarts with a log from %d on, and a snapshot up to %d was durable.",
			s.id, d.BaseIndex()+1, was.base)
	}
	// A write that was under way may have replaced a suffix, or all by a snapshot. None just removes a suffix.
	replaced := d.BaseIndex() > was.base && d.LastIndex() == d.BaseIndex()
	if kept := c.agreement(d, was.end); !replaced && kept < was.end.Index && kept == d.LastIndex() {
		return s.broke("I11", "%s restarts with a log up to %d, and entry %s was durable.", s.id, kept, was.end)
	}
	return nil
}

// remembers judges whether a node that starts knows what its disk does: I6, I7, I11.
func (s *member) remembers(n Node, d Disk) error {
	switch {
	case n.Term() < d.Term():
		return s.broke("I6", "%s starts in term %d, and its disk has term %d.", s.id, n.Term(), d.Term())
	case n.Term() == d.Term() && d.Vote() != "" && n.Vote() != d.Vote():
		return s.broke("I7", "%s starts in term %d with a vote for %q, and its disk has one for %s.",
			s.id, n.Term(), n.Vote(), d.Vote())
	}
	mine, _ := markAt(n, n.LastIndex())
	durable, _ := markAt(d, d.LastIndex())
	if mine != durable {
		return s.broke("I11", "%s starts with a log that ends at %s, and its disk's ends at %s.", s.id, mine, durable)
	}
	return nil
}

// Sent judges a message as it leaves a node: I11, and of votes I7.
func (c *Checker) Sent(id NodeID, p Promise) error {
	s := c.members[id]
	if s == nil || s.disk == nil {
		return fmt.Errorf("invariant: %s sends and was never started", id)
	}
	d := s.disk
	term := d.Term()
	if p.Term > term {
		return s.broke("I11", "a message of %s speaks of term %d, and term %d is durable there.", id, p.Term, term)
	}
	if p.VoteFor != "" {
		g := grant{id, p.Term}
		if before, given := c.granted[g]; given && before != p.VoteFor {
			return s.broke("I7", "%s gave its vote of term %d to %s, and now to %s.", id, p.Term, before, p.VoteFor)
		}
		c.granted[g] = p.VoteFor
	}
	if p.Term < term {
		// Nothing more is given in a term that is over for good; what stood on disk then may be replaced.
		return nil
	}
	if p.VoteFor != "" && d.Vote() != p.VoteFor {
		return s.broke("I11", "%s gives its vote of term %d to %s, and a vote for %q is durable there.",
			id, p.Term, p.VoteFor, d.Vote())
	}
	if p.Accepted == 0 {
		return nil
	}
	if p.Accepted > d.LastIndex() {
		return s.broke("I11", "%s accepts entries up to %d in term %d, and only those up to %d are durable there.",
			id, p.Accepted, p.Term, d.LastIndex())
	}
	if s.node != nil && s.node.Term() == p.Term {
		mine, held := markAt(s.node, p.Accepted)
		durable, kept := markAt(d, p.Accepted)
		if held && kept && mine != durable {
			return s.broke("I11", "%s accepts entry %s in term %d, and another is durable there: %s.", id, mine, p.Term, durable)
		}
	}
	s.noteDurable()
	return nil
}

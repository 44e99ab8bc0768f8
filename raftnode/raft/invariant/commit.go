package invariant

// commitment is an entry that some node committed.
type commitment struct {
	term     uint64
	hash     uint64 // of the state after it
	checksum uint32
	known    bool // false before the base that a run began with
	hashed   bool
}

func (e commitment) mark(index uint64) Mark { return Mark{index, e.term, e.checksum} }

// decision says that the entries up to index were committed in terms up to term.
type decision struct{ term, index uint64 }

// compareProgress judges I8.
func (s *member) compareProgress(now view) error {
	was := s.was
	switch {
	case now.commit < was.commit:
		return s.broke("I8", "the commit index of %s went back from %d to %d.", s.id, was.commit, now.commit)
	case now.applied < was.applied:
		return s.broke("I8", "the applied index of %s went back from %d to %d.", s.id, was.applied, now.applied)
	case now.applied > now.commit:
		return s.broke("I8", "%s applied up to %d, beyond its commit index %d.", s.id, now.applied, now.commit)
	case now.commit > now.end.Index:
		return s.broke("I8", "the commit index of %s is %d, beyond its last entry, %d.", s.id, now.commit, now.end.Index)
	case now.base > now.commit:
		return s.broke("I8", "the commit index of %s is %d, and its log starts only after %d.", s.id, now.commit, now.base)
	}
	return nil
}

// holdsCommitted tells whether a log holds what is committed at an index. What a base covers it does:
// compareBase sees to that.
func (c *Checker) holdsCommitted(l logged, now view, index uint64) bool {
	if index < now.base || index >= uint64(len(c.committed)) || !c.committed[index].known {
		return index <= now.end.Index
	}
	m, ok := markAt(l, index)
	return ok && m == c.committed[index].mark(index)
}

// compareCommit judges a commit index that rose, or that the log changed under: I10, I5. It makes the
// committed log grow.
func (c *Checker) compareCommit(s *member, now view) error {
	if now.commit > s.was.commit && (now.leads || s.was.leads && s.was.term == now.term) {
		if err := c.decide(s, now); err != nil {
			return err
		}
	}
	top := c.Committed()
	if !c.holdsCommitted(s.node, now, min(now.commit, top)) {
		index := min(now.commit, top)
		m, _ := markAt(s.node, index)
		return s.broke("I5", "%s committed up to %d with entry %s, and entry %s is committed at that index.",
			s.id, now.commit, m, c.committed[index].mark(index))
	}
	if now.commit <= top {
		return nil
	}
	if now.base > top {
		if top > 0 {
			return s.broke("I13", "the log of %s starts after %d, and nobody committed more than %d.", s.id, now.base, top)
		}
		for c.Committed()+1 < now.base {
			c.committed = append(c.committed, commitment{})
		}
	}
	for index := c.Committed() + 1; index <= now.commit; index++ {
		m, _ := markAt(s.node, index)
		c.committed = append(c.committed, commitment{term: m.Term, checksum: m.Checksum, known: true})
		if v := c.find(index, m.Term); v != nil && v.configuration != 0 {
			c.settled = append(c.settled, settlement{index, c.configurations[v.configuration-1]})
		}
	}
	// A follower may be the first that is seen to commit, in a term after that of the commitment: then
	// less is asked of leaders between the two, never too much.
	if k := len(c.decided); k > 0 && c.decided[k-1].term >= now.term {
		c.decided[k-1].index = now.commit
	} else {
		c.decided = append(c.decided, decision{now.term, now.commit})
	}
	return nil
}

// decide judges a commit index that rose on a leader: I10.
func (c *Checker) decide(s *member, now view) error {
	was := s.was
	m, _ := markAt(s.node, now.commit)
	if m.Term != now.term {
		if was.leads && was.term == now.term {
			return s.broke("I10", "%s leads term %d and committed up to entry %s, of another term.", s.id, now.term, m)
		}
		return nil // committed as a follower, before it was elected
	}
	if c.decidedAfter(now.term, now.commit) {
		return nil
	}
	k := len(s.chain)
	for i := 0; i < k-1; i++ {
		// Only what this leader appended: earlier ones may have been decided long ago, by nodes that are gone.
		if l := s.chain[i]; l.Index > was.commit && l.Index <= now.commit && l.Term == now.term {
			if conf := c.configurations[l.configuration-1]; !c.quorumHolds(conf, l.Mark) {
				return c.undecided(s, now, conf, l.Mark)
			}
		}
	}
	conf := s.node.Configuration()
	if c.quorumHolds(conf, m) {
		return nil
	}
	if now.configuration > now.commit && now.configuration != was.configuration {
		// Appended in this step, and perhaps after the commit index rose.
		if old, known := c.before(s, now.base, k-1); !known || c.quorumHolds(old, m) {
			return nil
		}
	}
	return c.undecided(s, now, conf, m)
}

// decidedAfter tells whether a later term committed that much already: then members whose word a leader
// of an earlier term still counts may be gone for good.
func (c *Checker) decidedAfter(term, index uint64) bool {
	after := false
	for i := len(c.decided) - 1; i >= 0 && c.decided[i].index >= index; i-- {
		after = c.decided[i].term > term
	}
	return after
}

func (c *Checker) undecided(s *member, now view, conf Configuration, m Mark) error {
	var holders []NodeID
	for _, id := range conf.Quorum().Members() {
		if c.holdsDurably(id, m) {
			holders = append(holders, id)
		}
	}
	return s.broke("I10", "%s leads term %d and committed up to %d, and entry %s is durable only on %v, no quorum of %v.",
		s.id, now.term, now.commit, m, holders, conf)
}

func (c *Checker) quorumHolds(conf Configuration, m Mark) bool {
	return c.majorityHolds(conf.Voters, m) && c.majorityHolds(conf.Outgoing, m)
}

func (c *Checker) majorityHolds(voters []NodeID, m Mark) bool {
	holders := 0
	for _, id := range voters {
		if c.holdsDurably(id, m) {
			holders++
		}
	}
	return len(voters) == 0 || holders > len(voters)/2
}

func (c *Checker) holdsDurably(id NodeID, m Mark) bool {
	s := c.members[id]
	if s == nil || s.disk == nil {
		return false
	}
	if m.Index < s.disk.BaseIndex() {
		return true
	}
	on, ok := markAt(s.disk, m.Index)
	return ok && on == m
}

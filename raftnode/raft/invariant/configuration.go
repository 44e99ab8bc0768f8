package invariant

import "slices"

// link is a configuration in a node's log.
type link struct {
	Mark
	configuration int32 // 1 + its position among the configurations
}

// settlement is a configuration that is committed: in force for what follows, until the next one.
type settlement struct {
	index uint64
	Configuration
}

// gathered is what a node tells of a configuration in its log.
type gathered struct {
	index uint64
	Configuration
}

// rollBack forgets the configurations that a log no longer holds.
func (s *member) rollBack(base, kept uint64) {
	for len(s.chain) > 0 && s.chain[len(s.chain)-1].Index > kept {
		s.chain = s.chain[:len(s.chain)-1]
	}
	drop := 0
	for drop < len(s.chain) && s.chain[drop].Index <= base {
		drop++
	}
	if drop > 0 {
		s.chain = s.chain[:copy(s.chain, s.chain[drop:])]
	}
}

// asOf is the configuration that a committed prefix leads to; false when that is not known.
func (c *Checker) asOf(index uint64) (Configuration, bool) {
	for i := len(c.settled) - 1; i >= 0; i-- {
		if c.settled[i].index <= index {
			return c.settled[i].Configuration, true
		}
	}
	return Configuration{}, false
}

// before is the configuration that link i of a node's chain replaced; false when that is not known.
func (c *Checker) before(s *member, base uint64, i int) (Configuration, bool) {
	if i > 0 {
		return c.configurations[s.chain[i-1].configuration-1], true
	}
	return c.asOf(base)
}

// succeed judges a configuration that nobody had before: I14.
func (c *Checker) succeed(s *member, now view, m Mark, conf Configuration) error {
	if err := conf.Validate(); err != nil {
		return s.broke("I14", "%s appended configuration %v at %d, which cannot be in force: %v.", s.id, conf, m.Index, err)
	}
	if k := len(s.chain); k > 0 && now.leads && m.Term == now.term && s.chain[k-1].Index > now.commit {
		return s.broke("I14", "%s leads term %d and appended a configuration at %d, while the one at %d is not committed; commit is %d.",
			s.id, now.term, m.Index, s.chain[k-1].Index, now.commit)
	}
	old, known := c.before(s, now.base, len(s.chain))
	if !known || follows(old, conf) {
		return nil
	}
	return s.broke("I14", "%s appended configuration %v at %d after %v: a majority of one may have no node in common with a majority of the other.",
		s.id, conf, m.Index, old)
}

// follows tells whether next may come directly after c: any two quorums of theirs intersect.
func follows(c, next Configuration) bool {
	switch {
	case c.Joint():
		return !next.Joint() && slices.Equal(next.Voters, c.Voters)
	case next.Joint():
		return slices.Equal(next.Outgoing, c.Voters)
	}
	return slices.Equal(next.Voters, c.Voters)
}

// lastInForce judges whether a node goes by the last configuration that its log holds: from its append
// on, and no longer than that.
func (c *Checker) lastInForce(s *member, now view) error {
	last := uint64(0)
	if k := len(s.chain); k > 0 {
		last = s.chain[k-1].Index
	}
	if last == 0 && now.configuration <= now.base {
		return nil // compareBase goes on
	}
	if last == now.configuration {
		if last == s.was.configuration {
			return nil
		}
		logged, used := c.configurations[s.chain[len(s.chain)-1].configuration-1], s.node.Configuration()
		if !used.Equal(logged) {
			return s.broke("I14", "%s goes by configuration %v, and the last one in its log, at %d, is %v.", s.id, used, last, logged)
		}
		return nil
	}
	if last == 0 {
		last = now.base
	}
	return s.broke("I14", "%s goes by the configuration at %d, and the last one in its log, which ends at %d, is at %d.",
		s.id, now.configuration, now.end.Index, last)
}

// compareBase judges what a log starts from: I13, and I14 while no configuration stands in the log.
func (c *Checker) compareBase(s *member, now view) error {
	if now.base < s.was.base {
		return s.broke("I13", "the log of %s starts after %d, and started after %d.", s.id, now.base, s.was.base)
	}
	base, _ := markAt(s.node, now.base)
	if !c.holdsCommitted(s.node, now, now.base) {
		return s.broke("I13", "the log of %s starts after %s, and entry %s is committed there.",
			s.id, base, c.committed[now.base].mark(now.base))
	}
	if now.configuration > now.base {
		return nil
	}
	conf := s.node.Configuration()
	if len(conf.Voters) == 0 && now.base == 0 {
		return nil // told of none yet
	}
	if len(c.settled) == 0 {
		c.settled = append(c.settled, settlement{now.base, conf})
		return nil
	}
	if settled, known := c.asOf(now.base); known && !settled.Equal(conf) {
		return s.broke("I14", "%s goes by configuration %v as of entry %d, and the committed log leads to %v there.",
			s.id, conf, now.base, settled)
	}
	return nil
}

package invariant

// variant is an entry that was seen at an index: one for each term that an entry there ever had.
type variant struct {
	term          uint64 // 0 where none was seen yet
	previous      uint64 // term of the entry before it
	checksum      uint32
	by            int32 // number of the member it was first seen at
	configuration int32 // 1 + its position among the configurations; 0 when it is none
	next          int32 // 1 + the position among more of another one at this index; 0 for none
}

// find returns the variant of an entry, valid until the next insert; nil when it was never seen.
func (c *Checker) find(index, term uint64) *variant {
	if index >= uint64(len(c.variants)) || term == 0 {
		return nil
	}
	v := &c.variants[index]
	for v.term != term {
		if v.next == 0 {
			return nil
		}
		v = &c.more[v.next-1]
	}
	return v
}

func (c *Checker) insert(index uint64, v variant) {
	for uint64(len(c.variants)) <= index {
		c.variants = append(c.variants, variant{})
	}
	first := &c.variants[index]
	if first.term == 0 {
		*first = v
		return
	}
	v.next = first.next
	c.more = append(c.more, v)
	first.next = int32(len(c.more))
}

// logged is a log, in memory or on disk.
type logged interface {
	BaseIndex() uint64
	LastIndex() uint64
	Entry(index uint64) (term uint64, checksum uint32, found bool)
}

func markAt(l logged, index uint64) (Mark, bool) {
	term, checksum, found := l.Entry(index)
	return Mark{index, term, checksum}, found
}

// agreement is the last index up to which a log is the one that ended with old; its base when that is
// beyond. What old's log held is known from the variants.
func (c *Checker) agreement(l logged, old Mark) uint64 {
	base, last := l.BaseIndex(), l.LastIndex()
	for old.Index > base {
		if old.Index <= last {
			if m, _ := markAt(l, old.Index); m == old {
				return old.Index
			}
		}
		v := c.find(old.Index, old.Term)
		if v == nil {
			break
		}
		old = Mark{Index: old.Index - 1, Term: v.previous}
		if v = c.find(old.Index, old.Term); v != nil {
			old.Checksum = v.checksum
		}
	}
	return base
}

// compareLog judges what was appended to a log since the last look, and tells up to where it stayed
// the same: I2, I3, and with the configurations in it I14.
func (c *Checker) compareLog(s *member, now view) (kept uint64, err error) {
	was, n := s.was, s.node
	kept = was.end.Index
	if now.end != was.end {
		if m, ok := markAt(n, kept); !ok || m != was.end {
			kept = c.agreement(n, was.end)
		}
	}
	if was.leads && now.term == was.term && kept < was.end.Index {
		return kept, s.broke("I2", "%s leads term %d, its log ended at %s, and nothing after %d is left of that.",
			s.id, now.term, was.end, kept)
	}
	s.rollBack(now.base, kept)
	c.gathered = c.gathered[:0]
	if now.configuration > kept {
		n.Configurations(kept, c.gather)
	}
	used := 0
	previous, _ := markAt(n, kept)
	for index := kept + 1; index <= now.end.Index; index++ {
		m, found := markAt(n, index)
		if !found {
			return kept, s.broke("I3", "%s has no entry %d between its first, %d, and its last, %d.",
				s.id, index, now.base+1, now.end.Index)
		}
		if m.Term < previous.Term {
			return kept, s.broke("I3", "%s has entry %s after %s: terms never fall along a log.", s.id, m, previous)
		}
		var conf *Configuration
		if used < len(c.gathered) && c.gathered[used].index == index {
			conf = &c.gathered[used].Configuration
			used++
		}
		if err := c.record(s, now, previous, m, conf); err != nil {
			return kept, err
		}
		previous = m
	}
	if used < len(c.gathered) {
		return kept, s.broke("I14", "%s tells of a configuration at %d, and its log ends at %d.",
			s.id, c.gathered[used].index, now.end.Index)
	}
	return kept, c.lastInForce(s, now)
}

// record compares an appended entry with what was seen at other nodes, or notes it as the first.
func (c *Checker) record(s *member, now view, previous, m Mark, conf *Configuration) error {
	v := c.find(m.Index, m.Term)
	if v == nil {
		fresh := variant{term: m.Term, previous: previous.Term, checksum: m.Checksum, by: s.number}
		if conf != nil {
			if err := c.succeed(s, now, m, *conf); err != nil {
				return err
			}
			c.configurations = append(c.configurations, *conf)
			fresh.configuration = int32(len(c.configurations))
			s.chain = append(s.chain, link{m, fresh.configuration})
		}
		c.insert(m.Index, fresh)
		return nil
	}
	first := c.numbers[v.by].id
	if v.checksum != m.Checksum {
		return s.broke("I3", "%s has entry %s, and %s had another of that index and term, with checksum %08x.",
			s.id, m, first, v.checksum)
	}
	if v.previous != previous.Term {
		return s.broke("I3", "%s has entry %s after one of term %d, and %s had it after one of term %d.",
			s.id, m, previous.Term, first, v.previous)
	}
	if (conf != nil) != (v.configuration != 0) {
		taker, other := s.id, first
		if conf == nil {
			taker, other = other, taker
		}
		return s.broke("I14", "%s takes entry %s for a configuration, and %s does not.", taker, m, other)
	}
	if conf != nil {
		if known := c.configurations[v.configuration-1]; !conf.Equal(known) {
			return s.broke("I14", "%s takes entry %s for configuration %v, and %s for %v.", s.id, m, *conf, first, known)
		}
		s.chain = append(s.chain, link{m, v.configuration})
	}
	return nil
}

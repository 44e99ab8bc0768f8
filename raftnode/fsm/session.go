package fsm

import (
	"container/heap"
	"math"
	"slices"
)

// The bounds on sessions. All nodes must have the same, since what they drop is part of the state.
const (
	// MaxSessions is how many there are at once. One more, and the least recently used is dropped.
	MaxSessions = 4096
	// MaxAnswers is how many unacknowledged answers a session keeps. One more, and that of the lowest
	// sequence is forgotten.
	MaxAnswers = 256
	// MaxAnswerBytes bounds the values in these answers, in the same manner. The latest answer is kept
	// whatever its size.
	MaxAnswerBytes = 1 << 20
	// MaxSessionBytes bounds what all sessions take together: SessionBytes for each, and for each answer that
	// it keeps AnswerBytes and those of the value. One byte more, and the least recently used sessions are dropped
	// until it fits. The one that was used last stays, whatever its size.
	MaxSessionBytes = 32 << 20
	SessionBytes    = 256
	AnswerBytes     = 64
)

type bounds struct{ sessions, answers, bytes, total int }

var maxima = bounds{MaxSessions, MaxAnswers, MaxAnswerBytes, MaxSessionBytes}

// session is one client's memory in the state (Raft thesis, 6.3).
type session struct {
	generation uint64 // as of a node of the tree that it is in
	ttl        uint64
	last       uint64 // the log time of its last use
	used       uint64 // the index of the entry that was its last use
	forgotten  uint64 // sequences up to this one have no answer any more
	answers    []answer
	bytes      int // of the answers' values
}

// answer is what a session's command was told. They are kept in the order of sequences, all above
// forgotten.
type answer struct {
	sequence uint64
	revision uint64
	value    string
	code     Code
}

// size is what the session counts against MaxSessionBytes.
func (s *session) size() int { return SessionBytes + AnswerBytes*len(s.answers) + s.bytes }

// deadline is the last log time at which the session, not used again, is there.
func (s *session) deadline() uint64 {
	if s.ttl > math.MaxUint64-s.last {
		return math.MaxUint64
	}
	return s.last + s.ttl
}

func (s *session) find(sequence uint64) (i int, found bool) {
	// A client that sends its commands in order looks behind the last.
	if n := len(s.answers); n == 0 || s.answers[n-1].sequence < sequence {
		return n, false
	}
	return slices.BinarySearchFunc(s.answers, sequence, func(a answer, sequence uint64) int {
		switch {
		case a.sequence < sequence:
			return -1
		case a.sequence > sequence:
			return 1
		}
		return 0
	})
}

// forget drops the answers up to a sequence.
func (s *session) forget(sequence uint64) {
	if sequence <= s.forgotten {
		return
	}
	s.forgotten = sequence
	n := 0
	for n < len(s.answers) && s.answers[n].sequence <= sequence {
		s.bytes -= len(s.answers[n].value)
		n++
	}
	s.answers = slices.Delete(s.answers, 0, n)
}

// keep remembers the answer of a sequence that has none, and forgets the lowest ones beyond the bounds.
func (s *session) keep(a answer, most bounds) {
	i, _ := s.find(a.sequence)
	s.answers = slices.Insert(s.answers, i, a)
	s.bytes += len(a.value)
	for len(s.answers) > 1 && (len(s.answers) > most.answers || s.bytes > most.bytes) {
		s.forget(s.answers[0].sequence)
	}
}

// sessions are all that are open, findable by who is next to go.
type sessions struct {
	open     tree[uint64, *session]
	expiring queue // by deadline
	idle     queue // by last use
	most     bounds
	bytes    int     // of all that are open
	stored   *stored // nil for sessions of a state in memory
}

func (s *sessions) add(id uint64, c *session) {
	c.generation = s.open.generation
	s.open.set(id, c)
	s.bytes += c.size()
	if s.stored != nil {
		s.stored.touch(id, c)
	}
	heap.Push(&s.expiring, place{c.deadline(), id})
	heap.Push(&s.idle, place{c.used, id})
	// Sessions that were closed leave their places behind.
	if len(s.idle) > 2*s.open.length+64 {
		s.expiring.sweep(s.isOpen)
		s.idle.sweep(s.isOpen)
	}
}

func (s *sessions) isOpen(id uint64) bool {
	_, open := s.open.get(id)
	return open
}

// remove closes a session that is open.
func (s *sessions) remove(id uint64) {
	c, _ := s.open.get(id)
	s.bytes -= c.size()
	if s.stored != nil {
		s.stored.drop(id, c)
	}
	s.open.delete(id)
}

// forget is session.forget of one that change returned.
func (s *sessions) forget(c *session, sequence uint64) {
	before := c.size()
	c.forget(sequence)
	s.bytes += c.size() - before
}

// keep is session.keep of one that change returned.
func (s *sessions) keep(id uint64, c *session, a answer) {
	if s.stored != nil {
		s.stored.touch(id, c)
		u := s.stored.sessions[id]
		u.answered = append(u.answered, a.sequence)
	}
	before := c.size()
	c.keep(a, s.most)
	s.bytes += c.size() - before
}

// change returns an open session to be modified, nil for one that is not open.
func (s *sessions) change(id uint64) *session {
	c, open := s.open.get(id)
	if !open {
		return nil
	}
	if c.generation != s.open.generation {
		copied := *c
		copied.generation = s.open.generation
		copied.answers = slices.Clone(c.answers)
		c = &copied
		s.open.set(id, c)
	}
	if s.stored != nil {
		s.stored.touch(id, c)
	}
	return c
}

// evict drops those that were idle for longest as far as there are too many, or too large ones.
func (s *sessions) evict() {
	for s.open.length > s.most.sessions || s.bytes > s.most.total && s.open.length > 1 {
		p, _ := s.idle.first(func(id uint64) (uint64, bool) {
			c, open := s.open.get(id)
			if !open {
				return 0, false
			}
			return c.used, true
		})
		s.remove(p.id)
	}
}

// expire drops those whose deadline is past.
func (s *sessions) expire(now uint64) {
	for len(s.expiring) > 0 && s.expiring[0].at < now {
		p, found := s.expiring.first(func(id uint64) (uint64, bool) {
			c, open := s.open.get(id)
			if !open {
				return 0, false
			}
			return c.deadline(), true
		})
		if found && p.at < now {
			s.remove(p.id)
		}
	}
}

// queue is a heap of sessions by something that only rises as they are used. A place may lag behind its
// session, or outlive it: that is put right when it comes first, so that to use or to close a session
// costs nothing here. Who is first in truth does not depend on which places lag.
type queue []place

type place struct{ at, id uint64 }

// first puts right what comes first until it is true. now tells where a session belongs, and whether
// it is open.
func (q *queue) first(now func(id uint64) (at uint64, open bool)) (p place, found bool) {
	for len(*q) > 0 {
		top := &(*q)[0]
		at, open := now(top.id)
		switch {
		case !open:
			heap.Pop(q)
		case at == top.at:
			return *top, true
		default:
			top.at = at
			heap.Fix(q, 0)
		}
	}
	return place{}, false
}

// sweep drops the places of sessions that are not open.
func (q *queue) sweep(open func(id uint64) bool) {
	*q = slices.DeleteFunc(*q, func(p place) bool { return !open(p.id) })
	heap.Init(q)
}

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].id < q[j].id
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(p any)   { *q = append(*q, p.(place)) }
func (q *queue) Pop() any {
	old := *q
	p := old[len(old)-1]
	*q = old[:len(old)-1]
	return p
}

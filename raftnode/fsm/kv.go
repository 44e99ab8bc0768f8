// Package fsm holds the state machine that a replica drives: keys and values, and the sessions in which
// clients change them exactly once. It is deterministic: what an entry does depends on the entries before
// it and on nothing else, time included, which passes by entries that say so.
package fsm

import "fmt"

// Code is how a command or a query ended. All of them are definite: but for OK, the entry changed nothing.
type Code uint8

// The codes. The values are written to snapshots: never renumber.
const (
	OK       Code = 0
	NotFound Code = 1 // Read, CAS, Delete of an absent key
	Mismatch Code = 2 // CAS: the key holds something else, which Value tells
	// SessionExpired: there is no such session, or no longer. An earlier entry with the same sequence
	// may have been executed; a later one never will be.
	SessionExpired Code = 3
	// SequenceForgotten: the client said that it has the answer, or too many came after it. As with
	// SessionExpired, an earlier entry with the same sequence may have been executed.
	SequenceForgotten Code = 4
)

// Result answers a command or a query.
type Result struct {
	Code     Code
	Value    string // the key's value afterwards
	Revision uint64 // index of the entry that made Value, or that deleted the key; 0 when the key is absent
	Session  uint64 // OpenSession: the new session's ID
	// Repeated: the sequence had been executed by an earlier entry, and this is what that was answered.
	Repeated bool
}

// KV is the key-value state machine, in memory or in a Table. For use by one goroutine, but for the snapshots of one in
// memory. Sessions are in memory in either, since they are bounded.
type KV struct {
	cells    tree[string, cell] // of a state in memory
	stored   *stored            // of one in a table; else nil
	sessions sessions
	applied  uint64
	time     uint64
	hash     uint64
}

type cell struct {
	value    string
	revision uint64
}

// NewKV is the state before the first entry, in memory.
func NewKV() *KV { return &KV{sessions: sessions{most: maxima}} }

// Apply takes the command in the entry at index, which must follow the last. An error leaves the state
// as it was: an entry is missing, or its data is damaged (ErrDamaged). One of the state's table finishes the state.
func (s *KV) Apply(index uint64, data []byte) (Result, error) {
	c, err := Decode(data)
	if err != nil {
		return Result{}, err
	}
	if err := s.follow(index); err != nil {
		return Result{}, err
	}
	r := s.execute(index, c)
	if err := s.Err(); err != nil {
		return Result{}, err
	}
	outcome := uint64(r.Code)<<2 | 2
	if r.Repeated {
		outcome |= 1
	}
	s.hash = mix(mixBytes(mix(s.hash, index), data), outcome)
	return r, nil
}

// Skip passes the entry at index, which must follow the last and holds no command.
func (s *KV) Skip(index uint64) error {
	if err := s.follow(index); err != nil {
		return err
	}
	s.hash = mix(mix(s.hash, index), 0)
	return nil
}

func (s *KV) follow(index uint64) error {
	if index != s.applied+1 {
		return fmt.Errorf("fsm: entry %d cannot follow entry %d", index, s.applied)
	}
	s.applied = index
	return nil
}

func (s *KV) execute(index uint64, c Command) Result {
	switch c.Op {
	case OpenSession:
		s.sessions.add(index, &session{ttl: c.TTL, last: s.time, used: index})
		s.sessions.evict()
		return Result{Session: index}
	case CloseSession:
		if !s.sessions.isOpen(c.Session) {
			return Result{Code: SessionExpired}
		}
		s.sessions.remove(c.Session)
		return Result{}
	case Clock:
		s.time = max(s.time, c.Now)
		s.sessions.expire(s.time)
		return Result{}
	}
	if c.Session != 0 {
		return s.executeOnce(index, c)
	}
	return s.change(index, c)
}

// executeOnce executes a command of a session unless that was done already.
func (s *KV) executeOnce(index uint64, c Command) Result {
	from := s.sessions.change(c.Session)
	if from == nil {
		return Result{Code: SessionExpired}
	}
	from.last, from.used = s.time, index
	s.sessions.forget(from, c.Acked)
	if c.Sequence <= from.forgotten {
		return Result{Code: SequenceForgotten}
	}
	if i, found := from.find(c.Sequence); found {
		a := from.answers[i]
		return Result{Code: a.code, Value: a.value, Revision: a.revision, Repeated: true}
	}
	r := s.change(index, c)
	s.sessions.keep(c.Session, from, answer{c.Sequence, r.Revision, r.Value, r.Code})
	s.sessions.evict()
	return r
}

// change executes a Write, CAS or Delete.
func (s *KV) change(index uint64, c Command) Result {
	if c.Op == Write {
		s.set(c.Key, cell{c.Value, index})
		return Result{Value: c.Value, Revision: index}
	}
	old, found := s.get(c.Key)
	switch {
	case !found:
		return Result{Code: NotFound}
	case c.Op == Delete:
		s.delete(c.Key)
		return Result{Revision: index}
	case old.value != c.Expect:
		return Result{Code: Mismatch, Value: old.value, Revision: old.revision}
	}
	s.set(c.Key, cell{c.Value, index})
	return Result{Value: c.Value, Revision: index}
}

func (s *KV) get(key string) (cell, bool) {
	if s.stored != nil {
		return s.stored.get(key)
	}
	return s.cells.get(key)
}

func (s *KV) set(key string, c cell) {
	if s.stored != nil {
		s.stored.set(key, c)
		return
	}
	s.cells.set(key, c)
}

func (s *KV) delete(key string) {
	if s.stored != nil {
		s.stored.delete(key)
		return
	}
	s.cells.delete(key)
}

// Get tells a key's value: OK or NotFound. Errors are those of the state's table, and finish the state.
func (s *KV) Get(key string) (Result, error) {
	c, found := s.get(key)
	if err := s.Err(); err != nil {
		return Result{}, err
	}
	if !found {
		return Result{Code: NotFound}, nil
	}
	return Result{Code: OK, Value: c.value, Revision: c.revision}, nil
}

// Applied is the index of the last entry taken.
func (s *KV) Applied() uint64 { return s.applied }

// Hash stands for all that was applied and how it ended: two states with the same Applied have the same
// hash if, and but for a chance of one in 2^64 only if, they came to it by the same entries.
func (s *KV) Hash() uint64 { return s.hash }

// Time is the log time: what the latest Clock said. Its unit is that of TTL, a millisecond where the
// entries come from a node.
func (s *KV) Time() uint64 { return s.time }

// Sessions is the number of open sessions.
func (s *KV) Sessions() int { return s.sessions.open.length }

// Package fsm holds the state machines that a replica drives. They are deterministic: what an entry
// does depends on the entries before it and on nothing else.
package fsm

import "fmt"

// Op is what a command does to a key.
type Op uint8

// The operations. The values are written to logs: never renumber.
const (
	Write  Op = 1 // set the key to Value
	CAS    Op = 2 // set the key to Value if it holds Expect
	Delete Op = 3 // remove the key
)

// Command is a change of the key-value state.
type Command struct {
	Op     Op
	Key    string
	Value  string
	Expect string
}

// Code is how a command or a query ended. All of them are definite.
type Code uint8

// The codes.
const (
	OK       Code = iota
	NotFound      // Read, CAS, Delete of an absent key: nothing was changed
	Mismatch      // CAS: the key holds something else, which Value tells; nothing was changed
)

// Result answers a command or a query.
type Result struct {
	Code     Code
	Value    string // the key's value afterwards
	Revision uint64 // index of the entry that made Value, or that deleted the key; 0 when the key is absent
}

// KV is the key-value state machine, in memory. For use by one goroutine.
type KV struct {
	cells   map[string]cell
	applied uint64
}

type cell struct {
	value    string
	revision uint64
}

// NewKV is the state before the first entry.
func NewKV() *KV { return &KV{cells: map[string]cell{}} }

// Apply takes the command in the entry at index, which must follow the last. An error leaves the state
// as it was: an entry is missing, or its data is damaged (ErrDamaged).
func (s *KV) Apply(index uint64, data []byte) (Result, error) {
	c, err := Decode(data)
	if err != nil {
		return Result{}, err
	}
	if err := s.Skip(index); err != nil {
		return Result{}, err
	}
	old, found := s.cells[c.Key]
	switch {
	case c.Op == Write, c.Op == CAS && found && old.value == c.Expect:
		s.cells[c.Key] = cell{c.Value, index}
		return Result{Code: OK, Value: c.Value, Revision: index}, nil
	case !found:
		return Result{Code: NotFound}, nil
	case c.Op == CAS:
		return Result{Code: Mismatch, Value: old.value, Revision: old.revision}, nil
	}
	delete(s.cells, c.Key)
	return Result{Code: OK, Revision: index}, nil
}

// Skip passes the entry at index, which must follow the last and holds no command.
func (s *KV) Skip(index uint64) error {
	if index != s.applied+1 {
		return fmt.Errorf("fsm: entry %d cannot follow entry %d", index, s.applied)
	}
	s.applied = index
	return nil
}

// Get tells a key's value: OK or NotFound.
func (s *KV) Get(key string) Result {
	c, found := s.cells[key]
	if !found {
		return Result{Code: NotFound}
	}
	return Result{Code: OK, Value: c.value, Revision: c.revision}
}

// Applied is the index of the last entry taken.
func (s *KV) Applied() uint64 { return s.applied }

// Len is the number of keys.
func (s *KV) Len() int { return len(s.cells) }

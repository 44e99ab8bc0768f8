package invariant

import (
	"fmt"
	"slices"
)

// state is how far a state machine has come.
type state struct {
	index uint64
	hash  uint64
}

// command is one request of a session.
type command struct{ session, sequence uint64 }

type execution struct{ index, answer uint64 }

// Apply says that a node's state machine has applied an entry, and what its state hashes to then: I12,
// I5. It may be called in the midst of a step, once what is to be applied is committed.
func (c *Checker) Apply(id NodeID, m Mark, stateHash uint64) error {
	s := c.members[id]
	if s == nil || s.node == nil {
		return fmt.Errorf("invariant: %s applies and does not run", id)
	}
	if m.Index != s.state.index+1 {
		return s.broke("I12", "%s applies entry %d, and has applied up to %d.", id, m.Index, s.state.index)
	}
	if m.Index > s.was.commit {
		if err := c.look(s); err != nil {
			return err
		}
		if m.Index > s.was.commit {
			return s.broke("I8", "%s applies entry %d, beyond its commit index %d.", id, m.Index, s.was.commit)
		}
	}
	e := &c.committed[m.Index]
	if e.known && e.mark(m.Index) != m {
		return s.broke("I5", "%s applies entry %s, and entry %s is committed at that index.", id, m, e.mark(m.Index))
	}
	if e.hashed && e.hash != stateHash {
		return s.broke("I5", "%s comes to state %016x with entry %d, and others came to %016x.", id, stateHash, m.Index, e.hash)
	}
	e.hash, e.hashed = stateHash, true
	s.state = state{m.Index, stateHash}
	return nil
}

// Restore says that a node's state is now that of a snapshot, installed or loaded at its start: I13.
// The snapshot covers the log up to m, which led to conf. At a start it may be called before Start.
func (c *Checker) Restore(id NodeID, m Mark, conf Configuration, stateHash uint64) error {
	s := c.member(id)
	floor := s.state.index
	if s.node != nil {
		floor = max(floor, s.was.commit)
	}
	if m.Index < floor {
		return s.broke("I13", "%s restores a snapshot up to %d, and had committed or applied up to %d.", id, m.Index, floor)
	}
	top := c.Committed()
	if m.Index > top && top > 0 {
		return s.broke("I13", "%s restores a snapshot up to %s, and nobody committed more than %d.", id, m, top)
	}
	if m.Index <= top {
		e := &c.committed[m.Index]
		if e.known && e.mark(m.Index) != m {
			return s.broke("I13", "%s restores a snapshot up to entry %s, and entry %s is committed at that index.",
				id, m, e.mark(m.Index))
		}
		if e.hashed && e.hash != stateHash {
			return s.broke("I13", "%s restores state %016x as of entry %d, and others came to %016x.",
				id, stateHash, m.Index, e.hash)
		}
		e.hash, e.hashed = stateHash, true
		if settled, known := c.asOf(m.Index); known && !settled.Equal(conf) {
			return s.broke("I13", "%s restores configuration %v as of entry %d, and the committed log leads to %v there.",
				id, conf, m.Index, settled)
		}
	}
	s.state = state{m.Index, stateHash}
	return nil
}

// Execute says that a node executed a session's command, at an index of the log, with this answer: I15.
// It is called whenever that is done, on every node and anew after a restart, and not when a
// command is found to have been executed before.
func (c *Checker) Execute(session, sequence, index, answer uint64) error {
	k := command{session, sequence}
	before, done := c.executed[k]
	switch {
	case !done:
		c.executed[k] = execution{index, answer}
	case before.index != index:
		return &Violation{Invariant: "I15", Text: fmt.Sprintf(
			"command %d of session %d was executed at entry %d, and again at %d.", sequence, session, before.index, index)}
	case before.answer != answer:
		return &Violation{Invariant: "I15", Text: fmt.Sprintf(
			"command %d of session %d, at entry %d, was answered with %016x, and now with %016x.",
			sequence, session, index, before.answer, answer)}
	}
	return nil
}

// Repeat says that a session's command was found to have been executed before, and answered so: I15.
func (c *Checker) Repeat(session, sequence, answer uint64) error {
	before, done := c.executed[command{session, sequence}]
	switch {
	case !done:
		return &Violation{Invariant: "I15", Text: fmt.Sprintf(
			"command %d of session %d was answered as a repeated one, and was never executed.", sequence, session)}
	case before.answer != answer:
		return &Violation{Invariant: "I15", Text: fmt.Sprintf(
			"command %d of session %d was answered with %016x, and when repeated with %016x.",
			sequence, session, before.answer, answer)}
	}
	return nil
}

// Acknowledged says that a client was told that the entry at index took effect.
func (c *Checker) Acknowledged(index uint64) { c.acknowledged = max(c.acknowledged, index) }

// BeginRead tells what a linearizable read that begins now must at least see.
func (c *Checker) BeginRead() (floor uint64) { return c.acknowledged }

// AnswerRead judges the index at which a read was answered: I16. The floor is what BeginRead said.
func (c *Checker) AnswerRead(floor, index uint64) error {
	if index < floor {
		return &Violation{Invariant: "I16", Text: fmt.Sprintf(
			"a read was answered as of entry %d, and entry %d was acknowledged before it began.", index, floor)}
	}
	return nil
}

// Converged tells whether nodes run and have come to the same state: L3.
func (c *Checker) Converged(ids ...NodeID) error {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	var first *member
	for _, id := range ids {
		s := c.members[id]
		if s == nil || s.node == nil {
			return &Violation{Invariant: "L3", Node: id, Text: fmt.Sprintf("%s does not run.", id)}
		}
		if first == nil {
			first = s
		}
		if s.state != first.state {
			return s.broke("L3", "%s is at entry %d with state %016x, and %s at entry %d with state %016x.",
				s.id, s.state.index, s.state.hash, first.id, first.state.index, first.state.hash)
		}
	}
	return nil
}

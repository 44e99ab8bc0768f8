package history

import (
	"fmt"
	"math"
	"time"
)

// Never is the Return of an operation whose end is unknown: it may take effect at any later time.
const Never time.Duration = math.MaxInt64

// Op is an operation from its invocation to its end.
type Op struct {
	Index   int64 // of its invocation
	Process int
	F       F
	Key     string
	In      Value         // what was asked: nil of a read
	Out     Value         // what an OK read found: nil when the key was absent
	Invoke  time.Duration // since the run began
	Return  time.Duration // Never when Outcome is Info
	Outcome Type          // OK, Fail or Info; Info when nothing was heard of it
	Node    string        // that answered; that was asked, when none did

	Revision uint64
	Term     uint64
	Error    string
}

// Validate tells whether the events make a history: indexes count from 0, time never goes back, a
// process has one operation at a time and none after an Info, and a completion repeats what its
// invocation asked. The error is a *FormatError.
func Validate(events []Event) error {
	_, err := Ops(events)
	return err
}

// Ops validates the events, as Validate does, and joins invocations with completions. Operations
// are in the order of their invocations.
func Ops(events []Event) ([]Op, error) {
	var ops []Op
	open := make(map[int]int) // process to its operation in ops
	dead := make(map[int]bool)
	var last time.Duration
	for i, e := range events {
		broken := func(format string, arguments ...any) ([]Op, error) {
			return nil, &FormatError{Line: i + 1, What: fmt.Sprintf(format, arguments...)}
		}
		if e.Index != int64(i) {
			return broken("index %d, where %d should stand", e.Index, i)
		}
		if e.Time < last {
			return broken("time goes back from %v to %v", last, e.Time)
		}
		last = e.Time
		at, busy := open[e.Process]
		if e.Type == Invoke {
			switch {
			case busy:
				return broken("process %d invokes while its last operation is open", e.Process)
			case dead[e.Process]:
				return broken("process %d is used again after an info", e.Process)
			case !fits(e.F, e.Value):
				return broken("a %s of value %v", e.F, e.Value)
			}
			open[e.Process] = len(ops)
			ops = append(ops, Op{
				Index: e.Index, Process: e.Process, F: e.F, Key: e.Key, In: e.Value,
				Invoke: e.Time, Return: Never, Outcome: Info, Node: e.Node,
			})
			continue
		}
		if !busy {
			return broken("process %d completes what it never invoked", e.Process)
		}
		op := &ops[at]
		if e.F != op.F || e.Key != op.Key {
			return broken("process %d invoked a %s of %s and completes a %s of %s", e.Process, op.F, op.Key, e.F, e.Key)
		}
		switch _, number := e.Value.(Int); {
		case op.F == Read && e.Type == OK:
			if e.Value != nil && !number {
				return broken("a read that found %v", e.Value)
			}
			op.Out = e.Value
		case e.Value != op.In:
			return broken("process %d invoked a %s of %v and completes one of %v", e.Process, op.F, op.In, e.Value)
		}
		op.Outcome, op.Revision, op.Term, op.Error = e.Type, e.Revision, e.Term, e.Error
		if e.Node != "" {
			op.Node = e.Node
		}
		delete(open, e.Process)
		if e.Type == Info {
			dead[e.Process] = true
		} else {
			op.Return = e.Time
		}
	}
	return ops, nil
}

// fits tells whether a value can be asked of an operation.
func fits(f F, v Value) bool {
	switch v.(type) {
	case nil:
		return f == Read
	case Int:
		return f == Write
	case Pair:
		return f == CAS
	}
	return false
}

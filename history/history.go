// Package history holds what clients asked and what they were answered: the evidence that every
// checker works on. Its semantics are Jepsen's. It knows no other package of the project.
package history

import "time"

// Type says how an operation stands.
type Type string

// The types of an event. An operation has one Invoke and at most one of the others; one without
// is as good as Info.
const (
	Invoke Type = "invoke"
	OK     Type = "ok"   // took effect, once, between invocation and completion
	Fail   Type = "fail" // took no effect and never will
	Info   Type = "info" // may have taken effect, or may yet; its process is never used again
)

// F is what an operation does.
type F string

// The operations on registers.
const (
	Read  F = "read"
	Write F = "write"
	CAS   F = "cas"
)

// Value is what an operation carries: nil, an Int or a Pair.
type Value interface{ value() }

// Int is a register's value.
type Int int64

// Pair is what a cas expects and what it writes.
type Pair [2]int64

func (Int) value()  {}
func (Pair) value() {}

// Event is one line of history.jsonl.
type Event struct {
	Index   int64         // position in the history, from 0
	Time    time.Duration // since the run began, on a monotonic clock
	Process int           // a logical client; at most one operation at a time
	Type    Type
	F       F
	Key     string
	Value   Value  // of a read: nil, until its OK carries what it read (nil: the key was absent)
	Node    string // the node asked; on an OK, the node that answered

	// What the node said of the operation, on OK, and on Fail where it is known.
	Revision uint64 // log index of the write that made the value; 0 when absent
	Term     uint64 // the answering node's term
	Error    string // on Fail and Info: the error's type, then its text; on OK: what is odd about it
}

// ErrorMismatch begins the Error of a cas that failed because the register held another value. The
// cas went through the log, so the refusal is itself evidence of what the register did not hold.
const ErrorMismatch = "cas_mismatch"

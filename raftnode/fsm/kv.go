// Package fsm holds the state machines that a replica drives. They are deterministic: what an entry
// does depends on the entries before it and on nothing else.
package fsm

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
	Revision uint64 // index of the entry that made Value, of the deletion for a deleted key; 0 for a key never seen
}

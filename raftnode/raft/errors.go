package raft

import "errors"

// ErrOverloaded refuses a command because too much is waiting to be committed. Nothing was done.
var ErrOverloaded = errors.New("raft: too many uncommitted entries")

// InvariantError says that what Raft promises does not hold on this node: it must stop, say so,
// and not be restarted on the same data before somebody has looked.
type InvariantError struct{ What string }

func (e *InvariantError) Error() string { return "raft: broken invariant: " + e.What }

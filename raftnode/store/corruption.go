package store

import "fmt"

// CorruptionError says that what is on disk is not what was written: nothing that it holds can be
// trusted, and the node must not start.
type CorruptionError struct {
	Where  string // which part of which store
	What   string // what is wrong with it
	Remedy string // what an operator can do
	Err    error  // what the storage engine said; nil when the store itself found it
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("store: corruption in %s: %s; %s", e.Where, e.What, e.Remedy)
}

func (e *CorruptionError) Unwrap() error { return e.Err }

// A node that forgot its vote or its log may help to elect or to commit what it once ruled out, so
// an empty directory under the old name is no remedy.
const remedy = "remove this node from the cluster and add a new one under a new name; do not start it " +
	"again with an empty or an older directory, for it may have promised what that does not hold"

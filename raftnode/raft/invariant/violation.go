package invariant

import "fmt"

// Violation says which law is broken, by whom, and how.
type Violation struct {
	Invariant string // "I1" to "I16", or "L3"
	Node      NodeID // empty when no single node broke it
	Text      string // one sentence
}

func (v *Violation) Error() string { return v.Invariant + ": " + v.Text }

func (s *member) broke(invariant, format string, args ...any) error {
	return &Violation{Invariant: invariant, Node: s.id, Text: fmt.Sprintf(format, args...)}
}

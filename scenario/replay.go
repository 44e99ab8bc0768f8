package scenario

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"coup/sim"
)

// Replayed is what came of lines that were played as far as they can be.
type Replayed struct {
	Check  string // that failed; empty for none
	Text   string // what it said
	Played []bool // by line: it makes sense and was done; what comes after a failure is not
	Healed bool   // it failed after the last line
}

// Replay plays lines in a world of their own and passes over those that make no sense, or cannot be done: a line that
// is left out may be what another one needs. It is for whoever looks for the lines that matter; what it finds
// is a scenario once only lines that were played are left.
func Replay(lines []string, o Options) (r Replayed) {
	r.Played = make([]bool, len(lines))
	s := newStage(o)
	defer s.close()
	defer func() {
		if failure := s.failure(recover()); failure != nil {
			r.Check, r.Text = failure.Check, failure.Text
		}
	}()
	names := newScope()
	for i, line := range lines {
		l, err := names.parse("", i+1, line)
		if err != nil || l == nil {
			continue
		}
		r.Played[i] = true // a node that panics does so in it
		if err := s.do(l); s.hand == nil || s.broken() {
			return r
		} else if err != nil {
			r.Played[i] = false
		}
	}
	if s.hand != nil {
		r.Healed = true
		s.conclude()
	}
	return r
}

// failure is what a world failed by, or what its nodes panicked with; nil for nothing.
func (s *stage) failure(panicked any) *sim.Failure {
	if panicked != nil {
		if !nodes(debug.Stack()) {
			panic(panicked)
		}
		return &sim.Failure{Check: "node", Text: fmt.Sprintf("panic: %v", panicked)}
	}
	var failure *sim.Failure
	if s.hand != nil && errors.As(s.hand.Err(), &failure) {
		return failure
	}
	return nil
}

// nodes tells whether a panic is a node's own: of this module's functions the innermost is the node's.
func nodes(stack []byte) bool {
	_, thrown, _ := strings.Cut(string(stack), "\npanic(")
	for line := range strings.Lines(thrown) {
		if strings.HasPrefix(line, "coup/") {
			return strings.HasPrefix(line, "coup/raftnode/")
		}
	}
	return false
}

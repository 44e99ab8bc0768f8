package scenario

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"coup/raftnode/actionlog"
	"coup/sim"
)

// Options say how a scenario is played.
type Options struct {
	// Unhealed says that the world is not healed at the end: only the lines themselves can fail.
	Unhealed bool
	// Actions is told all that happens, and each line before it is played; nil for none.
	Actions func(actionlog.Action)
}

// Result is what came of a scenario.
type Result struct {
	File   string        `json:"file"`
	Title  string        `json:"title"`
	Passed bool          `json:"passed"`
	Check  string        `json:"check,omitempty"` // the invariant that is broken, or the liveness that is missing: "I10", "L1"
	Error  string        `json:"error,omitempty"` // with file, line and column
	Line   int           `json:"line,omitempty"`  // that failed
	State  string        `json:"state,omitempty"` // of the world then
	Output string        `json:"output,omitempty"`
	Lines  int           `json:"lines"` // statements
	Ticks  int           `json:"ticks"`
	Took   time.Duration `json:"took_ns"`
}

// Run plays a scenario in a world of its own.
func (sc *Scenario) Run(o Options) *Result {
	began := time.Now()
	s := newStage(o)
	defer s.close()
	r := &Result{File: sc.File, Title: sc.Title, Lines: len(sc.Lines)}
	err := sc.survive(s)
	r.Took, r.Output = time.Since(began), s.out.String()
	if s.hand != nil {
		r.Ticks = s.hand.Ticks()
	}
	r.conclude(s, err)
	return r
}

// survive plays all lines. A node that panics, which only a bug can bring about, ends the scenario.
func (sc *Scenario) survive(s *stage) (err error) {
	defer func() {
		if s.failed = s.failure(recover()); s.failed != nil && (s.hand == nil || s.hand.Err() == nil) && s.failed.Check != s.expected {
			err = &Error{File: sc.File, Line: s.line, Column: 1, Text: fmt.Sprintf("%s: %s", s.failed.Check, s.failed.Text)}
		}
	}()
	return sc.play(s)
}

// conclude takes what the scenario came to.
func (r *Result) conclude(s *stage, err error) {
	if s.failed != nil {
		r.Check = s.failed.Check
	}
	var placed *Error
	switch {
	case err == nil:
		r.Passed = true
	case errors.As(err, &placed):
		r.Error, r.Line, r.State = placed.Error(), placed.Line, placed.State
	default:
		r.Error = err.Error()
	}
}

// play plays all lines, and what is owed after them.
func (sc *Scenario) play(s *stage) error {
	if len(sc.Lines) == 0 {
		return &Error{File: sc.File, Line: 1, Column: 1, Text: `there is no statement; a scenario begins with "cluster of 3"`}
	}
	for i := range sc.Lines {
		l := &sc.Lines[i]
		before := s.out.Len()
		s.line = l.Number
		err := s.do(l)
		if s.hand != nil && s.hand.Err() != nil {
			return sc.broken(s, l, "")
		}
		if err != nil {
			return sc.at(l, err)
		}
		if err := l.compare(s.out.String()[before:]); err != nil {
			return sc.at(l, err)
		}
	}
	last := &sc.Lines[len(sc.Lines)-1]
	if !s.conclude() {
		return sc.broken(s, last, "after the last line and healing: ")
	}
	if s.expected != "" {
		return sc.at(last, fmt.Errorf("%s was to be broken, and is not", s.expected))
	}
	return nil
}

// conclude plays what is owed after the last line, and tells whether it was given.
func (s *stage) conclude() bool {
	for ticks := 0; len(s.deferred) > 0 && ticks < defaultWithin && !s.broken(); ticks++ {
		s.tick()
	}
	if s.unhealed || s.options.Unhealed {
		return !s.broken()
	}
	s.hand.Sent = nil
	s.hand.Release()
	return s.hand.Settle() == nil
}

// broken is the error of a world that failed, unless that is what was expected.
func (sc *Scenario) broken(s *stage, l *Line, when string) error {
	var failure *sim.Failure
	if errors.As(s.hand.Err(), &failure) && s.expected != "" && failure.Check == s.expected {
		return nil
	}
	return &Error{File: sc.File, Line: l.Number, Column: 1, Text: fmt.Sprintf("%s%s: %s", when, failure.Check, failure.Text), State: s.state()}
}

func (sc *Scenario) at(l *Line, err error) error {
	var placed *Error
	if errors.As(err, &placed) && placed.Line > 0 {
		return err
	}
	return &Error{File: sc.File, Line: l.Number, Column: 1, Text: err.Error()}
}

// compare holds what a line has printed to what is pinned.
func (l *Line) compare(output string) error {
	if l.Pinned == nil {
		return nil
	}
	printed := strings.Split(strings.TrimSuffix(output, "\n"), "\n")
	for i := range max(len(printed), len(l.Pinned)) {
		var is, was string
		if i < len(printed) {
			is = strings.TrimRight(printed[i], " ")
		}
		if i < len(l.Pinned) {
			was = strings.TrimRight(l.Pinned[i], " ")
		}
		if is != was {
			return fmt.Errorf("line %d of what it prints is %q, and %q is pinned", i+1, is, was)
		}
	}
	return nil
}

package scenario

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"coup/sim"
)

// Session is a scenario that is typed line by line. The world is deterministic: to take a line back is to play all the
// others again. A line that fails changes nothing. For use by one goroutine.
type Session struct {
	files Files
	stage *stage
	scope *scope
	lines []remembered
	given int // lines, those that failed included
}

// remembered is a line that was played, and what its successors may refer to.
type remembered struct {
	Line
	scope *scope
}

// Files are where a session saves scenarios and loads them from.
type Files interface {
	Create(name string) (io.WriteCloser, error)
	Open(name string) (io.ReadCloser, error)
}

// ErrQuit is what the command quit comes to.
var ErrQuit = errors.New("quit")

// maxSessionTicks bounds a session, so that to play it again is a matter of a moment.
const maxSessionTicks = 20_000

// NewSession begins an empty session. Without files, nothing can be saved or loaded.
func NewSession(files Files) *Session {
	s := &Session{files: files}
	s.restart()
	return s
}

// Close ends the session's world.
func (s *Session) Close() { s.stage.close() }

func (s *Session) restart() {
	if s.stage != nil {
		s.stage.close()
	}
	s.stage, s.scope = newStage(Options{}), newScope()
	s.stage.most = maxSessionTicks
}

// Do plays a line of the language or does a command, and returns what there is to show. The error is ErrQuit, or
// an *Error with its line and column; then nothing has changed, unless an invariant was broken: see Broken.
func (s *Session) Do(line string) (output string, err error) {
	s.given++
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, ">") {
		return "", s.place(&Error{Column: 1, Text: "lines that pin what is printed belong into files"})
	}
	words, err := tokens(line)
	if err != nil {
		return "", s.place(err)
	}
	if len(words) == 0 {
		return "", nil
	}
	if c := findDirective(words[0]); c != nil {
		output, err = c.do(s, &parser{scope: s.scope.clone(), line: s.given, end: len(line) + 1, tokens: words, at: 1})
		return output, s.place(err)
	}
	l, scope, err := s.parse(line, words)
	if err != nil {
		return "", err
	}
	return s.statement(l, scope)
}

// place has an error say which line it is of.
func (s *Session) place(err error) error {
	if err == nil || errors.Is(err, ErrQuit) {
		return err
	}
	if e, ok := err.(*Error); ok {
		if e.Line == 0 {
			e.Line = s.given
		}
		return e
	}
	return &Error{Line: s.given, Column: 1, Text: err.Error()}
}

// parse reads a statement, also `set NAME VALUE`.
func (s *Session) parse(line string, words []token) (*Line, *scope, error) {
	scope := s.scope.clone()
	l, err := scope.parse("", s.given, line)
	if err == nil {
		return l, scope, nil
	}
	var e *Error
	if v := find(words[0].text); v == nil && errors.As(err, &e) && e.Column == words[0].column {
		e.Text = strings.Replace(e.Text, "a verb", "a verb or a command", 1)
		e.Suggestion = nearest(words[0].text, append(verbNames(), directiveNames()...))
	}
	if words[0].text != "set" || slices.ContainsFunc(words, func(t token) bool { return t.text == "to" }) {
		return nil, nil, err
	}
	scope = s.scope.clone()
	at := words[len(words)-1].column - 1
	if l, withTo := scope.parse("", s.given, line[:at]+"to "+line[at:]); withTo == nil {
		return l, scope, nil
	}
	return nil, nil, err
}

// statement plays a line, and tells what it printed, who was answered and what it changed.
func (s *Session) statement(l *Line, scope *scope) (string, error) {
	if l.verb == "expect" {
		return "", s.place(errors.New("a session expects nothing; save writes down which invariant was broken"))
	}
	before := s.stage.glance()
	var answers strings.Builder
	s.stage.heard = func(who int, r *response) { answers.WriteString(s.stage.answer(who, r)) }
	printed, err := s.perform(l, scope)
	s.stage.heard = nil
	if err != nil || l.looks() {
		return printed, s.place(err)
	}
	return printed + answers.String() + s.stage.changes(before, l), nil
}

// looks tells whether a line changes nothing and pins nothing.
func (l *Line) looks() bool { return l.verb == "print" && l.Pinned == nil }

// perform plays a line, which is remembered unless it failed, or only looks.
func (s *Session) perform(l *Line, scope *scope) (printed string, err error) {
	switch broken := s.Broken(); {
	case broken != nil && !l.looks():
		return "", fmt.Errorf("%s is broken, and the world stands still: only undo, print, ls, get, help, history, save, load and quit are of use", broken.Check)
	case s.size()+len(l.Text) > maxBytes/2:
		return "", errors.New("the session has too many lines; save it, and begin another")
	}
	s.stage.out.Reset()
	if l.looks() {
		s.stage.named = nil
		err = l.do(s.stage)
		return s.stage.out.String(), err
	}
	err = s.stage.do(l)
	printed = s.stage.out.String()
	if broken := s.Broken(); broken != nil {
		s.remember(l, scope)
		return printed, &Error{Line: l.Number, Column: 1, Text: fmt.Sprintf("%s is broken: %s", broken.Check, broken.Text), State: s.stage.state()}
	}
	if err == nil {
		err = l.compare(printed)
	}
	if err == nil {
		s.remember(l, scope)
		return printed, nil
	}
	if l.verb != "check" {
		if lost := s.replay(); lost != nil {
			err = lost
		}
	}
	return printed, err
}

// size is that of the lines, in bytes.
func (s *Session) size() (bytes int) {
	for _, l := range s.lines {
		bytes += len(l.Text) + 1
		for _, p := range l.Pinned {
			bytes += len(p) + 3
		}
	}
	return bytes
}

func (s *Session) remember(l *Line, scope *scope) {
	s.lines = append(s.lines, remembered{*l, scope})
	s.scope = scope
}

// replay plays all remembered lines again in a new world. Only the last may have broken something.
func (s *Session) replay() error {
	s.restart()
	for i := range s.lines {
		l := &s.lines[i]
		s.scope = l.scope
		if err := s.stage.do(&l.Line); err != nil && s.Broken() == nil {
			s.lines = s.lines[:i]
			return fmt.Errorf("%q was played before, and now fails: %w", l.Text, errors.Join(err, s.replay()))
		}
	}
	return nil
}

// Broken is the invariant that the latest line broke, or nil. Until that line is undone, nothing more can happen.
func (s *Session) Broken() *sim.Failure {
	var failure *sim.Failure
	if s.stage.hand != nil {
		errors.As(s.stage.hand.Err(), &failure)
	}
	return failure
}

// Undo takes back the latest lines, and returns them, oldest first.
func (s *Session) Undo(n int) (undone []string, err error) {
	if len(s.lines) == 0 {
		return nil, errors.New("there is nothing to undo")
	}
	if n < 1 || n > len(s.lines) {
		return nil, fmt.Errorf("%d lines can be undone, and not %d", len(s.lines), n)
	}
	for _, l := range s.lines[len(s.lines)-n:] {
		undone = append(undone, l.Text)
	}
	s.lines = s.lines[:len(s.lines)-n]
	return undone, s.replay()
}

// Lines are what was played and not undone. Lines that failed, or only look, are not among them.
func (s *Session) Lines() (lines []string) {
	for _, l := range s.lines {
		lines = append(lines, l.Text)
	}
	return lines
}

// Save writes the session as a scenario that plays and passes. Where its last line broke an invariant, or where it would
// not converge after healing, the scenario expects that, and remark says so. An empty title is a default.
func (s *Session) Save(w io.Writer, title string) (remark string, err error) {
	if len(s.lines) == 0 {
		return "", errors.New("there is nothing to save")
	}
	if title == "" {
		title = "A session."
	}
	text := s.text(title, "")
	broken := s.Broken()
	if broken != nil {
		remark = oneLine(fmt.Sprintf("its last line breaks %s: %s", broken.Check, broken.Text))
		text = s.text(title, fmt.Sprintf("expect violation %s # %s", broken.Check, remark))
	} else if r, err := played(text); err != nil {
		return "", err
	} else if !r.Passed && r.Check != "" {
		_, what, _ := strings.Cut(r.Error, "healing: ")
		remark = oneLine("it does not converge after healing: " + what)
		text = s.text(title, fmt.Sprintf("expect violation %s # %s", r.Check, remark))
	}
	if r, err := played(text); err != nil {
		return "", err
	} else if !r.Passed {
		return "", fmt.Errorf("what would be saved does not pass: %s", r.Error)
	}
	_, err = io.WriteString(w, text)
	return remark, err
}

// text is the session as a scenario, with something before its last line.
func (s *Session) text(title, beforeLast string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", oneLine(title))
	for i, l := range s.lines {
		if i == len(s.lines)-1 && beforeLast != "" {
			if i == 0 {
				b.WriteString(l.Text + "\n" + beforeLast + "\n")
				break
			}
			b.WriteString(beforeLast + "\n")
		}
		b.WriteString(l.Text + "\n")
		for _, pinned := range l.Pinned {
			b.WriteString("> " + pinned + "\n")
		}
	}
	return b.String()
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// played parses and runs a scenario.
func played(text string) (*Result, error) {
	sc, err := Parse("saved", text)
	if err != nil {
		return nil, fmt.Errorf("what would be saved makes no sense: %w", err)
	}
	return sc.Run(Options{}), nil
}

// Load begins anew and plays a scenario line by line, up to the first that fails: that one is the error, and the
// session is what was before it. Nothing changes when the file makes no sense.
func (s *Session) Load(name string, r io.Reader) (output string, err error) {
	data, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return "", err
	}
	sc, err := Parse(name, string(data))
	if err != nil {
		return "", err
	}
	s.restart()
	s.lines = nil
	var all strings.Builder
	for i := range sc.Lines {
		l := &sc.Lines[i]
		if l.verb == "expect" {
			continue
		}
		scope := s.scope.clone()
		if _, err := scope.parse(name, l.Number, l.Text); err != nil {
			return all.String(), err
		}
		printed, err := s.perform(l, scope)
		all.WriteString(printed)
		if err != nil {
			err = sc.at(l, err)
			err.(*Error).File = name
			return all.String(), err
		}
	}
	return all.String(), nil
}

// Settle plays the session on a copy as a file is, to its end: it is healed and must converge. Errors: *Error.
func (s *Session) Settle() error {
	if s.stage.hand == nil {
		return errors.New(`there is no world yet; "cluster of 3" makes one`)
	}
	sc := &Scenario{}
	for _, l := range s.lines {
		if l.verb != "end" {
			sc.Lines = append(sc.Lines, l.Line)
		}
	}
	st := newStage(Options{})
	defer st.close()
	return sc.play(st)
}

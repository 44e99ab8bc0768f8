package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Scenario is a parsed file.
type Scenario struct {
	File  string
	Title string // its first comment
	Lines []Line
}

// Line is one statement.
type Line struct {
	Number int
	Text   string
	Pinned []string // the lines of output that must follow; nil for whatever
	do     func(*stage) error
	verb   string
}

// Verb is the word that the statement begins with.
func (l *Line) Verb() string { return l.verb }

// Bounds on a file.
const (
	maxBytes = 1 << 20
	maxNodes = 25
	maxTicks = 100_000 // of one statement
)

// Parse reads a scenario. The error is an *Error: the first that is wrong.
func Parse(file, text string) (*Scenario, error) {
	if len(text) > maxBytes {
		return nil, &Error{File: file, Line: 1, Column: 1, Text: fmt.Sprintf("the file has %d bytes; at most %d make sense", len(text), maxBytes)}
	}
	s := &Scenario{File: file}
	names := newScope()
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, " \t\r")
		trimmed := strings.TrimLeft(line, " \t")
		if pinned, ok := strings.CutPrefix(trimmed, ">"); ok {
			if len(s.Lines) == 0 {
				return nil, &Error{File: file, Line: i + 1, Column: 1, Text: "expected output, and no statement before it"}
			}
			last := &s.Lines[len(s.Lines)-1]
			last.Pinned = append(last.Pinned, strings.TrimPrefix(pinned, " "))
			continue
		}
		if comment, ok := strings.CutPrefix(trimmed, "#"); ok && s.Title == "" && len(s.Lines) == 0 {
			s.Title = strings.TrimSpace(comment)
		}
		parsed, err := names.parse(file, i+1, line)
		if err != nil {
			return nil, err
		}
		if parsed != nil {
			s.Lines = append(s.Lines, *parsed)
		}
	}
	return s, nil
}

// scope is what a line may refer to by names that lines before it gave.
type scope struct {
	begun   bool
	nodes   int
	clients []string
	lets    []string
}

func newScope() *scope { return &scope{clients: []string{anybody}} }

func (s *scope) clone() *scope {
	return &scope{begun: s.begun, nodes: s.nodes, clients: slices.Clone(s.clients), lets: slices.Clone(s.lets)}
}

// parse reads one line; nil for one that says nothing.
func (s *scope) parse(file string, number int, line string) (*Line, error) {
	p := &parser{scope: s, file: file, line: number, end: len(line) + 1}
	var err error
	if p.tokens, err = tokens(line); err != nil {
		return nil, p.place(err)
	}
	if len(p.tokens) == 0 {
		return nil, nil
	}
	verb := p.tokens[0].text
	do, err := p.statement()
	if err != nil {
		return nil, p.place(err)
	}
	return &Line{Number: number, Text: strings.TrimSpace(line), do: p.placed(do), verb: verb}, nil
}

// parser reads the tokens of one line.
type parser struct {
	*scope
	file   string
	line   int
	end    int // the column after the last
	tokens []token
	at     int

	offers     []string // what could have come where the line ends
	offersName bool     // so could a name such as leader.term
}

func (p *parser) place(err error) error {
	if e, ok := err.(*Error); ok {
		e.File, e.Line = p.file, p.line
		return e
	}
	return &Error{File: p.file, Line: p.line, Column: 1, Text: err.Error()}
}

// placed has what goes wrong when the statement is done say where.
func (p *parser) placed(do func(*stage) error) func(*stage) error {
	file, line, column := p.file, p.line, p.tokens[0].column
	return func(s *stage) error {
		err := do(s)
		if err == nil {
			return nil
		}
		if e, ok := err.(*Error); ok {
			e.File, e.Line = file, line
			return e
		}
		return &Error{File: file, Line: line, Column: column, Text: err.Error()}
	}
}

func (p *parser) column() int {
	if p.at < len(p.tokens) {
		return p.tokens[p.at].column
	}
	return p.end
}

func (p *parser) fail(format string, args ...any) error {
	return &Error{Column: p.column(), Text: fmt.Sprintf(format, args...)}
}

// wanted is the error of a token that is not one of several words.
func (p *parser) wanted(what string, words ...string) error {
	e := &Error{Column: p.column(), Text: fmt.Sprintf("expected %s, found %s", what, p.found())}
	if p.more() {
		e.Suggestion = nearest(p.tokens[p.at].text, words)
	}
	p.offer(words...)
	return e
}

func (p *parser) found() string {
	if !p.more() {
		return "the end of the line"
	}
	return strconv.Quote(p.tokens[p.at].text)
}

func (p *parser) more() bool { return p.at < len(p.tokens) }

// offer notes words that could come next, if that is where the line ends.
func (p *parser) offer(words ...string) {
	if !p.more() {
		p.offers = append(p.offers, words...)
	}
}

// peek tells whether the next token is a word of the language, unquoted.
func (p *parser) peek(word string) bool {
	p.offer(word)
	return p.more() && !p.tokens[p.at].quoted && p.tokens[p.at].text == word
}

// accept takes some words if they come next.
func (p *parser) accept(words ...string) bool {
	for i, w := range words {
		if p.at+i >= len(p.tokens) {
			p.offers = append(p.offers, w)
			return false
		}
		if p.tokens[p.at+i].quoted || p.tokens[p.at+i].text != w {
			return false
		}
	}
	p.at += len(words)
	return true
}

func (p *parser) expect(word string) error {
	if !p.accept(word) {
		return p.wanted(strconv.Quote(word), word)
	}
	return nil
}

// word takes any token, as a text.
func (p *parser) word(what string) (string, error) {
	if !p.more() {
		return "", p.wanted(what)
	}
	p.at++
	return p.tokens[p.at-1].text, nil
}

// number takes a number from least to most.
func (p *parser) number(what string, least, most int) (int, error) {
	if !p.more() {
		return 0, p.wanted(what)
	}
	n, err := strconv.Atoi(p.tokens[p.at].text)
	if err != nil {
		return 0, p.wanted(what)
	}
	if n < least || n > most {
		return 0, p.fail("%s must be from %d to %d, and %d is not", what, least, most, n)
	}
	p.at++
	return n, nil
}

func (p *parser) isNumber() bool {
	if !p.more() || p.tokens[p.at].quoted {
		return false
	}
	_, err := strconv.Atoi(p.tokens[p.at].text)
	return err == nil
}

// done wants the end of the line.
func (p *parser) done() error {
	if p.more() {
		return p.wanted("the end of the line")
	}
	return nil
}

// statement takes a whole statement.
func (p *parser) statement() (func(*stage) error, error) {
	v := find(p.tokens[0].text)
	if v == nil || p.tokens[0].quoted {
		return nil, p.wanted("a verb", verbNames()...)
	}
	if !p.begun && v.name != "cluster" {
		return nil, p.fail("a scenario begins with %q", "cluster of 3")
	}
	p.at++
	do, err := v.parse(p)
	if err != nil {
		return nil, err
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	return do, nil
}

// nodeName tells whether a text names a node, by its number or in full, and which.
func nodeName(text string) (index int, ok bool) {
	n, err := strconv.Atoi(strings.TrimPrefix(text, "raft-"))
	return n, err == nil && n >= 0 && n < maxNodes && text == strings.TrimPrefix(text, "+")
}

// newName takes a name for something new.
func (p *parser) newName(what string) (string, error) {
	name, err := p.word(what)
	if err != nil {
		return "", err
	}
	p.at--
	if _, isNode := nodeName(name); isNode || strings.ContainsAny(name, ".\" \t"+marks) || slices.Contains(reserved, name) || isOperation(name) || find(name) != nil {
		return "", p.fail("%q cannot be %s: it means something else", name, what)
	}
	p.at++
	return name, nil
}

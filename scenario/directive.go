package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// directive is what a session does that is no part of the language.
type directive struct {
	name  string
	usage []string
	text  string
	do    func(*Session, *parser) (string, error)
}

// directives are all there are. A function, for help shows them.
func directives() []directive {
	return []directive{
		{"help", []string{"help", "help names | nodes | messages | settings", "help VERB"}, "Tells how it is used, with an example.", doHelp},
		{"ls", []string{"ls", "ls NAME"}, "Lists the names below a name, with their values: `ls`, `ls 0`, `ls 0.log`, `ls cluster`. What ends with a dot has names below it.", doList},
		{"get", []string{"get NAME"}, "Tells the value of a name, as `print NAME` does.", doGet},
		{"undo", []string{"undo", "undo N"}, "Takes back the latest line, or the latest N.", doUndo},
		{"history", []string{"history"}, "Lists what was played: lines that failed, or only look, are not in it.", doHistory},
		{"save", []string{"save FILE", "save FILE TITLE"}, "Writes the session as a scenario, which `coup scenario FILE` plays.", doSave},
		{"load", []string{"load FILE"}, "Begins anew with a scenario: plays it line by line, up to the first that fails.", doLoad},
		{"settle", []string{"settle"}, "Tells whether the world converges once it is healed. It does so on a copy: the session goes on as it was.", doSettle},
		{"quit", []string{"quit"}, "Ends the session.", doQuit},
	}
}

func directiveNames() (names []string) {
	for _, c := range directives() {
		names = append(names, c.name)
	}
	return names
}

// findDirective is the one that a line begins with, or nil.
func findDirective(word token) *directive {
	all := directives()
	if i := slices.IndexFunc(all, func(d directive) bool { return d.name == word.text }); i >= 0 && !word.quoted {
		return &all[i]
	}
	return nil
}

func doHelp(_ *Session, p *parser) (string, error) {
	topic := ""
	if p.more() {
		topic, _ = p.word("a topic")
	}
	if err := p.done(); err != nil {
		return "", err
	}
	text, ok := Help(topic)
	if !ok {
		p.at--
		return "", p.wanted("a verb, a command or a topic", helpTopics()...)
	}
	return text, nil
}

// doGet prints a name, by the language's own print.
func doGet(s *Session, p *parser) (string, error) {
	if !p.begun {
		return "", errNoWorld
	}
	if !p.more() {
		p.offersName = true
		return "", p.wanted("a name such as leader.term")
	}
	do, err := parsePrint(p)
	if err != nil {
		return "", err
	}
	if err := p.done(); err != nil {
		return "", err
	}
	s.stage.out.Reset()
	s.stage.named = nil
	err = do(s.stage)
	return s.stage.out.String(), err
}

var errNoWorld = errors.New(`there is no world yet; "cluster of 3" makes one`)

func doUndo(s *Session, p *parser) (string, error) {
	n := 1
	if p.more() {
		var err error
		if n, err = p.number("a number of lines", 1, max(1, len(s.lines))); err != nil {
			return "", err
		}
	}
	if err := p.done(); err != nil {
		return "", err
	}
	undone, err := s.Undo(n)
	var b strings.Builder
	for _, line := range slices.Backward(undone) {
		fmt.Fprintf(&b, "undone: %s\n", line)
	}
	return b.String(), err
}

func doHistory(s *Session, p *parser) (string, error) {
	var b strings.Builder
	for i, line := range s.Lines() {
		fmt.Fprintf(&b, "%3d  %s\n", i+1, line)
	}
	return b.String(), p.done()
}

// file takes the name of one.
func (s *Session) file(p *parser) (string, error) {
	if s.files == nil {
		return "", errors.New("there are no files here")
	}
	return p.word("the name of a file")
}

func doSave(s *Session, p *parser) (string, error) {
	name, err := s.file(p)
	if err != nil {
		return "", err
	}
	var title []string
	for p.more() {
		word, _ := p.word("a title")
		title = append(title, word)
	}
	var text strings.Builder
	remark, err := s.Save(&text, strings.Join(title, " "))
	if err != nil {
		return "", err
	}
	w, err := s.files.Create(name)
	if err != nil {
		return "", err
	}
	_, err = w.Write([]byte(text.String()))
	if err = errors.Join(err, w.Close()); err != nil {
		return "", fmt.Errorf("writing %s: %w", name, err)
	}
	told := fmt.Sprintf("saved %d lines to %s\n", len(s.lines), name)
	if remark != "" {
		told += remark + "\n"
	}
	return told, nil
}

func doLoad(s *Session, p *parser) (string, error) {
	name, err := s.file(p)
	if err != nil {
		return "", err
	}
	if err := p.done(); err != nil {
		return "", err
	}
	r, err := s.files.Open(name)
	if err != nil {
		return "", err
	}
	defer r.Close()
	printed, err := s.Load(name, r)
	if err != nil {
		return printed, err
	}
	return printed + fmt.Sprintf("played %d lines of %s\n", len(s.lines), name), nil
}

func doSettle(s *Session, p *parser) (string, error) {
	if err := p.done(); err != nil {
		return "", err
	}
	if broken := s.Broken(); broken != nil {
		return "", fmt.Errorf("%s is broken, and nothing can settle", broken.Check)
	}
	if err := s.Settle(); err != nil {
		return "", err
	}
	return "healed, it converges: a leader, a write that is answered, equal states, and no new term\n", nil
}

func doQuit(_ *Session, p *parser) (string, error) {
	if err := p.done(); err != nil {
		return "", err
	}
	return "", ErrQuit
}

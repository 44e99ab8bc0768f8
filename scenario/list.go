package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// heads are what a name can begin with now.
func (s *Session) heads() (heads []string) {
	for i := range s.stage.hand.Len() {
		heads = append(heads, strconv.Itoa(i))
	}
	for _, g := range groups {
		if g.name == "others" { // which are so only within a line
			continue
		}
		if found, err := s.stage.part(part{text: g.name, node: -1}); err == nil && len(found) == 1 {
			heads = append(heads, g.name)
		}
	}
	for _, l := range s.scope.lets {
		if len(s.stage.lets[l].nodes) == 1 {
			heads = append(heads, l)
		}
	}
	heads = append(heads, s.scope.clients...)
	return append(heads, "cluster", "messages", "settings")
}

// below are the names of all that can be seen of what a head means, each * replaced by the words that there are.
func (s *Session) below(head string) (names []string, err error) {
	var owner owner
	of := 0
	switch {
	case head == "cluster":
		owner = ownerCluster
	case head == "messages":
		owner = ownerMessages
	case head == "settings":
		owner = ownerSettings
	case slices.Contains(s.scope.clients, head):
		owner, of = ownerClient, slices.Index(s.scope.clients, head)
	default:
		p := &parser{scope: s.scope, tokens: []token{{text: head, column: 1}}}
		one, err := p.node()
		if err != nil {
			return nil, err
		}
		picked, err := s.stage.pick(one)
		if err != nil {
			return nil, err
		}
		if len(picked) > 1 {
			return nil, fmt.Errorf("%s are %d nodes; one at a time", head, len(picked))
		}
		of = picked[0]
	}
	for _, f := range fields(owner) {
		if f.words == nil {
			names = append(names, f.name)
			continue
		}
		for _, w := range f.words(s.stage, of) {
			if full := f.full(w); !strings.Contains(w, ".") && !slices.Contains(names, full) {
				names = append(names, full)
			}
		}
	}
	return names, nil
}

// children are the names one step below a name, or that begin with it where there is nothing below it. Those that have
// names below themselves end with a dot.
func (s *Session) children(name string) (children []string, err error) {
	head, rest, dotted := strings.Cut(name, ".")
	all, err := s.below(head)
	if err != nil {
		return nil, err
	}
	prefix := ""
	if rest = strings.TrimSuffix(rest, "."); dotted && rest != "" {
		prefix = rest + "."
	}
	if slices.Contains(all, rest) {
		return []string{head + "." + rest}, nil
	}
	if !slices.ContainsFunc(all, func(n string) bool { return strings.HasPrefix(n, prefix) }) {
		prefix = rest
	}
	for _, n := range all {
		if !strings.HasPrefix(n, prefix) {
			continue
		}
		from := strings.LastIndexByte(prefix, '.') + 1
		step, _, more := strings.Cut(n[from:], ".")
		child := head + "." + n[:from] + step
		if more {
			child += "."
		}
		if !slices.Contains(children, child) {
			children = append(children, child)
		}
	}
	if len(children) == 0 {
		return nil, &Error{Column: 1, Text: fmt.Sprintf("nothing is called %q in %q", rest, name), Suggestion: nearest(rest, all)}
	}
	return children, nil
}

// see is the value of a name, or - where it has none now.
func (s *Session) see(name string) string {
	p := &parser{scope: s.scope, tokens: []token{{text: name, column: 1}}}
	path, err := p.path()
	if err != nil {
		return "-"
	}
	v, err := s.stage.get(&path)
	if err != nil {
		return "-"
	}
	return v.String()
}

func doList(s *Session, p *parser) (string, error) {
	if s.stage.hand == nil {
		return "", errNoWorld
	}
	if !p.more() {
		return s.overview(), nil
	}
	name, err := p.word("a name")
	if err != nil {
		return "", err
	}
	if err := p.done(); err != nil {
		return "", err
	}
	p.at--
	s.stage.named = nil
	children, err := s.children(name)
	if err != nil {
		if e, ok := err.(*Error); ok {
			e.Column = p.column()
		}
		return "", err
	}
	var rows [][]string
	for _, c := range children {
		row := []string{c}
		if !strings.HasSuffix(c, ".") {
			row = append(row, s.see(c))
		}
		rows = append(rows, row)
	}
	var b strings.Builder
	table(&b, rows)
	return b.String(), nil
}

// overview lists what names begin with, and what that is now.
func (s *Session) overview() string {
	var rows [][]string
	for _, h := range s.heads() {
		what := ""
		if i, isNode := nodeName(h); isNode {
			what = role(s.stage.hand, i).text
		} else if slices.Contains(groupNames(), h) {
			found, _ := s.stage.part(part{text: h, node: -1})
			what = nodeSet(found...).String()
		} else if v, let := s.stage.lets[h]; let {
			what = v.String()
		}
		rows = append(rows, []string{h + ".", what})
	}
	for _, l := range s.scope.lets {
		if v := s.stage.lets[l]; len(v.nodes) != 1 {
			rows = append(rows, []string{l, v.String()})
		}
	}
	var b strings.Builder
	table(&b, rows)
	return b.String()
}

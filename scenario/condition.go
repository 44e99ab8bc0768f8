package scenario

import (
	"fmt"
	"strconv"
	"strings"
)

// condition is what must hold: all of its comparisons.
type condition []comparison

type comparison struct {
	left  path
	op    string
	right operand
}

// operand is what a name is compared with, or set to.
type operand struct {
	fixed  value
	path   *path
	nodes  *selector
	let    string
	offset int // is added to a number
}

// operators, by how they are written; the longer ones first.
var operators = []struct {
	words []string
	op    string
}{
	{[]string{"is", "not"}, "is not"},
	{[]string{"is"}, "is"},
	{[]string{">="}, ">="}, {[]string{"<="}, "<="}, {[]string{">"}, ">"}, {[]string{"<"}, "<"},
	{[]string{"does", "not", "contain"}, "does not contain"},
	{[]string{"contains"}, "contains"},
}

func (p *parser) condition() (condition, error) {
	var c condition
	for {
		one, err := p.comparison()
		if err != nil {
			return nil, err
		}
		if c = append(c, one); !p.accept("and") {
			return c, nil
		}
	}
}

func (p *parser) comparison() (c comparison, err error) {
	negated := p.accept("not")
	if c.left, err = p.path(); err != nil {
		return c, err
	}
	kind := c.left.field.kind
	for _, o := range operators {
		if !p.accept(o.words...) {
			continue
		}
		ordered := strings.ContainsAny(o.op, "<>")
		if ordered && kind != kindNumber || negated {
			p.at -= len(o.words)
			return c, p.fail("%q needs a number before it, and %s is none", o.op, c.left.text)
		}
		c.op = o.op
		c.right, err = p.operand(kind)
		return c, err
	}
	if kind != kindFlag {
		return c, p.wanted(fmt.Sprintf("a comparison of %s, such as is, is not, >= or contains", c.left.text), "is", "contains")
	}
	c.op, c.right = "is", operand{fixed: flag(!negated)}
	return c, nil
}

// operand takes what is compared with something of a kind.
func (p *parser) operand(kind kind) (operand, error) {
	if !p.more() {
		p.offersName = true
		switch kind {
		case kindFlag:
			p.offer("true", "false")
		case kindNodes:
			p.isSelector()
			p.offer("none")
		case kindText, kindList:
			p.offer("none")
		}
		return operand{}, p.wanted("a value")
	}
	t := p.tokens[p.at]
	if !t.quoted {
		if _, named := p.lookup(t.text); named {
			p.at++
			return p.plus(operand{let: t.text}, kind)
		}
		if p.looksLikePath() {
			found, err := p.path()
			if err != nil {
				return operand{}, err
			}
			if found.field.kind != kind {
				return operand{}, &Error{Column: found.column, Text: fmt.Sprintf("%s is of another kind", found.text)}
			}
			return p.plus(operand{path: &found}, kind)
		}
	}
	switch kind {
	case kindNumber:
		n, err := strconv.ParseUint(t.text, 10, 62)
		if err != nil {
			return operand{}, p.wanted("a number")
		}
		p.at++
		return operand{fixed: number(n)}, nil
	case kindFlag:
		if t.text != "true" && t.text != "false" {
			return operand{}, p.wanted("true or false", "true", "false")
		}
		p.at++
		return operand{fixed: flag(t.text == "true")}, nil
	case kindNodes:
		if p.accept("none") {
			return operand{fixed: nodeSet()}, nil
		}
		s, err := p.nodes()
		return operand{nodes: &s}, err
	case kindList:
		if p.accept("none") {
			return operand{fixed: list(nil)}, nil
		}
		var items []string
		for {
			item, err := p.word("a value")
			if err != nil {
				return operand{}, err
			}
			items = append(items, item)
			if !p.accept(",") {
				return operand{fixed: list(items)}, nil
			}
		}
	}
	p.at++
	if t.text == "none" && !t.quoted {
		return operand{fixed: text("")}, nil
	}
	return operand{fixed: text(t.text)}, nil
}

// plus takes what is added to a number.
func (p *parser) plus(o operand, kind kind) (operand, error) {
	sign := 1
	switch {
	case kind != kindNumber:
		return o, nil
	case p.accept("+"):
	case p.accept("-"):
		sign = -1
	default:
		return o, nil
	}
	n, err := p.number("a number", 0, maxTicks)
	o.offset = sign * n
	return o, err
}

// lookup tells whether a word was given a value by let.
func (p *parser) lookup(word string) (string, bool) {
	for _, l := range p.lets {
		if l == word {
			return l, true
		}
	}
	return "", false
}

// looksLikePath tells whether the next token is a name with a dot, and not a text with one.
func (p *parser) looksLikePath() bool {
	head, _, dotted := strings.Cut(p.tokens[p.at].text, ".")
	if !dotted {
		return false
	}
	_, isNode := nodeName(head)
	_, isLet := p.lookup(head)
	if isNode || isLet {
		return true
	}
	for _, h := range append(append(groupNames(), p.clients...), "cluster", "messages", "lastResponse", "settings") {
		if h == head {
			return true
		}
	}
	return false
}

// value is what an operand is now.
func (s *stage) value(o operand) (value, error) {
	v := o.fixed
	var err error
	switch {
	case o.let != "":
		v = s.lets[o.let]
	case o.path != nil:
		v, err = s.get(o.path)
	case o.nodes != nil:
		var found []int
		if found, err = s.pick(*o.nodes); err == nil {
			v = nodeSet(found...)
		}
	}
	if v.kind == kindNumber && o.offset != 0 {
		if o.offset < 0 && v.number < uint64(-o.offset) {
			return v, fmt.Errorf("%d - %d is less than 0", v.number, -o.offset)
		}
		v.number += uint64(o.offset)
	}
	return v, err
}

// holds tells whether a condition holds, and if not what is instead.
func (s *stage) holds(c condition) (bool, string) {
	named := len(s.named)
	defer func() { s.named = s.named[:named] }()
	for i := range c {
		if ok, instead := s.compares(&c[i]); !ok {
			return false, instead
		}
	}
	return true, ""
}

func (s *stage) compares(c *comparison) (bool, string) {
	of, err := s.of(&c.left)
	if err != nil {
		return false, err.Error()
	}
	right, err := s.value(c.right)
	if err != nil {
		return false, err.Error()
	}
	instead := ""
	for _, i := range of {
		left, err := c.left.field.get(s, i, c.left.arg)
		if err != nil {
			instead = err.Error()
		} else if left.kind != right.kind {
			return false, fmt.Sprintf("%s and %s cannot be compared", left, right)
		} else if left.compare(c.op, right) {
			if c.left.nodes.any {
				return true, ""
			}
			continue
		} else {
			instead = fmt.Sprintf("%s is %s", s.whose(c.left, i), left)
			if c.right.path != nil || c.right.let != "" || c.right.nodes != nil {
				instead += fmt.Sprintf(", not %s %s", c.op, right)
			}
		}
		if !c.left.nodes.any {
			return false, instead
		}
	}
	return !c.left.nodes.any, instead
}

// whose is a path of just one node.
func (s *stage) whose(p path, i int) string {
	if p.owner != ownerNode {
		return p.text
	}
	return name(i) + "." + p.field.full(p.arg)
}

func (v value) compare(op string, w value) bool {
	switch op {
	case "is":
		return v.equal(w)
	case "is not":
		return !v.equal(w)
	case ">=":
		return v.number >= w.number
	case "<=":
		return v.number <= w.number
	case ">":
		return v.number > w.number
	case "<":
		return v.number < w.number
	case "contains":
		return v.contains(w)
	}
	return !v.contains(w)
}

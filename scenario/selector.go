package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// selector picks nodes.
type selector struct {
	parts []part
	any   bool // of a condition: one of them suffices
}

type part struct {
	text  string
	node  int // when it is one
	isLet bool
}

// Words that pick nodes, beside numbers.
var groups = []struct{ name, doc string }{
	{"leader", "the leader of the latest term that runs"},
	{"follower", "the first follower that runs; `a follower` is the same"},
	{"followers", "all followers that run"},
	{"candidate", "the first candidate or pre-candidate that runs"},
	{"all", "all nodes"},
	{"voters", "the voters of the configuration of the latest leader"},
	{"learners", "its learners"},
	{"others", "all nodes that the statement did not name before"},
	{"down", "the nodes that do not run"},
}

// reserved are words that cannot be names.
var reserved = []string{
	"leader", "follower", "followers", "candidate", "all", "voters", "learners", "others", "down", "any", "a", "bus", "until", "is", "none", "cluster", "messages",
	"lastResponse", "settings", "to", "from", "at", "and", "client",
}

func groupNames() (names []string) {
	for _, g := range groups {
		names = append(names, g.name)
	}
	return names
}

// isSelector tells whether the next token picks nodes.
func (p *parser) isSelector() bool {
	if !p.more() {
		for i := range p.scope.nodes {
			p.offer(strconv.Itoa(i))
		}
		p.offer(groupNames()...)
		p.offer(p.lets...)
	}
	if !p.more() || p.tokens[p.at].quoted {
		return false
	}
	text := p.tokens[p.at].text
	_, isNode := nodeName(text)
	return isNode || text == "a" || slices.Contains(groupNames(), text) || slices.Contains(p.lets, text)
}

// nodes takes a list of nodes.
func (p *parser) nodes() (selector, error) {
	var s selector
	for {
		one, err := p.node()
		if err != nil {
			return s, err
		}
		s.parts = append(s.parts, one.parts...)
		if !p.accept(",") {
			return s, nil
		}
	}
}

// node takes one word that picks nodes.
func (p *parser) node() (selector, error) {
	p.accept("a")
	if !p.isSelector() {
		return selector{}, p.wanted("a node", append(groupNames(), p.lets...)...)
	}
	s, err := p.selects(p.tokens[p.at].text)
	if err == nil {
		p.at++
	}
	return s, err
}

// selects reads the word of a selector.
func (p *parser) selects(text string) (selector, error) {
	if n, ok := nodeName(text); ok {
		if n >= p.scope.nodes {
			return selector{}, p.fail("there is no raft-%d; the last is raft-%d, and `new raft-%d` makes the next", n, p.scope.nodes-1, p.scope.nodes)
		}
		return selector{parts: []part{{text: text, node: n}}}, nil
	}
	return selector{parts: []part{{text: text, node: -1, isLet: slices.Contains(p.lets, text)}}}, nil
}

func (s selector) String() string {
	var words []string
	for _, p := range s.parts {
		words = append(words, p.text)
	}
	return strings.Join(words, ",")
}

// relative tells whether who is meant depends on who was named before.
func (s selector) relative() bool {
	return slices.ContainsFunc(s.parts, func(p part) bool { return p.text == "others" })
}

// pick is the nodes that a selector means now, each once. It is an error when there is none.
func (st *stage) pick(s selector) ([]int, error) {
	var picked []int
	for _, p := range s.parts {
		found, err := st.part(p)
		if err != nil {
			return nil, err
		}
		for _, i := range found {
			if !slices.Contains(picked, i) {
				picked = append(picked, i)
			}
		}
	}
	if len(picked) == 0 {
		return nil, fmt.Errorf("there is no %s now", s)
	}
	for _, i := range picked {
		if !slices.Contains(st.named, i) && !s.relative() {
			st.named = append(st.named, i)
		}
	}
	return picked, nil
}

// one is the node that a selector means now; of several the first.
func (st *stage) one(s selector) (int, error) {
	picked, err := st.pick(s)
	if err != nil {
		return 0, err
	}
	return picked[0], nil
}

func (st *stage) part(p part) (found []int, err error) {
	if p.node >= 0 {
		if p.node >= st.hand.Len() {
			return nil, fmt.Errorf("there is no %s", name(p.node)) // its making failed
		}
		return []int{p.node}, nil
	}
	if p.isLet {
		v := st.lets[p.text]
		if v.nodes == nil {
			return nil, fmt.Errorf("%s is %s, and no node", p.text, v)
		}
		return v.nodes, nil
	}
	members := st.hand.Members()
	for i := range st.hand.Len() {
		n := st.hand.Look(i)
		role := ""
		if n.Alive {
			role = n.Replica.Core().Role().String()
		}
		var is bool
		switch p.text {
		case "all":
			is = true
		case "others":
			is = !slices.Contains(st.named, i)
		case "leader":
			is = i == st.leader()
		case "follower":
			is = role == "follower" && len(found) == 0
		case "followers":
			is = role == "follower"
		case "candidate":
			is = strings.HasSuffix(role, "candidate") && len(found) == 0
		case "voters":
			is = members.IsVoter(n.ID)
		case "learners":
			is = slices.Contains(members.Learners, n.ID)
		case "down":
			is = !n.Alive
		}
		if is {
			found = append(found, i)
		}
	}
	return found, nil
}

// leader is the leader of the latest term that runs, or -1.
func (st *stage) leader() int {
	leader, term := -1, uint64(0)
	for i := range st.hand.Len() {
		if n := st.hand.Look(i); n.Alive && n.Replica.Core().Leads() && n.Replica.Core().Term() > term {
			leader, term = i, n.Replica.Core().Term()
		}
	}
	return leader
}

package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// kind is what a name stands for.
type kind uint8

const (
	kindText   kind = iota
	kindNumber      // never negative
	kindFlag
	kindNodes // none, one or several, in any order
	kindList  // texts, in order
)

// value is what can be seen of a world, or is compared with that.
type value struct {
	kind   kind
	text   string
	number uint64
	flag   bool
	nodes  []int // sorted; not nil for kindNodes
	list   []string
}

func text(s string) value   { return value{kind: kindText, text: s} }
func number(n uint64) value { return value{kind: kindNumber, number: n} }
func flag(b bool) value     { return value{kind: kindFlag, flag: b} }
func list(s []string) value { return value{kind: kindList, list: s} }

func nodeSet(nodes ...int) value {
	sorted := append([]int{}, nodes...)
	slices.Sort(sorted)
	return value{kind: kindNodes, nodes: slices.Compact(sorted)}
}

func name(i int) string { return fmt.Sprintf("raft-%d", i) }

func (v value) String() string {
	switch v.kind {
	case kindNumber:
		return strconv.FormatUint(v.number, 10)
	case kindFlag:
		return strconv.FormatBool(v.flag)
	case kindNodes:
		var words []string
		for _, i := range v.nodes {
			words = append(words, name(i))
		}
		return orNone(strings.Join(words, ", "))
	case kindList:
		return orNone(strings.Join(v.list, ", "))
	}
	if v.text == "" {
		return "none"
	}
	return v.text
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// equal tells whether two values of one kind are the same.
func (v value) equal(w value) bool {
	switch v.kind {
	case kindNumber:
		return v.number == w.number
	case kindFlag:
		return v.flag == w.flag
	case kindNodes:
		return slices.Equal(v.nodes, w.nodes)
	case kindList:
		return slices.Equal(v.list, w.list)
	}
	return v.text == w.text
}

// contains tells whether w is in v: all its nodes, all its items, or its text.
func (v value) contains(w value) bool {
	switch v.kind {
	case kindNodes:
		return !slices.ContainsFunc(w.nodes, func(i int) bool { return !slices.Contains(v.nodes, i) })
	case kindList:
		return !slices.ContainsFunc(w.list, func(s string) bool { return !slices.Contains(v.list, s) })
	}
	return strings.Contains(v.text, w.text)
}

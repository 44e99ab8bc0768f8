package shrink

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// gather puts the ticks of each node together that lie between two lines which name it: nothing that comes in between
// can tell them apart, or hardly. The ticks of several nodes that are as many become one line.
func gather(lines []string, everywhere bool) (gathered []string) {
	waiting := map[int]int{} // ticks, by node
	let := func(of []int, all bool) {
		var due []int
		for node, n := range waiting {
			if n > 0 && (all || slices.Contains(of, node)) {
				due = append(due, node)
			}
		}
		slices.Sort(due)
		for len(due) > 0 {
			n, names := waiting[due[0]], []string{}
			due = slices.DeleteFunc(due, func(node int) bool {
				if waiting[node] != n {
					return false
				}
				names = append(names, strconv.Itoa(node))
				delete(waiting, node)
				return true
			})
			gathered = append(gathered, fmt.Sprintf("tick %s %d", strings.Join(names, ","), n))
		}
	}
	for _, line := range lines {
		w := strings.Fields(line)
		if w[0] == "tick" && len(w) == 3 && isNodes(w[1]) && isNodes(w[2]) && !strings.HasSuffix(w[1], ",") {
			for _, node := range nodesOf(line) {
				waiting[node] += number(w[2])
			}
			continue
		}
		named := nodesOf(line)
		let(named, !everywhere || len(named) == 0 && !first(line) && w[0] != "new")
		gathered = append(gathered, line)
	}
	let(nil, true)
	return gathered
}

// ticks gathers ticks, as far as it still fails.
func (s *Shrinker) ticks() {
	for _, everywhere := range []bool{true, false} {
		if lines := gather(s.lines, everywhere); len(lines) < len(s.lines) && s.accept([][]string{lines}) {
			s.tell("ticks gathered")
			return
		}
	}
}

// fewerTicks halves how often clocks tick.
func (s *Shrinker) fewerTicks() {
	for i := 1; i < len(s.lines) && s.more(); i++ {
		w := strings.Fields(s.lines[i])
		if w[0] != "tick" || len(w) != 3 || !isNodes(w[1]) || number(w[2]) < 2 {
			continue
		}
		var candidates [][]string
		for _, n := range []int{1, number(w[2]) / 2, number(w[2]) * 3 / 4} {
			if n < number(w[2]) && n > 0 {
				lines := slices.Clone(s.lines)
				lines[i] = fmt.Sprintf("tick %s %d", w[1], n)
				candidates = append(candidates, lines)
			}
		}
		if s.accept(candidates) {
			i--
		}
	}
}

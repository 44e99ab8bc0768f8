package shrink

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// smallerCluster takes nodes out of the cluster: two at a time, for then one less is a majority, then single ones.
func (s *Shrinker) smallerCluster() {
	for again := true; again && s.more(); {
		var candidates [][]string
		n := nodes(s.lines)
		for a := range n {
			for b := range a {
				candidates = append(candidates, without(without(s.lines, a), b))
			}
		}
		for a := range n {
			candidates = append(candidates, without(s.lines, a))
		}
		candidates = slices.DeleteFunc(candidates, func(lines []string) bool { return len(lines) == 0 || size(lines[0]) < 1 })
		again = s.accept(candidates)
	}
}

// windows are how many lines one or two others may take the place of.
var windows = []int{24, 16, 12, 8, 6, 5, 4, 3, 2}

// rewrite puts fewer lines that say more in the place of several.
func (s *Shrinker) rewrite() {
	if len(s.lines) > 400 {
		return
	}
	for again := true; again && s.more(); {
		again = s.join()
		for _, long := range windows {
			for begin := len(s.lines) - long; begin >= 1 && s.more(); begin-- {
				if begin+long > len(s.lines) {
					continue
				}
				var candidates [][]string
				for _, instead := range s.instead(s.lines[begin : begin+long]) {
					if len(instead) < long {
						candidates = append(candidates, slices.Concat(s.lines[:begin], instead, s.lines[begin+long:]))
					}
				}
				if s.accept(candidates) {
					again = true
					s.tell("rewritten")
				}
			}
		}
	}
}

// instead are what could stand for some lines.
func (s *Shrinker) instead(window []string) (all [][]string) {
	named, kinds, ticks := []int{}, []string{}, map[int]int{}
	for _, line := range window {
		for _, n := range nodesOf(line) {
			if !slices.Contains(named, n) {
				named = append(named, n)
			}
		}
		w := strings.Fields(line)
		if kind, _ := messageOf(w); kind != "" && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
		if w[0] == "tick" && len(w) == 3 && isNodes(w[1]) {
			node, _ := strconv.Atoi(w[1])
			n, _ := strconv.Atoi(w[2])
			ticks[node] += n
		}
	}
	slices.Sort(named)
	brings := []string{"deliver all"}
	for _, group := range groupsOf(named, nodes(s.lines)) {
		brings = append(brings, "deliver all among "+group)
	}
	for _, kind := range kinds {
		brings = append(brings, "deliver all "+kind)
	}
	for _, n := range named {
		brings = append(brings, fmt.Sprintf("deliver all from %d", n), fmt.Sprintf("deliver all to %d", n))
	}
	add := func(lines ...string) { all = append(all, lines) }
	for _, bring := range brings {
		add(bring)
	}
	add("tick")
	add("tick 2")
	for _, n := range named {
		add(fmt.Sprintf("tick until %d.state is leader", n))
		for _, bring := range brings {
			add(fmt.Sprintf("campaign %d", n), bring)
		}
		if ticks[n] > 0 {
			add(fmt.Sprintf("tick %d %d", n, ticks[n]))
			for _, bring := range brings {
				add(fmt.Sprintf("tick %d %d", n, ticks[n]), bring)
			}
		}
	}
	return all
}

// messageOf is the kind of message that a line is about, and where it stands.
func messageOf(w []string) (kind string, at int) {
	if w[0] != "deliver" && w[0] != "duplicate" && w[0] != "drop" {
		return "", 0
	}
	for i, word := range w {
		if (word == "from" || word == "to" || word == "among") && i > 1 {
			if w[i-1] == "all" {
				return "", 0
			}
			return w[i-1], i - 1
		}
	}
	return "", 0
}

// groupsOf are the groups of two, three and all of some nodes, and what makes them a majority.
func groupsOf(named []int, n int) (groups []string) {
	if len(named) > 5 {
		return nil
	}
	for mask := 1; mask < 1<<len(named); mask++ {
		var group []string
		for i, node := range named {
			if mask&(1<<i) != 0 {
				group = append(group, strconv.Itoa(node))
			}
		}
		if len(group) >= 2 && len(group) < n {
			groups = append(groups, strings.Join(group, ","))
		}
	}
	return groups
}

// join makes one line of two that do the same, at the place of either.
func (s *Shrinker) join() (joined bool) {
	for again := true; again && s.more(); {
		var candidates [][]string
		for i := 1; i < len(s.lines); i++ {
			for j := i + 1; j < len(s.lines); j++ {
				both, ok := joinLines(s.lines[i], s.lines[j])
				if !ok {
					continue
				}
				candidates = append(candidates,
					slices.Concat(s.lines[:i], []string{both}, s.lines[i+1:j], s.lines[j+1:]),
					slices.Concat(s.lines[:i], s.lines[i+1:j], []string{both}, s.lines[j+1:]))
			}
		}
		if again = s.accept(candidates); again {
			joined = true
			s.tell("joined")
		}
	}
	return joined
}

// joinLines is one line for two that do the same.
func joinLines(a, b string) (both string, ok bool) {
	v, w := strings.Fields(a), strings.Fields(b)
	if v[0] != w[0] || len(v) < 2 || len(w) < 2 {
		return "", false
	}
	switch v[0] {
	case "tick":
		if len(v) == 2 && len(w) == 2 && isNodes(v[1]) && isNodes(w[1]) {
			return fmt.Sprintf("tick %d", number(v[1])+number(w[1])), true
		}
		if len(v) != 3 || len(w) != 3 || !isNodes(v[1]) || !isNodes(w[1]) {
			return "", false
		}
		if v[1] == w[1] {
			return fmt.Sprintf("tick %s %d", v[1], number(v[2])+number(w[2])), true
		}
		return fmt.Sprintf("tick %s,%s %d", v[1], w[1], max(number(v[2]), number(w[2]))), !strings.Contains(v[1]+w[1], ",")
	case "crash", "start", "wipe", "campaign", "flush", "pause", "resume":
		return fmt.Sprintf("%s %s,%s", v[0], v[1], w[1]), len(v) == 2 && len(w) == 2 && v[1] != w[1]
	case "deliver":
		kind, at := messageOf(v)
		other, _ := messageOf(w)
		if kind == "" || kind != other || at+5 != len(v) || len(w) < 5 {
			return "", false
		}
		switch {
		case v[at+2] == w[len(w)-3] && v[at+4] == w[len(w)-1]:
			return fmt.Sprintf("deliver all %s from %s to %s", kind, v[at+2], v[at+4]), true
		case v[at+2] == w[len(w)-3]:
			return fmt.Sprintf("deliver all %s from %s to %s,%s", kind, v[at+2], v[at+4], w[len(w)-1]), true
		case v[at+4] == w[len(w)-1]:
			return fmt.Sprintf("deliver all %s from %s,%s to %s", kind, v[at+2], w[len(w)-3], v[at+4]), true
		}
	}
	return "", false
}

func number(word string) int {
	n, _ := strconv.Atoi(word)
	return n
}

// settings leaves out what the cluster was begun with, and the seed.
func (s *Shrinker) settings() {
	for again := true; again && s.more(); {
		before, with, _ := strings.Cut(s.lines[0], " with ")
		with, on, pebble := strings.Cut(with, " on ")
		if with == "" {
			break
		}
		all := strings.Split(with, ", ")
		var candidates [][]string
		for i := range all {
			line := before
			if less := slices.Delete(slices.Clone(all), i, i+1); len(less) > 0 {
				line += " with " + strings.Join(less, ", ")
			}
			if pebble {
				line += " on " + on
			}
			candidates = append(candidates, append([]string{line}, s.lines[1:]...))
		}
		again = s.accept(candidates)
	}
	if line, _, pebble := strings.Cut(s.lines[0], " on pebble"); pebble {
		s.accept([][]string{append([]string{line}, s.lines[1:]...)})
	}
	s.tell("settings")
}

// polish makes what is left easier to read: the same lines with plainer words, shorter values, and nodes in the order
// in which they come.
func (s *Shrinker) polish() {
	// The words are few, and worth a little more than the budget.
	for i := 1; i < len(s.lines); i++ {
		for _, plainer := range plainer(s.lines[i]) {
			lines := slices.Clone(s.lines)
			lines[i] = plainer
			if kept, fails := s.test(lines); fails && len(kept) == len(s.lines) {
				s.lines = kept
				break
			}
		}
	}
	for _, lines := range [][]string{values(s.lines), numbered(s.lines)} {
		if kept, fails := s.test(lines); fails && len(kept) == len(s.lines) {
			s.lines = kept
		}
	}
	if lines := numbered(s.lines); !slices.Equal(lines, s.lines) {
		if kept, fails := s.test(lines); fails && len(kept) == len(s.lines) {
			s.lines = kept
		}
	}
	s.tell("polished")
}

// plainer are plainer ways to say a line, the plainest first.
func plainer(line string) (all []string) {
	w := strings.Fields(line)
	kind, at := messageOf(w)
	switch {
	case w[0] == "crash" && len(w) == 4 && w[2] == "keeping":
		all = append(all, strings.Join(w[:2], " "))
	case w[0] == "deliver" && kind != "" && at == 2 && w[1] == "last", w[0] == "deliver" && kind != "" && at == 3:
		all = append(all, "deliver "+strings.Join(w[at:], " "))
	case w[0] == "tick" && len(w) > 1 && isNodes(w[len(w)-1]):
		n := number(w[len(w)-1])
		for _, less := range []int{1, 2, 5, 10, 15, 20, n / 2, n * 3 / 4} {
			if less < n && less > 0 {
				all = append(all, strings.Join(append(slices.Clone(w[:len(w)-1]), strconv.Itoa(less)), " "))
			}
		}
	}
	return all
}

// values gives keys, values and clients short names, in the order in which they come.
func values(lines []string) []string {
	keys, texts, clients := map[string]string{}, map[string]string{}, map[string]string{}
	short := func(of map[string]string, word string, names func(int) string) string {
		if _, known := of[word]; !known {
			of[word] = names(len(of))
		}
		return of[word]
	}
	key := func(word string) string {
		return short(keys, word, func(n int) string { return string(rune('x'+n%3)) + strings.Repeat("x", n/3) })
	}
	text := func(word string) string { return short(texts, word, func(n int) string { return strconv.Itoa(n + 1) }) }
	client := func(word string) string {
		return short(clients, word, func(n int) string { return fmt.Sprintf("c%d", n+1) })
	}
	var renamed []string
	for _, line := range lines {
		w := strings.Fields(line)
		if len(w) == 3 && w[0] == "new" && w[1] == "client" {
			w[2] = client(w[2])
		}
		if w[0] == "client" && len(w) > 2 {
			at := 1
			if _, known := clients[w[1]]; known {
				w[1], at = clients[w[1]], 2
			}
			switch {
			case w[at] == "write" && len(w) > at+2:
				w[at+1], w[at+2] = key(w[at+1]), text(w[at+2])
			case w[at] == "cas" && len(w) > at+3:
				w[at+1], w[at+2], w[at+3] = key(w[at+1]), text(w[at+2]), text(w[at+3])
			case w[at] == "read" && len(w) > at+1 && !slices.Contains([]string{"at", "by", "stale"}, w[at+1]):
				w[at+1] = key(w[at+1])
			}
		}
		renamed = append(renamed, strings.Join(w, " "))
	}
	return renamed
}

// numbered has the first nodes be named in the order of their numbers.
func numbered(lines []string) []string {
	n := size(lines[0])
	to := map[int]int{}
	for _, line := range lines[1:] {
		for _, node := range nodesOf(line) {
			if _, known := to[node]; node < n && !known {
				to[node] = len(to)
			}
		}
	}
	for node := range n {
		if _, known := to[node]; !known {
			to[node] = len(to)
		}
	}
	renamed := []string{lines[0]}
	for _, line := range lines[1:] {
		line, _ = rename(line, func(node int) int {
			if node < n {
				return to[node]
			}
			return node
		})
		renamed = append(renamed, line)
	}
	return renamed
}

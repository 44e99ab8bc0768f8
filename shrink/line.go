package shrink

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// nodeWords are the words after which nodes come.
var nodeWords = []string{"from", "to", "among", "at", "of", "up", "oldest", "add", "remove", "promote", "demote", "be", "|"}

// nodeVerbs are the verbs after which nodes come.
var nodeVerbs = []string{"campaign", "crash", "start", "wipe", "pause", "resume", "flush", "corrupt", "isolate", "partition", "heal", "cut"}

// places are the words of a line that name nodes.
func places(w []string) (at []int) {
	if len(w) < 2 || w[0] == "cluster" {
		return nil
	}
	if w[0] == "perhaps" || w[0] == "try" {
		for _, i := range places(w[1:]) {
			at = append(at, i+1)
		}
		return at
	}
	expected := slices.Contains(nodeVerbs, w[0]) || w[0] == "tick" && len(w) > 2 && isNodes(w[2]) || w[0] == "new"
	for i := 1; i < len(w); i++ {
		head, _, dotted := strings.Cut(w[i], ".")
		switch {
		case expected && isNodes(w[i]), dotted && isNodes(head):
			at = append(at, i)
			expected = strings.HasSuffix(w[i], ",")
		default:
			expected = slices.Contains(nodeWords, w[i]) && w[0] != "set"
		}
	}
	return at
}

// isNodes tells whether a word is a list of nodes.
func isNodes(word string) bool {
	for _, one := range strings.Split(strings.TrimSuffix(word, ","), ",") {
		if _, err := strconv.ParseUint(strings.TrimPrefix(one, "raft-"), 10, 8); err != nil {
			return false
		}
	}
	return true
}

// rename changes which nodes a line names. A node that becomes -1 is left out, and a line with it that
// named nobody else: there is then none.
func rename(line string, to func(int) int) (renamed string, ok bool) {
	w := strings.Fields(line)
	for _, at := range places(w) {
		head, rest, dotted := strings.Cut(w[at], ".")
		more := strings.HasSuffix(head, ",")
		var kept []string
		for _, one := range strings.Split(strings.TrimSuffix(head, ","), ",") {
			number, raft := strings.CutPrefix(one, "raft-")
			n, _ := strconv.Atoi(number)
			if n = to(n); n < 0 {
				continue
			}
			if one = strconv.Itoa(n); raft {
				one = "raft-" + one
			}
			kept = append(kept, one)
		}
		if len(kept) == 0 {
			return "", false
		}
		w[at] = strings.Join(kept, ",")
		if more {
			w[at] += ","
		}
		if dotted {
			w[at] += "." + rest
		}
	}
	return strings.Join(w, " "), true
}

// nodesOf are the nodes that a line names, each once.
func nodesOf(line string) (nodes []int) {
	_, _ = rename(line, func(n int) int {
		if !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
		return n
	})
	return nodes
}

// without is lines without a node; those above it move down.
func without(lines []string, node int) (left []string) {
	for _, line := range lines {
		if first(line) {
			if n := size(line); node < n {
				line = resize(line, n-1)
			}
			left = append(left, line)
			continue
		}
		if strings.HasPrefix(line, fmt.Sprintf("new raft-%d", node)) && nodesOf(line)[0] == node {
			continue
		}
		line, ok := rename(line, func(n int) int {
			switch {
			case n == node:
				return -1
			case n > node:
				return n - 1
			}
			return n
		})
		if ok {
			left = append(left, line)
		}
	}
	return left
}

// size is how many nodes a cluster begins with.
func size(line string) int {
	n, err := strconv.Atoi(strings.Fields(line)[2])
	if err != nil {
		return 0
	}
	return n
}

func resize(line string, n int) string {
	w := strings.Fields(line)
	w[2] = strconv.Itoa(n)
	return strings.Join(w, " ")
}

// nodes is how many nodes there are, those that join included.
func nodes(lines []string) (n int) {
	for _, line := range lines {
		switch {
		case first(line):
			n += size(line)
		case strings.HasPrefix(line, "new raft-"):
			n++
		}
	}
	return n
}

package nemesis

import (
	"fmt"
	"slices"
	"strings"
)

// All are the faults that every environment has, in the order in which they are listed to people.
func All() []Fault {
	return []Fault{killLeader, isolateLeader, split, oneWay, pauseLeader{}, killAll, crashBridge{}}
}

// Real are the faults that need real nodes beside, and time that passes while one waits for their answers.
func Real() []Fault {
	return []Fault{stopLeader, rollingRestart, grow, shrink, swap, removeLeader, demote, replace, readd, island{}}
}

// groups are names for several faults.
var groups = map[string]func(Fault) bool{
	"all":        everywhere,
	"none":       func(Fault) bool { return false },
	"leader":     func(f Fault) bool { return everywhere(f) && strings.HasSuffix(f.Name(), "-leader") },
	"kill":       func(f Fault) bool { _, ok := f.(*kill); return ok },
	"stop":       func(f Fault) bool { _, ok := f.(*stop); return ok },
	"partition":  func(f Fault) bool { _, ok := f.(*partition); return ok },
	"membership": func(f Fault) bool { _, ok := f.(*membership); return ok || f == island{} },
}

func everywhere(f Fault) bool {
	return slices.ContainsFunc(All(), func(g Fault) bool { return g.Name() == f.Name() })
}

// IsGroup tells whether a word names several faults.
func IsGroup(word string) bool { return groups[word] != nil }

// Parse reads what --faults takes: names and groups, separated by commas. The groups are "all" (those
// that every environment has), "none", "leader" (those of them that aim at the leader), "kill", "stop", "partition" and
// "membership". The order is that of All and Real, and each fault comes once.
func Parse(list string) ([]Fault, error) {
	wanted := map[string]bool{}
	for _, word := range strings.Split(list, ",") {
		word = strings.TrimSpace(word)
		known := false
		for _, f := range every() {
			group, isGroup := groups[word]
			if f.Name() == word || isGroup && group(f) {
				wanted[f.Name()] = true
			}
			known = known || isGroup || f.Name() == word
		}
		if !known {
			return nil, fmt.Errorf("there is no fault %q%s; there are %s", word, nearest(word), strings.Join(words(), ", "))
		}
	}
	return slices.DeleteFunc(every(), func(f Fault) bool { return !wanted[f.Name()] }), nil
}

func every() []Fault { return append(All(), Real()...) }

// words are all that Parse knows: faults, then groups.
func words() []string {
	var names, more []string
	for _, f := range every() {
		names = append(names, f.Name())
	}
	for name := range groups {
		more = append(more, name)
	}
	slices.Sort(more)
	return append(names, more...)
}

// nearest is a hint at the word that was probably meant.
func nearest(word string) string {
	best, least := "", 3
	for _, known := range words() {
		if d := distance(word, known); d < least {
			best, least = known, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// distance is how many letters must be put in, taken out or replaced to make a into b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

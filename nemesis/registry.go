package nemesis

import (
	"fmt"
	"slices"
	"strings"
)

// All are the faults that need no operator, in the order in which they are listed to people.
func All() []Fault {
	return []Fault{
		killLeader, isolateLeader, split, oneWay, pauseLeader{}, killAll, crashBridge{},
		isolateFollower, bridge, majoritiesRing, grudges, flapping, swizzle,
		loss, duplicate, corrupt, rate, slow, delay, reorder, halfOpen,
	}
}

// Real are the faults that need real nodes beside, and time that passes while one waits for their answers.
func Real() []Fault {
	return []Fault{stopLeader, rollingRestart, grow, shrink, swap, removeLeader, demote, replace, readd, island{}}
}

// Seamed are the faults for which real nodes must be started with seams. They come only where they are asked for, so that
// other runs are of nodes as they are.
func Seamed() []Fault {
	return []Fault{slowSync, failSync, failWrite, fullDisk, tornWrite, jumpClock, strobeClock, clockRate}
}

// NeedsSeams tells whether a fault is one of Seamed.
func NeedsSeams(f Fault) bool {
	switch Plain(f).(type) {
	case *disk, *clock:
		return true
	}
	return false
}

// groups are names for several faults.
var groups = map[string]func(Fault) bool{
	"all":        func(f Fault) bool { return !NeedsSeams(f) },
	"leader":     func(f Fault) bool { return strings.HasSuffix(f.Name(), "-leader") },
	"stop":       func(f Fault) bool { _, ok := f.(*stop); return ok },
	"membership": func(f Fault) bool { _, ok := f.(*membership); return ok || f == island{} },
	"disk":       func(f Fault) bool { _, ok := f.(*disk); return ok },
	"clock":      func(f Fault) bool { _, ok := f.(*clock); return ok },
	"kill":       func(f Fault) bool { _, ok := f.(*kill); return ok },
	"process": func(f Fault) bool {
		_, stops := f.(*stop)
		return stops || slices.Contains([]string{"kill-leader", "kill-all", "pause-leader", "crash-bridge"}, f.Name())
	},
	"partition": cuts,
	"link":      func(f Fault) bool { _, ok := f.(*degraded); return ok },
	"network":   func(f Fault) bool { _, ok := f.(*degraded); return ok || cuts(f) },
}

// cuts tells whether a fault cuts links, and does nothing else.
func cuts(f Fault) bool {
	switch f.(type) {
	case *partition, *staged:
		return true
	}
	return false
}

// IsGroup tells whether a word names several faults.
func IsGroup(word string) bool { return groups[word] != nil }

// Every is all that there is, in the order of All, Real and Seamed.
func Every() []Fault { return slices.Concat(All(), Real(), Seamed()) }

// Parse reads what --faults takes; see Choose.
func Parse(list string) ([]Fault, error) {
	s, err := Choose(list)
	return s.faults, err
}

// GroupsOf are the groups that a fault is in, in order.
func GroupsOf(f Fault) (names []string) {
	for name, has := range groups {
		if has(Plain(f)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// words are all that Parse knows: faults, then groups.
func words() []string {
	var names, more []string
	for _, f := range Every() {
		names = append(names, f.Name())
	}
	for name := range groups {
		more = append(more, name)
	}
	more = append(more, "none")
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

package actionlog

import (
	"cmp"
	"slices"
	"time"
)

// Merge makes one log of several, in the order of their times, numbered anew. A file to which one process of a node
// wrote after the other holds several logs, each of which says when it began: such are put where they belong on one
// clock, that of the machine. Of actions at the same time, those of an earlier log come first.
func Merge(logs ...[]Action) []Action {
	var all []Action
	var first int64
	for _, log := range logs {
		for i := range log {
			if b := log[i].Began; b != 0 && (first == 0 || b < first) {
				first = b
			}
		}
	}
	for _, log := range logs {
		var began time.Duration
		for _, a := range log {
			if a.Began != 0 {
				began = time.Duration(a.Began - first)
			}
			a.Time, a.Began = a.Time+began, 0
			all = append(all, a)
		}
	}
	slices.SortStableFunc(all, func(a, b Action) int { return cmp.Compare(a.Time, b.Time) })
	for i := range all {
		all[i].Number = uint64(i + 1)
	}
	if len(all) > 0 {
		all[0].Began = first
	}
	return all
}

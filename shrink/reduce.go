package shrink

import (
	"slices"
	"sync"
)

// Test tells whether what is left still fails. It may return less than it was given, where some of that does nothing;
// what it returns fails, too. It is called by several goroutines at once.
type Test func(lines []string) (kept []string, fails bool)

// Reduce leaves out what it can of lines that fail, from the end to the beginning, first much at once and then line by
// line: ddmin (Zeller and Hildebrandt, 2002) without its tests of single parts, which find nothing here. What it
// returns is 1-minimal, unless more, which is asked before each test, said to stop: it fails, and without any one
// line that keep does not hold back it does not. Each time that all parts of a size were tried, tidy may say the
// same with fewer lines; nil for nothing to tidy.
func Reduce(lines []string, workers int, keep func(line string) bool, more func() bool, tidy func([]string) []string, test Test) []string {
	for size := max(1, len(lines)/2); ; {
		before := len(lines)
		lines = sweep(lines, size, workers, keep, more, test)
		if tidy != nil && len(lines) < before {
			lines = tidy(lines)
		}
		switch {
		case !more():
			return lines
		case size > 1:
			size = max(1, min(size/2, len(lines)/2))
		case len(lines) == before:
			return lines
		}
	}
}

// sweep tries once to leave out each part of a size, from the end.
func sweep(lines []string, size, workers int, keep func(string) bool, more func() bool, test Test) []string {
	for end := len(lines); end > 0 && more(); {
		var without [][]string
		var begins []int
		for at := end; at > 0 && len(without) < workers; at -= size {
			from := max(0, at-size)
			if less := leave(lines, from, min(at, len(lines)), keep); len(less) < len(lines) {
				without, begins = append(without, less), append(begins, from)
			}
			end = from
		}
		if i, kept := First(without, test); i >= 0 {
			// What is before the part may be less by more than was asked for.
			lines, end = kept, min(begins[i], len(kept))
		}
	}
	return lines
}

// leave is lines without those from one to another, but for those that are to be kept.
func leave(lines []string, from, to int, keep func(string) bool) []string {
	less := slices.Clone(lines[:from])
	for _, line := range lines[from:to] {
		if keep(line) {
			less = append(less, line)
		}
	}
	return append(less, lines[to:]...)
}

// First tests several at once, and returns the first that fails and what is kept of it; -1 for none.
func First(candidates [][]string, test Test) (int, []string) {
	kept := make([][]string, len(candidates))
	fails := make([]bool, len(candidates))
	if len(candidates) == 1 {
		kept[0], fails[0] = test(candidates[0])
	} else {
		var running sync.WaitGroup
		for i := range candidates {
			running.Go(func() { kept[i], fails[i] = test(candidates[i]) })
		}
		running.Wait()
	}
	if i := slices.Index(fails, true); i >= 0 {
		return i, kept[i]
	}
	return -1, nil
}

package checker

import (
	"cmp"
	"slices"
)

// Verdict is the answer of a run, or of one checker.
type Verdict string

// The verdicts, strongest first.
const (
	Violation    Verdict = "violation"    // a checker proved that the history, or an invariant, is broken
	Harness      Verdict = "harness"      // the suite itself failed
	Unavailable  Verdict = "unavailable"  // safe, but a healthy quorum made no progress
	Inconclusive Verdict = "inconclusive" // a budget ran out, or the run proved nothing
	Pass         Verdict = "pass"
)

var strongestFirst = []Verdict{Violation, Harness, Unavailable, Inconclusive, Pass}

// rank counts from the strongest verdict; what is no verdict at all counts as Harness.
func (v Verdict) rank() int {
	if at := slices.Index(strongestFirst, v); at >= 0 {
		return at
	}
	return Harness.rank()
}

// Compare orders verdicts, the strongest first.
func Compare(a, b Verdict) int { return cmp.Compare(a.rank(), b.rank()) }

// ExitCode is what a process answers with.
func (v Verdict) ExitCode() int {
	switch v {
	case Violation:
		return 1
	case Unavailable:
		return 3
	case Inconclusive:
		return 2
	case Pass:
		return 0
	}
	return 255
}

// Worst is the strongest of the verdicts: in a run, and in a series of runs, a weaker one never
// hides a stronger one.
func Worst(first Verdict, rest ...Verdict) Verdict {
	worst := first
	for _, v := range rest {
		if v.rank() < worst.rank() {
			worst = v
		}
	}
	return worst
}

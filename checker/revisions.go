package checker

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"coup/history"
)

// Revisions checks what nodes say of an operation beside its outcome, which needs no search. The
// revision of a value is the log index of the write that made it; so acknowledged writes have
// distinct ones, a read carries the revision of the write that it saw, and on one key nothing that
// starts after another operation has ended sees a lower one. Operations without a revision are left
// out.
func Revisions(ops []history.Op) Finding {
	var finding Finding
	accuse := func(format string, arguments ...any) {
		finding.Broken = append(finding.Broken, fmt.Sprintf(format, arguments...))
	}
	writers := make(map[uint64]history.Op) // by revision, over all keys
	seen := 0
	for _, op := range ops {
		if op.Revision == 0 {
			continue
		}
		seen++
		if op.F == history.Read || op.Outcome != history.OK {
			continue
		}
		if other, taken := writers[op.Revision]; taken {
			accuse("Two writes have revision %d: %s, and %s.", op.Revision, describe(other), describe(op))
			continue
		}
		writers[op.Revision] = op
	}
	for _, key := range byKey(ops) {
		checkValues(key.ops, accuse)
		checkOrder(key.ops, accuse)
	}
	finding.Summary = fmt.Sprintf("%d operations carried a revision; %d contradictions.", seen, len(finding.Broken))
	return finding
}

// checkValues accuses answers that give one value of a key two revisions.
func checkValues(ops []history.Op, accuse func(string, ...any)) {
	made := make(map[history.Int]history.Op)
	check := func(op history.Op, held history.Int) {
		if other, known := made[held]; !known {
			made[held] = op
		} else if other.Revision != op.Revision {
			accuse("The value %d of %s has two revisions: %s, revision %d, and %s, revision %d.",
				held, op.Key, describe(other), other.Revision, describe(op), op.Revision)
		}
	}
	for _, reads := range []bool{false, true} { // what was written first, so that a read is accused
		for _, op := range ops {
			if op.Outcome != history.OK || op.Revision == 0 || (op.F == history.Read) != reads {
				continue
			}
			if held, present := after(op); present {
				check(op, held)
			}
		}
	}
}

// checkOrder accuses operations that see less than one that had ended before they began.
func checkOrder(ops []history.Op, accuse func(string, ...any)) {
	var ended []history.Op
	for _, op := range ops {
		if tellsRevision(op) {
			ended = append(ended, op)
		}
	}
	begun := slices.Clone(ended)
	slices.SortStableFunc(begun, func(a, b history.Op) int { return cmp.Compare(a.Invoke, b.Invoke) })
	slices.SortStableFunc(ended, func(a, b history.Op) int { return cmp.Compare(a.Return, b.Return) })
	var highest history.Op
	next := 0
	for _, op := range begun {
		for ; next < len(ended) && ended[next].Return < op.Invoke; next++ {
			if ended[next].Revision > highest.Revision {
				highest = ended[next]
			}
		}
		if op.Revision < highest.Revision {
			accuse("Revisions of %s go back: %s, revision %d, and afterwards %s, revision %d.",
				op.Key, describe(highest), highest.Revision, describe(op), op.Revision)
		}
	}
}

// tellsRevision tells whether the operation says what revision the key had. A read that finds the
// key absent does so too: its revision is 0, or that of a deletion.
func tellsRevision(op history.Op) bool {
	switch op.Outcome {
	case history.OK:
		return op.Revision > 0 || op.F == history.Read && op.Out == nil
	case history.Fail:
		return op.Revision > 0 && isMismatch(op)
	}
	return false
}

// certified tells whether the order of revisions is itself a linearization of the operations on one
// key: a proof that needs no search, wherever the revisions come from. It cannot be had when an
// operation that matters carries no revision.
func certified(ops []history.Op) bool {
	type step struct {
		op       history.Op
		revision uint64
		rank     int // at one revision: first what made it
	}
	seen := make(map[history.Int]uint64) // revision of a value that was read or expected
	for _, op := range ops {
		if op.Outcome == history.OK && op.F == history.Read && op.Out != nil {
			seen[op.Out.(history.Int)] = op.Revision
		}
	}
	var order []step
	for _, op := range ops {
		switch {
		case op.Outcome == history.OK:
			if _, present := after(op); present && op.Revision == 0 {
				return false
			}
			rank := 0
			if op.F == history.Read {
				rank = 1
			}
			order = append(order, step{op, op.Revision, rank})
		case isMismatch(op):
			if op.Revision == 0 {
				return false
			}
			order = append(order, step{op, op.Revision, 1})
		case op.Outcome == history.Info && op.F != history.Read:
			if held, _ := after(op); seen[held] > 0 {
				order = append(order, step{op, seen[held], 0})
			}
		}
	}
	slices.SortStableFunc(order, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.revision, b.revision), cmp.Compare(a.rank, b.rank), cmp.Compare(a.op.Invoke, b.op.Invoke))
	})
	var state register
	var begun time.Duration
	for _, s := range order {
		if s.op.Return < begun {
			return false // it had ended before another that it is ordered after began
		}
		begun = max(begun, s.op.Invoke)
		var ok bool
		if ok, state = state.step(s.op); !ok {
			return false
		}
	}
	return true
}

package checker

import (
	"cmp"
	"fmt"
	"slices"

	"coup/history"
)

// contextOps is how many operations before the culprit an explanation lists.
const contextOps = 6

// explain tells in plain language why a shrunk history is not linearizable: what its last operation
// contradicts, then what went before.
func explain(ops []history.Op) []string {
	var ended []history.Op
	open := 0
	for _, op := range ops {
		if op.Return == history.Never {
			open++
		} else {
			ended = append(ended, op)
		}
	}
	if len(ended) == 0 {
		return nil
	}
	slices.SortStableFunc(ended, func(a, b history.Op) int { return cmp.Compare(a.Return, b.Return) })
	culprit := ended[len(ended)-1]
	lines := []string{
		contradiction(culprit, ops),
		fmt.Sprintf("No order explains the first %d operations on %s that end by %s (and %d of unknown outcome); without the last of them there is one.",
			len(ended), culprit.Key, clock(culprit.Return), open),
	}
	for _, op := range ended[max(0, len(ended)-contextOps):] {
		lines = append(lines, "  "+describe(op)+".")
	}
	return lines
}

// contradiction is a sentence about the operation and what speaks against it most plainly.
func contradiction(culprit history.Op, ops []history.Op) string {
	told := fmt.Sprintf("%s from %s at %s", saw(culprit), culprit.Node, clock(culprit.Return))
	held, present, looked := before(culprit)
	if !looked {
		return told + ", which fits no order of the operations before it."
	}
	source, written := writerOf(held, ops)
	if present && !written {
		return fmt.Sprintf("%s, although nobody ever wrote %d to %s.", told, held, culprit.Key)
	}
	if present && source.Invoke > culprit.Return {
		return fmt.Sprintf("%s, although %d was only written from %s on.", told, held, clock(source.Invoke))
	}
	// The latest that was acknowledged after the source had ended, and before the culprit began.
	var newest history.Op
	found := false
	for _, op := range ops {
		value, any := after(op)
		if op.Outcome != history.OK || !any || value == held && present || op.Return >= culprit.Invoke {
			continue
		}
		origin := op
		if op.F == history.Read {
			if origin, written = writerOf(value, ops); !written {
				continue
			}
		}
		if present && origin.Invoke <= source.Return {
			continue
		}
		if !found || op.Return > newest.Return {
			newest, found = op, true
		}
	}
	if !found {
		return told + ", which fits no order of the operations before it."
	}
	value, _ := after(newest)
	if newest.F == history.Read {
		return fmt.Sprintf("%s, although process %d had read %d from %s at %s.",
			told, newest.Process, value, newest.Node, clock(newest.Return))
	}
	return fmt.Sprintf("%s, although process %d's %s of %d had been acknowledged by %s at %s.",
		told, newest.Process, newest.F, value, newest.Node, clock(newest.Return))
}

// saw begins a sentence with what an operation was answered.
func saw(op history.Op) string {
	pair, _ := op.In.(history.Pair)
	switch {
	case op.F == history.Read:
		return fmt.Sprintf("Process %d read %s", op.Process, shown(op.Out))
	case op.F == history.Write:
		return fmt.Sprintf("Process %d had its write of %s acknowledged", op.Process, shown(op.In))
	case op.Outcome == history.OK:
		return fmt.Sprintf("Process %d changed %d to %d, with an answer", op.Process, pair[0], pair[1])
	}
	return fmt.Sprintf("Process %d was refused to change %d to %d, with an answer", op.Process, pair[0], pair[1])
}

// before is the value that an operation found in the register. It looked at none when it is a write,
// or a refusal, which only tells what the value was not.
func before(op history.Op) (held history.Int, present, looked bool) {
	switch {
	case op.F == history.Read:
		held, present = op.Out.(history.Int)
		return held, present, true
	case op.F == history.CAS && op.Outcome == history.OK:
		return history.Int(op.In.(history.Pair)[0]), true, true
	}
	return 0, false, false
}

// writerOf is the operation that wrote a value, or may have.
func writerOf(value history.Int, ops []history.Op) (history.Op, bool) {
	for _, op := range ops {
		if op.F == history.Read || op.Outcome == history.Fail {
			continue
		}
		if written, _ := after(op); written == value {
			return op, true
		}
	}
	return history.Op{}, false
}

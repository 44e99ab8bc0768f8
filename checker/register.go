package checker

import (
	"fmt"
	"strings"

	"coup/history"
)

// register is the sequential specification: a value, or nothing.
type register struct {
	present bool
	value   history.Int
}

// step tells whether the operation can happen in this state as it is recorded, and the state after
// it. An operation of unknown outcome can always happen: it takes effect if it can.
func (r register) step(op history.Op) (bool, register) {
	switch op.F {
	case history.Read:
		if op.Outcome != history.OK {
			return true, r
		}
		if held, present := op.Out.(history.Int); present {
			return r == register{true, held}, r
		}
		return !r.present, r
	case history.Write:
		return true, register{true, op.In.(history.Int)}
	}
	pair := op.In.(history.Pair)
	expected, wanted := register{true, history.Int(pair[0])}, register{true, history.Int(pair[1])}
	switch op.Outcome {
	case history.OK:
		return r == expected, wanted
	case history.Fail:
		return r != expected, r
	}
	if r == expected {
		return true, wanted
	}
	return true, r
}

func (r register) String() string {
	if !r.present {
		return "absent"
	}
	return fmt.Sprint(int64(r.value))
}

// after is the value that the register holds after the operation took effect; none after a read that
// found nothing.
func after(op history.Op) (held history.Int, present bool) {
	switch op.F {
	case history.Read:
		held, present = op.Out.(history.Int)
		return held, present
	case history.Write:
		return op.In.(history.Int), true
	}
	return history.Int(op.In.(history.Pair)[1]), true
}

// isMismatch tells a cas that was refused because the register held another value.
func isMismatch(op history.Op) bool {
	return op.F == history.CAS && op.Outcome == history.Fail && strings.HasPrefix(op.Error, history.ErrorMismatch)
}

// describe tells an operation in a clause: who did what, where and when.
func describe(op history.Op) string {
	var did string
	switch op.F {
	case history.Read:
		did = fmt.Sprintf("read %s", shown(op.Out))
		if op.Outcome != history.OK {
			did = "tried to read"
		}
	case history.Write:
		did = fmt.Sprintf("wrote %s", shown(op.In))
	case history.CAS:
		pair := op.In.(history.Pair)
		did = fmt.Sprintf("changed %d to %d", pair[0], pair[1])
		if isMismatch(op) {
			did = fmt.Sprintf("could not change %d to %d, for it held another value,", pair[0], pair[1])
		}
	}
	if op.Outcome == history.Info {
		return fmt.Sprintf("process %d perhaps %s through %s, from %s on", op.Process, did, op.Node, clock(op.Invoke))
	}
	return fmt.Sprintf("process %d %s through %s, %s to %s", op.Process, did, op.Node, clock(op.Invoke), clock(op.Return))
}

// shown is a read or written value for people.
func shown(v history.Value) string {
	if number, ok := v.(history.Int); ok {
		return fmt.Sprint(int64(number))
	}
	return "nothing"
}

// keyOps are the operations on one key.
type keyOps struct {
	key string
	ops []history.Op
}

// byKey splits operations, keys in the order of their first use.
func byKey(ops []history.Op) []keyOps {
	var keys []keyOps
	at := make(map[string]int)
	for _, op := range ops {
		i, known := at[op.Key]
		if !known {
			i = len(keys)
			at[op.Key] = i
			keys = append(keys, keyOps{key: op.Key})
		}
		keys[i].ops = append(keys[i].ops, op)
	}
	return keys
}

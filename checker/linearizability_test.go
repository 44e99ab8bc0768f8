package checker

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"coup/history"
)

// Shorthand for operations on the key "k": times are in milliseconds, and revisions are left out.

func at(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }

func operation(process, begin, end int, f history.F, in, out history.Value, outcome history.Type) history.Op {
	op := history.Op{
		Index: int64(process), Process: process, F: f, Key: "k", In: in, Out: out,
		Invoke: at(begin), Return: at(end), Outcome: outcome, Node: "n1",
	}
	if outcome == history.Info {
		op.Return = history.Never
	}
	return op
}

func write(process, begin, end int, v int64) history.Op {
	return operation(process, begin, end, history.Write, history.Int(v), nil, history.OK)
}

func maybeWrite(process, begin int, v int64) history.Op {
	return operation(process, begin, 0, history.Write, history.Int(v), nil, history.Info)
}

func read(process, begin, end int, v int64) history.Op {
	return operation(process, begin, end, history.Read, nil, history.Int(v), history.OK)
}

func readNothing(process, begin, end int) history.Op {
	return operation(process, begin, end, history.Read, nil, nil, history.OK)
}

func cas(process, begin, end int, expect, v int64) history.Op {
	return operation(process, begin, end, history.CAS, history.Pair{expect, v}, nil, history.OK)
}

func maybeCAS(process, begin int, expect, v int64) history.Op {
	return operation(process, begin, 0, history.CAS, history.Pair{expect, v}, nil, history.Info)
}

func refusedCAS(process, begin, end int, expect, v int64) history.Op {
	op := operation(process, begin, end, history.CAS, history.Pair{expect, v}, nil, history.Fail)
	op.Error = history.ErrorMismatch + ": another value"
	return op
}

func failed(op history.Op) history.Op {
	op.Outcome, op.Error = history.Fail, "not_leader: n2 leads"
	return op
}

// outcomeOf checks one key as a run does.
func outcomeOf(ops ...history.Op) KeyResult {
	result := Linearizability(context.Background(), Evidence{Ops: ops}, Options{Workers: 1})
	if len(result.Suspect) == 0 {
		return KeyResult{Outcome: Linearizable}
	}
	return result.Suspect[0]
}

func TestLinearizability(t *testing.T) {
	for _, c := range []struct {
		name string
		ops  []history.Op
		want Outcome
	}{
		{"nothing", nil, Linearizable},
		{"a new key is absent", []history.Op{readNothing(1, 1, 2)}, Linearizable},
		{"one after the other", []history.Op{write(1, 1, 2, 1), read(2, 3, 4, 1), cas(1, 5, 6, 1, 2), read(2, 7, 8, 2)}, Linearizable},
		{"a stale read", []history.Op{write(1, 1, 2, 1), write(1, 3, 4, 2), read(2, 5, 6, 1)}, NotLinearizable},
		{"a lost write", []history.Op{write(1, 1, 2, 1), readNothing(2, 3, 4)}, NotLinearizable},
		{"a value from nowhere", []history.Op{write(1, 1, 2, 1), read(2, 3, 4, 7)}, NotLinearizable},
		{"a value from the future", []history.Op{read(2, 1, 2, 1), write(1, 3, 4, 1)}, NotLinearizable},
		{"a read during a write, either way", []history.Op{write(1, 1, 9, 1), readNothing(2, 2, 3), read(3, 4, 5, 1)}, Linearizable},
		{"a read during a write, and back", []history.Op{write(1, 1, 9, 1), read(2, 2, 3, 1), readNothing(3, 4, 5)}, NotLinearizable},
		{"touching intervals are concurrent", []history.Op{write(1, 1, 3, 1), readNothing(2, 3, 4)}, Linearizable},
		{"two cas from one value", []history.Op{write(1, 1, 2, 1), cas(1, 3, 6, 1, 2), cas(2, 3, 6, 1, 3)}, NotLinearizable},
		{"a cas of what is not there", []history.Op{write(1, 1, 2, 1), cas(1, 3, 6, 5, 2)}, NotLinearizable},
		{"a refused cas", []history.Op{write(1, 1, 2, 1), refusedCAS(1, 3, 6, 5, 2), read(2, 7, 8, 1)}, Linearizable},
		{"a refused cas of an absent key", []history.Op{refusedCAS(1, 3, 6, 5, 2)}, Linearizable},
		{"a cas refused without cause", []history.Op{write(1, 1, 2, 1), refusedCAS(1, 3, 6, 1, 2), read(2, 7, 8, 1)}, NotLinearizable},
		{"a refused cas during a write", []history.Op{write(1, 1, 2, 1), write(2, 3, 9, 4), refusedCAS(1, 4, 5, 1, 2)}, Linearizable},
		{"a refused cas took effect", []history.Op{write(1, 1, 2, 1), refusedCAS(1, 3, 4, 5, 2), read(2, 5, 6, 2)}, NotLinearizable},
		{"a failed write took effect", []history.Op{write(1, 1, 2, 1), failed(write(1, 3, 4, 2)), read(2, 5, 6, 2)}, NotLinearizable},
		{"a failed read says nothing", []history.Op{write(1, 1, 2, 1), failed(readNothing(1, 3, 4))}, Linearizable},
		{"an open write takes effect late", []history.Op{write(1, 1, 2, 1), maybeWrite(2, 3, 2), read(1, 50, 51, 1), read(1, 60, 61, 2)}, Linearizable},
		{"an open write never takes effect", []history.Op{write(1, 1, 2, 1), maybeWrite(2, 3, 2), read(1, 50, 51, 1)}, Linearizable},
		{"an open write takes effect twice", []history.Op{write(1, 1, 2, 1), maybeWrite(2, 3, 2), read(1, 5, 6, 2), write(1, 7, 8, 3), read(1, 9, 10, 2)}, NotLinearizable},
		{"an open write takes effect too early", []history.Op{write(1, 1, 2, 1), read(1, 3, 4, 2), maybeWrite(2, 5, 2)}, NotLinearizable},
		{"an open cas takes effect", []history.Op{write(1, 1, 2, 1), maybeCAS(2, 3, 1, 2), read(1, 5, 6, 2)}, Linearizable},
		{"an open cas cannot take effect", []history.Op{write(1, 1, 2, 1), maybeCAS(2, 3, 7, 2), read(1, 5, 6, 2)}, NotLinearizable},
		{"an open write explains a refusal", []history.Op{write(1, 1, 2, 1), maybeWrite(2, 3, 2), refusedCAS(1, 5, 6, 1, 3)}, Linearizable},
		{"an open cas enables a cas", []history.Op{write(1, 1, 2, 1), maybeCAS(2, 3, 1, 2), cas(1, 5, 6, 2, 3)}, Linearizable},
	} {
		t.Run(c.name, func(t *testing.T) {
			result := outcomeOf(c.ops...)
			require.Equal(t, c.want, result.Outcome)
			require.Equal(t, c.want == Linearizable, explicable(c.ops), "the plain search disagrees with the table")
			require.Equal(t, c.want == NotLinearizable, len(result.Explanation) > 0)
		})
	}
}

// explicable is a search for a linearization as plain as can be: any operation that no other one has
// to precede may come first, and what has an unknown outcome may also never come.
func explicable(ops []history.Op) bool {
	return explicableFrom(nil, ops)
}

// explicableFrom takes the register's value, nil for none.
func explicableFrom(held history.Value, left []history.Op) bool {
	done := true
	for _, op := range left {
		surely := op.Outcome == history.OK || op.Outcome == history.Fail && strings.HasPrefix(op.Error, "cas_mismatch")
		done = done && !surely
	}
	if done {
		return true
	}
	for i, op := range left {
		if slices.ContainsFunc(left, func(other history.Op) bool { return other.Return < op.Invoke }) {
			continue
		}
		rest := slices.Concat(left[:i], left[i+1:])
		pair, _ := op.In.(history.Pair)
		matches := held == history.Value(history.Int(pair[0]))
		var next history.Value
		switch {
		case op.F == history.Read && op.Outcome == history.OK && op.Out != held:
			continue
		case op.F == history.Read:
			next = held
		case op.F == history.Write && op.Outcome == history.Fail:
			next = held
		case op.F == history.Write:
			next = op.In
		case op.Outcome == history.Fail && strings.HasPrefix(op.Error, "cas_mismatch"):
			if matches {
				continue
			}
			next = held
		case op.Outcome == history.Fail:
			next = held
		case matches:
			next = history.Int(pair[1])
		case op.Outcome == history.OK:
			continue
		default:
			next = held
		}
		if explicableFrom(next, rest) || op.Outcome == history.Info && explicableFrom(held, rest) {
			return true
		}
	}
	return false
}

// drawOps draws a small history of one key: some of it from a register that works, some not.
func drawOps(t *rapid.T) []history.Op {
	var ops []history.Op
	count := rapid.IntRange(1, 7).Draw(t, "operations")
	values := int64(0)
	for i := range count {
		begin := rapid.IntRange(0, 20).Draw(t, "begin")
		end := begin + rapid.IntRange(0, 12).Draw(t, "took")
		known := func() int64 { return rapid.Int64Range(0, int64(count)).Draw(t, "value") }
		var op history.Op
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0:
			values++
			op = write(i, begin, end, values)
		case 1:
			values++
			op = maybeWrite(i, begin, values)
		case 2:
			values++
			op = cas(i, begin, end, known(), values)
		case 3:
			values++
			op = maybeCAS(i, begin, known(), values)
		case 4:
			values++
			op = refusedCAS(i, begin, end, known(), values)
		case 5:
			values++
			op = failed(write(i, begin, end, values))
		default:
			op = readNothing(i, begin, end)
			if v := known(); v > 0 {
				op.Out = history.Int(v)
			}
		}
		op.Revision = rapid.Uint64Range(0, 6).Draw(t, "revision")
		ops = append(ops, op)
	}
	slices.SortStableFunc(ops, func(a, b history.Op) int { return int(a.Invoke - b.Invoke) })
	for i := range ops {
		ops[i].Index = int64(i)
	}
	return ops
}

// Catches a search that is wrong, operations that are left out although they matter, an order of
// revisions that proves nothing, and a shrunk history that is not a smallest broken beginning.
func TestLinearizabilityAgreesWithAPlainSearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ops := drawOps(t)
		want := explicable(ops)
		require.Equal(t, want, outcomeOf(ops...).Outcome == Linearizable)
		if certified(relevant(ops)) {
			require.True(t, want, "what is certified must be linearizable")
		}
		if want {
			return
		}
		small := shrink(context.Background(), relevant(ops), budget{time.Minute, 1 << 20})
		require.False(t, explicable(small))
		ended := slices.DeleteFunc(slices.Clone(small), func(op history.Op) bool { return op.Return == history.Never })
		require.NotEmpty(t, ended)
		last := slices.MaxFunc(ended, func(a, b history.Op) int { return int(a.Return - b.Return) }).Return
		require.True(t, explicable(until(small, last-1)), "a shorter beginning is broken, too")
		require.False(t, explicable(drawable(small)), "what is drawn must be broken, too")
	})
}

// wide is a history that is dear to search: n writes at once, of which none was seen, and a read that
// nothing explains.
func wide(n int) []history.Op {
	var ops []history.Op
	for i := range n {
		ops = append(ops, write(i, i, 10_000, int64(i+1)))
	}
	return append(ops, read(n, 20_000, 20_001, int64(n+1)))
}

// Catches a checker that takes "I gave up" for an answer, or that does not give up.
func TestBudgetsEndInUnknown(t *testing.T) {
	check := func(ctx context.Context, options Options) KeyResult {
		options.Workers = 1
		return Linearizability(ctx, Evidence{Ops: wide(40)}, options).Suspect[0]
	}
	ctx := context.Background()
	result := check(ctx, Options{MaxMemory: 1 << 20})
	require.Equal(t, Unknown, result.Outcome)
	require.Contains(t, result.Reason, "1 MiB were not enough to search 41 operations")

	result = check(ctx, Options{KeyTimeout: time.Millisecond})
	require.Equal(t, Unknown, result.Outcome)
	require.Contains(t, result.Reason, "1ms were not enough")

	result = check(ctx, Options{Timeout: time.Millisecond})
	require.Equal(t, Unknown, result.Outcome)
	require.Contains(t, result.Reason, "the time for all keys ran out")

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	require.Equal(t, Unknown, check(cancelled, Options{}).Outcome)
}

// Catches a search that is given up although the order of revisions proves the key linearizable, and
// the other way round, a proof that is no proof.
func TestRevisionsCertifyWhatCannotBeSearched(t *testing.T) {
	ops := wide(40)
	for i := range ops {
		ops[i].Revision = uint64(i + 1)
	}
	last := &ops[len(ops)-1]
	last.Out, last.Revision = history.Int(40), 40
	result := Linearizability(context.Background(), Evidence{Ops: ops}, Options{Workers: 1, MaxMemory: 1})
	require.Equal(t, 1, result.OK)

	last.Out = history.Int(39)
	result = Linearizability(context.Background(), Evidence{Ops: ops}, Options{Workers: 1, MaxMemory: 1})
	require.Equal(t, Unknown, result.Suspect[0].Outcome)
}

func TestKeysAreCheckedOnTheirOwn(t *testing.T) {
	var ops []history.Op
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		for _, op := range []history.Op{write(1, 1, 2, 1), write(1, 3, 4, 2), read(2, 5, 6, 2)} {
			op.Key = key
			if key == "d" && op.F == history.Read {
				op.Out = history.Int(1)
			}
			ops = append(ops, op)
		}
	}
	result := Linearizability(context.Background(), Evidence{Ops: ops}, Options{Workers: 3})
	require.Equal(t, 5, result.Keys)
	require.Equal(t, 4, result.OK)
	require.Equal(t, 15, result.Ops)
	require.Len(t, result.Suspect, 1)
	require.Equal(t, "d", result.Suspect[0].Key)
}

// Catches an explanation that does not name what contradicts what.
func TestExplanations(t *testing.T) {
	from := func(op history.Op, node string) history.Op {
		op.Node = node
		return op
	}
	for name, c := range map[string]struct {
		ops  []history.Op
		want string
	}{
		"stale read": {
			[]history.Op{write(3, 10_000, 10_001, 7), from(write(4, 11_800, 11_900, 9), "n4"), from(read(12, 12_200, 12_300, 7), "n2")},
			"Process 12 read 7 from n2 at 12.300 s, although process 4's write of 9 had been acknowledged by n4 at 11.900 s.",
		},
		"lost write": {
			[]history.Op{write(3, 1000, 1001, 7), readNothing(5, 2000, 2001)},
			"Process 5 read nothing from n1 at 2.001 s, although process 3's write of 7 had been acknowledged by n1 at 1.001 s.",
		},
		"read back": {
			[]history.Op{write(1, 0, 1, 1), maybeWrite(2, 2, 2), read(3, 1000, 1001, 2), read(5, 2000, 2001, 1)},
			"Process 5 read 1 from n1 at 2.001 s, although process 3 had read 2 from n1 at 1.001 s.",
		},
		"from nowhere": {
			[]history.Op{read(5, 2000, 2001, 1)},
			"Process 5 read 1 from n1 at 2.001 s, although nobody ever wrote 1 to k.",
		},
		"cas of the past": {
			[]history.Op{write(1, 0, 1, 1), write(1, 2, 3, 2), cas(5, 1000, 1001, 1, 3)},
			"Process 5 changed 1 to 3, with an answer from n1 at 1.001 s, although process 1's write of 2 had been acknowledged by n1 at 0.003 s.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			result := outcomeOf(append(c.ops, write(90, 90_000, 90_001, 90), read(91, 91_000, 91_001, 90))...)
			require.Equal(t, NotLinearizable, result.Outcome)
			require.Equal(t, c.want, result.Explanation[0])
			require.NotContains(t, strings.Join(result.Explanation, "\n"), "process 9", "what came later has no part in it")
		})
	}
}

// Catches a page that is missing, that grows without bound, or that hides faults and leaders.
func TestPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "linearizability")
	ops := []history.Op{write(1, 1, 2, 1), write(1, 3, 4, 2)}
	for i := range 3 {
		ops = append(ops, maybeWrite(10+i, 5, int64(100+i)), maybeCAS(100+i, 5, 77, int64(200+i)))
	}
	ops = append(ops, refusedCAS(3, 6, 7, 66, 300), read(2, 8, 9, 1))
	for i := range ops {
		ops[i].Key, ops[i].Index = "a/b", int64(i)
	}
	evidence := Evidence{
		Ops:          ops,
		Faults:       []Fault{{Name: "kill-leader", Attempt: Installed, Begun: at(2), From: at(3), To: at(6), Cleared: Never}},
		Observations: []Observation{{Time: at(4), Node: "n3", Role: "leader", Term: 17}},
	}
	result := Linearizability(t.Context(), evidence, Options{Pages: dir, Workers: 1})
	require.Equal(t, NotLinearizable, result.Suspect[0].Outcome)
	require.Equal(t, "a%2Fb.html", result.Suspect[0].Page)
	page, err := os.ReadFile(filepath.Join(dir, "a%2Fb.html"))
	require.NoError(t, err)
	require.Contains(t, string(page), "kill-leader")
	require.Contains(t, string(page), "leads term 17")
	require.Contains(t, string(page), "read 1")
	require.Less(t, len(page), 1<<20)

	require.Empty(t, Linearizability(t.Context(), Evidence{Ops: ops[:2]}, Options{Pages: dir}).Suspect)
	require.Empty(t, draw(t.Context(), "k", wide(mostDrawn), evidence, Options{Pages: dir}.withDefaults()))
}

// Catches a drawing that leaves out what was seen, or that would take for ever.
func TestDrawableKeepsWhatWasSeen(t *testing.T) {
	ops := []history.Op{maybeWrite(0, 1, 1), read(1, 2, 3, 1)}
	for i := range 50 {
		ops = append(ops, maybeWrite(10+i, 5+i, int64(100+i)))
	}
	for i := range ops {
		ops[i].Index = int64(i)
	}
	left := drawable(ops)
	require.Len(t, left, 1+mostOpenDrawn)
	require.Equal(t, ops[:2], left[:2])
}

package checker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/history"
)

// Catches an outage that is charged to the wrong step, or to none because it begins after the step is done; a latency of the wrong
// span; and a step that is said to be done though it failed.
func TestSteps(t *testing.T) {
	const second = time.Second
	var ops []history.Op
	ok := func(from, to, every, took time.Duration) {
		for at := from; at < to; at += every {
			ops = append(ops, history.Op{F: history.Read, Key: "k", Outcome: history.OK, Invoke: at, Return: at + took})
		}
	}
	ok(second, 10*second, 10*time.Millisecond, 2*time.Millisecond)                         // before
	ok(10*second, 12*second, 10*time.Millisecond, 5*time.Millisecond)                      // the first step
	ok(12*second+700*time.Millisecond, 20*second, 10*time.Millisecond, 5*time.Millisecond) // and after an outage in its rest
	ok(20*second, 30*second, 100*time.Millisecond, time.Millisecond)                       // the second
	ops = append(ops, history.Op{F: history.Read, Key: "k", Outcome: history.Fail, Invoke: 25 * second, Return: 26 * second})
	evidence := Evidence{
		Ops: ops, Stalls: []Span{{From: 12*second + 200*time.Millisecond, To: 12*second + 500*time.Millisecond}, {From: 18 * second, To: 19 * second}},
		Timeline: Timeline{Load: second, Quiet: 30 * second},
		Faults: []Fault{
			{Name: "a", Attempt: Installed, Healing: Healed, Begun: 10 * second, From: 10*second + 300*time.Millisecond, To: 11 * second, Cleared: 11*second + 200*time.Millisecond},
			{Name: "b", Attempt: Indeterminate, Healing: Healed, Begun: 20 * second, From: 21 * second, To: 22 * second, Cleared: 23 * second},
		},
	}
	steps := Steps(evidence)
	require.Len(t, steps, 2)
	a, b := steps[0], steps[1]
	require.Equal(t, 500*time.Millisecond, a.Took)
	require.Equal(t, 710*time.Millisecond, a.Unavailable.Length())
	require.InDelta(t, 2, a.P99Before.Seconds()*1e3, 0.1)
	require.InDelta(t, 5, a.P99.Seconds()*1e3, 0.1)
	require.Equal(t, []int{930, 930}, []int{a.OK, a.Invoked})
	require.Zero(t, b.Took)
	require.Equal(t, 100*time.Millisecond, b.Unavailable.Length())
	require.Equal(t, []int{100, 101}, []int{b.OK, b.Invoked})

	require.True(t, Recipe{ElectionTimeout: 355 * time.Millisecond, Steps: steps}.Within())
	strict := Recipe{ElectionTimeout: 354 * time.Millisecond, Steps: steps}
	require.False(t, strict.Within())
	require.Contains(t, strict.Bound(), "Not every step keeps to it.")
	require.Equal(t, []string{"a", "0.50s", "710.0ms", "300.0ms", "NO", "930/930", "2.0ms", "5.0ms"}, strict.Table()[1])
	require.Equal(t, []string{"b", "not done", "100.0ms", "0.0ms", "yes", "100/101", "2.0ms", "1.0ms"}, strict.Table()[2])
}

package history

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// number gives events their indexes and, where they have none, times.
func number(events ...Event) []Event {
	for i := range events {
		events[i].Index = int64(i)
		if events[i].Time == 0 {
			events[i].Time = time.Duration(i)
		}
	}
	return events
}

func TestOpsJoinsInvocationsWithCompletions(t *testing.T) {
	ops, err := Ops(number(
		Event{Process: 0, Type: Invoke, F: Write, Key: "a", Value: Int(1), Node: "n1"},
		Event{Process: 1, Type: Invoke, F: Read, Key: "a", Node: "n2"},
		Event{Process: 0, Type: OK, F: Write, Key: "a", Value: Int(1), Node: "n3", Revision: 9, Term: 2},
		Event{Process: 1, Type: OK, F: Read, Key: "a", Value: Int(1), Node: "n3", Revision: 9, Term: 2},
		Event{Process: 0, Type: Invoke, F: CAS, Key: "b", Value: Pair{1, 2}, Node: "n1"},
		Event{Process: 1, Type: Invoke, F: Read, Key: "b", Node: "n2"},
		Event{Process: 0, Type: Info, F: CAS, Key: "b", Value: Pair{1, 2}, Node: "n1", Error: "timeout"},
		Event{Process: 1, Type: Fail, F: Read, Key: "b", Node: "n2", Error: "not_leader"},
		Event{Process: 1, Type: Invoke, F: Write, Key: "b", Value: Int(4), Node: "n2"},
	))
	require.NoError(t, err)
	require.Equal(t, []Op{
		{Index: 0, Process: 0, F: Write, Key: "a", In: Int(1), Invoke: 0, Return: 2, Outcome: OK, Node: "n3", Revision: 9, Term: 2},
		{Index: 1, Process: 1, F: Read, Key: "a", Out: Int(1), Invoke: 1, Return: 3, Outcome: OK, Node: "n3", Revision: 9, Term: 2},
		{Index: 4, Process: 0, F: CAS, Key: "b", In: Pair{1, 2}, Invoke: 4, Return: Never, Outcome: Info, Node: "n1", Error: "timeout"},
		{Index: 5, Process: 1, F: Read, Key: "b", Invoke: 5, Return: 7, Outcome: Fail, Node: "n2", Error: "not_leader"},
		{Index: 8, Process: 1, F: Write, Key: "b", In: Int(4), Invoke: 8, Return: Never, Outcome: Info, Node: "n2"},
	}, ops)
}

// Catches a suite that records nonsense and then judges it.
func TestValidateRefusesWhatIsNoHistory(t *testing.T) {
	invoke := Event{Type: Invoke, F: Write, Key: "a", Value: Int(1), Node: "n1"}
	done := invoke
	done.Type = OK
	with := func(e Event, change func(*Event)) Event {
		change(&e)
		return e
	}
	read := Event{Type: Invoke, F: Read, Key: "a", Node: "n1"}
	for name, c := range map[string]struct {
		events []Event
		line   int
	}{
		"index skipped":                {[]Event{{Index: 1, Type: Invoke, F: Read}}, 1},
		"time goes back":               {number(with(invoke, func(e *Event) { e.Time = 5 }), with(done, func(e *Event) { e.Time = 4 })), 2},
		"two operations at once":       {number(invoke, invoke), 2},
		"completion out of the blue":   {number(done), 1},
		"completed twice":              {number(invoke, done, done), 3},
		"used after an info":           {number(invoke, with(done, func(e *Event) { e.Type = Info }), invoke), 3},
		"another function":             {number(invoke, with(done, func(e *Event) { e.F = CAS })), 2},
		"another key":                  {number(invoke, with(done, func(e *Event) { e.Key = "b" })), 2},
		"another value":                {number(invoke, with(done, func(e *Event) { e.Value = Int(2) })), 2},
		"a failed read with a value":   {number(read, with(read, func(e *Event) { e.Type, e.Value = Fail, Int(1) })), 2},
		"a read that found a pair":     {number(read, with(read, func(e *Event) { e.Type, e.Value = OK, Pair{1, 2} })), 2},
		"a read that brings a value":   {number(with(read, func(e *Event) { e.Value = Int(1) })), 1},
		"a write of nothing":           {number(with(invoke, func(e *Event) { e.Value = nil })), 1},
		"a write of a pair":            {number(with(invoke, func(e *Event) { e.Value = Pair{1, 2} })), 1},
		"a cas of one number":          {number(with(invoke, func(e *Event) { e.F = CAS })), 1},
		"an invocation after an end":   {number(invoke, with(invoke, func(e *Event) { e.Process = 1; e.F = Read })), 2},
		"another process's completion": {number(invoke, with(done, func(e *Event) { e.Process = 1 })), 2},
	} {
		t.Run(name, func(t *testing.T) {
			err := Validate(c.events)
			var damage *FormatError
			require.ErrorAs(t, err, &damage)
			require.Equal(t, c.line, damage.Line)
		})
	}
	require.NoError(t, Validate(number(invoke, done, invoke, done)))
	require.NoError(t, Validate(nil))
}

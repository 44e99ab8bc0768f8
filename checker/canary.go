package checker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"coup/history"
)

// Canary runs small histories of known verdicts through the very checkers and the conclusion that
// judge a run: a sound one that must pass, and broken ones that must each be caught by the checker
// that is there for it. The error tells what was misjudged.
func Canary() error {
	var misjudged []error
	for _, c := range canaries() {
		misjudged = append(misjudged, c.judge())
	}
	return errors.Join(misjudged...)
}

// canary is a history of known verdict.
type canary struct {
	name     string
	verdict  Verdict
	caughtBy string // the one checker that finds the violation; empty when there is none
	evidence Evidence
}

// judge tells how the checkers misjudge the history.
func (c canary) judge() error {
	options := Options{Workers: 1, KeyTimeout: time.Minute, AllowNoFaults: true, MinOps: 1, MinBefore: 1}
	report := Conclude(c.evidence, find(context.Background(), c.evidence, options), options)
	if report.Verdict != c.verdict {
		return fmt.Errorf("%s: the verdict is %s, not %s", c.name, report.Verdict, c.verdict)
	}
	for _, result := range report.Checkers {
		if caught := result.Verdict == Violation; caught != (result.Name == c.caughtBy) {
			return fmt.Errorf("%s: the checker of %s says %s", c.name, result.Name, result.Verdict)
		}
	}
	return nil
}

func canaries() []canary {
	sound := func() Evidence {
		at := func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }
		op := func(index, begin, end int, f history.F, in, out history.Value, revision uint64) history.Op {
			return history.Op{
				Index: int64(index), Process: index % 3, F: f, Key: "k", In: in, Out: out,
				Invoke: at(begin), Return: at(end), Outcome: history.OK, Node: "n1", Revision: revision, Term: 1,
			}
		}
		return Evidence{
			Ops: []history.Op{
				op(0, 10, 20, history.Write, history.Int(1), nil, 5),
				op(1, 15, 40, history.CAS, history.Pair{1, 2}, nil, 6),
				op(2, 50, 60, history.Read, nil, history.Int(2), 6),
				op(3, 110, 120, history.Read, nil, history.Int(2), 6),
			},
			Observations: []Observation{{Asked: at(5), Time: at(6), Node: "n1", Role: "leader", Term: 1}},
			Timeline:     Timeline{Load: at(1), Quiet: at(90), Final: at(100), End: at(130)},
		}
	}
	stale, usurped, renumbered := sound(), sound(), sound()
	stale.Ops[2].Out, stale.Ops[2].Revision = history.Int(1), 0
	usurped.Observations = append(usurped.Observations, Observation{
		Asked: 70 * time.Millisecond, Time: 71 * time.Millisecond, Node: "n2", Role: "leader", Term: 1,
	})
	renumbered.Ops[2].Revision = 5
	forgetful := sound()
	forgetful.Observations[0].Vote = "n1"
	forgetful.Observations = append(forgetful.Observations, Observation{
		Asked: 70 * time.Millisecond, Time: 71 * time.Millisecond, Node: "n1", Role: "follower", Term: 1,
	})
	return []canary{
		{"a sound history", Pass, "", sound()},
		{"a stale read", Violation, NameLinearizability, stale},
		{"two leaders of a term", Violation, NameLeaders, usurped},
		{"a vote forgotten", Violation, NameVotes, forgetful},
		{"a value with two revisions", Violation, NameRevisions, renumbered},
	}
}

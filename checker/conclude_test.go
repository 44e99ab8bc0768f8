package checker

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/history"
)

// load is a working register under load: a read, a write and a cas each 100 ms.
func load(from, to int) []history.Op {
	var ops []history.Op
	for ms, v := from, int64(from)*2; ms < to; ms, v = ms+100, v+2 {
		ops = append(ops, write(1, ms, ms+10, v+1), read(2, ms+20, ms+30, v+1), cas(3, ms+40, ms+50, v+1, v+2))
	}
	return ops
}

func without(ops []history.Op, drop func(history.Op) bool) []history.Op {
	var left []history.Op
	for _, op := range ops {
		if !drop(op) {
			left = append(left, op)
		}
	}
	return left
}

func fault(name string, begun, to int) Fault {
	return Fault{
		Name: name, Targets: []string{"n1"}, Attempt: Installed, Healing: Healed,
		Begun: at(begun), From: at(begun + 100), To: at(to), Cleared: at(to + 100),
	}
}

// sound is a run that proves all that it should: two faults, of which the second takes the quorum.
func sound() Evidence {
	ops := without(load(1000, 60_000), func(op history.Op) bool { return op.Return > at(30_100) && op.Invoke < at(40_000) })
	for ms := 30_200; ms < 40_000; ms += 1000 {
		ops = append(ops, failed(read(ms, ms, ms+500, 0)), maybeWrite(ms+1, ms, int64(900_000+ms)), maybeCAS(ms+2, ms, 1, int64(800_000+ms)))
	}
	final := readNothing(7, 61_000, 61_010)
	final.Out = lastWritten(ops)
	ops = append(ops, final)
	return Evidence{
		Ops:    ops,
		Faults: []Fault{fault("kill-leader", 10_000, 15_000), fault("no-quorum", 30_000, 40_000)},
		Plan:   []Plan{{Fault: "kill-leader", Count: 1, KeepsQuorum: true}, {Fault: "no-quorum", Count: 1}},
		Observations: []Observation{
			leading("n1", 1, 500), leading("n2", 2, 11_000), leading("n2", 2, 60_600),
		},
		Timeline: Timeline{Load: at(1000), Quiet: at(60_500), Final: at(60_800), End: at(62_000)},
	}
}

func lastWritten(ops []history.Op) history.Value {
	var held history.Value
	for _, op := range ops {
		if v, _ := after(op); op.F != history.Read && op.Outcome == history.OK {
			held = v
		}
	}
	return held
}

// Catches a pass that nothing was proven for, a verdict that hides a stronger one, and false alarms.
func TestVerdicts(t *testing.T) {
	before := func(ms int) func(history.Op) bool {
		return func(op history.Op) bool { return op.Invoke < at(ms) }
	}
	during := func(from, to int, f history.F) func(history.Op) bool {
		return func(op history.Op) bool { return op.F == f && op.Invoke >= at(from) && op.Invoke <= at(to) }
	}
	stale := func(e *Evidence) {
		e.Ops = append([]history.Op{write(90, 500, 501, -5), write(90, 510, 511, -6), read(90, 520, 521, -5)}, e.Ops...)
		for i := range 3 {
			e.Ops[i].Key = "stale"
		}
		e.Ops = append(e.Ops, on(read(90, 61_500, 61_501, -6), "stale"))
	}
	for name, c := range map[string]struct {
		change  func(*Evidence)
		options Options
		want    Verdict
		reason  string
	}{
		"a sound run": {func(*Evidence) {}, Options{}, Pass, ""},

		"a stale read":     {stale, Options{}, Violation, "stale is not linearizable. Process 90 read -5 from n1 at 0.521 s, although process 90's write of -6 had been acknowledged by n1 at 0.511 s."},
		"two leaders":      {func(e *Evidence) { e.Observations = append(e.Observations, leading("n3", 2, 50_000)) }, Options{}, Violation, "Term 2 had two leaders: n2 said that it was the leader at 11.001 s, and n3 said that it was the leader at 50.001 s."},
		"revisions repeat": {func(e *Evidence) { e.Ops[0].Revision, e.Ops[2].Revision = 4, 4 }, Options{}, Violation, "Two writes have revision 4: process 1 wrote 2001 through n1, 1.000 s to 1.010 s, and process 3 changed 2001 to 2002 through n1, 1.040 s to 1.050 s."},
		"a violation in a run that was killed and could not heal": {func(e *Evidence) {
			stale(e)
			e.Timeline.End, e.Timeline.Final = 0, 0
			e.Problems = []string{"The disk is full."}
		}, Options{}, Violation, "stale is not linearizable. Process 90 read -5 from n1 at 0.521 s, although process 90's write of -6 had been acknowledged by n1 at 0.511 s."},

		"a problem": {func(e *Evidence) { e.Problems = []string{"The disk is full."} }, Options{}, Harness, "The disk is full."},
		"not healed": {func(e *Evidence) { e.Faults[0].Healing, e.Faults[0].Reason = NotHealed, "a rule is left" }, Options{}, Harness,
			"kill-leader, installed at 10.000 s, did not heal: a rule is left."},
		"nobody healed": {func(e *Evidence) { e.Faults[1].Healing, e.Faults[1].To, e.Faults[1].Cleared = Unhealed, Never, Never }, Options{}, Harness,
			"no-quorum, installed at 30.000 s, was never healed."},
		"the run found something": {func(e *Evidence) { e.Findings = []Reason{{Harness, "processes", "n2 was killed by the machine.", nil}} }, Options{}, Harness,
			"n2 was killed by the machine."},

		"a final read is missing": {func(e *Evidence) { e.Ops = append(e.Ops, on(write(90, 59_000, 59_001, 1), "lonely")) }, Options{}, Unavailable,
			"1 of 2 final reads never succeeded: lonely."},
		"nothing after healing": {func(e *Evidence) {
			last := &e.Ops[len(e.Ops)-1]
			last.Outcome, last.Out, last.Error = history.Fail, nil, "timeout: no leader"
		}, Options{}, Unavailable, "1 of 1 final reads never succeeded: k."},
		"a long gap while a minority is killed": {func(e *Evidence) {
			e.Ops = without(e.Ops, func(op history.Op) bool { return op.Invoke > at(10_200) && op.Invoke < at(14_000) })
			e.Ops = append(e.Ops, failed(read(90, 11_000, 12_000, 0)))
		}, Options{MaxGap: 3 * time.Second}, Unavailable, "No operation succeeded from 11.000 s to 14.010 s although a quorum was healthy; 2 were asked."},
		"a long gap in which nobody asked": {func(e *Evidence) {
			e.Ops = without(e.Ops, func(op history.Op) bool { return op.Invoke > at(20_000) && op.Invoke < at(26_000) })
		}, Options{MaxGap: 5 * time.Second}, Pass, ""},
		"nothing was written, and nobody leads": {func(e *Evidence) {
			e.Ops = without(e.Ops, func(op history.Op) bool { return op.Invoke > at(60_000) })
			e.Observations[2].Role = "candidate"
			e.Timeline.Final, e.Timeline.End = 0, at(75_000)
		}, Options{}, Unavailable, "From 60.500 s, when everything was healed, to 75.000 s no node led."},

		"never installed": {func(e *Evidence) {
			e.Faults[0].Attempt, e.Faults[0].Healing, e.Faults[0].Reason = Skipped, Unhealed, "no leader"
		}, Options{}, Inconclusive,
			"kill-leader was planned 1 times and never installed; it was skipped: no leader."},
		"never tried": {func(e *Evidence) { e.Faults = e.Faults[1:] }, Options{}, Inconclusive,
			"kill-leader was planned 1 times and never installed; the run never came to it."},
		"no time for it": {func(e *Evidence) { e.Plan = append(e.Plan, Plan{Fault: "swizzle"}) }, Options{}, Inconclusive,
			"swizzle was asked for, but the run was too short to come to it."},
		"not proven once": {func(e *Evidence) {
			f := fault("kill-leader", 20_000, 21_000)
			f.Attempt, f.Reason = Indeterminate, "the process still runs"
			e.Faults = append(e.Faults, f)
		}, Options{}, Inconclusive, "kill-leader was not proven installed at 20.000 s: the process still runs."},
		"too few cas under a fault": {func(e *Evidence) { e.Ops = without(e.Ops, during(10_300, 15_000, history.CAS)) }, Options{}, Inconclusive,
			"Only 2 of 2 cas operations succeeded while kill-leader was in force; 5 are wanted."},
		"nothing asked without a quorum": {func(e *Evidence) { e.Ops = without(e.Ops, during(30_150, 39_950, history.Write)) }, Options{}, Inconclusive,
			"Only 1 write operations were tried while no-quorum was in force; 5 are wanted."},
		"a late start": {func(e *Evidence) { e.Ops = without(e.Ops, before(9_700)) }, Options{}, Inconclusive,
			"Only 9 operations succeeded before the first fault; 20 are wanted."},
		"killed in mid-run": {func(e *Evidence) { e.Timeline = Timeline{Load: at(1000)} }, Options{}, Inconclusive,
			"The run was cut short during the workload; what it recorded until 61.010 s was checked."},
		"killed, with a fault in force": {func(e *Evidence) {
			e.Timeline = Timeline{Load: at(1000), Quiet: at(60_500), Final: at(60_800)}
			e.Faults[1].Healing, e.Faults[1].To, e.Faults[1].Cleared = Unhealed, Never, Never
		}, Options{}, Inconclusive, "The run was cut short during the final reads; what it recorded until 61.010 s was checked."},
		"a torn file": {func(e *Evidence) { e.Damage = []string{"The last line of history.jsonl is cut short."} }, Options{}, Inconclusive,
			"The last line of history.jsonl is cut short."},
		"a key too dear": {func(*Evidence) {}, Options{KeyTimeout: time.Nanosecond}, Inconclusive, ""},
		"no fault at all": {func(e *Evidence) { e.Plan, e.Faults = nil, nil }, Options{}, Inconclusive,
			"No fault was planned, so nothing was proven under faults."},
		"no fault, as asked":        {func(e *Evidence) { e.Plan, e.Faults = nil, nil }, Options{AllowNoFaults: true, MaxGap: time.Minute}, Pass, ""},
		"no fault, and hardly used": {func(e *Evidence) { e.Plan, e.Faults, e.Ops = nil, nil, e.Ops[:1] }, Options{AllowNoFaults: true}, Unavailable, ""},
		"nothing happened": {func(e *Evidence) { *e = Evidence{Plan: e.Plan} }, Options{}, Inconclusive,
			"The run never came to its workload."},
	} {
		t.Run(name, func(t *testing.T) {
			evidence := sound()
			c.change(&evidence)
			report := Check(t.Context(), evidence, c.options)
			require.Equal(t, c.want, report.Verdict, "%v", report.Reasons)
			if c.want == Pass {
				require.Empty(t, report.Reasons)
				return
			}
			require.Equal(t, c.want, report.Reasons[0].Verdict)
			if c.reason != "" {
				require.Equal(t, c.reason, report.Reasons[0].Text)
			}
		})
	}
}

// Catches a table that says more than was done.
func TestCoverageCounts(t *testing.T) {
	report := Check(t.Context(), sound(), Options{})
	require.Equal(t, []CoverageRow{
		{Fault: "kill-leader", KeepsQuorum: true, Windows: 1, InForce: at(4900), Read: Count{49, 49}, Write: Count{50, 49}, CAS: Count{49, 49}, OKAfter: report.Coverage.Rows[0].OKAfter},
		{Fault: "no-quorum", Windows: 1, InForce: at(9900), Read: Count{10, 0}, Write: Count{11, 0}, CAS: Count{10, 0}, OKAfter: report.Coverage.Rows[1].OKAfter},
	}, report.Coverage.Rows)
	require.Equal(t, 3*199+1, report.Coverage.Rows[1].OKAfter)
	require.Equal(t, []FaultCount{
		{Fault: "kill-leader", KeepsQuorum: true, Planned: 1, Installed: 1, Healed: 1, Verdict: Pass},
		{Fault: "no-quorum", Planned: 1, Installed: 1, Healed: 1, Verdict: Pass},
	}, report.Faults)
}

// Catches a series in which a weaker verdict hides a stronger one.
func TestVerdictsAreOrdered(t *testing.T) {
	codes := map[Verdict]int{Violation: 1, Harness: 255, Unavailable: 3, Inconclusive: 2, Pass: 0, "rubbish": 255, "": 255}
	for verdict, code := range codes {
		require.Equal(t, code, verdict.ExitCode())
	}
	for i, strong := range strongestFirst {
		for _, weak := range strongestFirst[i:] {
			require.Equal(t, strong, Worst(strong, weak))
			require.Equal(t, strong, Worst(weak, strong, weak))
		}
	}
	require.Equal(t, Harness.rank(), Verdict("rubbish").rank())
}

// Catches a canary that sings whatever happens, and a conclusion that does not listen to it.
func TestCanary(t *testing.T) {
	require.NoError(t, Canary())
	birds := canaries()
	for i, c := range birds {
		c.evidence = birds[(i+1)%len(birds)].evidence // as if the checkers found something else, or nothing
		require.Error(t, c.judge(), c.name)
	}
	findings := find(t.Context(), sound(), Options{})
	require.Equal(t, Pass, Conclude(sound(), findings, Options{}).Verdict)
	findings.Canary = errors.New("a stale read: the verdict is pass, not violation")
	report := Conclude(sound(), findings, Options{})
	require.Equal(t, Harness, report.Verdict)
	require.Equal(t, "The checkers failed on a history whose verdict is known: a stale read: the verdict is pass, not violation.", report.Reasons[0].Text)
}

// Catches a report that nobody can read, and one in which something is told nowhere.
func TestReasonsAreFew(t *testing.T) {
	evidence := sound()
	var ops []history.Op
	for i := range 15 {
		for _, op := range []history.Op{write(90, 500, 501, 1), write(90, 510, 511, 2), read(90, 520, 521, 1), read(90, 61_500, 61_501, 2)} {
			op.Revision = 3
			ops = append(ops, on(op, fmt.Sprintf("broken%d", i)))
		}
	}
	evidence.Ops = append(ops, evidence.Ops...)
	pages := t.TempDir()
	report := Check(t.Context(), evidence, Options{Pages: pages})
	count := make(map[string]int)
	for _, r := range report.Reasons {
		count[r.Checker]++
	}
	require.Equal(t, map[string]int{NameLinearizability: 11, NameRevisions: 11}, count)
	require.Equal(t, "5 keys more are not linearizable: broken10, broken11, broken12, broken13, broken14.", report.Reasons[10].Text)
	require.Contains(t, report.Reasons[21].Text, "more of the kind.")
	require.Len(t, report.Linearizability.Suspect, 15)
	drawn, err := os.ReadDir(pages)
	require.NoError(t, err)
	require.Len(t, drawn, 10)
}

// Catches a contested violation that is taken for one: then a checker is broken, not the system.
func TestCheckersThatDisagree(t *testing.T) {
	report := Conclude(sound(), Findings{Linearizability: LinearizabilityResult{
		Keys: 2, OK: 1, Suspect: []KeyResult{{Key: "k4", Outcome: NotLinearizable, Contested: true, Explanation: []string{"No."}}},
	}}, Options{})
	require.Equal(t, Harness, report.Verdict)
	require.Equal(t, "The checkers disagree on k4: the search finds no linearization, yet the order of revisions is one.", report.Reasons[0].Text)
}

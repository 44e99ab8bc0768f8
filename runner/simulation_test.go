package runner

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/checker"
	"coup/cluster"
	"coup/nemesis"
)

// fakeSimulation is a fakeWorld that judges by itself.
type fakeSimulation struct {
	*fakeWorld
	failure   *Failure
	unsettled error
	settled   time.Duration
}

func (s *fakeSimulation) Cluster() cluster.Cluster { return fakeCluster{s.fakeWorld} }
func (s *fakeSimulation) Failure() *Failure        { return s.failure }
func (s *fakeSimulation) Close()                   { s.ended = true }

func (s *fakeSimulation) Settle() error {
	s.settled = s.now
	return s.unsettled
}

// try runs a trial in a world that something happens to at 10 s.
func try(t *testing.T, o Options, happen func(*fakeSimulation, *fakeFault)) (*fakeSimulation, checker.Evidence, checker.Report) {
	t.Helper()
	w := &fakeSimulation{fakeWorld: newFakeWorld()}
	fault := &fakeFault{name: "stop", world: w.fakeWorld}
	w.at(10*time.Second, func() { happen(w, fault) })
	trial := Trial{Options: o, Faults: []nemesis.Fault{fault}, World: w}
	evidence := trial.Play(t.Context())
	return w, evidence, trial.Judge(t.Context(), evidence)
}

// Catches a trial whose evidence lacks what a folder would hold, and final reads before the world has
// settled.
func TestATrialIsAWholeRun(t *testing.T) {
	w, evidence, report := try(t, testOptions(), func(*fakeSimulation, *fakeFault) {})
	require.Equal(t, checker.Pass, report.Verdict, "%v", report.Reasons)
	require.NotEmpty(t, evidence.Ops)
	require.NotEmpty(t, evidence.Faults)
	require.NotEmpty(t, evidence.Observations)
	require.Positive(t, evidence.Timeline.Final)
	require.GreaterOrEqual(t, w.settled, evidence.Timeline.Quiet)
	require.LessOrEqual(t, w.settled, evidence.Timeline.Final)
}

// Catches a broken invariant that does not make it into the verdict, or counts for what it is not.
func TestWhatTheWorldSawIsInTheVerdict(t *testing.T) {
	for _, c := range []struct {
		check   string
		verdict checker.Verdict
		checker string
	}{
		{"I7", checker.Violation, NameInvariants},
		{"L1", checker.Unavailable, NameLiveness},
		{"L2", checker.Unavailable, NameLiveness},
		{"L3", checker.Violation, NameLiveness},
		{"node", checker.Violation, NameProcesses},
	} {
		_, evidence, report := try(t, testOptions(), func(w *fakeSimulation, _ *fakeFault) {
			w.failure, w.ended = &Failure{Check: c.check, Text: "n1 voted twice", At: w.now}, true
		})
		require.Equal(t, c.verdict, report.Verdict, c.check)
		require.Equal(t, c.checker, report.Reasons[0].Checker)
		require.Equal(t, c.check+" does not hold at 10.000 s: n1 voted twice.", report.Reasons[0].Text)
		require.Zero(t, evidence.Timeline.Final)
		for _, reason := range report.Reasons {
			require.NotContains(t, reason.Text, "Interrupted", "the world ended by itself")
		}
	}
}

func TestAWorldThatDoesNotSettle(t *testing.T) {
	_, evidence, report := try(t, testOptions(), func(w *fakeSimulation, _ *fakeFault) { w.unsettled = errors.New("no such node") })
	require.Equal(t, checker.Harness, report.Verdict)
	require.Contains(t, report.Reasons[0].Text, "no such node")
	require.Zero(t, evidence.Timeline.Final)
}

// Catches a cluster in trouble that is held to what only a healthy one owes.
func TestInTroubleNoProgressIsOwed(t *testing.T) {
	judge := func(trouble ...string) checker.Verdict {
		w := &fakeSimulation{fakeWorld: newFakeWorld()}
		w.at(10*time.Second, func() { w.refuse = func(int) bool { return w.now < 35*time.Second } })
		trial := Trial{Options: testOptions(), World: w}
		trial.Options.Trouble = trouble
		return trial.Judge(t.Context(), trial.Play(t.Context())).Verdict
	}
	require.Equal(t, checker.Unavailable, judge())
	require.Equal(t, checker.Pass, judge("crashes"))
}

// Catches an interrupt that a world without real time never notices.
func TestATrialCanBeInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := &fakeSimulation{fakeWorld: newFakeWorld()}
	w.at(10*time.Second, cancel)
	evidence := Trial{Options: testOptions(), World: w}.Play(ctx)
	require.Less(t, evidence.Timeline.End, 12*time.Second)
	require.Equal(t, "Interrupted after 10s.", evidence.Findings[0].Text)
}

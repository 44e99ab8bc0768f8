package runner

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/checker"
	"coup/cluster"
)

// A leader that was told to end itself, and does, is no evidence against it: it is started again and the run goes on.
// Catches one that stays dead, and one that is taken for a crash.
func TestALeaderThatEndsItselfIsStartedAgain(t *testing.T) {
	w := newFakeWorld()
	fall := func(node string) func() {
		return func() {
			w.dead[node] = true
			w.deaths = append(slices.Clone(w.deaths), cluster.Death{Node: node, Exit: exitReignOver})
		}
	}
	w.events = map[time.Duration]func(){10 * time.Second: fall("n2"), 14 * time.Second: fall("n3")}
	o := testOptions()
	o.MaxReign = 5 * time.Second
	l, _ := play(t, w, o, &fakeFault{name: "stop"})
	require.Empty(t, l.deaths)
	require.Empty(t, l.problems)
	require.Equal(t, 2, l.suicides)
	require.Equal(t, []string{"n2", "n3"}, w.restarted)
	require.Positive(t, l.timeline.Final, "the run came to its end")
}

// Catches a crash that passes for a leader's own doing: by another exit code, or of a node that was never told to.
func TestOnlyWhoWasToldToMayEndItself(t *testing.T) {
	told, untold := Options{MaxReign: time.Second}, Options{}
	require.True(t, byOwnHand(cluster.Death{Exit: "exit status 4"}, told))
	require.False(t, byOwnHand(cluster.Death{Exit: "exit status 2"}, told))
	require.False(t, byOwnHand(cluster.Death{Exit: "signal: killed"}, told))
	require.False(t, byOwnHand(cluster.Death{Exit: "exit status 4"}, untold))
}

// A soak's verdict is the worst of its windows', but for what only all windows together can have covered.
func TestWindowsAddUp(t *testing.T) {
	soak := func() *soaking {
		return &soaking{Soak: Soak{Told: func(SoakWindow) {}}, report: SoakReport{Verdict: checker.Pass}}
	}
	plan := []checker.Plan{{Fault: "split", Count: 1, KeepsQuorum: true}}
	window := func(ok int, reasons ...checker.Reason) SoakWindow {
		row := checker.CoverageRow{Fault: "split", KeepsQuorum: true, Windows: 1}
		for _, c := range []*checker.Count{&row.Read, &row.Write, &row.CAS} {
			*c = checker.Count{Invoked: 10, OK: ok}
		}
		return SoakWindow{Number: 1, Suicides: 2, Dir: t.TempDir(), Report: checker.Report{
			Coverage: checker.Coverage{Rows: []checker.CoverageRow{row}}, Reasons: reasons,
		}}
	}
	thin := checker.Reason{Verdict: checker.Inconclusive, Checker: checker.NameCoverage, Text: "Only 3."}

	k := soak()
	require.NoError(t, k.take(window(3, thin), plan))
	k.judge(false)
	require.Equal(t, checker.Inconclusive, k.report.Verdict, "3 are too few")

	k = soak()
	require.NoError(t, k.take(window(3, thin), plan))
	require.NoError(t, k.take(window(3, thin), plan))
	k.judge(false)
	require.Equal(t, checker.Pass, k.report.Verdict, "3 and 3 are enough: %v", k.report.Reasons)
	require.Equal(t, 4, k.report.Suicides)
	require.False(t, k.over)

	k = soak()
	broken := checker.Reason{Verdict: checker.Violation, Checker: checker.NameLinearizability, Text: "k1 is not."}
	bad := window(9, broken)
	require.NoError(t, k.take(bad, plan))
	require.True(t, k.over, "a violation ends the soak")
	require.Equal(t, checker.Violation, k.report.Verdict)
	require.DirExists(t, bad.Dir, "what is evidence stays")

	k = soak()
	k.Options.MaxReign = time.Second
	quiet := window(9)
	quiet.Suicides = 0
	require.NoError(t, k.take(quiet, plan))
	require.NoDirExists(t, quiet.Dir)
	k.judge(false)
	require.Equal(t, checker.Inconclusive, k.report.Verdict, "no leader ended itself")
}

// Catches a window that waits in vain for a leader that all follow, since one ended itself between two windows.
func TestALeaderThatEndedItselfBeforeTheWindowIsStartedAgain(t *testing.T) {
	w := newFakeWorld()
	w.dead["n2"] = true
	w.deaths = []cluster.Death{{Node: "n2", Exit: exitReignOver}}
	o := testOptions()
	o.MaxReign = 5 * time.Second
	l, _ := play(t, w, o, &fakeFault{name: "stop"})
	require.Empty(t, l.unavailable)
	require.Equal(t, []string{"n2"}, w.restarted)
	require.Positive(t, l.timeline.Final, "the run came to its end")
}

// Catches a violation that is not told, since so much of less weight was told before.
func TestAStrongReasonIsToldAfterManyWeakOnes(t *testing.T) {
	k := &soaking{report: SoakReport{Verdict: checker.Pass}}
	for range 3 * mostReasons {
		k.blame(checker.Inconclusive, checker.NameCoverage, "Too little.")
	}
	require.Len(t, k.report.Reasons, mostReasons)
	k.blame(checker.Violation, checker.NameLinearizability, "k1 is not.")
	require.Equal(t, checker.Violation, k.report.Verdict)
	require.Equal(t, "k1 is not.", k.report.Reasons[mostReasons].Text)
}

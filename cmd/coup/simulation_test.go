package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/checker"
	"coup/nemesis"
	"coup/sim"
	"coup/sweep"
)

func TestSplitTroubles(t *testing.T) {
	for list, want := range map[string]struct {
		faults          string
		troubles, named []string
	}{
		"all":                   {"all", sim.Troubles(), nil},
		"split, disk":           {"split", []string{"disk"}, []string{"disk"}},
		"messages,crashes":      {"none", []string{"crashes", "messages"}, []string{"messages", "crashes"}},
		"all,disk":              {"all", sim.Troubles(), []string{"disk"}},
		"none":                  {"none", nil, nil},
		"kill-leader,partition": {"kill-leader,partition", nil, nil},
	} {
		faults, troubles, named := splitTroubles(list)
		require.Equal(t, want.faults, faults, list)
		require.ElementsMatch(t, want.troubles, troubles, list)
		require.Equal(t, want.named, named, list)
	}
}

// Catches a trouble that is asked of real nodes and silently left out.
func TestRealNodesHaveNoTroubleOfTheirOwn(t *testing.T) {
	f := runFlags{}
	require.EqualError(t, f.inReality("docker", []string{"messages", "disk"}), "--faults: messages, disk cannot be had in docker: use --env sim")
}

// Catches a command line that does another run than the one that failed.
func TestTheCommandOfARunIsThatRun(t *testing.T) {
	o := sweep.Options{MinNodes: 3, MaxNodes: 7, Faults: nemesis.All(), Troubles: sim.Troubles(), Ops: 2000}
	for seed := range uint64(200) {
		run := o.Draw(seed)
		f := newRunFlags()
		cmd := f.command()
		require.NoError(t, cmd.ParseFlags(strings.Fields(run.Command())[2:]))
		got := f.options
		var err error
		got.Seed, err = parseSeed(f.seed)
		require.NoError(t, err)
		list, troubles, _ := splitTroubles(f.faults)
		faults, err := nemesis.Parse(list)
		require.NoError(t, err)
		require.Equal(t, run.Faults, faults)
		require.ElementsMatch(t, run.Options.Trouble, troubles)
		want := run.Options
		for _, o := range []*string{&got.Name, &got.Environment, &got.Repeat, &want.Name, &want.Environment, &want.Repeat} {
			*o = ""
		}
		got.Faults, got.Trouble, want.Faults, want.Trouble = nil, nil, nil, nil
		require.Equal(t, want, got)
	}
}

// Catches a sweep that passes although it tested nothing, and a weaker verdict that hides a stronger.
func TestJudgeSweep(t *testing.T) {
	stuck := sweep.Failure{Seed: 3, Verdict: checker.Unavailable, Check: "L1"}
	broken := sweep.Failure{Seed: 5, Verdict: checker.Violation, Check: "I4"}
	for _, c := range []struct {
		name                    string
		result                  sweep.Result
		everything, interrupted bool
		want                    checker.Verdict
	}{
		{"some runs", sweep.Result{Runs: 10}, true, false, checker.Pass},
		{"no run", sweep.Result{}, true, false, checker.Inconclusive},
		{"cut short", sweep.Result{Runs: 10}, true, true, checker.Inconclusive},
		{"a search without end", sweep.Result{Runs: 10, Unknown: 1}, false, false, checker.Inconclusive},
		{"nothing reached", sweep.Result{Runs: sweep.Enough}, true, false, checker.Inconclusive},
		{"nothing reached, and not asked for", sweep.Result{Runs: sweep.Enough}, false, false, checker.Pass},
		{"no progress", sweep.Result{Runs: 10, Failed: 1, Failures: []sweep.Failure{stuck}}, true, true, checker.Unavailable},
		{"a promise broken", sweep.Result{Runs: 10, Failed: 2, Failures: []sweep.Failure{stuck, broken}}, true, false, checker.Violation},
	} {
		verdict, reasons := judgeSweep(c.result, c.everything, c.interrupted)
		require.Equal(t, c.want, verdict, c.name)
		require.Equal(t, c.want == checker.Pass, len(reasons) == 0, c.name)
	}
}

// Catches a word that is a family of faults where nodes are real, and is taken for the simulator's trouble there.
func TestFamiliesOfFaultsOnRealNodes(t *testing.T) {
	f := newRunFlags()
	f.options.Duration = 10 * time.Minute
	list, _, named := splitTroubles("kill-leader,membership,disk")
	var err error
	f.drawn, err = nemesis.Parse(list)
	require.NoError(t, err)
	others, err := f.families(named)
	require.NoError(t, err)
	require.Equal(t, []string{"disk"}, others)
	require.Equal(t, []string{"kill-leader", "grow", "shrink"}, f.options.Faults[:3])
	require.Len(t, f.drawn, 9)
	f.options.Duration = 30 * time.Second
	_, err = f.families([]string{"membership"})
	require.ErrorContains(t, err, "too short")
}

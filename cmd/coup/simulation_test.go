package main

import (
	"slices"
	"strings"
	"testing"

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
		"all,-disk":             {"all", slices.DeleteFunc(sim.Troubles(), func(t string) bool { return t == "disk" }), nil},
		"kill-leader,partition": {"kill-leader,partition", nil, nil},
	} {
		faults, troubles, named, err := splitTroubles(list, true)
		require.NoError(t, err)
		require.Equal(t, want.faults, faults, list)
		require.ElementsMatch(t, want.troubles, troubles, list)
		require.Equal(t, want.named, named, list)
	}
}

func TestTroublesTakeNothing(t *testing.T) {
	for _, list := range []string{"disk=5%", "disk:2", "-disk", "disk,-disk", "split,-messages"} {
		_, _, _, err := splitTroubles(list, true)
		require.Error(t, err, list)
	}
}

// Catches a trouble that is asked of real nodes and silently left out.
func TestRealNodesHaveNoTroubleOfTheirOwn(t *testing.T) {
	f := runFlags{}
	require.EqualError(t, f.inReality("docker", []string{"messages", "disk"}), "--faults: messages, disk cannot be had in docker: use --env sim")
}

// Catches a command line that does another run than the one that failed.
func TestTheCommandOfARunIsThatRun(t *testing.T) {
	possible, err := nemesis.Parse("all,-half-open,loss=7%,split:2")
	require.NoError(t, err)
	o := sweep.Options{MinNodes: 3, MaxNodes: 7, Faults: possible, Troubles: sim.Troubles(), Ops: 2000}
	for seed := range uint64(200) {
		run := o.Draw(seed)
		f := newRunFlags()
		cmd := f.command()
		require.NoError(t, cmd.ParseFlags(strings.Fields(run.Command())[2:]))
		got := f.options
		var err error
		got.Seed, err = parseSeed(f.seed)
		require.NoError(t, err)
		chosen, err := f.faults.choose(true)
		require.NoError(t, err)
		require.Equal(t, spell(run.Faults, nil), spell(chosen.selection.Faults(), nil))
		require.ElementsMatch(t, run.Options.Trouble, chosen.troubles)
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
	f := faultFlags{list: "kill-leader,membership,messages"}
	real, err := f.choose(false)
	require.NoError(t, err)
	require.Equal(t, []string{"messages"}, real.named)
	require.Equal(t, "kill-leader,grow,shrink,swap,remove-leader,demote,replace,readd,island", spell(real.selection.Faults(), nil))
	simulation, err := f.choose(true)
	require.NoError(t, err)
	require.Equal(t, []string{"membership", "messages"}, simulation.named)
	require.Equal(t, "kill-leader", spell(simulation.selection.Faults(), nil))
}

package sweep

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/checker"
	"coup/cluster"
	"coup/nemesis"
	"coup/runner"
	"coup/sim"
)

func everything(first uint64, seeds int) Options {
	return Options{First: first, Seeds: seeds, MinNodes: 3, MaxNodes: 7, Faults: nemesis.All(), Troubles: sim.Troubles(), Ops: 300}
}

// Catches a result that depends on how the workers took turns.
func TestWorkersDoNotMatter(t *testing.T) {
	var results []Result
	for _, workers := range []int{1, 2, 5} {
		o := everything(1, 12)
		o.Workers = workers
		r := Sweep(t.Context(), o, nil)
		require.Empty(t, r.Failures)
		require.Equal(t, 12, r.Runs)
		r.Took, r.Playing, r.Judging = 0, 0, 0
		results = append(results, r)
	}
	require.Equal(t, results[0], results[1])
	require.Equal(t, results[0], results[2])
	other := Sweep(t.Context(), everything(2, 12), nil)
	require.NotEqual(t, results[0].Hash, other.Hash)
}

// ruined has runs of some seeds fail.
func ruined(o Options, bad func(seed uint64) bool) Options {
	o.Shape = func(seed uint64) Run {
		run := o.Draw(seed)
		if bad(seed) {
			run.Options.Trouble = []string{"locusts"}
		}
		return run
	}
	return o
}

// Catches a sweep that tells of a later failure because it was found sooner, and one that counts what
// came after it.
func TestTheFirstFailureIsThatOfTheLowestSeed(t *testing.T) {
	var results []Result
	for _, workers := range []int{1, 4} {
		o := ruined(everything(10, 40), func(seed uint64) bool { return seed >= 15 })
		o.Workers = workers
		r := Sweep(t.Context(), o, nil)
		require.Len(t, r.Failures, 1)
		require.EqualValues(t, 15, r.Failures[0].Seed)
		require.Equal(t, checker.Harness, r.Failures[0].Verdict)
		require.Contains(t, r.Failures[0].Text, "locusts")
		require.Equal(t, 6, r.Runs)
		r.Took, r.Playing, r.Judging = 0, 0, 0
		results = append(results, r)
	}
	require.Equal(t, results[0], results[1])
}

func TestKeepGoingCounts(t *testing.T) {
	o := ruined(everything(0, 60), func(seed uint64) bool { return seed%2 == 0 })
	o.KeepGoing, o.Ops = true, 100
	last := 0
	r := Sweep(t.Context(), o, func(r Result) {
		require.Equal(t, last+1, r.Runs, "told after each run")
		last = r.Runs
	})
	require.Equal(t, 60, r.Runs)
	require.Equal(t, 30, r.Failed)
	require.Equal(t, map[string]int{checker.NameHarness: 30}, r.Checks)
	require.Len(t, r.Failures, keptFailures, "however many there are")
	require.EqualValues(t, 2, r.Failures[1].Seed)
}

// Catches an interrupt that loses what was seen, or counts a run that was cut short.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := Sweep(ctx, everything(1, 1000), func(r Result) {
		if r.Runs == 5 {
			cancel()
		}
	})
	require.GreaterOrEqual(t, r.Runs, 5)
	require.Less(t, r.Runs, 20)
	whole := Sweep(t.Context(), everything(1, r.Runs), nil)
	require.Equal(t, whole.Hash, r.Hash)
}

func TestBudget(t *testing.T) {
	o := everything(1, 0)
	o.Budget = 200 * time.Millisecond
	r := Sweep(t.Context(), o, nil)
	require.Positive(t, r.Runs)
	require.Less(t, r.Took, 10*time.Second)
}

// Catches a drawn run that the command line would refuse, one that is not the seed's alone, and a
// sweep whose runs are all of one kind.
func TestDraw(t *testing.T) {
	o := everything(0, 0)
	o.Ops = 2000
	faults, troubles, sizes, without := map[string]bool{}, map[string]bool{}, map[int]bool{}, 0
	for seed := range uint64(500) {
		run := o.Draw(seed)
		require.NoError(t, run.Options.Validate(run.Faults), "seed %d", seed)
		require.Equal(t, run, o.Draw(seed))
		sizes[run.Options.Nodes] = true
		for _, f := range run.Options.Faults {
			faults[f] = true
		}
		for _, name := range run.Options.Trouble {
			troubles[name] = true
		}
		if len(run.Options.Trouble) < len(sim.Troubles()) {
			without++
		}
	}
	for _, f := range nemesis.All() {
		require.Equal(t, f.Check(sim.Prospect(7)) == nil, faults[f.Name()], f.Name())
	}
	require.Len(t, troubles, len(sim.Troubles()))
	require.Len(t, sizes, 5)
	require.Greater(t, without, 100, "what is always there hides what happens without it")
}

// Catches a sweep that is green although it never came to what it should test.
func TestMissing(t *testing.T) {
	all := sim.Reached{}
	for range Enough {
		all = sum(all, reachedOnce())
	}
	require.Equal(t, Enough, all.Elections)
	r := Result{Runs: Enough, Reached: all}
	require.Empty(t, r.Missing(true))
	r.Reached.SnapshotsInstalled, r.Reached.LeadersKilledInJoint = 0, 0
	require.Equal(t, []string{"snapshots installed", "leaders killed in joint"}, r.Missing(true))
	require.Empty(t, r.Missing(false), "not all was asked for")
	r.Runs--
	require.Empty(t, r.Missing(true), "too few runs to tell")
}

// reachedOnce has every counter at 1.
func reachedOnce() (r sim.Reached) {
	of := reflect.ValueOf(&r).Elem()
	for i := range of.NumField() {
		of.Field(i).SetInt(1)
	}
	return r
}

// Catches a replay that is another run: the same run, watched and kept in a folder, must do the same.
func TestARunInAFolderIsTheSameRun(t *testing.T) {
	o := everything(0, 0)
	for seed := range uint64(5) {
		run := o.Draw(seed)
		alone, err := NewWorld(run.Options, false, nil)
		require.NoError(t, err)
		evidence := runner.Trial{Options: run.Options, Faults: run.Faults, World: alone}.Play(t.Context())

		var kept World
		run.Options.Results = t.TempDir()
		conclusion, err := runner.Run(t.Context(), t.Context(), runner.Setup{
			Options: run.Options, Faults: run.Faults, Observer: watcher{},
			Simulate: func(string) (runner.Simulation, error) {
				kept, err = NewWorld(run.Options, false, nil)
				return kept, err
			},
		})
		require.NoError(t, err)
		require.Equal(t, alone.TraceHash(), kept.TraceHash())
		report := runner.Trial{Options: run.Options, Faults: run.Faults}.Judge(t.Context(), evidence)
		require.Equal(t, report.Verdict, conclusion.Report.Verdict)
		require.Equal(t, report.Stats, conclusion.Report.Stats)
		require.Equal(t, report.Coverage, conclusion.Report.Coverage)
	}
}

// watcher looks at everything and does nothing.
type watcher struct{}

func (watcher) Step(runner.Step)           {}
func (watcher) Fault(nemesis.Event)        {}
func (watcher) Leader(runner.Leadership)   {}
func (watcher) Progress(runner.Progress)   {}
func (watcher) Note(time.Duration, string) {}

// Catches a node's panic that is taken for the suite's, and the other way round.
func TestBlame(t *testing.T) {
	for _, c := range []struct {
		through string
		want    checker.Verdict
	}{
		{"coup/raftnode/raft.(*Raft).Step(0x1)", checker.Violation},
		{"coup/sim.(*World).step(0x1)", checker.Harness},
		{"coup/nemesis.split(0x1)", checker.Harness},
	} {
		stack := fmt.Sprintf("goroutine 7 [running]:\nruntime/debug.Stack()\ncoup/sweep.Options.run.func2()\n\t/x.go:1\npanic({0x1, 0x2})\n\t/panic.go:1\n%s\n\t/y.go:2\ncoup/sim.(*World).Wait(0x1)\n\t/z.go:3\n", c.through)
		verdict, _ := blame([]byte(stack))
		require.Equal(t, c.want, verdict, c.through)
	}
}

// Catches a weaker reason that hides a stronger one, and what follows from a broken invariant that
// hides the invariant.
func TestForemost(t *testing.T) {
	read := checker.Reason{Verdict: checker.Violation, Checker: checker.NameLinearizability}
	inner := checker.Reason{Verdict: checker.Violation, Checker: runner.NameInvariants}
	stuck := checker.Reason{Verdict: checker.Unavailable, Checker: runner.NameLiveness}
	hole := checker.Reason{Verdict: checker.Inconclusive, Checker: checker.NameCoverage}
	for _, c := range []struct {
		only    Check
		reasons []checker.Reason
		want    string
	}{
		{"", []checker.Reason{read, inner, stuck, hole}, runner.NameInvariants},
		{"", []checker.Reason{hole}, ""},
		{"", []checker.Reason{stuck, hole}, runner.NameLiveness},
		{Linearizability, []checker.Reason{read, inner, stuck}, checker.NameLinearizability},
		{Linearizability, []checker.Reason{inner, stuck}, ""},
		{Liveness, []checker.Reason{read, stuck}, runner.NameLiveness},
		{Invariants, []checker.Reason{read, stuck}, ""},
	} {
		best, failed := Options{Only: c.only}.foremost(c.reasons)
		require.Equal(t, c.want != "", failed)
		require.Equal(t, c.want, best.Checker)
	}
}

// Catches a sweep that hangs with a node that computes for ever, and one that goes on beside it without end.
func TestARunThatDoesNotEndEndsTheSweep(t *testing.T) {
	release := make(chan struct{})
	o := everything(1, 0)
	o.Workers, o.KeepGoing, o.Patience = 2, true, 2*time.Second
	o.Shape = func(seed uint64) Run {
		run := o.Draw(seed)
		if seed == 3 {
			run.Faults = []nemesis.Fault{endless{run.Faults[0], release}}
			run.Options.Faults = []string{run.Faults[0].Name()}
		}
		return run
	}
	r := Sweep(t.Context(), o, nil)
	close(release)
	require.Len(t, r.Failures, 1)
	require.Equal(t, uint64(3), r.Failures[0].Seed)
	require.Equal(t, checker.Violation, r.Failures[0].Verdict)
	require.Equal(t, runner.NameProcesses, r.Failures[0].Check)
	require.Contains(t, r.Failures[0].Run, "--seed 3 ")
}

// endless is a fault whose installation does not return while it is not released.
type endless struct {
	nemesis.Fault
	release chan struct{}
}

func (f endless) Install(context.Context, cluster.Cluster, nemesis.View, nemesis.Rand) (nemesis.Installed, nemesis.Outcome) {
	<-f.release
	return nil, nemesis.Outcome{Result: nemesis.ResultSkipped}
}

package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"coup/checker"
	"coup/history"
	"coup/nemesis"
	"coup/runner"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// story is a run as the runner tells it.
func story(t *terminal) {
	at := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	root, _ := newRoot()
	verify, _, _ := root.Find([]string{"verify"})
	t.header(verify, runner.Options{
		Environment: "netns", Nodes: 5, Duration: 65 * time.Second, Concurrency: 10, Rate: 200, Keys: 10, Seed: 271828,
		Faults: []string{"kill-leader", "isolate-leader", "split", "one-way", "pause-leader", "kill-all"},
	}, "docker cannot be used: cannot connect to the Docker daemon")
	t.Step(runner.Step{Name: "start 5 nodes", State: runner.StepBegan})
	t.Step(runner.Step{Name: "start 5 nodes", Detail: "n3", State: runner.StepUnderWay})
	t.Step(runner.Step{Name: "start 5 nodes", State: runner.StepDone, Took: at(0.41)})
	t.Leader(runner.Leadership{At: at(0.6), Node: "n2", Term: 1})
	t.Step(runner.Step{Name: "wait for a leader", Detail: "n2 in term 1", State: runner.StepDone, Took: at(0.6)})
	t.Step(runner.Step{Name: "warm up", State: runner.StepBegan})
	t.Progress(runner.Progress{Now: at(5.5), Left: at(64.2), OK: 412, Rate: 199, Leader: "n2", Term: 1})
	t.Step(runner.Step{Name: "warm up", Detail: "594 operations took effect in 3s, of 600 asked for", State: runner.StepDone, Took: at(3)})
	t.Fault(nemesis.Event{ID: 1, Fault: "isolate-leader", Phase: nemesis.Install, End: at(7.31),
		Outcome: nemesis.Outcome{Result: nemesis.ResultInstalled, Targets: []string{"n2"}}})
	t.Leader(runner.Leadership{At: at(8.4), Node: "n5", Term: 2})
	t.Progress(runner.Progress{Now: at(8.6), Left: at(61), OK: 900, Rate: 100, Leader: "n5", Term: 2, Fault: "isolate-leader n2"})
	t.Progress(runner.Progress{Now: at(12), Left: at(57.6), OK: 12345, Fail: 3, Info: 6, Rate: 187.6, Fault: "isolate-leader n2"})
	t.Fault(nemesis.Event{ID: 1, Fault: "isolate-leader", Phase: nemesis.Heal, End: at(12.2),
		Outcome: nemesis.Outcome{Result: nemesis.ResultHealed, Targets: []string{"n2"}}})
	t.Fault(nemesis.Event{ID: 2, Fault: "pause-leader", Phase: nemesis.Install, End: at(14),
		Outcome: nemesis.Outcome{Result: nemesis.ResultSkipped, Reason: "nobody leads"}})
	t.Note(at(20), "n2 died by itself: exit status 2")
	t.Step(runner.Step{Name: "wait for quiet", Detail: "n1 knows no leader in term 9", State: runner.StepFailed, Took: at(15)})
	t.conclude(runner.Conclusion{Dir: "results/runs/verify/20261124T091500Z", Report: report()},
		runner.Options{Repeat: "coup verify --env netns --seed 271828"})
}

func report() checker.Report {
	return checker.Report{
		Verdict: checker.Unavailable,
		Reasons: []checker.Reason{{Verdict: checker.Unavailable, Checker: "run",
			Text: "No quiet within 15s of healing: n1 knows no leader in term 9, although all of the others have answered that they follow n5 in term 9."}},
		Checkers: []checker.Result{
			{Name: "linearizability", Verdict: checker.Pass, Summary: "12,354 operations on 61 keys are linearizable."},
			{Name: "availability", Verdict: checker.Unavailable, Summary: "No quiet after healing."},
		},
		Faults: []checker.FaultCount{{Fault: "isolate-leader", Planned: 2, Installed: 2, Healed: 2}},
		Coverage: checker.Coverage{Rows: []checker.CoverageRow{{
			Fault: "isolate-leader", Windows: 2, InForce: 8100 * time.Millisecond,
			Read: checker.Count{Invoked: 600, OK: 543}, Write: checker.Count{Invoked: 300, OK: 222}, CAS: checker.Count{Invoked: 280, OK: 199},
			OKAfter: 3210,
		}}},
		Stats: checker.Stats{
			Ops: []checker.OpStats{
				{F: history.Read, Invoked: 5000, OK: 4990, Fail: 10, P50: 900 * time.Microsecond, P99: 21 * time.Millisecond, Max: 1400 * time.Millisecond},
				{F: history.Write, Invoked: 4000, OK: 3990, Info: 10, P50: 2300 * time.Microsecond, P99: 44 * time.Millisecond, Max: 1500 * time.Millisecond},
			},
			Gap: checker.Span{From: 0, To: 1200 * time.Millisecond},
		},
	}
}

// Catches output that a person, or a job's log, can no longer read.
func TestPlainTerminal(t *testing.T) {
	var out bytes.Buffer
	story(&terminal{out: &out, width: func() int { return 80 }})
	require.NotContains(t, out.String(), "\x1b", "no escape sequence where there is no terminal")
	require.NotContains(t, out.String(), "\r")
	for line := range strings.Lines(out.String()) {
		require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), 80, line)
		require.Equal(t, strings.TrimRight(line, " \n"), strings.TrimRight(line, "\n"), "no blanks at the end")
	}
	golden := filepath.Join("testdata", "plain.golden")
	if *update {
		require.NoError(t, os.WriteFile(golden, out.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
}

var escape = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)

// Catches a live line that wraps, which cannot be redrawn and fills the screen.
func TestLiveTerminal(t *testing.T) {
	for _, width := range []int{20, 40, 80, 200} {
		var out bytes.Buffer
		term := &terminal{out: &out, live: true, colour: true, width: func() int { return width }}
		term.Step(runner.Step{Name: "start 5 nodes", Detail: strings.Repeat("long ", 50), State: runner.StepUnderWay})
		term.Progress(runner.Progress{Now: time.Hour, Left: time.Hour, OK: 123456789, Fail: 12345, Info: 1234, Rate: 12345, Leader: "n12", Term: 123, Fault: "isolate-leader n12"})
		require.NotContains(t, out.String(), "\n")
		for _, line := range strings.Split(out.String(), "\r") {
			require.Less(t, utf8.RuneCountInString(escape.ReplaceAllString(line, "")), width)
		}
		term.Note(0, "permanent")
		require.True(t, strings.HasSuffix(out.String(), "\n"))
		require.Contains(t, out.String(), "\r\x1b[2K", "the live line is taken away before what is permanent")
	}
}

// Catches figures that mislead.
func TestFigures(t *testing.T) {
	require.Equal(t, "1,234,567", count(1234567))
	require.Equal(t, "999", count(999))
	require.Equal(t, "-1,000", count(-1000))
	require.Equal(t, "1:05", clock(64001*time.Millisecond))
	require.Equal(t, "90µs", latency(90*time.Microsecond))
	require.Equal(t, "900µs", latency(900*time.Microsecond))
	require.Equal(t, "10ms", latency(9960*time.Microsecond))
	require.Equal(t, "1.5s", latency(1500*time.Millisecond))
	require.Equal(t, "ab…", shorten("abcdef", 3))
	require.Equal(t, []string{"a bb", "longword", "c"}, wrap("a bb longword c", 5))
}

// Catches reasons that hide what came first, or cross from one verdict to another.
func TestForemost(t *testing.T) {
	hole := checker.Reason{Verdict: checker.Inconclusive, Checker: checker.NameCoverage}
	interrupt := checker.Reason{Verdict: checker.Inconclusive, Checker: runner.NameRun}
	broken := checker.Reason{Verdict: checker.Violation, Checker: checker.NameLinearizability}
	require.Equal(t, []checker.Reason{broken, interrupt, hole}, foremost([]checker.Reason{broken, hole, interrupt}))
}

// Catches a command line that, pasted, runs something else.
func TestRepeat(t *testing.T) {
	cmd := newRun()
	require.NoError(t, cmd.ParseFlags([]string{
		"--duration", "2m", "--lose-unsynced=false", "--results", "my runs", "--node-flag=--tick=10ms", "--seed", "1", "--env", "auto",
	}))
	require.Equal(t, "run --duration 2m0s --lose-unsynced=false --node-flag=--tick=10ms --results 'my runs' --env netns --seed 9",
		repeat(cmd, "netns", 9, ""))
	cmd = newRun()
	require.NoError(t, cmd.ParseFlags([]string{"--faults", "network", "--nodes", "3"}))
	require.Equal(t, "run --faults loss=5%,split:2 --nodes 3 --env netns --seed 9", repeat(cmd, "netns", 9, "loss=5%,split:2"),
		"a group may be another elsewhere")
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/mutants"
	"coup/nemesis"
	"coup/runner"
)

// Catches a replay that does another thing than what was recorded: in the simulator both are the same run, to the letter.
func TestAReplayedRunIsTheSame(t *testing.T) {
	results := t.TempDir()
	require.Equal(t, 0, execute([]string{"run", "--env", "sim", "--seed", "4", "--duration", "20s", "--faults", "split,kill-leader", "--results", results}))
	first, err := filepath.EvalSymlinks(filepath.Join(results, "runs", "latest"))
	require.NoError(t, err)
	require.Equal(t, 0, execute([]string{"replay", "--results", results, first}))
	again, err := filepath.EvalSymlinks(filepath.Join(results, "runs", "latest"))
	require.NoError(t, err)
	require.NotEqual(t, first, again)
	for _, file := range []string{"history.jsonl", "faults.jsonl"} {
		want, err := os.ReadFile(filepath.Join(first, file))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(again, file))
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), file)
	}
	// What passed has no cause to look for.
	require.Equal(t, exitUsage, execute([]string{"bisect", "--results", results, first}))
}

func TestReplayRefuses(t *testing.T) {
	results := t.TempDir()
	require.Equal(t, exitUsage, execute([]string{"replay", "--results", results}), "nothing was run yet")
	require.Equal(t, 0, execute([]string{"run", "--env", "sim", "--seed", "1", "--duration", "10s", "--faults", "none", "--results", results}))
	require.Equal(t, exitUsage, execute([]string{"replay", "--results", results}), "no fault was installed")
	dir, err := filepath.EvalSymlinks(filepath.Join(results, "runs", "latest"))
	require.NoError(t, err)
	for what, line := range map[string]string{
		"another version": `{"id":1,"fault":"split","phase":"install","start":4000000000,"end":4000000000,"result":"installed"}`,
		"unknown fault":   `{"id":1,"fault":"meteorite","seed":1,"phase":"install","start":4000000000,"end":4000000000,"result":"installed"}`,
		"no install":      `{"id":1,"fault":"split","seed":1,"phase":"heal","start":4000000000,"end":4000000000,"result":"healed"}`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "faults.jsonl"), []byte(line+"\n"), 0o600))
		require.Equal(t, exitUsage, execute([]string{"replay", "--results", results}), what)
	}
}

// A run of a leader that answers reads by itself fails under many faults, and for one of them.
func TestBisectASeededBug(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds this program with a bug")
	}
	t.Chdir("../..")
	dir := t.TempDir()
	chosen, err := chooseMutants("mutants", []string{"stale-read"})
	require.NoError(t, err)
	binary := filepath.Join(dir, "stale-read")
	require.NoError(t, chosen[0].Build(context.Background(), ".", mutants.Suite, binary))
	run := func(args ...string) (string, error) {
		out, err := exec.Command(binary, append(args, "--results", dir)...).CombinedOutput()
		return string(out), err
	}
	for _, seed := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
		_, err := run("run", "--env", "sim", "--faults", "split,isolate-leader,kill-all,pause-leader", "--seed", seed)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			continue
		}
		if text, err := os.ReadFile(filepath.Join(dir, "runs", "latest", "faults.jsonl")); err != nil || len(text) == 0 {
			continue
		}
		out, err := run("bisect")
		require.NoError(t, err, out)
		require.Contains(t, out, "1 fault of ")
		require.Contains(t, out, "which failed in 1 of 1 run")
		kept, err := filepath.Glob(filepath.Join(dir, "bisect", "runs", "bisect", "*"))
		require.NoError(t, err)
		require.Len(t, kept, 1, "of the runs only the last that failed is kept")
		return
	}
	require.Fail(t, "the bug was not seen under a fault")
}

// Catches a number that loses its last digits on its way through the files.
func TestOptionsComeBackAsTheyWere(t *testing.T) {
	o := runner.Defaults()
	o.Seed = 1<<64 - 3
	o.Schedule = []nemesis.Planned{{ID: 3, Seed: 1<<63 + 1, Fault: "split", At: time.Second, HealAt: 2 * time.Second}}
	text, err := json.Marshal(o)
	require.NoError(t, err)
	var back runner.Options
	require.NoError(t, json.Unmarshal(text, &back))
	back.Results = o.Results
	require.Equal(t, o, back)
}

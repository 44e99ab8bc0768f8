package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coup/mutants"
	"coup/scenario"
	"coup/shrink"
)

// A run that fails is cut down to a scenario that fails by the same check, of which every line can be played and none
// can be left out. `coup mutants --env sim --play` does this for every seeded bug.
func TestShrinkASeededBug(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds this program with a bug")
	}
	dir := t.TempDir()
	chosen, err := chooseMutants("../../mutants", []string{"acknowledged-too-early"})
	require.NoError(t, err)
	c := &campaign{mutants: chosen, work: dir, scenarios: dir, shrink: true, seed: 1, jobs: 1}
	t.Chdir("../..")
	sound := filepath.Join(dir, "sound")
	require.NoError(t, mutants.BuildUnpatched(context.Background(), ".", mutants.Suite, sound))
	s := c.shorten(context.Background(), chosen[0], sound)
	require.NoError(t, s.err)
	require.Equal(t, "I10", s.check)
	require.LessOrEqual(t, s.lines, shrink.Short)
	text, err := os.ReadFile(filepath.Join(dir, shrunkFolder, "acknowledged-too-early.txt"))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(text), "# I10: "), string(text))
	parsed, err := scenario.Parse("shrunk", string(text))
	require.NoError(t, err)
	require.True(t, parsed.Run(scenario.Options{}).Passed, "it passes without the bug")
}

// A scenario that fails by no check is not cut down to nothing.
func TestShrinkRefusesWhatPasses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passes.txt")
	require.NoError(t, os.WriteFile(file, []byte("# It passes.\ncluster of 3\ntick until cluster.hasLeader\n"), 0o600))
	require.Equal(t, exitHarness, execute([]string{"shrink", file}))
	require.Equal(t, exitUsage, execute([]string{"shrink", "--budget", "0s", file}))
}

package shrink

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/scenario"
)

// drifting breaks a promise of the environment, so that a correct node fails: a clock that runs far faster than others
// makes lease reads stale.
var drifting = strings.Split(`cluster of 5 with seed 9, leaseDrift 1, snapshotEvery 50
tick 3 1
tick 4 1
tick until cluster.hasLeader
deliver all
client transfer to 2
deliver all
client write k 812 at 2
client read k stale at 4
deliver append from 4 to 1
deliver all
tick 2 1
tick 2 1
deliver all
crash 4
tick 0 1
tick 1 1
tick 3 1
start 4
deliver all
isolate 2
tick 1,3 40
let heir be 3
campaign 3
deliver all among 0,1,3
tick 0,1,4 11
campaign 3
deliver all among 0,1,3
client write k 813 at heir
deliver all among 0,1,3
client read k by lease at 2
tick 0 1
tick 1 1`, "\n")

// A shrunk scenario in which a line cannot be played, or does nothing, or that fails by another check, is none.
func TestShrink(t *testing.T) {
	before := scenario.Replay(drifting, scenario.Options{})
	require.Equal(t, "I16", before.Check, before.Text)
	shrunk, err := Shrink(drifting, "I16", Options{Budget: time.Minute, Workers: 2})
	require.NoError(t, err)
	require.LessOrEqual(t, len(shrunk.Lines), Short, strings.Join(shrunk.Lines, "\n"))
	after := scenario.Replay(shrunk.Lines, scenario.Options{Unhealed: true})
	require.Equal(t, "I16", after.Check)
	require.NotContains(t, after.Played, false)
	if shrunk.Ended {
		for i := 1; i < len(shrunk.Lines); i++ {
			r := scenario.Replay(slices.Delete(slices.Clone(shrunk.Lines), i, i+1), scenario.Options{Unhealed: true})
			require.NotEqual(t, "I16", r.Check, "without %q it still fails", shrunk.Lines[i])
		}
	}
	parsed, err := scenario.Parse("shrunk", shrunk.Scenario())
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(parsed.Title, "I16: "))
	require.Equal(t, "I16", parsed.Run(scenario.Options{}).Check)
}

// What the program without the bug fails, too, is not the bug's.
func TestShrinkAsksTheSoundProgram(t *testing.T) {
	sound := func(lines []string) (scenario.Replayed, error) {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "stale") }) {
			return scenario.Replayed{Check: "I16"}, nil
		}
		return scenario.Replayed{}, nil
	}
	shrunk, err := Shrink(drifting, "I16", Options{Budget: 5 * time.Second, Sound: sound})
	require.NoError(t, err)
	require.Contains(t, strings.Join(shrunk.Lines, "\n"), "stale")
}

func TestShrinkRefusesWhatFailsOtherwise(t *testing.T) {
	_, err := Shrink(drifting, "I4", Options{})
	require.ErrorIs(t, err, ErrNotSame)
}

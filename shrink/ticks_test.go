package shrink

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Ticks that are gathered across a line that names their node would come before what they came after.
func TestGather(t *testing.T) {
	lines := []string{
		"cluster of 3", "tick 0 1", "tick 1 1", "tick 2 1", "tick 0 1", "campaign 0", "tick 1 1", "deliver vote from 0 to 1", "tick 2 1", "deliver all", "tick 1 2",
	}
	require.Equal(t, []string{
		"cluster of 3", "tick 0 2", "campaign 0", "tick 1 2", "deliver vote from 0 to 1", "tick 2 2", "deliver all", "tick 1 2",
	}, gather(lines, true))
	require.Equal(t, []string{
		"cluster of 3", "tick 0 2", "tick 1,2 1", "campaign 0", "tick 1 1", "deliver vote from 0 to 1", "tick 2 1", "deliver all", "tick 1 2",
	}, gather(lines, false))
}

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/api"
)

// Catches a manual that names commands and flags that there are not, or a refusal or a phase that it leaves out.
func TestManualIsTrue(t *testing.T) {
	b, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	manual := string(b)
	commands := 0
	for line := range strings.Lines(manual) {
		line, example := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "    raftnode ")
		if !example {
			continue
		}
		commands++
		fields := strings.Fields(line)
		if strings.HasPrefix(fields[0], "--") {
			_, err := parse(line)
			require.NoError(t, err, line)
			continue
		}
		c, rest, err := newRoot().Find(fields)
		require.NoError(t, err, line)
		require.True(t, c.HasParent(), line)
		require.NoError(t, c.ParseFlags(rest), line)
		require.NoError(t, c.ValidateArgs(c.Flags().Args()), line)
		for _, arg := range c.Flags().Args() {
			_, err := parseMember("", arg)
			require.NoError(t, err, line)
		}
	}
	require.Greater(t, commands, 15)
	for _, e := range []api.ErrorType{
		api.NotLeader, api.NotReady, api.ChangeInFlight, api.Lagging, api.ChangeRefused, api.Transferring, api.TransferRefused,
		api.TransferFailed, api.SnapshotCurrent, api.Superseded, api.Overloaded, api.Timeout, api.Unavailable, api.BadRequest,
	} {
		require.Contains(t, manual, "| `"+string(e)+"` |")
	}
	for _, p := range []api.Phase{api.PhaseBlank, api.PhaseFounded, api.PhaseJoining, api.PhaseOutside, api.PhaseMember, api.PhaseRemoved} {
		require.Contains(t, manual, "| `"+string(p)+"` |")
	}
}

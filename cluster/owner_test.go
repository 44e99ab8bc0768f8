package cluster

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// Catches an owner that does not survive being written down, and one that counts a stranger with a
// recycled pid as alive: its leavings would then never be removed.
func TestOwnerOutlivesItsName(t *testing.T) {
	self, err := Self()
	require.NoError(t, err)
	again, err := ParseOwner(self.String())
	require.NoError(t, err)
	require.Equal(t, self, again)
	require.True(t, again.Alive())
	again.Started++
	require.False(t, again.Alive(), "another process with our pid is not us")
}

// Catches leavings of a dead run that are kept for ever.
func TestDeadOwner(t *testing.T) {
	child := exec.Command("/proc/self/exe", "-test.run=^$")
	require.NoError(t, child.Start())
	started, err := startTime(child.Process.Pid)
	require.NoError(t, err)
	self, err := Self()
	require.NoError(t, err)
	owner := Owner{PID: child.Process.Pid, Started: started, Namespace: self.Namespace}
	require.NoError(t, child.Wait())
	require.False(t, owner.Alive())
}

// Catches a clean-up inside a PID namespace that takes a run outside for dead, and its data away from
// under it: the cluster would seem to have lost everything.
func TestAnOwnerInAnotherNamespaceIsNotKnownToBeDead(t *testing.T) {
	self, err := Self()
	require.NoError(t, err)
	self.PID, self.Namespace = 1<<30, self.Namespace+1
	require.True(t, self.Alive())
}

// Catches names that are no owner's: a clean-up must not guess.
func TestParseOwnerRejects(t *testing.T) {
	for _, s := range []string{"", "12", "12-", "-5", "x-1", "0-1-1", "12-5", "x-1-1", "1-x-1", "1-1-x", "-1-1", "12-5-7-9"} {
		_, err := ParseOwner(s)
		require.Error(t, err, s)
	}
}

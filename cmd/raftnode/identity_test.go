package main

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"coup/raftnode/faultfs"
)

// Would catch a first start that a power failure ends while the node's name is written, and after which the directory is
// another's: the first half of a name is a name, too.
func TestClaimOutlivesATornWrite(t *testing.T) {
	for seed := range uint64(30) {
		base := vfs.NewMem()
		require.NoError(t, base.MkdirAll("/data", 0o755))
		fs, disk := faultfs.NewBreakable(base, func(string) {})
		disk.Break(faultfs.Faults{Tear: &seed})
		require.Error(t, claim(fs, "/data", "node-1"))
		require.NoError(t, claim(base, "/data", "node-1"), "seed %d", seed)
		require.Error(t, claim(base, "/data", "node"))
	}
}

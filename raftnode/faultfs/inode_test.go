package faultfs

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// Would catch descriptors and memory that grow with every file ever touched.
func TestCleanFilesAreForgotten(t *testing.T) {
	fs := New(vfs.NewMem())
	f, err := fs.Create("a", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, fs.Link("a", "b"))
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	require.Len(t, fs.inodes, 2, "two names of one file are only known here")
	require.NoError(t, fs.Remove("b"))
	require.Empty(t, fs.inodes)

	f, err = fs.OpenReadWrite("a", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write([]byte("y"))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Len(t, fs.inodes, 1, "what is not synced is kept")
	require.NoError(t, fs.Remove("a"))
	require.Empty(t, fs.inodes)
}

package version

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFileTellsWhatTheProgramSaysOfItself(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	require.Equal(t, Self(), File(self))
}

func TestFileOfWhatIsNoProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(path, []byte("no program"), 0o600))
	require.Equal(t, "unknown", File(path))
	require.Equal(t, "unknown", File(path+"-missing"))
}

package scenario

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// files are all scenarios in testdata.
func files(t *testing.T) (found []string) {
	require.NoError(t, filepath.WalkDir("testdata", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".txt") {
			found = append(found, path)
		}
		return err
	}))
	return found
}

func TestScenarios(t *testing.T) {
	for _, file := range files(t) {
		t.Run(strings.TrimPrefix(strings.TrimSuffix(file, ".txt"), "testdata/"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			s, err := Parse(file, string(text))
			require.NoError(t, err)
			require.NotEmpty(t, s.Title, "each scenario opens with a sentence that says what it shows")
			r := s.Run(Options{})
			require.True(t, r.Passed, "%s\n%s", r.Error, r.State)
		})
	}
}

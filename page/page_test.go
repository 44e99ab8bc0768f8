package page

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Catches a page that loses what people wrote around the table, or another table, and a table that
// grows at each run.
func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "performance.md")
	write := func(name, text string) string {
		require.NoError(t, Write(path, "Performance", name, "`make "+name+"` writes this.", text))
		page, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(page)
	}
	page := write("bench", "one\n")
	require.Equal(t, "# Performance\n\n`make bench` writes this.\n\n<!-- bench: begin -->\none\n<!-- bench: end -->\n", page)
	require.NoError(t, os.WriteFile(path, []byte(page+"\nwritten by hand\n"), 0o644))
	write("simulator", "three\n")
	page = write("bench", "two\n")
	require.Contains(t, page, "<!-- bench: begin -->\ntwo\n<!-- bench: end -->")
	require.Contains(t, page, "<!-- simulator: begin -->\nthree\n<!-- simulator: end -->")
	require.NotContains(t, page, "one")
	require.Contains(t, page, "written by hand")

	require.NoError(t, os.WriteFile(path, []byte("<!-- bench: begin -->"), 0o644))
	require.ErrorContains(t, Write(path, "Performance", "bench", "", "four"), "<!-- bench: end -->")
}

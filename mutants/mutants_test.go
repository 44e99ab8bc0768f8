package mutants

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const header = `rule: nothing is acknowledged in vain
detector: linearizability
budget: 45s
run: --nodes 3 --faults kill-leader

`

const change = `--- a/word.go
+++ b/word.go
@@ -1,3 +1,3 @@
 package word
 
-const Word = "right"
+const Word = "wrong"
`

func TestParse(t *testing.T) {
	m, err := Parse("word", []byte(header+change))
	require.NoError(t, err)
	require.Equal(t, "nothing is acknowledged in vain", m.Rule)
	require.Equal(t, 45*time.Second, m.Budget)
	require.Equal(t, []string{"--nodes", "3", "--faults", "kill-leader"}, m.Run)
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"it changes no file":         header,
		"the header must give":       change,
		"the header knows rule":      "rul: x\n" + header + change,
		"budget":                     "budget: soon\n" + change,
		"not a unified diff":         header + "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n one\n",
		"rule, detector, budget and": "rule: x\n" + change,
	} {
		_, err := Parse("word", []byte(text))
		require.ErrorContains(t, err, name)
	}
}

func TestOverlayChangesACopyOnly(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	source := "package word\n\nconst Word = \"right\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(root, "word.go"), []byte(source), 0o600))
	m, err := Parse("word", []byte(header+change))
	require.NoError(t, err)
	_, err = m.overlay(root, dir)
	require.NoError(t, err)
	patched, err := os.ReadFile(filepath.Join(dir, "word-0.go"))
	require.NoError(t, err)
	require.Equal(t, "package word\n\nconst Word = \"wrong\"\n", string(patched))
	untouched, err := os.ReadFile(filepath.Join(root, "word.go"))
	require.NoError(t, err)
	require.Equal(t, source, string(untouched))
}

func TestOverlayRefusesAPatchThatNoLongerFits(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "word.go"), []byte("package word\n\nconst Word = \"moved\"\n"), 0o600))
	m, err := Parse("word", []byte(header+change))
	require.NoError(t, err)
	_, err = m.overlay(root, t.TempDir())
	require.ErrorContains(t, err, "no longer fits word.go")
}

// A mutant that fits the code no more proves nothing: it must be noticed by the ordinary tests.
func TestEveryMutantFitsTheCode(t *testing.T) {
	all, err := Load(".")
	require.NoError(t, err)
	for _, m := range all {
		_, err := m.overlay("..", t.TempDir())
		require.NoError(t, err, m.Name)
	}
}

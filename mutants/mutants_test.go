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
		"it changes no file":    header,
		"must give the rule":    change,
		"the header knows rule": "rul: x\n" + header + change,
		"budget":                "budget: soon\n" + change,
		"not a unified diff":    header + "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n one\n",
		"must give a detector":  "rule: x\n" + change,
		"or else say benign":    "benign: true\n" + header + change,
		"must give a run":       "rule: x\ndetector: y\nsweep: no\n" + change,
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

func TestAMutantForTheSimulatorAlone(t *testing.T) {
	m, err := Parse("word", []byte("rule: x\ndetector: I4\nsource: somewhere\nsweep: --nodes 3\n"+change))
	require.NoError(t, err)
	require.Empty(t, m.Run)
	require.Equal(t, defaultBudget, m.Budget)
	require.Equal(t, []string{"--nodes", "3"}, m.Sweep)
	m, err = Parse("word", []byte("rule: x\nbenign: true\n"+change))
	require.NoError(t, err)
	require.True(t, m.Benign)
}

// Catches a patch that is refused because something was added above, and one that is applied where it
// does not belong.
func TestAPatchFollowsItsLines(t *testing.T) {
	m, err := Parse("word", []byte(header+change))
	require.NoError(t, err)
	for source, want := range map[string]string{
		"// one\n// two\npackage word\n\nconst Word = \"right\"\n": "// one\n// two\npackage word\n\nconst Word = \"wrong\"\n",
		"// one\npackage word\n\nconst Word = \"rigth\"\n":         "",
	} {
		root, dir := t.TempDir(), t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(root, "word.go"), []byte(source), 0o600))
		_, err = m.overlay(root, dir)
		if want == "" {
			require.ErrorContains(t, err, "no longer fits")
			continue
		}
		require.NoError(t, err)
		patched, err := os.ReadFile(filepath.Join(dir, "word-0.go"))
		require.NoError(t, err)
		require.Equal(t, want, string(patched))
	}
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

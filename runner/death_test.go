package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coup/checker"
	"coup/cluster"
)

// Catches a node's own confession taken for a failure of the suite, and a refusal or a killing by
// the machine taken for a bug of the node.
func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name string
		log  []string
		want checker.Verdict
	}{
		{"broken invariant", []string{`{"level":"ERROR","err":"raft: broken invariant: two leaders in term 4"}`, "bye"}, checker.Violation},
		{"panic", []string{"panic: runtime error: index out of range", "goroutine 1 [running]:"}, checker.Violation},
		{"the runtime gives up", []string{"fatal error: concurrent map writes"}, checker.Violation},
		{"a log that does not read back", []string{"store: corrupt entry at 17"}, checker.Violation},
		{"an invariant, then no space", []string{"no space left on device", "raft: broken invariant: gap"}, checker.Violation},
		{"no port", []string{"listen tcp :8080: bind: address already in use"}, checker.Harness},
		{"no space, and a panic over it", []string{"panic: write: no space left on device"}, checker.Harness},
		{"killed by the machine", nil, checker.Harness},
		{"killed by the machine at work", []string{"serving"}, checker.Harness},
	} {
		t.Run(test.name, func(t *testing.T) {
			reason := judge(cluster.Death{Node: "n2", Exit: "exit status 2"}, test.log)
			require.Equal(t, test.want, reason.Verdict)
			require.Contains(t, reason.Text, "n2 died, and nobody killed it (exit status 2)")
		})
	}
}

// Catches a confession that is lost because a long trace follows it.
func TestLogOf(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "nodes", "n1", "node.log")
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte("panic: x\n"+strings.Repeat("\ttrace\n", 1000)), 0o644))
	death := cluster.Death{Node: "n1", Exit: "exit status 2", Log: []string{"\ttrace"}}
	require.Equal(t, checker.Violation, judge(death, logOf(dir, death)).Verdict)
	require.Equal(t, []string{"\ttrace"}, logOf(t.TempDir(), death))
}

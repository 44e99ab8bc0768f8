package scenario

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Catches a verb that is shown by an example which does not work, or by none.
func TestExamplesPlay(t *testing.T) {
	for _, v := range Verbs() {
		t.Run(v.Name, func(t *testing.T) {
			require.NotEmpty(t, v.Example)
			require.NotEmpty(t, v.Usage)
			lines := v.Example
			if v.Name != "cluster" {
				lines = append([]string{"cluster of 3", "tick until cluster.hasLeader", "tick 2"}, lines...)
			}
			s, err := Parse(v.Name, strings.Join(lines, "\n"))
			require.NoError(t, err)
			if v.Name == "expect" {
				return
			}
			r := s.Run(Options{})
			require.True(t, r.Passed, "%s\n%s", r.Error, r.State)
		})
	}
}

// Catches a name, a kind of message or a setting that nobody is told about.
func TestAllIsDescribed(t *testing.T) {
	for _, n := range Names() {
		require.NotEmpty(t, n.Text, n.Pattern)
	}
	for _, w := range append(NodeWords(), MessageKinds()...) {
		require.NotEmpty(t, w.Text, w.Name)
	}
	for _, s := range Settings() {
		require.NotEmpty(t, s.Text, s.Name)
	}
}

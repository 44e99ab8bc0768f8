package scenario

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tutorial is a page with sessions in it.
const tutorial = "../docs/repl.md"

const (
	indent = "    "
	prompt = indent + "coup> "
)

// Catches a tutorial that shows what nobody will see: every line that it types is played, in one session until it begins
// another, and what is printed must be what it shows. -update rewrites it.
func TestTutorial(t *testing.T) {
	data, err := os.ReadFile(tutorial)
	require.NoError(t, err)
	played, saved := play(string(data))
	if *update {
		require.NoError(t, os.WriteFile(tutorial, []byte(played), 0o644))
	} else {
		require.Equal(t, played, string(data), "go test ./scenario -run Tutorial -update")
	}
	require.Len(t, saved, 2)
	for name, text := range saved {
		sc, err := Parse(name, text.String())
		require.NoError(t, err)
		r := sc.Run(Options{})
		require.True(t, r.Passed, r.Error)
	}
}

// play is a page with what each prompt of it prints, and what was saved.
func play(page string) (played string, saved shelf) {
	saved = shelf{}
	s := NewSession(saved)
	var b strings.Builder
	shown := false // output, which is replaced
	for line := range strings.Lines(page) {
		typed, isPrompt := strings.CutPrefix(line, prompt)
		switch {
		case isPrompt:
			b.WriteString(line)
			b.WriteString(shows(s, typed))
			shown = true
		case shown && strings.HasPrefix(line, indent):
		default:
			shown = false
			b.WriteString(line)
		}
		if line == indent+"$ bin/coup repl\n" {
			s.Close()
			s = NewSession(saved)
		}
	}
	s.Close()
	return b.String(), saved
}

// shows is what a line prints at a terminal, indented.
func shows(s *Session, line string) string {
	output, err := s.Do(line)
	if err != nil {
		output += err.Error() + "\n" + err.(*Error).State
	}
	var b strings.Builder
	for line := range strings.Lines(output) {
		b.WriteString(indent + line)
	}
	return b.String()
}

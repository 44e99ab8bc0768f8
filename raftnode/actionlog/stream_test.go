package actionlog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Catches a stream that loses actions, does not say when it began, or goes on behind half a line.
func TestAStreamGoesOnBehindTheLastWholeLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "actions.ndjson")
	first, err := OpenStream(path)
	require.NoError(t, err)
	for range 100 {
		first.Tell(Action{Kind: Term, Node: "n1", Term: 1})
	}
	require.NoError(t, first.Close())
	first.Tell(Action{Kind: Note, Text: "too late"})
	require.NoError(t, first.Close(), "closed twice")

	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteString(`{"number":101,"kind":`)
	require.NoError(t, errors.Join(err, file.Close()))

	second, err := OpenStream(path)
	require.NoError(t, err)
	second.Tell(Action{Kind: Start, Node: "n1"})
	second.Tell(Action{Kind: Stop, Node: "n1"})
	require.NoError(t, second.Close())

	actions, torn, err := ReadFile(path)
	require.NoError(t, err)
	require.False(t, torn)
	require.Len(t, actions, 102)
	require.Equal(t, uint64(100), actions[99].Number)
	require.Equal(t, uint64(1), actions[100].Number)
	for i, a := range actions {
		require.Equal(t, i == 0 || i == 100, a.Began != 0, "action %d", i)
	}
	merged := Merge(actions)
	require.Equal(t, uint64(102), merged[101].Number)
	require.GreaterOrEqual(t, merged[100].Time, merged[99].Time, "the second life comes after the first")
}

// Catches a first line longer than what is looked at at once.
func TestAStreamRemovesALongHalfLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "actions.ndjson")
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("x"), 200<<10), 0o644))
	s, err := OpenStream(path)
	require.NoError(t, err)
	s.Tell(Action{Kind: Note, Text: "alone"})
	require.NoError(t, s.Close())
	actions, _, err := ReadFile(path)
	require.NoError(t, err)
	require.Len(t, actions, 1)
}

// hung takes nothing until it is let go.
type hung struct {
	bytes.Buffer
	free chan struct{}
}

func (h *hung) Write(p []byte) (int, error) {
	<-h.free
	return h.Buffer.Write(p)
}

// Catches a stream that keeps the node waiting for a disk that hangs, or does not say what it dropped.
func TestAStreamDropsAndCountsWhatTheDiskHasNoRoomFor(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	out := &hung{free: make(chan struct{})}
	s := newStream(file, out)
	const told = 3 * streamQueue
	begun := time.Now()
	for range told {
		s.Tell(Action{Kind: Term, Node: "n1", Term: 1})
	}
	require.Less(t, time.Since(begun), 10*time.Second)
	close(out.free)
	require.NoError(t, s.Close())
	actions, _, err := Decode(&out.Buffer)
	require.NoError(t, err)
	written, missing := 0, 0
	for _, a := range actions {
		if a.Kind == Note {
			var n int
			_, err := fmt.Sscanf(a.Text, "%d actions are missing", &n)
			require.NoError(t, err)
			missing += n
			continue
		}
		written++
	}
	require.Positive(t, missing)
	require.Equal(t, told, written+missing)
}

// Catches an error of the disk that nobody hears of.
func TestAStreamTellsThatItCouldNotWrite(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	s := newStream(file, failing{})
	s.Tell(Action{Kind: Note})
	require.ErrorIs(t, s.Close(), errFailing)
}

type failing struct{}

var errFailing = errors.New("no space")

func (failing) Write([]byte) (int, error) { return 0, errFailing }

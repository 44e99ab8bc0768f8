package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const example = `{"index":0,"time":1200345,"process":3,"type":"invoke","f":"cas","key":"k17","value":[4,9],"node":"n2"}`

// Catches any change of the file format, which outlives the program.
func TestFormatIsTheDocumentedOne(t *testing.T) {
	event := Event{Time: 1200345, Process: 3, Type: Invoke, F: CAS, Key: "k17", Value: Pair{4, 9}, Node: "n2"}
	text, err := json.Marshal(event)
	require.NoError(t, err)
	require.Equal(t, example, string(text))
	var back Event
	require.NoError(t, json.Unmarshal([]byte(example), &back))
	require.Equal(t, event, back)

	read := Event{
		Index: 7, Time: 5 * time.Second, Process: 13, Type: OK, F: Read, Key: "k1", Node: "n1",
		Value: Int(-9007199254740993), Revision: 1 << 60, Term: 4, Error: "odd",
	}
	text, err = json.Marshal(read)
	require.NoError(t, err)
	require.JSONEq(t, `{"index":7,"time":5000000000,"process":13,"type":"ok","f":"read","key":"k1",
		"value":-9007199254740993,"node":"n1","revision":1152921504606846976,"term":4,"error":"odd"}`, string(text))
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, read, back)
}

// Catches a reader that takes damage for data.
func TestDecodeRefusesDamage(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(example, old, new, 1) }
	for name, bad := range map[string]string{
		"not JSON":            "history",
		"empty line":          "",
		"unknown field":       replace(`"node"`, `"host":"n2","node"`),
		"no index":            replace(`"index":0,`, ``),
		"no time":             replace(`"time":1200345,`, ``),
		"no process":          replace(`"process":3,`, ``),
		"no key":              replace(`"key":"k17",`, ``),
		"no value":            replace(`"value":[4,9],`, ``),
		"no node":             replace(`,"node":"n2"`, ``),
		"null type":           replace(`"invoke"`, `null`),
		"unknown type":        replace(`invoke`, `call`),
		"unknown operation":   replace(`cas`, `append`),
		"fraction":            replace(`1200345`, `1200345.5`),
		"text value":          replace(`[4,9]`, `"4"`),
		"value of one number": replace(`[4,9]`, `[4]`),
		"value of three":      replace(`[4,9]`, `[4,9,1]`),
		"two in a line":       example + example,
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Decode(strings.NewReader(example + "\n" + bad + "\n" + example + "\n"))
			var damage *FormatError
			require.ErrorAs(t, err, &damage)
			require.Equal(t, 2, damage.Line)
			require.NotEmpty(t, damage.What)
		})
	}
}

// Catches a reader that refuses the history of a killed run, or that hides that it is torn.
func TestDecodeToleratesATornEnd(t *testing.T) {
	for cut := 1; cut < len(example); cut++ {
		events, torn, err := Decode(strings.NewReader(example + "\n" + example[:cut]))
		require.NoError(t, err)
		require.True(t, torn, "cut at %d", cut)
		require.Len(t, events, 1)
	}
	events, torn, err := Decode(strings.NewReader(example + "\n" + example))
	require.NoError(t, err)
	require.False(t, torn, "only the newline is missing")
	require.Len(t, events, 2)
}

func TestReadFileNamesFileAndLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(example+"\nbroken\n"), 0o600))
	_, _, err := ReadFile(path)
	require.ErrorContains(t, err, path+", line 2: ")
}

// Catches a writer that keeps back what a killed process must not lose, and one that writes every
// event on its own.
func TestWriterFlushesByTimeAndSize(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	event := Event{Type: Invoke, F: Read, Key: "k1", Node: "n1"}
	lines := func() int { return bytes.Count(out.Bytes(), []byte{'\n'}) }
	for range 3 {
		require.NoError(t, w.Append(&event))
	}
	require.Zero(t, lines())
	require.EqualValues(t, 2, event.Index)
	require.NoError(t, w.Flush())
	require.Equal(t, 3, lines())

	event.Time = flushInterval - 1
	require.NoError(t, w.Append(&event))
	require.Equal(t, 3, lines())
	event.Time = flushInterval
	require.NoError(t, w.Append(&event))
	require.Equal(t, 5, lines(), "100 ms have passed since the last write")

	event.Key = strings.Repeat("k", flushSize)
	require.NoError(t, w.Append(&event))
	require.Equal(t, 6, lines(), "the buffer is full")

	events, torn, err := Decode(&out)
	require.NoError(t, err)
	require.False(t, torn)
	require.Len(t, events, 6)
	for i, e := range events {
		require.EqualValues(t, i, e.Index)
	}
}

type fullDisk struct{}

var errFull = errors.New("no space left on device")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWriterTellsThatTheDiskIsFull(t *testing.T) {
	w := NewWriter(fullDisk{})
	event := Event{Type: Invoke, F: Read, Key: "k1", Node: "n1"}
	require.NoError(t, w.Append(&event))
	require.ErrorIs(t, w.Flush(), errFull)
}

package actionlog

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documented are the examples of docs/action-log.md.
func documented(t testing.TB) (text string, actions []Action) {
	page, err := os.ReadFile("../../docs/action-log.md")
	require.NoError(t, err)
	text = regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(string(page))[1]
	actions, torn, err := Decode(strings.NewReader(text))
	require.NoError(t, err)
	require.False(t, torn)
	return text, actions
}

// Catches a schema that is not the documented one: an example that does not parse or is written otherwise, a kind
// without an example, and a field of which nothing is said.
func TestTheSchemaIsTheDocumentedOne(t *testing.T) {
	text, actions := documented(t)
	var again bytes.Buffer
	w := NewWriter(&again)
	seen := map[Kind]bool{}
	for _, a := range actions {
		seen[a.Kind] = true
		require.NoError(t, w.Write(a))
		require.NotEmpty(t, a.String())
		require.NotEmpty(t, a.short())
	}
	require.Equal(t, text, again.String())
	for _, k := range Kinds() {
		require.True(t, seen[k], "there is no example of %q", k)
	}
	page, err := os.ReadFile("../../docs/action-log.md")
	require.NoError(t, err)
	for _, of := range []reflect.Type{reflect.TypeFor[Action](), reflect.TypeFor[Message](), reflect.TypeFor[Run]()} {
		for i := range of.NumField() {
			field, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			require.Contains(t, string(page), "`"+field+"`", "field %s", field)
		}
	}
}

// Catches a reader that takes damage for data, or that does not say where it is.
func TestDecodeRefusesDamage(t *testing.T) {
	const good = `{"number":1,"time":5,"kind":"term","node":"n1","term":2}`
	for name, bad := range map[string]string{
		"not JSON":              "action",
		"an empty line":         "",
		"an unknown field":      `{"number":1,"time":5,"kind":"term","host":"n1"}`,
		"an unknown kind":       `{"number":1,"time":5,"kind":"elect","node":"n1"}`,
		"a negative time":       `{"number":1,"time":-5,"kind":"note"}`,
		"no message":            `{"number":1,"time":5,"kind":"send","node":"n1"}`,
		"a message from nobody": `{"number":1,"time":5,"kind":"lose","message":{"type":"vote","to":"n1"}}`,
		"a term of nobody":      `{"number":1,"time":5,"kind":"term","term":2}`,
		"a cut from nothing":    `{"number":1,"time":5,"kind":"cut","node":"n1"}`,
		"two in a line":         good + good,
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Decode(strings.NewReader(good + "\n" + bad + "\n" + good + "\n"))
			var damage *FormatError
			require.ErrorAs(t, err, &damage)
			require.Equal(t, 2, damage.Line)
		})
	}
}

// Catches a reader that takes what a killed process leaves for damage, or for an action.
func TestALastLineThatWasCutOffIsLeftOut(t *testing.T) {
	text, actions := documented(t)
	whole := strings.LastIndex(strings.TrimSuffix(text, "\n"), "\n") + 1
	got, torn, err := Decode(strings.NewReader(text[:whole+20]))
	require.NoError(t, err)
	require.True(t, torn)
	require.Equal(t, actions[:len(actions)-1], got)
}

// Catches a reader or a writer of diagrams that panics, and what is read and not written as it was.
func FuzzDecode(f *testing.F) {
	text, actions := documented(f)
	f.Add(text)
	for _, a := range actions {
		line, _ := json.Marshal(a)
		f.Add(string(line))
	}
	f.Fuzz(func(t *testing.T, text string) {
		actions, _, err := Decode(strings.NewReader(text))
		if err != nil {
			return
		}
		var again bytes.Buffer
		w := NewWriter(&again)
		for _, a := range actions {
			require.NoError(t, w.Write(a))
		}
		back, torn, err := Decode(&again)
		require.NoError(t, err)
		require.False(t, torn)
		require.Equal(t, len(actions), len(back))
		for _, draw := range []func() error{
			func() error { return SVG(&again, actions, View{}) },
			func() error { return Mermaid(&again, actions, View{}) },
			func() error { return Transcript(&again, actions) },
			func() error { return SVG(&again, Merge(actions, back), View{}) },
		} {
			if err := draw(); err != nil {
				require.True(t, err == ErrNothing || err == ErrTooMany, "%v", err)
			}
		}
	})
}

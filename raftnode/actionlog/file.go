package actionlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// FormatError tells where an action log is damaged.
type FormatError struct {
	Path string // empty for a log that is in no file
	Line int    // from 1
	What string
}

func (e *FormatError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("action log, line %d: %s", e.Line, e.What)
	}
	return fmt.Sprintf("%s, line %d: %s", e.Path, e.Line, e.What)
}

// Writer writes actions, one JSON object a line. For use by one goroutine.
type Writer struct{ lines *json.Encoder }

// NewWriter begins with nothing; w should be buffered.
func NewWriter(w io.Writer) *Writer {
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	return &Writer{lines}
}

// Write adds an action. After an error nothing more should be written.
func (w *Writer) Write(a Action) error {
	if err := w.lines.Encode(a); err != nil {
		return fmt.Errorf("writing action %d: %w", a.Number, err)
	}
	return nil
}

// Decode reads what Writer wrote. A last line that was cut off, as a killed writer leaves it, is dropped and
// reported as torn. Any other damage is a *FormatError.
func Decode(r io.Reader) (actions []Action, torn bool, err error) { return decode(r, "") }

// ReadFile reads the log in a file; see Decode.
func ReadFile(path string) (actions []Action, torn bool, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer file.Close()
	return decode(file, path)
}

func decode(r io.Reader, path string) (actions []Action, torn bool, err error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, false, fmt.Errorf("reading %s: %w", path, err)
	}
	for line := 1; len(data) > 0; line++ {
		text, rest, whole := bytes.Cut(data, []byte{'\n'})
		a, err := decodeLine(text)
		if err != nil {
			if !whole {
				return actions, true, nil
			}
			return nil, false, &FormatError{Path: path, Line: line, What: err.Error()}
		}
		actions = append(actions, a)
		data = rest
	}
	return actions, false, nil
}

// decodeLine decodes one action, with no unknown field and nothing behind it.
func decodeLine(text []byte) (Action, error) {
	var a Action
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&a); err != nil {
		return a, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return a, errors.New("something stands behind the action")
	}
	return a, a.check()
}

// check refuses an action that lacks what its kind is about.
func (a *Action) check() error {
	carries := a.Kind == Send || a.Kind == Receive || a.Kind == Unanswered || a.Kind == Lose || a.Kind == Duplicate
	switch {
	case !slices.Contains(Kinds(), a.Kind):
		return fmt.Errorf("there is no kind %q", a.Kind)
	case a.Time < 0:
		return errors.New("a negative time")
	case a.Node == "" && a.Kind != Lose && a.Kind != Duplicate && a.Kind != Violation && a.Kind != Note:
		return fmt.Errorf("kind %q of no node", a.Kind)
	case a.Peer == "" && (a.Kind == Cut || a.Kind == Heal):
		return fmt.Errorf("kind %q without a peer", a.Kind)
	case carries && a.Message == nil:
		return fmt.Errorf("kind %q without a message", a.Kind)
	case carries && (a.Message.From == "" || a.Message.To == ""):
		return errors.New("a message from or to nobody")
	}
	return nil
}

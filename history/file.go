package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// FormatError tells where a history is damaged.
type FormatError struct {
	Path string // empty for a history that is in no file
	Line int    // from 1; event i stands in line i+1
	What string
}

func (e *FormatError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("history, line %d: %s", e.Line, e.What)
	}
	return fmt.Sprintf("%s, line %d: %s", e.Path, e.Line, e.What)
}

// Flushing bounds: what a killed process may lose.
const (
	flushSize     = 32 << 10
	flushInterval = 100 * time.Millisecond
)

// Writer appends events, one JSON object a line. It has no clock and no goroutine: it writes out
// when its buffer has grown to 32 KiB, when an event is 100 ms of run time younger than the last
// write, and when asked to; a loop that goes idle should ask. It is not safe for concurrent use.
type Writer struct {
	out     io.Writer
	buffer  bytes.Buffer
	next    int64
	flushed time.Duration
}

// NewWriter starts an empty history on w.
func NewWriter(w io.Writer) *Writer { return &Writer{out: w} }

// Append gives the event its Index and adds it. After an error the history is torn, and nothing
// more should be appended.
func (w *Writer) Append(e *Event) error {
	e.Index = w.next
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding event %d: %w", e.Index, err)
	}
	w.next++
	w.buffer.Write(data)
	w.buffer.WriteByte('\n')
	if w.buffer.Len() >= flushSize || e.Time-w.flushed >= flushInterval {
		w.flushed = e.Time
		return w.Flush()
	}
	return nil
}

// Flush hands everything appended to the underlying writer.
func (w *Writer) Flush() error {
	if _, err := w.buffer.WriteTo(w.out); err != nil {
		return fmt.Errorf("writing the history: %w", err)
	}
	return nil
}

// Decode reads a history line by line, without looking at what the events say together; Validate
// and Ops do. A last line that was cut off, as a killed writer leaves it, is dropped and reported as
// torn. Any other damage is a *FormatError.
func Decode(r io.Reader) (events []Event, torn bool, err error) {
	return DecodeLines[Event](r, "")
}

// ReadFile reads the history in a file; see Decode.
func ReadFile(path string) (events []Event, torn bool, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer file.Close()
	return DecodeLines[Event](file, path)
}

// DecodeLines reads one JSON value a line, strictly, from the file that path names. A last line that
// was cut off is dropped and reported as torn. Any other damage is a *FormatError.
func DecodeLines[T any](r io.Reader, path string) (values []T, torn bool, err error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, false, fmt.Errorf("reading %s: %w", path, err)
	}
	for number := 1; len(data) > 0; number++ {
		text, rest, whole := bytes.Cut(data, []byte{'\n'})
		var value T
		if err := decodeStrictly(text, &value); err != nil {
			if !whole {
				return values, true, nil
			}
			return nil, false, &FormatError{Path: path, Line: number, What: err.Error()}
		}
		values = append(values, value)
		data = rest
	}
	return values, false, nil
}

// decodeStrictly decodes one JSON value, with no unknown field and nothing behind it.
func decodeStrictly(data []byte, value any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something stands behind the value")
	}
	return nil
}

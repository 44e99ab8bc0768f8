package history

import (
	"encoding/json"
	"fmt"
	"time"
)

// line is how an Event stands in a file. Pointers tell what is missing from what is zero.
type line struct {
	Index    *int64          `json:"index"`
	Time     *int64          `json:"time"`
	Process  *int            `json:"process"`
	Type     *Type           `json:"type"`
	F        *F              `json:"f"`
	Key      *string         `json:"key"`
	Value    json.RawMessage `json:"value"`
	Node     *string         `json:"node"`
	Revision uint64          `json:"revision,omitempty"`
	Term     uint64          `json:"term,omitempty"`
	Error    string          `json:"error,omitempty"`
}

// MarshalJSON writes the event as one line of history.jsonl, without the newline.
func (e Event) MarshalJSON() ([]byte, error) {
	value := json.RawMessage("null")
	if e.Value != nil {
		var err error
		if value, err = json.Marshal(e.Value); err != nil {
			return nil, err
		}
	}
	at := int64(e.Time)
	return json.Marshal(line{
		Index: &e.Index, Time: &at, Process: &e.Process, Type: &e.Type, F: &e.F, Key: &e.Key,
		Value: value, Node: &e.Node, Revision: e.Revision, Term: e.Term, Error: e.Error,
	})
}

// UnmarshalJSON is strict: a field that is unknown or missing is an error, and so is a type, an
// operation or a value that does not exist.
func (e *Event) UnmarshalJSON(data []byte) error {
	var l line
	if err := decodeStrictly(data, &l); err != nil {
		return err
	}
	for name, missing := range map[string]bool{
		"index": l.Index == nil, "time": l.Time == nil, "process": l.Process == nil, "type": l.Type == nil,
		"f": l.F == nil, "key": l.Key == nil, "value": l.Value == nil, "node": l.Node == nil,
	} {
		if missing {
			return fmt.Errorf("no %q", name)
		}
	}
	switch *l.Type {
	case Invoke, OK, Fail, Info:
	default:
		return fmt.Errorf("unknown type %q", *l.Type)
	}
	switch *l.F {
	case Read, Write, CAS:
	default:
		return fmt.Errorf("unknown operation %q", *l.F)
	}
	value, err := parseValue(l.Value)
	if err != nil {
		return err
	}
	*e = Event{
		Index: *l.Index, Time: time.Duration(*l.Time), Process: *l.Process, Type: *l.Type, F: *l.F, Key: *l.Key,
		Value: value, Node: *l.Node, Revision: l.Revision, Term: l.Term, Error: l.Error,
	}
	return nil
}

func parseValue(data []byte) (Value, error) {
	if string(data) == "null" {
		return nil, nil
	}
	var number Int
	if json.Unmarshal(data, &number) == nil {
		return number, nil
	}
	var pair []int64 // an array type would take any length
	if json.Unmarshal(data, &pair) == nil && len(pair) == 2 {
		return Pair{pair[0], pair[1]}, nil
	}
	return nil, fmt.Errorf("value %s is neither null, a number nor a pair of numbers", data)
}

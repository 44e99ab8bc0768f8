package fsm

import "encoding/binary"

func appendText(data []byte, s string) []byte {
	return append(binary.AppendUvarint(data, uint64(len(s))), s...)
}

// reader takes encoded fields off the front of data. Once it is short or has a fault, what it returns
// means nothing.
type reader struct {
	data  []byte
	short bool   // data ended before its fields did
	fault string // what is wrong, whatever may follow; empty for nothing
}

func (r *reader) failed() bool { return r.short || r.fault != "" }

// refuse notes the first fault, unless what it was found in had not come in whole.
func (r *reader) refuse(fault string) {
	if !r.failed() {
		r.fault = fault
	}
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.data)
	switch {
	case r.failed():
		return 0
	case n == 0:
		r.short = true
		return 0
	case n < 0:
		r.fault = "a number has more than 64 bits"
		return 0
	case n > 1 && r.data[n-1] == 0:
		r.fault = "a number has more bytes than it needs"
		return 0
	}
	r.data = r.data[n:]
	return v
}

// bytes are the next n, not copied.
func (r *reader) bytes(n uint64) []byte {
	switch {
	case r.failed():
		return nil
	case n > uint64(len(r.data)):
		r.short = true
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) text() []byte { return r.bytes(r.number()) }

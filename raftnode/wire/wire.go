// Package wire fixes the formats that outlive a process: what a node writes to disk and what it says
// to its peers. Decoding is strict: what no correct node of this version writes is an error, an
// unknown field included, since it may change the meaning of the rest. It imports raft for its types.
//
// Byte slices are shared between a raft value and its protobuf form, never copied: an entry's data is
// never modified once the entry exists. Empty data decodes as nil.
package wire

//go:generate protoc -I ../.. --go_out=../.. --go_opt=module=coup raftnode/wire/wire.proto

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// ErrMalformed is under every error of this package: the bytes or values are not what a correct node
// writes.
var ErrMalformed = errors.New("wire: malformed")

// MaxOrdinal is the largest index, term or round that is believed. The room above it lets arithmetic
// on decoded values never overflow.
const MaxOrdinal = 1 << 62

// MaxNodeID is the length in bytes of the longest node identifier.
const MaxNodeID = 255

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

func marshal(m proto.Message) ([]byte, error) {
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, malformed("%v", err)
	}
	return b, nil
}

func unmarshal(b []byte, m proto.Message) error {
	if err := proto.Unmarshal(b, m); err != nil {
		return malformed("%v", err)
	}
	return known(m)
}

func known(m proto.Message) error {
	r := m.ProtoReflect()
	if len(r.GetUnknown()) > 0 {
		return malformed("a field of %s is unknown to this version", r.Descriptor().Name())
	}
	return nil
}

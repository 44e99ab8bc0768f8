package bus

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"coup/raftnode/bus/buspb"
)

// codec is gRPC's own, but that it looks through a frame before it decodes it: an empty message takes two bytes of a frame
// and hundreds of memory, so that a frame of the largest size could take gigabytes. No correct node sends less than what
// is counted on here.
type codec struct{ encoding.CodecV2 }

var _ encoding.CodecV2 = codec{}

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	frame, ok := v.(*buspb.Frame)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	return decodeFrame(whole.ReadOnlyData(), frame)
}

// The fewest bytes that these take, beside their tags and lengths.
const (
	minMessage = 10 // a type, two nodes and a request's number, each with its tag
	minEntry   = 4  // index and term
)

// The fields that may come over and over.
const (
	fieldMessages = 1 // of a frame
	fieldEntries  = 9 // of a message
)

var errFrame = errors.New("bus: malformed frame")

// decodeFrame is proto.Unmarshal in memory that is bounded by the frame's size: some fifty times as much, where it is all
// messages and entries that are as small as can be.
func decodeFrame(b []byte, into *buspb.Frame) error {
	err := eachField(b, func(field protowire.Number, message []byte) error {
		switch {
		case field != fieldMessages:
			return fmt.Errorf("%w: unknown field %d", errFrame, field)
		case len(message) < minMessage:
			return fmt.Errorf("%w: a message of %d bytes", errFrame, len(message))
		}
		return eachField(message, func(field protowire.Number, entry []byte) error {
			if field == fieldEntries && len(entry) < minEntry {
				return fmt.Errorf("%w: an entry of %d bytes", errFrame, len(entry))
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	return proto.Unmarshal(b, into)
}

// eachField tells visit each field that has a length.
func eachField(b []byte, visit func(protowire.Number, []byte) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", errFrame, protowire.ParseError(n))
		}
		b = b[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
				return fmt.Errorf("%w: %w", errFrame, protowire.ParseError(n))
			}
			b = b[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", errFrame, protowire.ParseError(n))
		}
		if err := visit(field, value); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

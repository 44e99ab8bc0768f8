package server

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"coup/raftnode/api/apipb"
)

// codec is gRPC's own, but that it counts the requests of a frame before it makes room for them: a few bytes of
// nothing each would otherwise take a hundred times as many.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

func (c codec) Unmarshal(data mem.BufferSlice, into any) error {
	frame, ok := into.(*apipb.Requests)
	if !ok {
		return c.CodecV2.Unmarshal(data, into)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	b := buffer.ReadOnlyData()
	if err := countRequests(b); err != nil {
		return err
	}
	return proto.Unmarshal(b, frame)
}

// countRequests refuses a frame that has too many of them, or is damaged.
func countRequests(b []byte) error {
	for n := 0; len(b) > 0; n++ {
		if n >= apipb.FrameRequests {
			return fmt.Errorf("server: a frame has more than %d requests", apipb.FrameRequests)
		}
		_, _, length := protowire.ConsumeField(b)
		if length < 0 {
			return protowire.ParseError(length)
		}
		b = b[length:]
	}
	return nil
}

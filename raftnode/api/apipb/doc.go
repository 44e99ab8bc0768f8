// Package apipb is the gRPC service by which clients ask a node: what package api says by HTTP of keys and
// sessions, with many requests on one stream at a time.
package apipb

//go:generate protoc -I ../../.. --go_out=../../.. --go_opt=module=coup --go-grpc_out=../../.. --go-grpc_opt=module=coup raftnode/api/apipb/api.proto

// The bounds that both sides keep; in bytes, but for FrameRequests.
const (
	// MaxRequests is the most that a frame of requests may have. A larger one ends the stream.
	MaxRequests = 4 << 20
	// FrameRequests is how many requests a frame may have.
	FrameRequests = 1024
	// MaxAnswers is the most that a frame of answers has.
	MaxAnswers = 16 << 20
	// FrameBytes is what a frame is filled up to: with more, gRPC takes a buffer of 1 MiB. A request or an answer that
	// is larger has a frame of its own.
	FrameBytes = 30 << 10
)

// Package buspb is the gRPC service that the bus speaks.
package buspb

//go:generate protoc -I ../../.. --go_out=../../.. --go_opt=module=coup --go-grpc_out=../../.. --go-grpc_opt=module=coup raftnode/bus/buspb/bus.proto

// Package bus carries messages between nodes. Gossip or configuration may tell it where a peer is;
// it decides nothing that safety rests on. It may lose, delay, duplicate and reorder messages.
package bus

import (
	"errors"

	"coup/raftnode/raft"
)

// MessageID names one request in flight from one node. Zero is no message.
type MessageID = uint64

// Bus sends requests to peers and brings back their answers. Safe for concurrent use. No method
// blocks on the network: what cannot be queued is failed through onResponse.
type Bus interface {
	// Send sends a request and gives it the returned ID. onResponse is called exactly once, with the
	// answer or with an error, unless the message is cancelled first; never from within Send, and
	// perhaps on another goroutine. An error says nothing about whether the peer got the message.
	Send(from, to raft.NodeID, m raft.Message, onResponse func(raft.Message, error)) MessageID
	// Respond sends the answer to the request whose ID m.ID repeats. Best effort.
	Respond(from, to raft.NodeID, m raft.Message)
	// Cancel forgets a request: its onResponse will not be called once Cancel has returned, and a
	// late answer is dropped. Cancelling what is over does nothing.
	Cancel(MessageID)
}

// Handler takes a request that has arrived for a node. It must not block.
type Handler func(m raft.Message)

// The errors that onResponse gets.
var (
	ErrUnreachable = errors.New("bus: peer unreachable")       // no connection, or it broke
	ErrTimeout     = errors.New("bus: no answer in time")      // sent, perhaps received
	ErrQueueFull   = errors.New("bus: queue to peer is full")  // not sent
	ErrUnknownPeer = errors.New("bus: no address of the peer") // not sent
	ErrClosed      = errors.New("bus: closed")                 // not sent, or no longer waited for
)

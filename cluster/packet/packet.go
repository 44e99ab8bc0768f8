// Package packet drops packets in a network namespace and sees from outside whether they are
// dropped. It talks to the kernel through netlink alone and is the same code in every environment:
// netns calls an Agent in its own process, docker reaches one over HTTP in a helper container.
//
// A directed link A>B is cut in B's namespace, where all that arrives from A's address is dropped,
// whatever its protocol and whoever dialled. It is probed by datagrams that A's agent sends to B's.
package packet

import (
	"context"
	"net/netip"
	"time"
)

// Endpoint is what an Agent does, wherever it runs. It is safe for concurrent use.
type Endpoint interface {
	// Cut drops everything that arrives from these addresses: all of them or, with an error, none.
	// An address that is already cut is an error.
	Cut(ctx context.Context, from []netip.Addr) error
	// Restore takes back those cuts and no other rule, and verifies it. An address that is not cut
	// is an error, and then nothing is changed.
	Restore(ctx context.Context, from []netip.Addr) error
	// List is what is cut now, as the kernel says.
	List(ctx context.Context) ([]Dropped, error)
	// Send sends one datagram for each nonce to the agent at that address.
	Send(ctx context.Context, to netip.Addr, nonces []uint64) error
	// Received counts the nonces that have arrived from that address. It returns when all have, or
	// after wait.
	Received(ctx context.Context, from netip.Addr, nonces []uint64, wait time.Duration) (int, error)
}

// Dropped is one cut in force.
type Dropped struct {
	From    netip.Addr `json:"from"`
	Packets uint64     `json:"packets"` // dropped so far
}

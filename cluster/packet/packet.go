// Package packet drops and disturbs packets in a network namespace and sees from outside what becomes of them. It talks
// to the kernel through netlink alone and is the same code in every environment: netns calls an Agent in its own
// process, docker reaches one over HTTP in a helper container.
//
// A directed link A>B is cut in B's namespace, where all that arrives from A's address is dropped, whatever its protocol
// and whoever dialled. Most disturbances are there, too; what has to be done before a packet leaves, such as sending it
// twice or later, is done in A's namespace for what goes to B's address. Either is probed by datagrams, and by
// connections, from A's agent to B's.
package packet

import (
	"context"
	"net/netip"
	"time"

	"coup/cluster"
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
	// Features is what the kernel can do in this namespace, as it was found by trying.
	Features(ctx context.Context) ([]cluster.Capability, error)
	// Disturb does something to the packets that come from these peers or, for Duplicate, Delay and Reorder, go to them. An address that is
	// disturbed in that way already is an error.
	Disturb(ctx context.Context, peers []netip.Addr, d cluster.Degradation) error
	// Calm takes that back and nothing else, and verifies it. An address that is not disturbed in that way is an error.
	Calm(ctx context.Context, peers []netip.Addr, kind cluster.Disturbance) error
	// Send sends one datagram for each nonce to the agent at that address.
	Send(ctx context.Context, to netip.Addr, nonces []uint64) error
	// Received counts the nonces that have arrived from that address, which are in the order in which they were sent.
	// It returns when all have, or after wait.
	Received(ctx context.Context, from netip.Addr, nonces []uint64, wait time.Duration) (Arrived, error)
	// Damaged is how many packets this namespace has ever dropped for a wrong checksum.
	Damaged(ctx context.Context) (int, error)
	// Connect has a connection to the agent at that address stand, if none does.
	Connect(ctx context.Context, to netip.Addr) error
	// Talk sends a word over the connection that stands, or over one that is dialled now, and tells whether it came
	// back.
	Talk(ctx context.Context, to netip.Addr, fresh bool) (cluster.Passage, error)
}

// Dropped is one cut in force.
type Dropped struct {
	From    netip.Addr `json:"from"`
	Packets uint64     `json:"packets"` // dropped so far
}

// Arrived is what has arrived of a number of datagrams.
type Arrived struct {
	Count int           `json:"count"` // at least once
	Twice int           `json:"twice"` // more than once
	Late  int           `json:"late"`  // after one that was sent later
	Delay time.Duration `json:"delay_ns"`
}

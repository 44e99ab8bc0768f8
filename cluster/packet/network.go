package packet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"coup/cluster"
)

const (
	// datagrams is how many a probe sends on each link.
	datagrams = 5
	// patience is how long a probe waits for the last of them. Those on whole links need well under
	// a millisecond.
	patience = 250 * time.Millisecond
)

// Member is a node of a Network.
type Member struct {
	Address netip.Addr
	Endpoint
}

// Network is the cluster.Partitioner and cluster.Degrader made of the agents of all nodes. Safe for concurrent use.
type Network struct {
	nonce atomic.Uint64

	mu      sync.Mutex
	members map[string]Member // replaced, never changed
}

var _ interface {
	cluster.Partitioner
	cluster.Degrader
} = (*Network)(nil)

// NewNetwork makes a Network of nodes by id.
func NewNetwork(members map[string]Member) *Network { return &Network{members: members} }

func (n *Network) current() map[string]Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.members
}

// Join adds a node, and waits until its links carry, for at most bound.
func (n *Network) Join(ctx context.Context, id string, m Member, bound time.Duration) error {
	n.replace(func(members map[string]Member) { members[id] = m })
	var own []cluster.Link
	for _, l := range n.links() {
		if l.From == id || l.To == id {
			own = append(own, l)
		}
	}
	return n.settle(ctx, own, bound)
}

// Leave takes a node out: it has no links any more. What was cut of them stays cut at its agent.
func (n *Network) Leave(id string) {
	n.replace(func(members map[string]Member) { delete(members, id) })
}

func (n *Network) replace(change func(map[string]Member)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	members := maps.Clone(n.members)
	change(members)
	n.members = members
}

// Cut implements cluster.Partitioner. When it fails half-way, it takes back what it had cut.
func (n *Network) Cut(ctx context.Context, links []cluster.Link) error {
	return n.change(ctx, links, "cut", receiver, Endpoint.Cut, Endpoint.Restore)
}

// Restore implements cluster.Partitioner. When it fails half-way, what it did stays done.
func (n *Network) Restore(ctx context.Context, links []cluster.Link) error {
	return n.change(ctx, links, "restore", receiver, Endpoint.Restore, nil)
}

// end is one of a link.
type end int

const (
	receiver end = iota
	sender
)

type action func(e Endpoint, ctx context.Context, peers []netip.Addr) error

// change does something at one end of each link. Where undo is given, and something fails, all is undone.
func (n *Network) change(ctx context.Context, links []cluster.Link, verb string, where end, do, undo action) error {
	members := n.current()
	peers := map[string][]netip.Addr{}
	var nodes []string
	for _, l := range links {
		if err := check(members, l); err != nil {
			return err
		}
		at, peer := l.To, l.From
		if where == sender {
			at, peer = peer, at
		}
		if peers[at] == nil {
			nodes = append(nodes, at)
		}
		peers[at] = append(peers[at], members[peer].Address)
	}
	failures := make([]error, len(nodes))
	var group errgroup.Group
	for i, node := range nodes {
		group.Go(func() error {
			failures[i] = do(members[node].Endpoint, ctx, peers[node])
			return nil
		})
	}
	_ = group.Wait()
	err := errors.Join(failures...)
	if err == nil {
		return nil
	}
	if undo != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		for i, node := range nodes {
			if failures[i] == nil {
				err = errors.Join(err, undo(members[node].Endpoint, ctx, peers[node]))
			}
		}
	}
	return fmt.Errorf("%s %v: %w", verb, links, err)
}

// Probe implements cluster.Partitioner.
func (n *Network) Probe(ctx context.Context, links []cluster.Link) ([]cluster.Probe, error) {
	members := n.current()
	probes := make([]cluster.Probe, len(links))
	group, ctx := errgroup.WithContext(ctx)
	for i, l := range links {
		if err := check(members, l); err != nil {
			return nil, err
		}
		group.Go(func() error {
			nonces := make([]uint64, datagrams)
			for j := range nonces {
				nonces[j] = n.nonce.Add(1)
			}
			from, to := members[l.From], members[l.To]
			start := time.Now()
			if err := from.Send(ctx, to.Address, nonces); err != nil {
				return fmt.Errorf("probe %s: %w", l, err)
			}
			received, err := to.Received(ctx, from.Address, nonces, patience)
			if err != nil {
				return fmt.Errorf("probe %s: %w", l, err)
			}
			probes[i] = cluster.Probe{Link: l, Sent: len(nonces), Received: received.Count, Took: time.Since(start)}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return probes, nil
}

// Settle probes every link until all carry, for at most bound. A bridge drops what comes in the
// first moments after a port was added.
func (n *Network) Settle(ctx context.Context, bound time.Duration) error {
	return n.settle(ctx, n.links(), bound)
}

func (n *Network) settle(ctx context.Context, waiting []cluster.Link, bound time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for len(waiting) > 0 {
		probes, err := n.Probe(ctx, waiting)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("links that carry nothing after %v: %v: %w", bound, waiting, err)
		}
		waiting = waiting[:0]
		for _, p := range probes {
			if p.Received < p.Sent {
				waiting = append(waiting, p.Link)
			}
		}
	}
	return nil
}

func (n *Network) links() (all []cluster.Link) {
	members := n.current()
	for from := range members {
		for to := range members {
			if from != to {
				all = append(all, cluster.Link{From: from, To: to})
			}
		}
	}
	return all
}

func check(members map[string]Member, l cluster.Link) error {
	_, from := members[l.From]
	_, to := members[l.To]
	if !from || !to || l.From == l.To {
		return fmt.Errorf("%s is not a link of this cluster", l)
	}
	return nil
}

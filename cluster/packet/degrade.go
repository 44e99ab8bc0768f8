package packet

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"coup/cluster"
)

// endOf is where a disturbance is made.
func endOf(d cluster.Disturbance) end {
	switch d {
	case cluster.Duplicate, cluster.Delay, cluster.Reorder:
		return sender
	}
	return receiver
}

// Degrades implements cluster.Degrader.
func (n *Network) Degrades(ctx context.Context, d cluster.Disturbance) error {
	for _, m := range n.current() {
		features, err := m.Features(ctx)
		if err != nil {
			return err
		}
		return Offers(features, d)
	}
	return errNobody
}

// Degrade implements cluster.Degrader. When it fails half-way, it takes back what it had done. The connections that
// Measure is to find standing are made before.
func (n *Network) Degrade(ctx context.Context, links []cluster.Link, d cluster.Degradation) error {
	if d.Kind == cluster.Silence || d.Kind == cluster.Refuse {
		if err := n.change(ctx, links, "connect", sender, connect, nil); err != nil {
			return err
		}
	}
	return n.change(ctx, links, "degrade", endOf(d.Kind), func(e Endpoint, ctx context.Context, peers []netip.Addr) error {
		return e.Disturb(ctx, peers, d)
	}, calm(d.Kind))
}

// Repair implements cluster.Degrader. When it fails half-way, what it did stays done.
func (n *Network) Repair(ctx context.Context, links []cluster.Link, d cluster.Disturbance) error {
	return n.change(ctx, links, "repair", endOf(d), calm(d), nil)
}

func calm(d cluster.Disturbance) action {
	return func(e Endpoint, ctx context.Context, peers []netip.Addr) error { return e.Calm(ctx, peers, d) }
}

func connect(e Endpoint, ctx context.Context, peers []netip.Addr) error {
	for _, p := range peers {
		if err := e.Connect(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

const (
	// volley is how many datagrams are sent at once: a receiver's socket holds twice as many.
	volley = 100
	// limitTime is over how long a limit is measured.
	limitTime = time.Second
	// delayPatience is how long a datagram may take that is delayed on purpose.
	delayPatience = time.Second
)

// Measure implements cluster.Degrader. What goes to one receiver is sent by one sender after the other, so that no
// socket overflows and damage is that of one link; what takes time and hardly any datagrams is measured on all at once.
func (n *Network) Measure(ctx context.Context, links []cluster.Link, d cluster.Disturbance, datagrams int) ([]cluster.Measurement, error) {
	members := n.current()
	found := make([]cluster.Measurement, len(links))
	into := map[string][]int{}
	for i, l := range links {
		if err := check(members, l); err != nil {
			return nil, err
		}
		lane := l.To
		if d == cluster.Limit || d == cluster.Silence || d == cluster.Refuse {
			lane = l.String()
		}
		into[lane] = append(into[lane], i)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, lane := range into {
		group.Go(func() (err error) {
			for _, i := range lane {
				if d == cluster.Silence || d == cluster.Refuse {
					found[i], err = converse(ctx, members, links[i])
				} else {
					found[i], err = n.measure(ctx, members, links[i], d, datagrams)
				}
				if err != nil {
					return fmt.Errorf("measure %s: %w", links[i], err)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return found, nil
}

func (n *Network) measure(ctx context.Context, members map[string]Member, l cluster.Link, d cluster.Disturbance, datagrams int) (cluster.Measurement, error) {
	m := cluster.Measurement{Link: l, Sent: datagrams}
	from, to := members[l.From], members[l.To]
	damagedBefore := 0
	if d == cluster.Corrupt {
		var err error
		if damagedBefore, err = to.Damaged(ctx); err != nil {
			return m, err
		}
	}
	nonces := make([]uint64, datagrams)
	for i := range nonces {
		nonces[i] = n.nonce.Add(1)
	}
	size, rest := volley, time.Duration(0)
	if d == cluster.Limit {
		size = max(1, datagrams/50)
		rest = limitTime * time.Duration(size) / time.Duration(datagrams)
	}
	begun := time.Now()
	for i, some := range slices.Collect(slices.Chunk(nonces, size)) {
		// By the clock, not from one volley to the next: what a busy machine is late by is made up for.
		if err := sleep(ctx, time.Until(begun.Add(time.Duration(i)*rest))); err != nil {
			return m, err
		}
		if err := from.Send(ctx, to.Address, some); err != nil {
			return m, err
		}
		if rest == 0 {
			if _, err := to.Received(ctx, from.Address, some, 0); err != nil {
				return m, err
			}
		}
	}
	m.Took = time.Since(begun)
	var wait time.Duration
	if d == cluster.Delay || d == cluster.Reorder {
		wait = delayPatience
	}
	arrived, err := to.Received(ctx, from.Address, nonces, wait)
	if err != nil {
		return m, err
	}
	m.Received, m.Twice, m.Late, m.Delay = arrived.Count, arrived.Twice, arrived.Late, arrived.Delay
	if d == cluster.Corrupt {
		damaged, err := to.Damaged(ctx)
		if err != nil {
			return m, err
		}
		m.Damaged = damaged - damagedBefore
	}
	return m, nil
}

// converse tries the connection that stands, if any does, and a new one.
func converse(ctx context.Context, members map[string]Member, l cluster.Link) (m cluster.Measurement, err error) {
	m.Link = l
	begun := time.Now()
	from, to := members[l.From], members[l.To].Address
	if m.Standing, err = from.Talk(ctx, to, false); err != nil {
		return m, err
	}
	m.Fresh, err = from.Talk(ctx, to, true)
	m.Took = time.Since(begun)
	return m, err
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"coup/cluster"
)

// badness is what a link suffers without being cut. Messages stand for packets.
type badness struct {
	suffers []cluster.Degradation // of each kind at most one
	tokens  float64               // messages that a limit lets pass at once
	filled  time.Duration         // when they were counted
}

// fate is what becomes of a message on its link.
type fate struct {
	lost    string // why it does not arrive; empty when it does
	damaged bool   // that is why
	twice   bool
	later   time.Duration
	late    bool // it may be overtaken
}

// find is the place of a disturbance, or -1.
func (b *badness) find(kind cluster.Disturbance) int {
	return slices.IndexFunc(b.suffers, func(d cluster.Degradation) bool { return d.Kind == kind })
}

// fate draws what becomes of a message that is sent now.
func (b *badness) fate(d *dice, now time.Duration) (f fate) {
	for _, s := range b.suffers {
		switch s.Kind {
		case cluster.Loss:
			if f.lost == "" && d.share(s.Share) {
				f.lost = "dropped on a lossy link"
			}
		case cluster.Corrupt:
			if f.lost == "" && d.share(s.Share) {
				f.lost, f.damaged = "damaged on the way, and dropped for its checksum", true
			}
		case cluster.Limit:
			if f.lost == "" && !b.pass(s.Rate, now) {
				f.lost = "beyond the rate of its link"
			}
		case cluster.Duplicate:
			f.twice = d.share(s.Share)
		case cluster.Delay:
			jitter := cluster.Jitter(s.Delay)
			f.later += d.between(s.Delay-jitter, s.Delay+jitter+1)
		case cluster.Reorder:
			if d.share(s.Share) {
				f.later, f.late = f.later+s.Delay, true
			}
		}
	}
	return f
}

// pass tells whether a limit lets a message pass now.
func (b *badness) pass(rate int, now time.Duration) bool {
	b.tokens = min(float64(cluster.Burst(rate)), b.tokens+float64(rate)*(now-b.filled).Seconds())
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// share draws whether something happens that does with a probability of at most 1.
func (d *dice) share(p float64) bool { return float64(d.next()>>11)/(1<<53) < p }

// fateOf draws what becomes of a message on a link.
func (w *World) fateOf(l *link) fate {
	if len(l.bad.suffers) == 0 {
		return fate{}
	}
	return l.bad.fate(&w.network.bad, w.now)
}

// Degrades implements cluster.Degrader.
func (c nodes) Degrades(_ context.Context, d cluster.Disturbance) error {
	switch d {
	case cluster.Loss, cluster.Duplicate, cluster.Corrupt, cluster.Limit, cluster.Delay, cluster.Reorder:
		return nil
	}
	return fmt.Errorf("the simulated network carries messages, and no connection that could suffer %s: use docker or netns", d)
}

// Degrade implements cluster.Degrader.
func (c nodes) Degrade(ctx context.Context, links []cluster.Link, d cluster.Degradation) error {
	if err := c.Degrades(ctx, d.Kind); err != nil {
		return err
	}
	return c.eachOnce(links, func(l *link) bool { return l.bad.find(d.Kind) < 0 }, func(l *link) {
		l.bad.suffers = append(l.bad.suffers, d)
		if d.Kind == cluster.Limit {
			l.bad.tokens, l.bad.filled = float64(cluster.Burst(d.Rate)), c.world.now
		}
	})
}

// Repair implements cluster.Degrader.
func (c nodes) Repair(_ context.Context, links []cluster.Link, kind cluster.Disturbance) error {
	return c.eachOnce(links, func(l *link) bool { return l.bad.find(kind) >= 0 }, func(l *link) {
		at := l.bad.find(kind)
		l.bad.suffers = slices.Delete(l.bad.suffers, at, at+1)
	})
}

// eachOnce does something to all links, or to none where one is not fit for it.
func (c nodes) eachOnce(links []cluster.Link, fit func(*link) bool, do func(*link)) error {
	for i, l := range links {
		found, err := c.link(l)
		if err != nil {
			return err
		}
		if !fit(found) || slices.Contains(links[:i], l) {
			return fmt.Errorf("sim: %s: already so", l)
		}
	}
	for _, l := range links {
		found, _ := c.link(l)
		do(found)
	}
	return nil
}

// Measure implements cluster.Degrader: each datagram draws its fate as a message would, from dice of its own. A limit is
// measured over the second to come. Links that fail by themselves are no part of it.
func (c nodes) Measure(_ context.Context, links []cluster.Link, kind cluster.Disturbance, datagrams int) ([]cluster.Measurement, error) {
	all := make([]cluster.Measurement, len(links))
	for i, l := range links {
		found, err := c.link(l)
		if err != nil {
			return nil, err
		}
		m := cluster.Measurement{Link: l, Sent: datagrams}
		if kind == cluster.Limit {
			m.Took = time.Second
		}
		bad := badness{slices.Clone(found.bad.suffers), found.bad.tokens, found.bad.filled}
		var took []time.Duration
		for j := range datagrams {
			f := bad.fate(&c.world.network.measured, c.world.now+m.Took*time.Duration(j)/time.Duration(datagrams))
			switch {
			case f.lost != "":
				if f.damaged {
					m.Damaged++
				}
				continue
			case found.cut:
				continue
			case f.twice:
				m.Twice++
			}
			if f.late {
				m.Late++
			}
			m.Received++
			took = append(took, f.later)
		}
		if len(took) > 0 {
			slices.Sort(took)
			m.Delay = took[len(took)/2]
		}
		all[i] = m
	}
	return all, nil
}

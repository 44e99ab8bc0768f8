package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"coup/page"
	"coup/raftnode/api"
	"coup/raftnode/client"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
)

// measurement is what is told.
type measurement struct {
	keys, bytes      int
	without, during  *hdrhistogram.Histogram // of writes, in microseconds
	took, restored   time.Duration           // until the snapshot was there, and until its state and all after it was applied
	sender, receiver memory
	elections        uint64 // terms that began meanwhile
	failed           int    // writes, meanwhile
}

// memory is of one node, in bytes.
type memory struct{ before, most int64 }

const (
	operationBound = 20 * time.Second
	transferBound  = 15 * time.Minute
)

func measure(ctx context.Context, o options, c *cluster, say func(string, ...any)) (m measurement, err error) {
	if err := c.prepare(4); err != nil {
		return m, err
	}
	founders, newcomer := c.nodes[:3], c.nodes[3]
	for i, n := range founders {
		others := append(append([]*node{}, founders[:i]...), founders[i+1:]...)
		if err := c.start(n, others, "--bootstrap"); err != nil {
			return m, err
		}
	}
	leader, err := c.leader(ctx)
	if err != nil {
		return m, err
	}
	say("three nodes, %s leads; writing %d MiB", leader.name, o.megabytes)
	if err := m.load(ctx, o, c, leader); err != nil {
		return m, err
	}
	say("%d values are written", m.keys)
	if err := c.settle(ctx, leader); err != nil {
		return m, err
	}
	say("the leader has a snapshot of all of it, and a log that begins after it; writing for %v", o.duration)
	before, err := c.status(ctx, leader)
	if err != nil {
		return m, err
	}
	w := c.writers(ctx, o.clients, leader, m.keys)
	select {
	case <-time.After(o.duration):
	case <-ctx.Done():
		return m, ctx.Err()
	}
	m.without, _ = w.stop()
	if err := c.start(newcomer, founders, "--join"); err != nil {
		return m, err
	}
	if err := c.until(ctx, "the newcomer", time.Minute, func(ctx context.Context) (bool, error) {
		s, err := c.status(ctx, newcomer)
		return err == nil && s.Phase == api.PhaseOutside, err
	}); err != nil {
		return m, err
	}
	say("%s waits to be added", newcomer.name)
	if err := m.transfer(ctx, o, c, leader, newcomer); err != nil {
		return m, err
	}
	after, err := c.status(ctx, leader)
	m.elections = after.Term - before.Term
	say("added, %v in all", m.restored.Round(100*time.Millisecond))
	return m, err
}

// load writes the values.
func (m *measurement) load(ctx context.Context, o options, c *cluster, leader *node) error {
	var written, keys atomic.Int64
	failures := make([]error, o.loaders)
	var loaders sync.WaitGroup
	for i := range o.loaders {
		loaders.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for written.Load() < int64(o.megabytes)<<20 && failures[i] == nil {
				value := text(random, smallest+random.IntN(largest-smallest+1))
				failures[i] = c.put(ctx, leader, int(keys.Add(1)), value)
				written.Add(int64(len(value)))
			}
		})
	}
	loaders.Wait()
	m.keys, m.bytes = int(keys.Load()), int(written.Load())
	return errors.Join(failures...)
}

// put writes a key, and again where the node was too busy.
func (c *cluster) put(ctx context.Context, leader *node, key int, value string) error {
	bounded, cancel := context.WithTimeout(ctx, operationBound)
	defer cancel()
	for {
		_, err := c.client.Write(bounded, leader.name, fmt.Sprintf("key-%08d", key), value)
		var refused *client.Error
		if err == nil || bounded.Err() != nil || !errors.As(err, &refused) {
			return err
		}
		time.Sleep(pollInterval)
	}
}

// settle has the leader take a snapshot of all that was written, and waits until its log begins after most of it.
func (c *cluster) settle(ctx context.Context, leader *node) error {
	s, err := c.status(ctx, leader)
	if err != nil {
		return err
	}
	return c.until(ctx, "a snapshot", transferBound, func(ctx context.Context) (bool, error) {
		now, err := c.status(ctx, leader)
		if err != nil || now.Snapshot >= s.Applied && now.First > s.Applied/2 {
			return err == nil, err
		}
		bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, _ = c.client.TakeSnapshot(bounded, leader.name) // refused while one is being taken
		return false, nil
	})
}

// transfer adds the newcomer while clients write.
func (m *measurement) transfer(ctx context.Context, o options, c *cluster, leader, newcomer *node) error {
	for n, to := range map[*node]*memory{leader: &m.sender, newcomer: &m.receiver} {
		if err := n.forget(); err != nil {
			return err
		}
		var err error
		if to.before, _, err = n.resident(); err != nil {
			return err
		}
	}
	w := c.writers(ctx, o.clients, leader, m.keys)
	begun := time.Now()
	_, err := c.client.Change(ctx, leader.name, confchange.Change{
		Op: confchange.AddLearner, Node: raft.NodeID(newcomer.name), Address: newcomer.place(),
	})
	if err != nil {
		return errors.Join(err, ctx.Err())
	}
	err = c.until(ctx, "the snapshot", transferBound, func(ctx context.Context) (bool, error) {
		s, err := c.status(ctx, newcomer)
		return err == nil && s.Snapshot > 0, err
	})
	m.took = time.Since(begun)
	if err == nil {
		err = c.until(ctx, "the newcomer to have applied all", transferBound, func(ctx context.Context) (bool, error) {
			s, err := c.status(ctx, newcomer)
			return err == nil && s.Applied >= s.Snapshot && s.Applied+1000 >= s.Commit, err
		})
	}
	m.restored = time.Since(begun)
	m.during, m.failed = w.stop()
	if err != nil {
		return err
	}
	for n, to := range map[*node]*memory{leader: &m.sender, newcomer: &m.receiver} {
		if _, to.most, err = n.resident(); err != nil {
			return err
		}
	}
	return nil
}

// writers are clients that overwrite keys, drawn at random, until they are stopped.
type writers struct {
	cancel  context.CancelFunc
	clients sync.WaitGroup
	mu      sync.Mutex
	latency *hdrhistogram.Histogram
	failed  int
}

func (c *cluster) writers(ctx context.Context, clients int, leader *node, keys int) *writers {
	ctx, cancel := context.WithCancel(ctx)
	w := &writers{cancel: cancel, latency: hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)}
	for i := range clients {
		w.clients.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 2))
			for ctx.Err() == nil {
				value := text(random, smallest+random.IntN(largest-smallest+1))
				key := fmt.Sprintf("key-%08d", 1+random.IntN(keys))
				bounded, stop := context.WithTimeout(ctx, operationBound)
				asked := time.Now()
				_, err := c.client.Write(bounded, leader.name, key, value)
				took := time.Since(asked)
				stop()
				w.mu.Lock()
				if err == nil {
					_ = w.latency.RecordValue(max(1, took.Microseconds())) // in range: it is bounded
				} else if ctx.Err() == nil {
					w.failed++
				}
				w.mu.Unlock()
			}
		})
	}
	return w
}

func (w *writers) stop() (*hdrhistogram.Histogram, int) {
	w.cancel()
	w.clients.Wait()
	return w.latency, w.failed
}

// text is random printable text, so that nobody gains by compressing it.
func text(r *rand.Rand, size int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	b := make([]byte, size)
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
}

// text is the measurement as Markdown.
func (m *measurement) text(o options, machine string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `Three nodes on loopback hold %d values of %d to %d bytes, %d MiB in all. A fourth is added while %d clients in a closed
loop overwrite them; before that the same clients write for %v. %s.

`, m.keys, smallest, largest, m.bytes>>20, o.clients, o.duration, machine)
	latency := func(h *hdrhistogram.Histogram, q float64) string {
		return fmt.Sprintf("%.1f", float64(h.ValueAtQuantile(q))/1000)
	}
	rate := func(h *hdrhistogram.Histogram, d time.Duration) string {
		return fmt.Sprintf("%.0f", float64(h.TotalCount())/d.Seconds())
	}
	b.WriteString(page.Table([][]string{
		{"writes", "ops/s", "p50 ms", "p99 ms", "longest ms"},
		{"without a transfer", rate(m.without, o.duration), latency(m.without, 50), latency(m.without, 99), latency(m.without, 100)},
		{"during it", rate(m.during, m.restored), latency(m.during, 50), latency(m.during, 99), latency(m.during, 100)},
	}))
	mib := func(n int64) string { return fmt.Sprintf("%.0f", float64(n)/(1<<20)) }
	b.WriteString("\n")
	b.WriteString(page.Table([][]string{
		{"resident MiB", "before", "at most, during it", "more"},
		{"sender", mib(m.sender.before), mib(m.sender.most), mib(m.sender.most - m.sender.before)},
		{"receiver", mib(m.receiver.before), mib(m.receiver.most), mib(m.receiver.most - m.receiver.before)},
	}))
	fmt.Fprintf(&b, "\nThe snapshot had arrived after %.1f s, and it was restored and all after it applied after %.1f s. %d writes failed\nmeanwhile, and %d elections were held. The p99 of writes is %.1f times that without a transfer.\n",
		m.took.Seconds(), m.restored.Seconds(), m.failed, m.elections,
		float64(m.during.ValueAtQuantile(99))/float64(m.without.ValueAtQuantile(99)))
	return b.String()
}

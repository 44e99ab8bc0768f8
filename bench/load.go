package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// cell is what is asked of a cluster at a time.
type cell struct {
	nodes, clients int
	operation      string // write or read
}

const (
	write = "write"
	read  = "read"
)

// measurement is what came of a cell. Those of several rounds can be added.
type measurement struct {
	latency *hdrhistogram.Histogram // of what succeeded, in microseconds
	took    time.Duration
	cpu     time.Duration // of all nodes together
	asking  time.Duration // processor time of the clients, which share this process
	memory  memory
}

// Latencies are kept from a microsecond to a minute, to three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
}

func (m *measurement) add(other measurement) {
	if m.latency == nil {
		m.latency = newHistogram()
	}
	m.latency.Merge(other.latency)
	m.took += other.took
	m.cpu += other.cpu
	m.asking += other.asking
	m.memory = m.memory.or(other.memory)
}

func (m *measurement) perSecond() float64 { return float64(m.latency.TotalCount()) / m.took.Seconds() }

// cpuEach is the nodes' processor time for one operation, in microseconds; askingEach is the clients'.
func (m *measurement) cpuEach() float64    { return m.each(m.cpu) }
func (m *measurement) askingEach() float64 { return m.each(m.asking) }

func (m *measurement) each(d time.Duration) float64 {
	return float64(d.Microseconds()) / float64(m.latency.TotalCount())
}

func (m *measurement) quantile(q float64) time.Duration {
	return time.Duration(m.latency.ValueAtQuantile(q)) * time.Microsecond
}

// load is how clients ask.
type load struct {
	keys, valueSize int
	duration        time.Duration
	profiles        string // folder; empty for none
}

const (
	operationBound = 5 * time.Second
	preloaders     = 32 // clients that write every key once
	attempts       = 3  // at a cell without a failure
)

func key(n int) string { return fmt.Sprintf("key-%08d", n) }

// text is random printable text, so that nobody gains by compressing it.
func text(r *rand.Rand, size int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	b := make([]byte, size)
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
}

// preload writes every key once.
func (l load) preload(ctx context.Context, c *cluster) error {
	connections, closing, err := c.connectLeader(ctx, preloaders)
	if err != nil {
		return err
	}
	defer closing()
	value := text(rand.New(rand.NewPCG(0, 0)), l.valueSize)
	var next atomic.Int64
	failures := make([]error, len(connections))
	var clients sync.WaitGroup
	for i, connection := range connections {
		clients.Go(func() {
			for n := int(next.Add(1)) - 1; n < l.keys && failures[i] == nil; n = int(next.Add(1)) - 1 {
				bounded, cancel := context.WithTimeout(ctx, operationBound)
				failures[i] = connection.write(bounded, key(n), value)
				cancel()
			}
		})
	}
	clients.Wait()
	return errors.Join(failures...)
}

// connectLeader gives each client its connection to the leader.
func (c *cluster) connectLeader(ctx context.Context, clients int) (connections []connection, closing func(), err error) {
	leader, err := c.agreement(ctx)
	if err != nil {
		return nil, nil, err
	}
	var own []connection
	closing = func() {
		for _, connection := range own {
			connection.close()
		}
	}
	for range c.product.connections(clients) {
		connection, err := c.product.connect(leader.address)
		if err != nil {
			closing()
			return nil, nil, err
		}
		own = append(own, connection)
	}
	for client := range clients {
		connections = append(connections, own[client%len(own)])
	}
	return connections, closing, nil
}

// measure measures a cell until it goes without a failure: with one, a leader was lost, and it would
// not be the throughput that is measured.
func (l load) measure(ctx context.Context, c *cluster, what cell) (m measurement, err error) {
	for range attempts {
		if m, err = l.once(ctx, c, what); err == nil || ctx.Err() != nil {
			return m, err
		}
	}
	return m, fmt.Errorf("%s, %d nodes, %ss of %d clients: %w", c.product.name(), what.nodes, what.operation, what.clients, err)
}

func (l load) once(ctx context.Context, c *cluster, what cell) (m measurement, err error) {
	connections, closing, err := c.connectLeader(ctx, what.clients)
	if err != nil {
		return m, err
	}
	defer closing()
	if err := l.ask(ctx, connections, func() bool { return false }, read, newHistogram()); err != nil {
		return m, err // each has connected, or could not
	}
	m.latency = newHistogram()
	used := func() (nodes, clients time.Duration, err error) {
		if nodes, err = c.processorTime(); err == nil {
			clients, err = processorTime(os.Getpid())
		}
		return nodes, clients, err
	}
	nodes, clients, err := used()
	if err != nil {
		return m, err
	}
	profiled := func() error { return nil }
	if _, ours := c.product.(raftnode); ours && l.profiles != "" {
		leader, err := c.agreement(ctx)
		if err != nil {
			return m, err
		}
		profiled = profile(ctx, leader.address, l.duration, l.profileFile(c.product, what))
	}
	peak := c.watchMemory()
	begun := time.Now()
	err = l.ask(ctx, connections, func() bool { return time.Since(begun) < l.duration }, what.operation, m.latency)
	m.took = time.Since(begun)
	nodesAfter, clientsAfter, cpuErr := used()
	m.cpu, m.asking = nodesAfter-nodes, clientsAfter-clients
	var memErr error
	m.memory, memErr = peak()
	return m, errors.Join(err, cpuErr, memErr, profiled())
}

// ask has a client on every connection of the list ask in a closed loop, once at least and as long as more says so.
func (l load) ask(ctx context.Context, connections []connection, more func() bool, operation string, all *hdrhistogram.Histogram) error {
	var mu sync.Mutex
	var failures []error
	var clients sync.WaitGroup
	for i, connection := range connections {
		clients.Go(func() {
			own := newHistogram()
			random := rand.New(rand.NewPCG(1, uint64(i)))
			value := text(random, l.valueSize)
			var err error
			for n := 0; err == nil && (n == 0 || more()); n++ {
				bounded, cancel := context.WithTimeout(ctx, operationBound)
				begun := time.Now()
				err = l.operate(bounded, connection, operation, key(random.IntN(l.keys)), value)
				took := time.Since(begun)
				cancel()
				if err == nil {
					err = own.RecordValue(max(1, took.Microseconds()))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all.Merge(own)
			if err != nil {
				failures = append(failures, err)
			}
		})
	}
	clients.Wait()
	if len(failures) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d clients failed, one of them: %w", len(failures), len(connections), failures[0])
}

func (l load) operate(ctx context.Context, c connection, operation, key, value string) error {
	if operation == write {
		return c.write(ctx, key, value)
	}
	got, err := c.read(ctx, key)
	if err == nil && len(got) != l.valueSize {
		err = fmt.Errorf("%s has %d bytes, and %d were written", key, len(got), l.valueSize)
	}
	return err
}

package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"coup/checker"
	"coup/cluster"
)

// BenchOptions shape a measurement of throughput.
type BenchOptions struct {
	Nodes     int
	Clients   int           // each asks for the next operation when it has the answer to the last
	Duration  time.Duration // of each of the two phases: writes, then reads
	ValueSize int           // bytes
	Timeout   time.Duration // of one operation
	Binary    string
	Dir       string // for logs
}

// Measurement is the throughput of one kind of operation.
type Measurement struct {
	Operation string
	OK        int
	Failed    int
	PerSecond float64
	P50, P99  time.Duration
}

// latencies are kept from a microsecond to a minute, to three digits.
const (
	shortestLatency = 1
	longestLatency  = int64(time.Minute / time.Microsecond)
	latencyDigits   = 3
)

// Bench measures a cluster without faults: writes of distinct keys, then linearizable reads of them,
// with every write synced to disk. The cluster is removed however it ends.
func Bench(ctx context.Context, o BenchOptions, start func(context.Context, cluster.Options) (cluster.Cluster, error),
	observer Observer) (measured []Measurement, err error) {
	name := runName("bench", time.Now())
	begun := time.Now()
	step := fmt.Sprintf("start %d nodes", o.Nodes)
	c, err := start(ctx, cluster.Options{
		Run: name, Nodes: o.Nodes, Binary: o.Binary, Dir: o.Dir,
		Progress: func(text string) { observer.Step(Step{Name: step, Detail: text, State: StepUnderWay}) },
	})
	if c != nil {
		defer func() { err = errors.Join(err, closeCluster(c)) }()
	}
	if err != nil {
		return nil, fmt.Errorf("start the cluster: %w", err)
	}
	observer.Step(Step{Name: step, State: StepDone, Took: time.Since(begun)})
	nodes, err := newNodes(c, HTTP)
	if err != nil {
		return nil, err
	}
	defer nodes.Close()
	leader, err := nodes.leader(ctx)
	if err != nil {
		return nil, errors.Join(err, c.Collect(context.WithoutCancel(ctx), false))
	}
	value := strings.Repeat("x", o.ValueSize)
	written := make([]int, o.Clients)
	for _, phase := range []struct {
		name string
		do   func(ctx context.Context, client, n int) error
	}{
		{"write", func(ctx context.Context, client, n int) error {
			_, err := nodes.client.Write(ctx, leader, fmt.Sprintf("bench-%d-%d", client, n), value)
			if err == nil {
				written[client] = n + 1
			}
			return err
		}},
		{"linearizable read", func(ctx context.Context, client, n int) error {
			_, err := nodes.client.Read(ctx, leader, fmt.Sprintf("bench-%d-%d", client, n%max(1, written[client])))
			return err
		}},
	} {
		begun := time.Now()
		step := fmt.Sprintf("%ss, %d clients", phase.name, o.Clients)
		observer.Step(Step{Name: step, State: StepBegan})
		m := measure(ctx, o, phase.name, phase.do)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("interrupted: %w", ctx.Err())
		}
		if m.OK == 0 {
			return nil, errors.Join(fmt.Errorf("no %s succeeded in %v", phase.name, o.Duration), c.Collect(context.WithoutCancel(ctx), false))
		}
		observer.Step(Step{Name: step, Detail: fmt.Sprintf("%.0f a second", m.PerSecond), State: StepDone, Took: time.Since(begun)})
		measured = append(measured, m)
	}
	return measured, nil
}

// measure has all clients do one kind of operation in a closed loop.
func measure(ctx context.Context, o BenchOptions, name string, do func(ctx context.Context, client, n int) error) Measurement {
	ctx, stop := context.WithTimeout(ctx, o.Duration)
	defer stop()
	var mu sync.Mutex
	all := hdrhistogram.New(shortestLatency, longestLatency, latencyDigits)
	m := Measurement{Operation: name}
	begun := time.Now()
	var clients sync.WaitGroup
	for number := range o.Clients {
		clients.Go(func() {
			own := hdrhistogram.New(shortestLatency, longestLatency, latencyDigits)
			failed := 0
			for n := 0; ctx.Err() == nil; n++ {
				bounded, cancel := context.WithTimeout(ctx, o.Timeout)
				asked := time.Now()
				err := do(bounded, number, n)
				took := time.Since(asked)
				cancel()
				if err != nil {
					if ctx.Err() == nil {
						failed++
					}
					continue
				}
				// In range, so that the only error there is cannot come.
				_ = own.RecordValue(min(max(took.Microseconds(), shortestLatency), longestLatency))
			}
			mu.Lock()
			defer mu.Unlock()
			all.Merge(own)
			m.Failed += failed
		})
	}
	clients.Wait()
	m.OK = int(all.TotalCount())
	m.PerSecond = float64(m.OK) / time.Since(begun).Seconds()
	m.P50 = time.Duration(all.ValueAtQuantile(50)) * time.Microsecond
	m.P99 = time.Duration(all.ValueAtQuantile(99)) * time.Microsecond
	return m
}

// leader waits until all nodes follow one leader.
func (n *nodes) leader(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderBound)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var why string
	for {
		var round []checker.Observation
		for _, node := range n.cluster.Nodes() {
			status, err := n.status(ctx, node)
			round = append(round, observation(node.ID, status, err))
		}
		if why = discord(round); why == "" {
			return round[0].Leader, nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return "", fmt.Errorf("no leader within %v: %s", leaderBound, why)
		}
	}
}

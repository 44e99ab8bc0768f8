package runner

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"coup/checker"
	"coup/cluster"
	"coup/history"
	"coup/nemesis"
	"coup/raftnode/api"
	"coup/workload"
)

const (
	// actionTimeout bounds one fault's installing or healing.
	actionTimeout = 30 * time.Second
	// observeTimeout bounds one question to one node about itself.
	observeTimeout = 400 * time.Millisecond
)

// realtime is the World of real environments: a goroutine for each process calls its client, one
// carries out what is done to the cluster, and one asks each node. They report over a channel that
// Wait reads.
type realtime struct {
	start     time.Time // with its monotonic reading
	cluster   cluster.Cluster
	opTimeout time.Duration
	connect   func() workload.Client
	status    func(ctx context.Context, node cluster.Node) (api.Status, error)

	processes map[int]chan submission // of the loop's goroutine
	actions   chan injection
	done      chan func()
	ended     context.Context // nothing outlives it
	end       context.CancelFunc
	workers   sync.WaitGroup

	mu     sync.Mutex
	stalls []checker.Span // when this process got no processor
}

type submission struct {
	op   workload.Op
	done func(Completion)
}

type injection struct {
	act  Action
	done func(Injected)
}

// newRealtime starts the clock. Cancelling ctx ends the World and all that is under way.
func newRealtime(ctx context.Context, c cluster.Cluster, opTimeout time.Duration, connect func() workload.Client,
	status func(context.Context, cluster.Node) (api.Status, error)) *realtime {
	w := &realtime{
		start:     time.Now(),
		cluster:   c,
		opTimeout: opTimeout,
		connect:   connect,
		status:    status,
		processes: map[int]chan submission{},
		actions:   make(chan injection, 1),
		done:      make(chan func(), 64),
	}
	w.ended, w.end = context.WithCancel(ctx)
	w.workers.Go(w.inject)
	w.workers.Go(w.wake)
	return w
}

// Close ends all that is under way and waits for it.
func (w *realtime) Close() {
	w.end()
	w.workers.Wait()
}

const (
	// wakeEvery is how often the World looks whether it is late, and stallFrom from when on that is a stall.
	wakeEvery = 10 * time.Millisecond
	stallFrom = 50 * time.Millisecond
)

// wake notes when it wakes up late: then this process, and probably the nodes, had to wait for the machine.
func (w *realtime) wake() {
	timer := time.NewTicker(wakeEvery)
	defer timer.Stop()
	for last := w.Now(); ; {
		select {
		case <-w.ended.Done():
			return
		case <-timer.C:
		}
		now := w.Now()
		if now-last >= stallFrom {
			w.mu.Lock()
			w.stalls = append(w.stalls, checker.Span{From: last, To: now})
			w.mu.Unlock()
		}
		last = now
	}
}

// Stalls are when this process got no processor, so far.
func (w *realtime) Stalls() []checker.Span {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.stalls)
}

// Now implements World.
func (w *realtime) Now() time.Duration { return time.Since(w.start) }

// Submit implements World. A process that is new gets a goroutine and a client of its own.
func (w *realtime) Submit(op workload.Op, done func(Completion)) {
	process, known := w.processes[op.Process]
	if !known {
		process = make(chan submission, 1)
		w.processes[op.Process] = process
		w.workers.Go(func() { w.serve(process) })
	}
	process <- submission{op, func(c Completion) {
		if c.Type == history.Info {
			close(process)
			delete(w.processes, op.Process)
		}
		done(c)
	}}
}

// Inject implements World.
func (w *realtime) Inject(act Action, done func(Injected)) {
	select {
	case w.actions <- injection{act, done}:
	case <-w.ended.Done():
	}
}

// Observe implements World.
func (w *realtime) Observe(done func(Round)) {
	w.workers.Go(func() {
		round := Round{Nodes: w.ask(w.ended), Present: names(w.cluster)}
		if watcher, ok := w.cluster.(cluster.Watcher); ok {
			round.Deaths = watcher.Unexpected()
		}
		w.Wake(func() { done(round) })
	})
}

// Wait implements World.
func (w *realtime) Wait(until time.Duration) bool {
	if w.ended.Err() != nil {
		return false
	}
	timer := time.NewTimer(until - w.Now())
	defer timer.Stop()
	select {
	case done := <-w.done:
		done()
	case <-timer.C:
		return true
	case <-w.ended.Done():
		return false
	}
	for {
		select {
		case done := <-w.done:
			done()
		default:
			return true
		}
	}
}

// Wake has Wait call f. It may be called from any goroutine.
func (w *realtime) Wake(f func()) {
	select {
	case w.done <- f:
	case <-w.ended.Done():
	}
}

// serve carries out the operations of a process, until it is closed.
func (w *realtime) serve(process <-chan submission) {
	client := w.connect()
	for {
		select {
		case <-w.ended.Done():
			return
		case s, open := <-process:
			if !open {
				return
			}
			completion := w.call(client, s.op)
			w.Wake(func() { s.done(completion) })
		}
	}
}

// call has the client do an operation. A client that panics may have sent it.
func (w *realtime) call(client workload.Client, op workload.Op) (completion Completion) {
	defer func() {
		if p := recover(); p != nil {
			completion.Event = op.Invocation(w.Now())
			completion.Type = history.Info
			completion.Error = fmt.Sprintf("client_panic: %v", p)
			completion.Broken = fmt.Errorf("a client panicked: %v\n%s", p, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(w.ended, w.opTimeout)
	defer cancel()
	completion.Event = client.Do(ctx, op)
	completion.Time = w.Now()
	return completion
}

// inject carries out the actions, one after the other.
func (w *realtime) inject() {
	for {
		select {
		case <-w.ended.Done():
			return
		case i := <-w.actions:
			injected := w.act(i.act)
			w.Wake(func() { i.done(injected) })
		}
	}
}

func (w *realtime) act(act Action) (injected Injected) {
	injected.Start = w.Now()
	defer func() {
		if p := recover(); p != nil {
			injected.Err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
		injected.End = w.Now()
	}()
	ctx, cancel := context.WithTimeout(w.ended, actionTimeout)
	defer cancel()
	injected.Err = act(ctx, w.cluster, w)
	return injected
}

// ask asks all nodes that are there at once. The answers are in the order of the nodes.
func (w *realtime) ask(ctx context.Context) []checker.Observation {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	nodes := w.cluster.Nodes()
	round := make([]checker.Observation, len(nodes))
	var asked sync.WaitGroup
	for i, node := range nodes {
		asked.Go(func() {
			before := w.Now()
			status, err := w.status(ctx, node)
			round[i] = observation(node.ID, status, err)
			round[i].Asked, round[i].Time, round[i].Wiped = before, w.Now(), node.Wiped
		})
	}
	asked.Wait()
	return standing(round, w.cluster.Nodes())
}

// standing leaves out those that have left since they were asked, or whose disk was emptied: whether an answer is of
// before or after that, nobody can tell.
func standing(round []checker.Observation, now []cluster.Node) []checker.Observation {
	return slices.DeleteFunc(round, func(o checker.Observation) bool {
		return !slices.ContainsFunc(now, func(n cluster.Node) bool { return n.ID == o.Node && n.Wiped == o.Wiped })
	})
}

// observation is what a node's answer says.
func observation(node string, s api.Status, err error) checker.Observation {
	if err != nil {
		return checker.Observation{Node: node, Error: err.Error()}
	}
	o := checker.Observation{
		Node: node, Role: s.Role, Term: s.Term, Leader: string(s.Leader), Vote: string(s.Vote), Commit: s.Commit, Applied: s.Applied,
	}
	for _, reign := range s.Reigns {
		o.Reigns = append(o.Reigns, checker.Reign(reign))
	}
	return o
}

// Leaders implements nemesis.View.
func (w *realtime) Leaders(ctx context.Context) []string { return leaders(w.ask(ctx)) }

var _ nemesis.View = (*realtime)(nil)

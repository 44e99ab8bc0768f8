// Package server turns a replica into a node: one goroutine that owns the replica, and the HTTP API
// in front of it.
package server

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"coup/raftnode/bus"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
	"coup/raftnode/replica"
)

// Replica is what a Loop drives; *replica.Replica is one. Only the loop's goroutine calls it.
type Replica interface {
	Tick()
	Receive(raft.Message)
	Propose(fsm.Command, func(replica.Result, error))
	Read(key string, how replica.Consistency, done func(replica.Result, error))
	Change(changes []confchange.Change, done func(replica.Result, error))
	Transfer(to raft.NodeID) error
	HandOver() error
	StepDown() error
	TakeSnapshot() error
	Stale(key string) (replica.Result, error)
	Process() error
	Status() replica.Status
}

// The bounds on what waits for the loop.
const (
	maxRequests     = 4096
	maxRequestBytes = 64 << 20
	maxMessages     = 16384
	maxMessageBytes = 64 << 20
	maxInquiries    = 64
)

// errQueueFull refuses a request that was not queued.
var errQueueFull = errors.New("server: too many requests are waiting")

// unansweredError ends a request that the loop did not answer.
type unansweredError struct {
	stopping bool // else it was a time-out
	// definite: the request will never reach the replica.
	definite bool
}

func (e *unansweredError) Error() string {
	what := "no answer in time"
	if e.stopping {
		what = "the node is stopping"
	}
	if e.definite {
		return what + "; the request was not begun"
	}
	return what + "; the request was begun"
}

// Loop is the one goroutine that owns a replica. All that is waiting when it wakes is handed over
// before the replica's next Process, so that one fsync carries many proposals.
type Loop struct {
	metrics *Metrics
	wake    chan struct{}
	ended   chan struct{} // closed when Run has returned
	leaders atomic.Uint64 // seen so far
	paused  atomic.Bool

	flushers []flusher // of the loop's goroutine

	mu           sync.Mutex
	over         bool
	requests     []*request
	requestBytes int
	messages     []raft.Message
	messageBytes int
	answers      []answer
	inquiries    []func(Replica)
	dropped      uint64 // messages for which there was no room
}

// request waits for the loop or, once taken, for the replica.
type request struct {
	read    bool
	stale   bool
	how     replica.Consistency // of a read that is not stale
	command fsm.Command         // of a read only the key counts
	// order is what an operator asks for, in place of all that; nil for anything else.
	order func(Replica, func(replica.Result, error))
	asker asker

	mu    sync.Mutex
	taken bool // it reached the replica
	given bool // up, before that
}

// size is about how many bytes wait with the request.
func (q *request) size() int {
	return len(q.command.Key) + len(q.command.Value) + len(q.command.Expect)
}

// asker waits for what becomes of a request.
type asker interface {
	// answered is told that, once at most, by the loop's goroutine, which it must not keep waiting. What it returns,
	// unless nil, is flushed at the end of the loop's turn.
	answered(outcome) flusher
}

// flusher has heard of answers, and is told when no more come for now.
type flusher interface{ flush() }

type outcome struct {
	result replica.Result
	err    error
}

// single is an asker of one request. It has room for one.
type single chan outcome

func (s single) answered(o outcome) flusher {
	s <- o
	return nil
}

// answer is what the bus brought back.
type answer struct {
	call *call
	m    raft.Message
	err  error
}

// NewLoop makes a loop that does not run yet. Metrics may be nil.
func NewLoop(m *Metrics) *Loop {
	if m == nil {
		m = NewMetrics()
	}
	return &Loop{metrics: m, wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

// Ticks are a replica's time.
type Ticks struct {
	C      <-chan time.Time // wakes the loop
	Passed func() int       // how many ticks have passed since the start; it never falls
}

// DefaultTick is the unit of a node's time where nobody chose another.
const DefaultTick = 50 * time.Millisecond

// Every is a tick each d from now on. Stop ends it.
func Every(d time.Duration) (t Ticks, stop func()) {
	begun, ticker := time.Now(), time.NewTicker(d)
	return Ticks{ticker.C, func() int { return int(time.Since(begun) / d) }}, ticker.Stop
}

// mostMissed is how many ticks a loop makes up for that stood still: after so many nothing that rests on
// time is in force any more.
const mostMissed = 1000

// Run drives the replica until ctx is done, or until it fails: then the node must stop at once, and
// Run returns why. Before anything else the replica hears of all the time that has passed, also while
// this process was suspended, or a lease would outlive itself. Run is called once.
func (l *Loop) Run(ctx context.Context, r Replica, ticks Ticks) error {
	defer l.end()
	var ledTerm uint64
	var batch batch
	ticked := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		case <-l.wake:
		}
		passed := ticks.Passed()
		if l.paused.Load() {
			ticked = passed
		}
		for range min(passed-ticked, mostMissed) {
			r.Tick()
		}
		if passed > ticked {
			ticked = passed
			if s := r.Status(); s.Leader != "" && s.Term != ledTerm {
				ledTerm = s.Term
				l.leaders.Add(1)
			}
		}
		// Whoever is about to ask gets to join the batch.
		runtime.Gosched()
		l.take(&batch)
		for _, a := range batch.answers {
			a.call.finish(a.m, a.err)
		}
		for _, m := range batch.messages {
			r.Receive(m)
		}
		for _, q := range batch.requests {
			l.begin(q, r)
		}
		begun := time.Now()
		if err := r.Process(); err != nil {
			return err
		}
		l.metrics.process.Observe(time.Since(begun).Seconds())
		for _, f := range l.flushers {
			f.flush()
		}
		clear(l.flushers)
		l.flushers = l.flushers[:0]
		for _, ask := range batch.inquiries {
			ask(r)
		}
	}
}

// begin hands a request to the replica unless its caller has given up.
func (l *Loop) begin(q *request, r Replica) {
	q.mu.Lock()
	given := q.given
	q.taken = !given
	q.mu.Unlock()
	done := func(res replica.Result, err error) {
		if f := q.asker.answered(outcome{res, err}); f != nil {
			l.flushers = append(l.flushers, f)
		}
	}
	switch {
	case given:
	case q.order != nil:
		q.order(r, done)
	case q.stale:
		done(r.Stale(q.command.Key))
	case q.read:
		r.Read(q.command.Key, q.how, done)
	default:
		r.Propose(q.command, done)
	}
}

// giveUp tells whether the request was kept from the replica, for good.
func (q *request) giveUp() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.given = !q.taken
	return q.given
}

// submit queues requests, in order, as far as there is room for them: err is of those after the first queued ones, of
// which the replica will never hear. The loop is woken once.
func (l *Loop) submit(requests ...*request) (queued int, err error) {
	l.mu.Lock()
	for _, q := range requests {
		switch size := q.size(); {
		case l.over:
			err = &unansweredError{stopping: true, definite: true}
		case len(l.requests) >= maxRequests, l.requestBytes+size > maxRequestBytes:
			err = errQueueFull
		default:
			l.requests = append(l.requests, q)
			l.requestBytes += size
			queued++
		}
		if err != nil {
			break
		}
	}
	l.mu.Unlock()
	if queued > 0 {
		l.rouse()
	}
	return queued, err
}

// do waits for a request's answer, for ctx, or for the end of the loop.
func (l *Loop) do(ctx context.Context, q *request) (replica.Result, error) {
	done := make(single, 1)
	q.asker = done
	if _, err := l.submit(q); err != nil {
		return replica.Result{}, err
	}
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
		return replica.Result{}, &unansweredError{definite: q.giveUp()}
	case <-l.ended:
	}
	// The answer may have come along with the end.
	select {
	case o := <-done:
		return o.result, o.err
	default:
		return replica.Result{}, &unansweredError{stopping: true, definite: q.giveUp()}
	}
}

// Pause has time stand still for the replica, so that a node that is no member campaigns no more, or lets it pass
// again. Whoever is paused must not lead: its lease would outlive itself.
func (l *Loop) Pause(paused bool) { l.paused.Store(paused) }

// Status asks the replica what it says of itself.
func (l *Loop) Status(ctx context.Context) (replica.Status, error) {
	reply := make(chan replica.Status, 1)
	l.mu.Lock()
	switch {
	case l.over:
		l.mu.Unlock()
		return replica.Status{}, &unansweredError{stopping: true, definite: true}
	case len(l.inquiries) >= maxInquiries:
		l.mu.Unlock()
		return replica.Status{}, errQueueFull
	}
	l.inquiries = append(l.inquiries, func(r Replica) { reply <- r.Status() })
	l.mu.Unlock()
	l.rouse()
	select {
	case s := <-reply:
		return s, nil
	case <-ctx.Done():
		return replica.Status{}, &unansweredError{definite: true}
	case <-l.ended:
		return replica.Status{}, &unansweredError{stopping: true, definite: true}
	}
}

// Receive is the bus's Handler: it queues a request from a peer, or drops it when there is no room.
func (l *Loop) Receive(m raft.Message) {
	size := len(m.Chunk.Data)
	for _, e := range m.Entries {
		size += len(e.Data)
	}
	l.mu.Lock()
	switch {
	case l.over:
	case len(l.messages) >= maxMessages, l.messageBytes+size > maxMessageBytes:
		l.dropped++
	default:
		l.messages = append(l.messages, m)
		l.messageBytes += size
	}
	l.mu.Unlock()
	l.rouse()
}

func (l *Loop) answered(a answer) {
	l.mu.Lock()
	if !l.over {
		l.answers = append(l.answers, a)
	}
	l.mu.Unlock()
	l.rouse()
}

// Bus wraps a bus for the loop's replica: what comes back is told on the loop's goroutine, so that a
// message cancelled there is never heard of again. Only that goroutine may use it.
func (l *Loop) Bus(b bus.Bus) bus.Bus {
	return &loopBus{Bus: b, loop: l, calls: make(map[bus.MessageID]*call)}
}

type loopBus struct {
	bus.Bus
	loop  *Loop
	calls map[bus.MessageID]*call // unanswered
}

// call is a message that was sent and not answered. Only the loop's goroutine looks into it.
type call struct {
	bus        *loopBus
	id         bus.MessageID
	onResponse func(raft.Message, error)
}

func (b *loopBus) Send(from, to raft.NodeID, m raft.Message, onResponse func(raft.Message, error)) bus.MessageID {
	c := &call{bus: b, onResponse: onResponse}
	c.id = b.Bus.Send(from, to, m, func(m raft.Message, err error) { b.loop.answered(answer{c, m, err}) })
	b.calls[c.id] = c
	return c.id
}

func (b *loopBus) Cancel(id bus.MessageID) {
	delete(b.calls, id)
	b.Bus.Cancel(id)
}

func (c *call) finish(m raft.Message, err error) {
	if _, waiting := c.bus.calls[c.id]; waiting {
		delete(c.bus.calls, c.id)
		c.onResponse(m, err)
	}
}

// batch is all that waited.
type batch struct {
	requests  []*request
	messages  []raft.Message
	answers   []answer
	inquiries []func(Replica)
}

// mostSpare is how long a list is kept at most for what comes next.
const mostSpare = 1024

// take puts all that waits into b, whose lists take in what comes meanwhile.
func (l *Loop) take(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests, b.requests = spare(b.requests), l.requests
	l.messages, b.messages = spare(b.messages), l.messages
	l.answers, b.answers = spare(b.answers), l.answers
	l.inquiries, b.inquiries = spare(b.inquiries), l.inquiries
	l.requestBytes, l.messageBytes = 0, 0
}

// spare is a list, emptied, unless a rare burst has made it long.
func spare[T any](list []T) []T {
	if cap(list) > mostSpare {
		return nil
	}
	clear(list)
	return list[:0]
}

func (l *Loop) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *Loop) end() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	close(l.ended)
}

// waiting tells the lengths of the queues, and how many messages were dropped so far.
func (l *Loop) waiting() (requests, messages int, dropped uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.requests), len(l.messages), l.dropped
}

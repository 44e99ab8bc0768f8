package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/bus"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
	"coup/raftnode/replica"
)

// scripted is a replica whose answers the test gives. Its lists are guarded by mu.
type scripted struct {
	mu        sync.Mutex
	ticks     int
	processed int
	received  []raft.Message
	proposals []proposal
	process   func() error              // nil does nothing
	decide    func(fsm.Command) outcome // nil leaves proposals pending
	proposed  func()                    // called for each proposal, unless nil
	state     replica.Status
	// What an operator asks for: how it is begun, and what it was asked.
	change   func(s *scripted, changes []confchange.Change) outcome
	begin    func(s *scripted) error
	ordered  string
	statuses func(asked int) replica.Status // in place of state, unless nil
	asked    int
}

type proposal struct {
	command fsm.Command
	done    func(replica.Result, error)
}

func (s *scripted) Tick() { s.locked(func() { s.ticks++ }) }

func (s *scripted) Receive(m raft.Message) { s.locked(func() { s.received = append(s.received, m) }) }

func (s *scripted) Propose(c fsm.Command, done func(replica.Result, error)) {
	s.locked(func() { s.proposals = append(s.proposals, proposal{c, done}) })
	if s.proposed != nil {
		s.proposed()
	}
	if s.decide != nil {
		o := s.decide(c)
		done(o.result, o.err)
	}
}

func (s *scripted) Read(key string, _ replica.Consistency, done func(replica.Result, error)) {
	s.Propose(fsm.Command{Key: key}, done)
}

func (s *scripted) Stale(key string) (replica.Result, error) {
	return replica.Result{Result: fsm.Result{Value: "stale " + key}, Node: "n1"}, nil
}

func (s *scripted) Process() error {
	s.locked(func() { s.processed++ })
	if s.process != nil {
		return s.process()
	}
	return nil
}

func (s *scripted) Status() replica.Status {
	if s.statuses == nil {
		return s.state
	}
	s.asked++
	return s.statuses(s.asked)
}

func (s *scripted) Change(changes []confchange.Change, done func(replica.Result, error)) {
	s.locked(func() { s.ordered = fmt.Sprint("change ", changes) })
	if s.change != nil {
		o := s.change(s, changes)
		done(o.result, o.err)
	}
}

func (s *scripted) HandOver() error               { return s.order("hand over") }
func (s *scripted) Transfer(to raft.NodeID) error { return s.order("transfer " + string(to)) }
func (s *scripted) StepDown() error               { return s.order("step down") }
func (s *scripted) TakeSnapshot() error           { return s.order("snapshot") }

func (s *scripted) order(what string) error {
	s.locked(func() { s.ordered = what })
	return s.begin(s)
}

func (s *scripted) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *scripted) waiting() (n int) {
	s.locked(func() { n = len(s.proposals) })
	return n
}

// running starts the loop and returns a stop that waits for its end.
func running(t *testing.T, l *Loop, r Replica) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx, r, still) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { stop() })
	return stop
}

func eventually(t *testing.T, what func() bool) {
	t.Helper()
	require.Eventually(t, what, 20*time.Second, time.Millisecond)
}

// One fsync must carry all that is waiting; handing over one request at a time would cost an fsync
// each.
func TestOneProcessCarriesAllThatWaits(t *testing.T) {
	l := NewLoop(nil)
	r := &scripted{decide: func(fsm.Command) outcome { return outcome{} }}
	var waiting sync.WaitGroup
	for range 50 {
		waiting.Go(func() {
			_, err := l.do(t.Context(), &request{})
			require.NoError(t, err)
		})
	}
	eventually(t, func() bool { requests, _, _ := l.waiting(); return requests == 50 })
	l.Receive(raft.Message{})
	running(t, l, r)
	waiting.Wait()
	r.locked(func() {
		require.Len(t, r.proposals, 50)
		require.Len(t, r.received, 1)
		require.Equal(t, 1, r.processed)
	})
}

// still is time that does not pass.
var still = Ticks{Passed: func() int { return 0 }}

// Catches a loop that, after it stood still, forgets the time that passed meanwhile: a lease would outlive itself.
func TestTimeThatPassedReachesTheReplicaFirst(t *testing.T) {
	l, r := NewLoop(nil), &scripted{}
	ctx, cancel := context.WithCancel(t.Context())
	var passed atomic.Int64
	wakes, ended := make(chan time.Time), make(chan error)
	go func() { ended <- l.Run(ctx, r, Ticks{wakes, func() int { return int(passed.Load()) }}) }()
	for _, now := range []int64{1, 2, 2, 40} {
		passed.Store(now)
		wakes <- time.Time{}
	}
	cancel()
	require.NoError(t, <-ended)
	require.Equal(t, 40, r.ticks)
}

// Time stands still for a node that is none of the members, and what passed meanwhile is not made up for.
func TestTimeStandsStillForWhoIsPaused(t *testing.T) {
	l, r := NewLoop(nil), &scripted{}
	ctx, cancel := context.WithCancel(t.Context())
	var passed atomic.Int64
	wakes, ended := make(chan time.Time), make(chan error)
	go func() { ended <- l.Run(ctx, r, Ticks{wakes, func() int { return int(passed.Load()) }}) }()
	turn := func(now int64, paused bool) {
		l.Pause(paused)
		passed.Store(now)
		wakes <- time.Time{}
		_, err := l.Status(ctx) // the turn is over
		require.NoError(t, err)
	}
	turn(3, false)
	turn(50, true)
	l.Receive(raft.Message{})
	turn(60, true)
	turn(62, false)
	cancel()
	require.NoError(t, <-ended)
	require.Equal(t, 5, r.ticks)
	require.Len(t, r.received, 1, "it hears all the same")
}

// A request that the replica never saw is definitely not done; one that it saw may yet be.
func TestTimeoutTellsWhetherTheRequestWasBegun(t *testing.T) {
	t.Run("not begun", func(t *testing.T) {
		l, r := NewLoop(nil), &scripted{}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := l.do(ctx, &request{})
		var unanswered *unansweredError
		require.ErrorAs(t, err, &unanswered)
		require.True(t, unanswered.definite)
		// It still stands in the queue, and must not be begun after that was said.
		running(t, l, r)
		_, err = l.Status(t.Context())
		require.NoError(t, err)
		require.Zero(t, r.waiting())
	})
	t.Run("begun", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, r := NewLoop(nil), &scripted{proposed: cancel}
		running(t, l, r)
		_, err := l.do(ctx, &request{})
		var unanswered *unansweredError
		require.ErrorAs(t, err, &unanswered)
		require.False(t, unanswered.definite)
		require.False(t, unanswered.stopping)
	})
}

// After a failed fsync nothing may be acknowledged, and no request may look definitely undone.
func TestFailureEndsTheLoopAndAnswersNothing(t *testing.T) {
	broken := errors.New("fsync: input/output error")
	l := NewLoop(nil)
	r := &scripted{process: func() error { return broken }}
	failed := make(chan error, 1)
	go func() {
		_, err := l.do(context.Background(), &request{})
		failed <- err
	}()
	eventually(t, func() bool { requests, _, _ := l.waiting(); return requests == 1 })
	require.ErrorIs(t, l.Run(t.Context(), r, still), broken)
	var unanswered *unansweredError
	require.ErrorAs(t, <-failed, &unanswered)
	require.True(t, unanswered.stopping)
	require.False(t, unanswered.definite, "it may be on other disks")

	_, err := l.do(t.Context(), &request{})
	require.ErrorAs(t, err, &unanswered)
	require.True(t, unanswered.definite, "it came after the end")
	_, err = l.Status(t.Context())
	require.ErrorAs(t, err, &unanswered)
}

// Queues have bounds: a node that cannot keep up refuses, and does not swallow its memory.
func TestQueuesAreBounded(t *testing.T) {
	l := NewLoop(nil)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range maxRequests {
		_, err := l.do(over, &request{})
		require.NotErrorIs(t, err, errQueueFull)
	}
	_, err := l.do(over, &request{})
	require.ErrorIs(t, err, errQueueFull)

	l = NewLoop(nil)
	_, err = l.do(over, &request{command: fsm.Command{Value: string(make([]byte, maxRequestBytes+1))}})
	require.ErrorIs(t, err, errQueueFull)
	for range maxMessages + 7 {
		l.Receive(raft.Message{})
	}
	_, messages, dropped := l.waiting()
	require.Equal(t, maxMessages, messages)
	require.Equal(t, uint64(7), dropped)

	l = NewLoop(nil)
	const large = maxMessageBytes / 4
	for _, m := range []raft.Message{
		{Chunk: raft.Chunk{Data: make([]byte, large)}}, {Entries: []raft.Entry{{Data: make([]byte, large)}, {Data: make([]byte, large)}}},
		{Chunk: raft.Chunk{Data: make([]byte, large)}}, {Chunk: raft.Chunk{Data: make([]byte, 1)}}, {Entries: []raft.Entry{{Data: make([]byte, 1)}}},
	} {
		l.Receive(m)
	}
	_, messages, dropped = l.waiting()
	require.Equal(t, 3, messages)
	require.Equal(t, uint64(2), dropped)
}

// asking is a replica that sends on the bus when it is told to process.
type asking struct {
	scripted
	bus       bus.Bus
	onProcess func()
}

func (a *asking) Process() error {
	if a.onProcess != nil {
		a.onProcess()
	}
	return nil
}

// The replica is single-threaded: what a bus tells on goroutines of its own must reach it on the
// loop's, and nothing of a cancelled message may.
func TestBusAnswersOnTheLoop(t *testing.T) {
	l := NewLoop(nil)
	direct := &concurrentBus{}
	r := &asking{bus: l.Bus(direct)}
	var inProcess, answers, cancelled int // touched by the loop alone, or after its end
	done := make(chan struct{})
	r.onProcess = func() {
		r.onProcess = nil
		inProcess++
		for range 10 {
			r.bus.Send("n1", "n2", raft.Message{}, func(raft.Message, error) {
				if answers++; answers == 10 {
					close(done)
				}
			})
			id := r.bus.Send("n1", "n2", raft.Message{}, func(raft.Message, error) { cancelled++ })
			r.bus.Cancel(id)
		}
		inProcess--
	}
	stop := running(t, l, r)
	l.rouse()
	<-done
	direct.running.Wait()
	_, err := l.Status(t.Context())
	require.NoError(t, err)
	require.NoError(t, stop())
	require.Zero(t, inProcess)
	require.Equal(t, 10, answers)
	require.Zero(t, cancelled)
	require.Equal(t, 10, direct.cancelled)
}

// concurrentBus answers each message on another goroutine, even those that were cancelled.
type concurrentBus struct {
	last      bus.MessageID
	cancelled int
	running   sync.WaitGroup
}

func (b *concurrentBus) Send(_, _ raft.NodeID, m raft.Message, onResponse func(raft.Message, error)) bus.MessageID {
	b.last++
	b.running.Go(func() { onResponse(m, nil) })
	return b.last
}

func (b *concurrentBus) Respond(_, _ raft.NodeID, _ raft.Message) {}
func (b *concurrentBus) Cancel(bus.MessageID)                     { b.cancelled++ }

package sim

import (
	"math"
	"time"
)

// never is the time of what does not come.
const never time.Duration = math.MaxInt64

// kind says what an event does.
type kind uint8

// The kinds of events. From evTick on, id is the life of the node that it is for.
const (
	evNothing     kind = iota
	evDeliver          // ref is a letter
	evUnreachable      // id is a request
	evRequest          // id is a call
	evAnswer           // ref is a reply
	evRefused          // id is a call
	evLost             // id is a call
	evInjected
	evObserve  // id is a round
	evObserved // id is a round
	evTrouble  // ref is a trouble
	evRestart  // id is the life that ended
	evAdmin    // ref is an administrator
	evAsk      // id is an ask
	evOperator
	evOrder // ref is an order
	evSession
	evSessionAsk
	evStale
	evStaleAsk
	evEclipse
	evShade
	evDarken // id is an eclipse
	evProbe
	evRejoin
	evTick
	evFlush
	evCrash
	evResume
)

// event is something to come. Events at the same time come in the order in which they were scheduled.
type event struct {
	at   time.Duration
	seq  uint64
	id   uint64
	ref  int32
	node uint8
	kind kind
}

func (e *event) before(f *event) bool { return e.at < f.at || e.at == f.at && e.seq < f.seq }

// queue is a heap of events, four children a node.
type queue struct {
	events []event
	seq    uint64
}

// at is the time of the first event.
func (q *queue) at() time.Duration {
	if len(q.events) == 0 {
		return never
	}
	return q.events[0].at
}

func (q *queue) push(e event) {
	q.seq++
	e.seq = q.seq
	q.events = append(q.events, e)
	h := q.events
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&h[parent]) {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = e
}

func (q *queue) pop() event {
	h := q.events
	first := h[0]
	n := len(h) - 1
	last := h[n]
	q.events = h[:n]
	h = q.events
	i := 0
	for {
		child := 4*i + 1
		if child >= n {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, n); c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if !h[least].before(&last) {
			break
		}
		h[i] = h[least]
		i = least
	}
	if n > 0 {
		h[i] = last
	}
	return first
}

// deadline is when something is given up. Deadlines of one kind all lie equally far ahead, so that
// they come in the order in which they were set and need no heap.
type deadline struct {
	at time.Duration
	id uint64
}

// deadlines are in order; what is over is skipped.
type deadlines struct {
	all  []deadline
	head int
}

func (d *deadlines) push(at time.Duration, id uint64) {
	if d.head > 1024 && d.head > len(d.all)/2 {
		d.all = d.all[:copy(d.all, d.all[d.head:])]
		d.head = 0
	}
	d.all = append(d.all, deadline{at, id})
}

package bus

import (
	"slices"
	"sync"
	"time"

	"coup/raftnode/raft"
)

// Memory is a bus between nodes of one process. It has no goroutine and no clock: a message moves
// when its owner calls Deliver, and time passes when it calls Advance. Two runs with the same calls
// do the same.
type Memory struct {
	timeout time.Duration

	mu       sync.Mutex
	closed   bool
	now      time.Duration
	lastID   MessageID
	nodes    map[raft.NodeID]Handler
	transit  []Parcel
	requests []memoryRequest // unanswered, oldest first
}

var _ Bus = (*Memory)(nil)

// Parcel is what is in transit: a message or, with Err set, the news for its sender that a request
// has failed.
type Parcel struct {
	Message raft.Message
	Err     error
}

type memoryRequest struct {
	id         MessageID
	from       raft.NodeID
	deadline   time.Duration
	onResponse func(raft.Message, error)
}

// NewMemory makes a bus on which a request fails when it is not answered within timeout.
func NewMemory(timeout time.Duration) *Memory {
	return &Memory{timeout: timeout, nodes: make(map[raft.NodeID]Handler)}
}

// Register connects a node. Its handler gets the requests that are delivered to it.
func (b *Memory) Register(id raft.NodeID, h Handler) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes[id] = h
}

// Unregister disconnects a node. What it asked is forgotten; what it is asked fails.
func (b *Memory) Unregister(id raft.NodeID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.nodes, id)
	b.requests = slices.DeleteFunc(b.requests, func(r memoryRequest) bool { return r.from == id })
}

// Send implements Bus.
func (b *Memory) Send(from, to raft.NodeID, m raft.Message, onResponse func(raft.Message, error)) MessageID {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lastID++
	m.From, m.To, m.ID = from, to, b.lastID
	b.requests = append(b.requests, memoryRequest{m.ID, from, b.now + b.timeout, onResponse})
	p := Parcel{Message: m}
	if b.closed {
		p.Err = ErrClosed
	}
	b.transit = append(b.transit, p)
	return m.ID
}

// Respond implements Bus.
func (b *Memory) Respond(from, to raft.NodeID, m raft.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.From, m.To = from, to
	if !b.closed {
		b.transit = append(b.transit, Parcel{Message: m})
	}
}

// Cancel implements Bus.
func (b *Memory) Cancel(id MessageID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.take(id)
}

// Close fails all that is unanswered, and all that is sent from now on, with ErrClosed, once it is
// delivered. The rest in transit is lost.
func (b *Memory) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.transit = nil
	for _, r := range b.requests {
		b.transit = append(b.transit, Parcel{raft.Message{From: r.from, ID: r.id}, ErrClosed})
	}
	return nil
}

// Transit is a copy of what is in transit, in the order in which it was sent.
func (b *Memory) Transit() []Parcel {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.transit)
}

// Deliver takes the i-th of what is in transit to its end. The handler or the onResponse that it
// is for runs before Deliver returns, and may send.
func (b *Memory) Deliver(i int) {
	b.mu.Lock()
	p := b.remove(i)
	m := p.Message
	if p.Err == nil && !m.Type.IsReply() {
		if h := b.nodes[m.To]; h != nil {
			b.mu.Unlock()
			h(m)
			return
		}
		p.Err = ErrUnreachable
	}
	onResponse := b.take(m.ID)
	b.mu.Unlock()
	switch {
	case onResponse == nil:
	case p.Err != nil:
		onResponse(raft.Message{}, p.Err)
	default:
		onResponse(m, nil)
	}
}

// DeliverAll delivers, first sent first, until nothing is in transit, and says how much it was.
func (b *Memory) DeliverAll() (delivered int) {
	for ; len(b.Transit()) > 0; delivered++ {
		b.Deliver(0)
	}
	return delivered
}

// Drop loses the i-th of what is in transit. A request's sender hears of it by ErrTimeout.
func (b *Memory) Drop(i int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove(i)
}

// Duplicate puts a copy of the i-th of what is in transit behind the last.
func (b *Memory) Duplicate(i int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.transit = append(b.transit, b.transit[i])
}

// Advance passes time. Requests whose time is over fail with ErrTimeout before it returns.
func (b *Memory) Advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now += d
	for len(b.requests) > 0 && b.requests[0].deadline <= b.now {
		r := b.requests[0]
		b.requests = b.requests[1:]
		b.mu.Unlock()
		r.onResponse(raft.Message{}, ErrTimeout)
		b.mu.Lock()
	}
}

func (b *Memory) remove(i int) Parcel {
	p := b.transit[i]
	b.transit = slices.Delete(b.transit, i, i+1)
	return p
}

// take ends a request and returns what is to be told of it, nil if it was over.
func (b *Memory) take(id MessageID) func(raft.Message, error) {
	i, found := slices.BinarySearchFunc(b.requests, id, func(r memoryRequest, id MessageID) int {
		switch {
		case r.id < id:
			return -1
		case r.id > id:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	onResponse := b.requests[i].onResponse
	b.requests = slices.Delete(b.requests, i, i+1)
	return onResponse
}

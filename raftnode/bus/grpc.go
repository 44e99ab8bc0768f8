package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"

	"coup/raftnode/bus/buspb"
	"coup/raftnode/raft"
	"coup/raftnode/wire"
)

// ErrTooLarge is what a request gets that is larger than Options.MaxMessageBytes. It is not sent.
var ErrTooLarge = errors.New("bus: message is too large")

// Resolver tells where a peer's bus may listen, as host:port, what is to be tried first at the front. It is
// asked again for every connection, and must not block.
type Resolver interface {
	Addresses(raft.NodeID) []string
}

// Options are what a GRPC bus is made of.
type Options struct {
	ID       raft.NodeID
	Handler  Handler  // gets the requests of peers, each peer's in order; of several peers' at once
	Resolver Resolver // where the peers are
	Logger   *slog.Logger
	// TLS secures the streams in both directions; nil leaves them in the clear. See MutualTLS.
	TLS *tls.Config
	// FirstID is the ID of the first request. A random one keeps late answers to a former process of
	// this node from being taken for answers to this one.
	FirstID MessageID
	// RequestTimeout is how long an answer is waited for. Zero is 1 s.
	RequestTimeout time.Duration
	// MaxPending bounds the requests to one peer that are unanswered, and the answers to one peer
	// that are unsent. Zero is 4096.
	MaxPending int
	// MaxPendingBytes bounds their size. Zero is 64 MiB.
	MaxPendingBytes int
	// MaxMessageBytes bounds one message. Zero is 16 MiB.
	MaxMessageBytes int
}

// The bounds on connecting. A healed partition must be noticed well within a second, and a peer that
// answers slowly must still be reached.
const (
	connectTimeout = 500 * time.Millisecond
	minBackoff     = 50 * time.Millisecond
	maxBackoff     = 250 * time.Millisecond
	// userTimeout is how long sent data may stay unacknowledged before the kernel gives up.
	userTimeout = 2 * time.Second
	// frameBytes is what a frame is filled up to.
	frameBytes = 1 << 20
)

// GRPC is a bus over gRPC streams: one from each node to each peer that it has something to ask,
// opened at need. Requests and answers are batched: what queues up during one write goes out with
// the next. A stream on which nothing comes back in the time of a request is given up and opened
// anew, because the back-off of TCP's retransmission outlasts a healed partition by far.
//
// An onResponse runs on a goroutine of the bus and must not block. One that has already begun to
// run is not waited for by Cancel.
type GRPC struct {
	o      Options
	server *grpc.Server

	mu     sync.Mutex
	closed bool
	nextID MessageID
	// unanswered requests by ID; the same, in the order of their deadlines, with some that are over.
	requests map[MessageID]*request
	expiry   []*request
	timer    *time.Timer
	links    map[raft.NodeID]*link
	inbound  map[raft.NodeID]*inbound
	stats    Stats

	open    context.Context // until Close
	close   context.CancelFunc
	running sync.WaitGroup
}

var _ Bus = (*GRPC)(nil)

// Stats count what a bus did since it began.
type Stats struct {
	Sent       uint64 // requests written to a stream
	Received   uint64 // requests from peers
	Answers    uint64 // answers that a request was waiting for
	Late       uint64 // answers that none was waiting for
	Unsent     uint64 // answers that could not be sent
	Failed     uint64 // requests that failed for another reason than time
	TimedOut   uint64
	Streams    uint64 // streams opened to peers
	Resets     uint64 // streams given up because nothing came back
	Pending    int    // requests unanswered now
	Connected  int    // peers to which a stream is open now
	FramesSent uint64 // writes of requests
}

// request is one that was sent and not answered. The bus's mutex guards it.
type request struct {
	id         MessageID
	link       *link
	message    *wire.Message // nil once it is written
	size       int
	onResponse func(raft.Message, error)
	deadline   time.Time
	stream     *outbound // that it was written to
	sent       time.Time
	over       bool
}

// NewGRPC makes a bus that can send at once. Serve makes it hear.
func NewGRPC(o Options) *GRPC {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = time.Second
	}
	if o.MaxPending == 0 {
		o.MaxPending = 4096
	}
	if o.MaxPendingBytes == 0 {
		o.MaxPendingBytes = 64 << 20
	}
	if o.MaxMessageBytes == 0 {
		o.MaxMessageBytes = 16 << 20
	}
	b := &GRPC{
		o:        o,
		nextID:   max(o.FirstID, 1),
		requests: make(map[MessageID]*request),
		links:    make(map[raft.NodeID]*link),
		inbound:  make(map[raft.NodeID]*inbound),
	}
	b.open, b.close = context.WithCancel(context.Background())
	b.timer = time.AfterFunc(time.Hour, b.expire)
	b.timer.Stop()
	b.server = grpc.NewServer(
		grpc.Creds(b.credentials("")),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(o.MaxMessageBytes+frameBytes),
		grpc.InitialWindowSize(window),
		grpc.InitialConnWindowSize(window),
		grpc.ConnectionTimeout(2*connectTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: userTimeout}),
		grpc.WaitForHandlers(true),
	)
	buspb.RegisterBusServer(b.server, &service{bus: b})
	return b
}

// window is how much one side may send before the other has read it, in bytes.
const window = 4 << 20

// Serve hears peers on a listener, which it closes, until Close.
func (b *GRPC) Serve(l net.Listener) error {
	if err := b.server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("bus: serving: %w", err)
	}
	return nil
}

// Close ends all streams and fails what is unanswered with ErrClosed. When it returns no handler
// runs, and none will.
func (b *GRPC) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	b.close()
	b.timer.Stop()
	unanswered := slices.Collect(maps.Values(b.requests))
	b.mu.Unlock()
	for _, r := range unanswered {
		b.finish(r, raft.Message{}, ErrClosed)
	}
	b.server.Stop()
	b.running.Wait()
	return nil
}

// Stats tells what the bus did.
func (b *GRPC) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Pending = len(b.requests)
	for _, l := range b.links {
		if l.stream != nil {
			s.Connected++
		}
	}
	return s
}

// Send implements Bus.
func (b *GRPC) Send(from, to raft.NodeID, m raft.Message, onResponse func(raft.Message, error)) MessageID {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.From, m.To, m.ID = from, to, b.nextID
	b.nextID++
	message := wire.MessageToProto(m)
	r := &request{id: m.ID, message: message, size: proto.Size(message), onResponse: onResponse}
	if err := b.enqueue(to, r); err != nil {
		b.stats.Failed++
		b.spawn(func() { onResponse(raft.Message{}, err) })
	}
	return m.ID
}

func (b *GRPC) enqueue(to raft.NodeID, r *request) error {
	if b.closed {
		return ErrClosed
	}
	l := b.links[to]
	if l == nil {
		l = newLink(b, to)
		b.links[to] = l
		b.spawn(l.run)
	}
	switch {
	case r.size > b.o.MaxMessageBytes:
		return ErrTooLarge
	case l.down != nil:
		return l.down
	case l.pending >= b.o.MaxPending, l.pendingBytes+r.size > b.o.MaxPendingBytes:
		return ErrQueueFull
	}
	r.link = l
	r.deadline = time.Now().Add(b.o.RequestTimeout)
	l.pending++
	l.pendingBytes += r.size
	l.queue = append(l.queue, r)
	wake(l.wake)
	b.requests[r.id] = r
	b.expiry = append(b.expiry, r)
	if len(b.expiry) == 1 {
		b.timer.Reset(b.o.RequestTimeout)
	}
	return nil
}

// Respond implements Bus.
func (b *GRPC) Respond(from, to raft.NodeID, m raft.Message) {
	m.From, m.To = from, to
	message := wire.MessageToProto(m)
	size := proto.Size(message)
	b.mu.Lock()
	defer b.mu.Unlock()
	in := b.inbound[to]
	if in == nil || len(in.queue) >= b.o.MaxPending || in.queueBytes+size > b.o.MaxPendingBytes || size > b.o.MaxMessageBytes {
		b.stats.Unsent++
		return
	}
	in.queue = append(in.queue, answer{message, size})
	in.queueBytes += size
	wake(in.wake)
}

// Cancel implements Bus.
func (b *GRPC) Cancel(id MessageID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.requests[id]; r != nil {
		b.end(r)
	}
}

// Drop closes the connection to a peer, and fails what it has not answered. It is for a peer that is none any more:
// sending to it again connects again.
func (b *GRPC) Drop(peer raft.NodeID) {
	b.mu.Lock()
	l := b.links[peer]
	delete(b.links, peer)
	b.mu.Unlock()
	if l != nil {
		l.close()
		l.fail(ErrUnreachable)
	}
}

// end forgets a request. It is called with the mutex held.
func (b *GRPC) end(r *request) {
	r.over = true
	r.message = nil
	r.link.pending--
	r.link.pendingBytes -= r.size
	delete(b.requests, r.id)
}

// finish tells a request's end to whoever waits for it, unless it is over already.
func (b *GRPC) finish(r *request, answer raft.Message, err error) {
	b.mu.Lock()
	if r.over {
		b.mu.Unlock()
		return
	}
	b.end(r)
	switch err {
	case nil:
		b.stats.Answers++
	case ErrTimeout:
		b.stats.TimedOut++
	default:
		b.stats.Failed++
	}
	b.mu.Unlock()
	r.onResponse(answer, err)
}

// expire fails the requests whose time is over, and gives up the streams that they are evidence
// against.
func (b *GRPC) expire() {
	now := time.Now()
	var late []*request
	var silent []*outbound
	b.mu.Lock()
	for len(b.expiry) > 0 && (b.expiry[0].over || !b.expiry[0].deadline.After(now)) {
		r := b.expiry[0]
		b.expiry[0] = nil
		b.expiry = b.expiry[1:]
		if r.over {
			continue
		}
		late = append(late, r)
		if s := r.stream; s != nil && s.heard.Before(r.sent) && !s.givenUp {
			s.givenUp = true
			b.stats.Resets++
			silent = append(silent, s)
		}
	}
	if len(b.expiry) > 0 && !b.closed {
		b.timer.Reset(time.Until(b.expiry[0].deadline))
	}
	b.mu.Unlock()
	for _, r := range late {
		b.finish(r, raft.Message{}, ErrTimeout)
	}
	for _, s := range silent {
		s.cancel()
	}
}

// answered takes an answer that came on a stream.
func (b *GRPC) answered(s *outbound, m raft.Message) {
	b.mu.Lock()
	s.heard = time.Now()
	r := b.requests[m.ID]
	// An answer to what was asked on another stream, or of another peer, is none.
	if r == nil || r.stream != s {
		b.stats.Late++
		b.mu.Unlock()
		return
	}
	b.mu.Unlock()
	b.finish(r, m, nil)
}

// spawn runs f on a goroutine that Close waits for. It is called with the mutex held.
func (b *GRPC) spawn(f func()) {
	if b.closed {
		go f()
		return
	}
	b.running.Add(1)
	go func() {
		defer b.running.Done()
		f()
	}()
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

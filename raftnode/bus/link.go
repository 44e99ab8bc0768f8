package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/metadata"

	"coup/raftnode/bus/buspb"
	"coup/raftnode/raft"
	"coup/raftnode/wire"
)

// link is the way to one peer: what is to be sent, and the stream, if any. The bus's mutex guards it.
type link struct {
	bus   *GRPC
	peer  raft.NodeID
	wake  chan struct{}   // holds one while the queue may have something new
	open  context.Context // until close
	close context.CancelFunc
	tries int // which of the peer's addresses is tried: goes on with each that was of no use

	queue        []*request // not yet written; some may be over
	pending      int        // requests unanswered, queued ones included
	pendingBytes int
	stream       *outbound // nil while there is none
	down         error     // what requests fail with while the link waits to connect again
}

// outbound is one stream to a peer.
type outbound struct {
	buspb.Bus_ExchangeClient
	cancel  context.CancelFunc
	heard   time.Time // when something last came back; the bus's mutex guards it and the next
	givenUp bool
}

func newLink(b *GRPC, peer raft.NodeID) *link {
	l := &link{bus: b, peer: peer, wake: make(chan struct{}, 1)}
	l.open, l.close = context.WithCancel(b.open)
	return l
}

// run connects whenever there is something to send, and waits a little after each failure.
func (l *link) run() {
	wait := minBackoff
	for l.awaitWork(l.open) {
		useful, err := l.connect()
		if useful {
			wait = minBackoff
		} else {
			l.tries++
		}
		level := slog.LevelDebug
		if wait == minBackoff {
			level = slog.LevelInfo // once for each time that it goes down
		}
		l.bus.o.Logger.Log(l.open, level, "bus: link down", "peer", l.peer, "error", err)
		l.fail(err)
		if !l.sleep(wait) {
			return
		}
		wait = min(2*wait, maxBackoff)
		l.restore()
	}
}

// sleep waits, and tells whether the link is still open.
func (l *link) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.open.Done():
		return false
	}
}

// awaitWork waits for something in the queue, and tells whether there is before ctx is done.
func (l *link) awaitWork(ctx context.Context) bool {
	for {
		l.bus.mu.Lock()
		waiting := len(l.queue) > 0
		l.bus.mu.Unlock()
		if waiting {
			return ctx.Err() == nil
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return false
		}
	}
}

// connect opens a stream and serves it until it breaks. useful says that the peer answered on it.
func (l *link) connect() (useful bool, err error) {
	addresses := l.bus.o.Resolver.Addresses(l.peer)
	if len(addresses) == 0 {
		return false, ErrUnknownPeer
	}
	address := addresses[l.tries%len(addresses)]
	ctx, cancel := context.WithCancel(l.open)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(l.bus.credentials(l.peer)),
		grpc.WithContextDialer(dial),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: minBackoff, Multiplier: 1, MaxDelay: minBackoff},
			MinConnectTimeout: 2 * connectTimeout,
		}),
		grpc.WithInitialWindowSize(window),
		grpc.WithInitialConnWindowSize(window),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newCodec()), grpc.MaxCallRecvMsgSize(l.bus.o.MaxMessageBytes+frameBytes)),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
	)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer conn.Close()
	stream, err := buspb.NewBusClient(conn).Exchange(metadata.AppendToOutgoingContext(ctx,
		keyFrom, string(l.bus.o.ID), keyTo, string(l.peer)))
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	s := &outbound{Bus_ExchangeClient: stream, cancel: cancel}
	l.bus.mu.Lock()
	l.stream = s
	l.bus.stats.Streams++
	l.bus.mu.Unlock()

	broken := make(chan error, 1)
	go func() {
		err := l.hear(s)
		cancel()
		broken <- err
	}()
	for l.awaitWork(ctx) {
		if err := l.write(s); err != nil {
			break
		}
	}
	cancel()
	err = <-broken
	l.bus.mu.Lock()
	defer l.bus.mu.Unlock()
	l.stream = nil
	return !s.heard.IsZero(), fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// write sends the queue's beginning as one frame.
func (l *link) write(s *outbound) error {
	frame := &buspb.Frame{}
	now := time.Now()
	l.bus.mu.Lock()
	size := 0
	for len(l.queue) > 0 && size < frameBytes {
		r := l.queue[0]
		if !r.over {
			if len(frame.Messages) > 0 && size+r.size > frameBytes {
				break
			}
			frame.Messages = append(frame.Messages, r.message)
			size += r.size
			r.message, r.stream, r.sent = nil, s, now
		}
		l.queue[0] = nil
		l.queue = l.queue[1:]
	}
	if len(frame.Messages) > 0 {
		l.bus.stats.Sent += uint64(len(frame.Messages))
		l.bus.stats.FramesSent++
	}
	l.bus.mu.Unlock()
	if len(frame.Messages) == 0 {
		return nil
	}
	return s.Send(frame)
}

// hear takes answers until the stream breaks.
func (l *link) hear(s *outbound) error {
	for {
		frame, err := s.Recv()
		if err != nil {
			return err
		}
		answers := make([]raft.Message, len(frame.Messages))
		for i, p := range frame.Messages {
			m, err := wire.MessageFromProto(p)
			switch {
			case err != nil:
				return err
			case m.From != l.peer || m.To != l.bus.o.ID || !m.Type.IsReply():
				return fmt.Errorf("bus: %s sent type %d from %s to %s as an answer", l.peer, m.Type, m.From, m.To)
			}
			answers[i] = m
		}
		for _, m := range answers {
			l.bus.answered(s, m)
		}
	}
}

// fail ends what was sent or queued on this link, and whatever comes until restore.
func (l *link) fail(err error) {
	cause := ErrUnreachable
	if errors.Is(err, ErrUnknownPeer) {
		cause = ErrUnknownPeer
	}
	var broken []*request
	l.bus.mu.Lock()
	l.down = cause
	l.queue = nil
	for _, r := range l.bus.expiry {
		if r.link == l && !r.over {
			broken = append(broken, r)
		}
	}
	l.bus.mu.Unlock()
	for _, r := range broken {
		l.bus.finish(r, raft.Message{}, cause)
	}
}

func (l *link) restore() {
	l.bus.mu.Lock()
	defer l.bus.mu.Unlock()
	l.down = nil
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: connectTimeout, Control: setUserTimeout}
	return d.DialContext(ctx, "tcp", address)
}

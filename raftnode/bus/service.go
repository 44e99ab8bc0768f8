package bus

import (
	"context"
	"io"
	"net"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"coup/raftnode/bus/buspb"
	"coup/raftnode/raft"
	"coup/raftnode/wire"
)

// The metadata by which a caller names itself and whom it means to reach.
const (
	keyFrom = "coup-from"
	keyTo   = "coup-to"
)

// Listen is net.Listen for a bus: a connection whose peer is gone does not linger.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	c := net.ListenConfig{Control: setUserTimeout}
	return c.Listen(ctx, "tcp", address)
}

// inbound is the stream on which a peer asks. The bus's mutex guards the queue.
type inbound struct {
	peer       raft.NodeID
	replaced   chan struct{} // closed when the peer has opened another
	wake       chan struct{}
	queue      []answer // not yet written
	queueBytes int
}

// answer is one in its network form. It may be as large as a request: some carry entries, or a chunk.
type answer struct {
	message *wire.Message
	size    int
}

// service is what peers call.
type service struct {
	buspb.UnimplementedBusServer
	bus *GRPC
}

// Exchange serves one peer's stream. A message that is damaged, or is not from that peer to this
// node, ends it.
func (s *service) Exchange(stream buspb.Bus_ExchangeServer) error {
	from, to := named(stream.Context(), keyFrom), named(stream.Context(), keyTo)
	if from == "" || to != s.bus.o.ID {
		return status.Errorf(codes.FailedPrecondition, "this is %s, and %q asks for %q", s.bus.o.ID, from, to)
	}
	if err := s.bus.proves(stream.Context(), from); err != nil {
		s.bus.o.Logger.Warn("bus: a stream from who is not what it says", "peer", from, "error", err)
		return status.Errorf(codes.Unauthenticated, "no proof of being %q: %v", from, err)
	}
	in := &inbound{peer: from, replaced: make(chan struct{}), wake: make(chan struct{}, 1)}
	if !s.bus.admit(in) {
		return status.Error(codes.Unavailable, "closed")
	}
	defer s.bus.dismiss(in)
	heard := make(chan error, 1)
	s.bus.running.Add(1)
	go func() {
		defer s.bus.running.Done()
		heard <- s.bus.hear(in, stream)
	}()
	for {
		select {
		case <-in.wake:
			if err := s.bus.answer(in, stream); err != nil {
				return err
			}
		case err := <-heard:
			return err
		case <-in.replaced:
			return status.Error(codes.Aborted, "the peer has opened another stream")
		case <-s.bus.open.Done():
			return status.Error(codes.Unavailable, "closed")
		}
	}
}

func named(ctx context.Context, key string) raft.NodeID {
	if values := metadata.ValueFromIncomingContext(ctx, key); len(values) == 1 {
		return raft.NodeID(values[0])
	}
	return ""
}

func (b *GRPC) admit(in *inbound) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	if old := b.inbound[in.peer]; old != nil {
		close(old.replaced)
	}
	b.inbound[in.peer] = in
	return true
}

func (b *GRPC) dismiss(in *inbound) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inbound[in.peer] == in {
		delete(b.inbound, in.peer)
	}
}

// hear hands requests to the handler until the stream breaks.
func (b *GRPC) hear(in *inbound, stream buspb.Bus_ExchangeServer) error {
	for {
		frame, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		requests := make([]raft.Message, len(frame.Messages))
		for i, p := range frame.Messages {
			m, err := wire.MessageFromProto(p)
			switch {
			case err != nil:
				b.o.Logger.Warn("bus: damaged message", "peer", in.peer, "error", err)
				return status.Error(codes.InvalidArgument, err.Error())
			case m.From != in.peer || m.To != b.o.ID || m.Type.IsReply() || m.ID == 0:
				b.o.Logger.Warn("bus: message out of place", "peer", in.peer, "from", m.From, "to", m.To, "type", m.Type)
				return status.Errorf(codes.InvalidArgument, "%s sent type %d from %s to %s as a request", in.peer, m.Type, m.From, m.To)
			}
			requests[i] = m
		}
		b.mu.Lock()
		closed := b.closed
		b.stats.Received += uint64(len(requests))
		b.mu.Unlock()
		if closed {
			return status.Error(codes.Unavailable, "closed")
		}
		for _, m := range requests {
			b.o.Handler(m)
		}
	}
}

// answer writes what is queued, in frames.
func (b *GRPC) answer(in *inbound, stream buspb.Bus_ExchangeServer) error {
	for {
		frame := &buspb.Frame{}
		size := 0
		b.mu.Lock()
		for len(in.queue) > 0 && (size == 0 || size+in.queue[0].size <= frameBytes) {
			frame.Messages = append(frame.Messages, in.queue[0].message)
			size += in.queue[0].size
			in.queue[0].message = nil
			in.queue = in.queue[1:]
		}
		in.queueBytes -= size
		b.mu.Unlock()
		if size == 0 {
			return nil
		}
		if err := stream.Send(frame); err != nil {
			return err
		}
	}
}

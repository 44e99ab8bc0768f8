package bus

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"coup/raftnode/bus/buspb"
	"coup/raftnode/raft"
	"coup/raftnode/wire"
)

// cable carries connections to a node, until it is cut. What was connected then stays connected and
// silent for ever, as TCP connections seem to be that back off after a long partition.
type cable struct {
	listener net.Listener
	target   string
	cut      atomic.Bool

	mu    sync.Mutex
	conns []net.Conn
	dead  []*atomic.Bool
}

func newCable(t *testing.T, target string) *cable {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cable{listener: l, target: target}
	done := make(chan struct{})
	go func() { defer close(done); c.run() }()
	t.Cleanup(func() {
		l.Close()
		<-done
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, conn := range c.conns {
			conn.Close()
		}
	})
	return c
}

func (c *cable) run() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		dead := &atomic.Bool{}
		dead.Store(c.cut.Load())
		c.keep(near, dead)
		if dead.Load() {
			continue
		}
		far, err := net.Dial("tcp", c.target)
		if err != nil {
			near.Close()
			continue
		}
		c.keep(far, dead)
		go carry(near, far, dead)
		go carry(far, near, dead)
	}
}

func (c *cable) keep(conn net.Conn, dead *atomic.Bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns, c.dead = append(c.conns, conn), append(c.dead, dead)
}

func (c *cable) setCut(cut bool) {
	c.cut.Store(cut)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.dead {
		d.Store(d.Load() || cut)
	}
}

func carry(to, from net.Conn, dead *atomic.Bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if dead.Load() {
			if err != nil {
				return
			}
			continue
		}
		if err != nil {
			to.Close()
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			from.Close()
			return
		}
	}
}

// It would catch a bus that trusts a connection which survived a partition in name only: after
// healing nothing would ever move again.
func TestTrafficFlowsAgainAfterAPartition(t *testing.T) {
	w := newGRPCWorld()
	a := w.join(t, "a", ignore)
	joinEcho(t, w, "b")
	target := w.book.address("b")
	c := newCable(t, target)
	w.book.set("b", c.listener.Addr().String())

	works := func() bool {
		var h heard
		a.Send("a", "b", heartbeat, h.onResponse)
		w.eventually(t, func() bool { return h.calls() == 1 })
		return h.err() == nil
	}
	require.True(t, works())
	c.setCut(true)
	require.False(t, works())
	require.False(t, works())
	c.setCut(false)
	w.eventually(t, works)
	require.NotZero(t, w.nodes["a"].Stats().Resets)
}

// It would catch an address that is remembered after the peer has moved.
func TestAddressIsAskedForAnew(t *testing.T) {
	w := newGRPCWorld()
	a := w.join(t, "a", ignore)
	w.book.set("b", "127.0.0.1:1") // nobody listens there
	var h heard
	a.Send("a", "b", heartbeat, h.onResponse)
	w.eventually(t, func() bool { return h.calls() == 1 })
	require.ErrorIs(t, h.err(), ErrUnreachable)
	joinEcho(t, w, "b")
	w.eventually(t, func() bool {
		var again heard
		a.Send("a", "b", heartbeat, again.onResponse)
		w.eventually(t, func() bool { return again.calls() == 1 })
		return again.err() == nil
	})
}

// Where a peer has several addresses the next is tried, also when another node answers at the first. It would catch
// a node that has moved and is never found.
func TestNextAddressIsTried(t *testing.T) {
	w := newGRPCWorld()
	a := w.join(t, "a", ignore)
	joinEcho(t, w, "b")
	w.join(t, "c", func(raft.Message) { t.Error("c got a message for b") })
	w.book.set("b", "127.0.0.1:1", w.book.address("c"), w.book.address("b"))
	w.eventually(t, func() bool {
		var h heard
		a.Send("a", "b", heartbeat, h.onResponse)
		w.eventually(t, func() bool { return h.calls() == 1 })
		return h.err() == nil
	})
}

// It would catch a connection that outlives its peer's membership, and a request to it whose end nobody hears of.
func TestDroppedPeerIsDisconnected(t *testing.T) {
	w := newGRPCWorld()
	a := w.join(t, "a", ignore)
	w.join(t, "b", ignore) // never answers
	var h heard
	a.Send("a", "b", heartbeat, h.onResponse)
	w.eventually(t, func() bool { return w.nodes["a"].Stats().Sent == 1 && w.nodes["b"].Stats().Received == 1 })
	w.nodes["a"].Drop("b")
	require.Equal(t, 1, h.calls())
	require.ErrorIs(t, h.err(), ErrUnreachable)
	w.eventually(t, func() bool {
		s := w.nodes["a"].Stats()
		w.nodes["b"].mu.Lock()
		defer w.nodes["b"].mu.Unlock()
		return s.Connected == 0 && s.Pending == 0 && len(w.nodes["b"].inbound) == 0
	})
	w.nodes["a"].Drop("stranger")

	var again heard // it may be a member again
	a.Send("a", "b", heartbeat, again.onResponse)
	w.eventually(t, func() bool { return w.nodes["b"].Stats().Received == 2 })
}

// It would catch a node that takes messages meant for another which had its address before.
func TestAnotherNodeAtTheAddressIsUnreachable(t *testing.T) {
	w := newGRPCWorld()
	a := w.join(t, "a", ignore)
	w.join(t, "c", func(raft.Message) { t.Error("c got a message for b") })
	address := w.book.address("c")
	w.book.set("b", address)
	var h heard
	a.Send("a", "b", heartbeat, h.onResponse)
	w.eventually(t, func() bool { return h.calls() == 1 })
	require.ErrorIs(t, h.err(), ErrUnreachable)
}

// It would catch a queue without a bound, or a Send that waits for room.
func TestQueueIsBounded(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	require.NoError(t, err)
	defer silent.Close()
	book := &addressBook{}
	book.set("b", silent.Addr().String())
	entry := raft.Entry{Index: 1, Term: 1, Data: make([]byte, 1000)}
	appended := raft.Message{Type: raft.MsgAppend, Term: 1, Entries: []raft.Entry{entry}}
	for _, c := range []struct {
		name    string
		options Options
		want    error
		room    int
	}{
		{"by count", Options{MaxPending: 5}, ErrQueueFull, 5},
		{"by bytes", Options{MaxPendingBytes: 3500}, ErrQueueFull, 3},
		{"by message", Options{MaxMessageBytes: 1000}, ErrTooLarge, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.options.ID, c.options.Resolver, c.options.RequestTimeout = "a", book, time.Minute
			b := NewGRPC(c.options)
			var first, over heard
			for range c.room {
				b.Send("a", "b", appended, first.onResponse)
			}
			b.Send("a", "b", appended, over.onResponse)
			require.Eventually(t, func() bool { return over.calls() == 1 }, 10*time.Second, time.Millisecond)
			require.ErrorIs(t, over.err(), c.want)
			require.NoError(t, b.Close())
			require.Equal(t, c.room, first.calls())
		})
	}
}

// It would catch answers that share a frame until no peer takes it: those to a read-only peer carry entries
// and chunks.
func TestLargeAnswersArrive(t *testing.T) {
	const count = 8
	chunk := raft.Chunk{Data: make([]byte, 900_000)}
	snapshot := &raft.Snapshot{Base: raft.Base{Index: 1, Term: 1}, Chunks: 2}
	w := newGRPCWorld()
	var b endpoint
	var ids []MessageID
	b = w.join(t, "b", func(m raft.Message) {
		if ids = append(ids, m.ID); len(ids) < count {
			return
		}
		for _, id := range ids { // all at once
			b.Respond("b", "a", raft.Message{Type: raft.MsgFetchReply, Term: 1, ID: id, Snapshot: snapshot, Chunk: chunk})
		}
	})
	a := NewGRPC(Options{ID: "a", Resolver: w.book, RequestTimeout: 20 * time.Second, MaxMessageBytes: 1 << 20})
	defer a.Close()
	var h heard
	for range count {
		a.Send("a", "b", raft.Message{Type: raft.MsgFetch}, h.onResponse)
	}
	w.eventually(t, func() bool { return h.calls() == count })
	require.NoError(t, h.err())
	require.Equal(t, chunk.Data, h.answer().Chunk.Data)
}

// Each of these ends the stream with an error and never reaches the handler.
func TestForeignFramesEndTheStream(t *testing.T) {
	good := wire.MessageToProto(raft.Message{Type: raft.MsgHeartbeat, From: "b", To: "a", Term: 1, ID: 1})
	with := func(change func(*wire.Message)) *wire.Message {
		m := wire.MessageToProto(raft.Message{Type: raft.MsgHeartbeat, From: "b", To: "a", Term: 1, ID: 1})
		change(m)
		return m
	}
	for _, c := range []struct {
		name     string
		from, to string
		message  *wire.Message
		want     codes.Code
	}{
		{"nobody calls", "", "a", good, codes.FailedPrecondition},
		{"for another node", "b", "c", good, codes.FailedPrecondition},
		{"from another node", "c", "a", good, codes.InvalidArgument},
		{"message for another", "b", "a", with(func(m *wire.Message) { m.To = "c" }), codes.InvalidArgument},
		{"an answer as a request", "b", "a", with(func(m *wire.Message) { m.Type = wire.MessageType_HEARTBEAT_REPLY }), codes.InvalidArgument},
		{"without ID", "b", "a", with(func(m *wire.Message) { m.Id = 0 }), codes.InvalidArgument},
		{"unknown type", "b", "a", with(func(m *wire.Message) { m.Type = 77 }), codes.InvalidArgument},
		{"absurd term", "b", "a", with(func(m *wire.Message) { m.Term = 1 << 63 }), codes.InvalidArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newGRPCWorld()
			w.join(t, "a", func(raft.Message) { t.Error("a foreign message reached the handler") })
			stream := openRaw(t, w, c.from, c.to)
			// The stream may be over before the frame is on its way.
			if err := stream.Send(&buspb.Frame{Messages: []*wire.Message{c.message}}); err != nil {
				require.ErrorIs(t, err, io.EOF)
			}
			_, err := stream.Recv()
			require.Equal(t, c.want, status.Code(err), "%v", err)
		})
	}
}

// It would catch a node that falls over bytes which are no frame at all.
func TestDamagedBytesEndTheStream(t *testing.T) {
	w := newGRPCWorld()
	w.join(t, "a", func(raft.Message) { t.Error("damaged bytes reached the handler") })
	stream := openRaw(t, w, "b", "a", grpc.ForceCodec(rawCodec{}))
	// Where gRPC's own stream would encode a frame, the codec writes bytes that end in mid-field.
	if err := stream.Send(&buspb.Frame{}); err != nil {
		require.ErrorIs(t, err, io.EOF)
	}
	_, err := stream.Recv()
	require.Equal(t, codes.Internal, status.Code(err), "%v", err)

	b := joinEcho(t, w, "c")
	require.NotNil(t, b)
}

// A peer that answers for another is not believed.
func TestForeignAnswersEndTheStream(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer raft.Message
	}{
		{"from another node", raft.Message{Type: raft.MsgHeartbeatReply, From: "c", To: "a", Term: 1}},
		{"for another node", raft.Message{Type: raft.MsgHeartbeatReply, From: "b", To: "c", Term: 1}},
		{"a request as an answer", raft.Message{Type: raft.MsgHeartbeat, From: "b", To: "a", Term: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			server := grpc.NewServer()
			buspb.RegisterBusServer(server, liar{answer: c.answer})
			go server.Serve(l)
			defer server.Stop()
			w := newGRPCWorld()
			w.book.set("b", l.Addr().String())
			a := w.join(t, "a", ignore)
			var h heard
			a.Send("a", "b", heartbeat, h.onResponse)
			w.eventually(t, func() bool { return h.calls() == 1 })
			require.ErrorIs(t, h.err(), ErrUnreachable)
		})
	}
}

// liar answers the first request with a message of its own.
type liar struct {
	buspb.UnimplementedBusServer
	answer raft.Message
}

func (l liar) Exchange(stream buspb.Bus_ExchangeServer) error {
	frame, err := stream.Recv()
	if err != nil {
		return err
	}
	l.answer.ID = frame.Messages[0].Id
	if err := stream.Send(&buspb.Frame{Messages: []*wire.Message{wire.MessageToProto(l.answer)}}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

type rawCodec struct{}

func (rawCodec) Marshal(any) ([]byte, error) { return []byte{0x0a, 0x7f, 0x01}, nil }
func (rawCodec) Unmarshal([]byte, any) error { return nil }
func (rawCodec) Name() string                { return "proto" }

// openRaw opens a stream to node a, as if from a node's bus.
func openRaw(t *testing.T, w *grpcWorld, from, to string, options ...grpc.CallOption) buspb.Bus_ExchangeClient {
	address := w.book.address("a")
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	if from != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, keyFrom, from)
	}
	stream, err := buspb.NewBusClient(conn).Exchange(metadata.AppendToOutgoingContext(ctx, keyTo, to), options...)
	require.NoError(t, err)
	return stream
}

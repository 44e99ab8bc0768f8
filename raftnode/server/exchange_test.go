package server

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"coup/raftnode/api"
	"coup/raftnode/api/apipb"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/replica"
)

// listening starts the API of a replica on a port, and opens a stream to it.
func listening(t *testing.T, r Replica, change func(*Options)) (*Server, func() apipb.API_ExchangeClient) {
	m := NewMetrics()
	o := Options{ID: "n1", Loop: NewLoop(m), Metrics: m}
	if change != nil {
		change(&o)
	}
	s := New(o)
	running(t, o.Loop, r)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(over)
		require.NoError(t, <-served)
	})
	return s, func() apipb.API_ExchangeClient {
		conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		stream, err := apipb.NewAPIClient(conn).Exchange(t.Context())
		require.NoError(t, err)
		return stream
	}
}

// gather receives n answers, by the ID of their requests.
func gather(t *testing.T, stream apipb.API_ExchangeClient, n int) map[uint64]*apipb.Answer {
	t.Helper()
	all := make(map[uint64]*apipb.Answer)
	for len(all) < n {
		frame, err := stream.Recv()
		require.NoError(t, err)
		for _, a := range frame.Answers {
			require.NotContains(t, all, a.Id, "answered twice")
			all[a.Id] = a
		}
	}
	require.Len(t, all, n)
	return all
}

func writes(from, n int) *apipb.Requests {
	frame := &apipb.Requests{}
	for i := range n {
		frame.Requests = append(frame.Requests, &apipb.Request{Id: uint64(from + i), Op: apipb.Op_WRITE, Key: "k", Value: "v"})
	}
	return frame
}

// What is no request is refused before it reaches the log, and does no harm to what came with it.
func TestMalformedRequestsOfAStreamAreRefused(t *testing.T) {
	unknown := &apipb.Request{Op: apipb.Op_WRITE, Key: "k"}
	unknown.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	cases := map[string]*apipb.Request{
		"nothing": {}, "no op": {Key: "k"}, "an op that there is not": {Op: 7, Key: "k"}, "a negative op": {Op: -1, Key: "k"},
		"no key":                         {Op: apipb.Op_WRITE, Value: "v"},
		"a read with a value":            {Op: apipb.Op_READ, Key: "k", Value: "v"},
		"a read in a session":            {Op: apipb.Op_READ, Key: "k", Session: 1, Sequence: 1},
		"a consistency that there isn't": {Op: apipb.Op_READ, Key: "k", Consistency: 4},
		"a write with a consistency":     {Op: apipb.Op_WRITE, Key: "k", Consistency: apipb.Consistency_STALE},
		"a write that expects":           {Op: apipb.Op_WRITE, Key: "k", Expect: "u"},
		"a delete with a value":          {Op: apipb.Op_DELETE, Key: "k", Value: "v"},
		"session alone":                  {Op: apipb.Op_WRITE, Key: "k", Session: 1},
		"sequence alone":                 {Op: apipb.Op_CAS, Key: "k", Sequence: 1},
		"acked alone":                    {Op: apipb.Op_DELETE, Key: "k", Acked: 1},
		"acked by itself":                {Op: apipb.Op_WRITE, Key: "k", Session: 1, Sequence: 1, Acked: 1},
		"a session without ttl":          {Op: apipb.Op_OPEN_SESSION},
		"a session with a key":           {Op: apipb.Op_OPEN_SESSION, TtlMs: 1, Key: "k"},
		"close of session 0":             {Op: apipb.Op_CLOSE_SESSION},
		"close with a sequence":          {Op: apipb.Op_CLOSE_SESSION, Session: 1, Sequence: 1},
		"a write with ttl":               {Op: apipb.Op_WRITE, Key: "k", TtlMs: 1},
		"a field that there is not":      unknown,
	}
	r := &scripted{decide: func(fsm.Command) outcome { return outcome{result: answered} }}
	_, open := listening(t, r, nil)
	stream := open()
	frame := writes(1000, 1)
	names := make(map[uint64]string)
	for name, q := range cases {
		q.Id = uint64(len(names) + 1)
		names[q.Id] = name
		frame.Requests = append(frame.Requests, q)
	}
	require.NoError(t, stream.Send(frame))
	for id, a := range gather(t, stream, len(cases)+1) {
		if id == 1000 {
			require.Nil(t, a.Refusal)
			continue
		}
		require.NotNil(t, a.Refusal, names[id])
		require.Equal(t, string(api.BadRequest), a.Refusal.Type, names[id])
		require.Equal(t, uint32(http.StatusBadRequest), a.Refusal.Status)
		require.True(t, a.Refusal.Definite)
		require.Equal(t, "n1", a.Node)
	}
	require.Equal(t, 1, r.waiting())
}

// What cannot be read at all ends the stream, by an error, and nothing else. Catches a node that a few bytes bring down,
// or have take much memory.
func TestDamagedFramesEndTheStream(t *testing.T) {
	many := make([]byte, 0, 4<<20)
	for len(many) < cap(many)-2 {
		many = append(many, 1<<3|2, 0) // an empty request
	}
	for name, content := range map[string][]byte{
		"a length beyond the end": {1<<3 | 2, 100, 1}, "no UTF-8": {1<<3 | 2, 3, 3<<3 | 2, 1, 0xff}, "no message": {0xff, 0xff, 0xff},
		"too many requests": many, "too long": make([]byte, apipb.MaxRequests+1),
	} {
		t.Run(name, func(t *testing.T) {
			r := &scripted{decide: func(fsm.Command) outcome { return outcome{result: answered} }}
			_, open := listening(t, r, nil)
			stream := open()
			other := open()
			require.NoError(t, other.Send(writes(1, 1)))
			gather(t, other, 1)
			raw := &apipb.Requests{}
			raw.ProtoReflect().SetUnknown(content)
			require.NoError(t, stream.Send(raw))
			_, err := stream.Recv()
			require.Contains(t, []codes.Code{codes.Internal, codes.ResourceExhausted}, status.Code(err), "%v", err)
			require.NoError(t, other.Send(writes(2, 1)))
			gather(t, other, 1)
		})
	}
}

// One turn of the loop takes a whole frame, and its answers leave in one. Catches a wakeup or a frame for each.
func TestAFrameIsOneTurnAndOneFrame(t *testing.T) {
	asked := make(chan struct{})
	r := &scripted{}
	r.decide = func(fsm.Command) outcome { return outcome{result: answered} }
	r.process = func() error {
		if r.waiting() == 50 {
			close(asked)
		}
		return nil
	}
	_, open := listening(t, r, nil)
	stream := open()
	require.NoError(t, stream.Send(writes(1, 50)))
	<-asked
	r.locked(func() { require.Equal(t, 1, r.processed) })
	frame, err := stream.Recv()
	require.NoError(t, err)
	require.Len(t, frame.Answers, 50)
}

// The sender is woken at the end of a turn, once, however many answers the turn has brought.
func TestAnswersWaitForTheEndOfTheTurn(t *testing.T) {
	m := NewMetrics()
	s := New(Options{ID: "n1", Loop: NewLoop(m), Metrics: m})
	e := newExchange(s)
	defer e.abandon()
	e.take(writes(1, 3).Requests)
	var turn batch
	s.loop.take(&turn)
	f := turn.requests[0].asker.answered(outcome{})
	require.Same(t, e, f)
	require.Nil(t, turn.requests[1].asker.answered(outcome{}))
	require.Empty(t, e.wake)
	f.flush()
	require.Len(t, e.wake, 1)
	require.Same(t, e, turn.requests[2].asker.answered(outcome{}), "the next turn")
}

// A greedy client is refused early, by an error that says that nothing was done, and does not keep others out.
func TestAGreedyStreamIsRefused(t *testing.T) {
	r := &scripted{} // answers nothing
	s, open := listening(t, r, nil)
	greedy, modest := open(), open()
	require.NoError(t, greedy.Send(writes(1, apipb.FrameRequests)))
	require.NoError(t, greedy.Send(writes(2001, 500)))
	for id, a := range gather(t, greedy, 500) {
		require.Greater(t, id, uint64(2000))
		require.Equal(t, string(api.Overloaded), a.Refusal.Type)
		require.True(t, a.Refusal.Definite)
	}
	eventually(t, func() bool { return r.waiting() == maxWaiting })
	require.Equal(t, int64(maxWaiting), s.underWay.Load())
	require.NoError(t, modest.Send(&apipb.Requests{Requests: []*apipb.Request{
		{Id: 1, Op: apipb.Op_READ, Key: "k", Consistency: apipb.Consistency_STALE},
	}}))
	require.Equal(t, "stale k", gather(t, modest, 1)[1].Value)
}

// All clients together are bounded, too, whatever way they ask.
func TestAllStreamsTogetherAreBounded(t *testing.T) {
	r := &scripted{}
	s, open := listening(t, r, func(o *Options) { o.MaxRequests = 3 })
	one, two := open(), open()
	require.NoError(t, one.Send(writes(1, 2)))
	eventually(t, func() bool { return r.waiting() == 2 })
	require.NoError(t, two.Send(writes(1, 3)))
	for id, a := range gather(t, two, 2) {
		require.Contains(t, []uint64{2, 3}, id)
		require.Equal(t, string(api.Overloaded), a.Refusal.Type)
	}
	require.Equal(t, int64(3), s.underWay.Load())
}

// A client that asks and does not read makes the node hold so much and no more: first it is heard no longer, and with
// answers that are too large it is cut off.
func TestASlowClientCostsNoMemory(t *testing.T) {
	for name, c := range map[string]struct {
		value string
		cut   bool
	}{"small answers": {"v", false}, "large answers": {strings.Repeat("v", 256<<10), true}} {
		t.Run(name, func(t *testing.T) {
			big := answered
			big.Value = c.value
			r := &scripted{decide: func(fsm.Command) outcome { return outcome{result: big} }}
			s, _ := listening(t, r, nil)
			e := newExchange(s)
			defer e.abandon()
			stuck := make(chan struct{})
			stream := &stuckStream{context: t.Context(), frames: make(chan *apipb.Requests), release: stuck}
			ended := make(chan error, 1)
			go func() { ended <- service{server: s}.Exchange(stream) }()
			heard := 0
			for done := false; !done && heard < 1000; heard++ {
				select {
				case stream.frames <- writes(1, 100):
				case err := <-ended:
					require.True(t, c.cut)
					require.Equal(t, codes.ResourceExhausted, status.Code(err))
					return
				case <-time.After(time.Second):
					done = true // it is heard no longer
				}
			}
			require.False(t, c.cut)
			require.Less(t, heard*100, 3*maxUnsent)
			require.Greater(t, heard*100, maxUnsent)
			close(stuck) // it reads on
			for range 100 {
				stream.frames <- writes(1, 100)
			}
		})
	}
}

// stuckStream is the stream of a client that does not read until release is closed.
type stuckStream struct {
	grpc.ServerStream
	context context.Context
	frames  chan *apipb.Requests
	release chan struct{}
}

func (s *stuckStream) Context() context.Context    { return s.context }
func (s *stuckStream) SetHeader(metadata.MD) error { return nil }
func (s *stuckStream) Send(a *apipb.Answers) error { return s.SendMsg(a) }
func (s *stuckStream) Recv() (*apipb.Requests, error) {
	panic("not used")
}

func (s *stuckStream) SendMsg(any) error {
	select {
	case <-s.release:
	case <-s.context.Done():
	}
	return nil
}

func (s *stuckStream) RecvMsg(into any) error {
	select {
	case frame := <-s.frames:
		proto.Merge(into.(*apipb.Requests), frame)
		into.(*apipb.Requests).Requests = frame.Requests
		return nil
	case <-s.context.Done():
		return s.context.Err()
	}
}

// What a client asked that is gone is not begun any more. Catches a node that works off what nobody waits for.
func TestRequestsOfAClientThatIsGoneAreNotBegun(t *testing.T) {
	r := &scripted{}
	held, release := make(chan struct{}), make(chan struct{})
	first := true
	r.process = func() error {
		if first {
			first = false
			close(held)
			<-release
		}
		return nil
	}
	s, open := listening(t, r, nil)
	s.loop.Receive(raft.Message{})
	<-held
	stream := open()
	require.NoError(t, stream.Send(writes(1, 10)))
	eventually(t, func() bool { requests, _, _ := s.loop.waiting(); return requests == 10 })
	require.NoError(t, stream.CloseSend())
	gone := open()
	require.NoError(t, gone.Send(writes(1, 5)))
	eventually(t, func() bool { requests, _, _ := s.loop.waiting(); return requests == 15 })
	over, stop := context.WithCancel(t.Context())
	stop()
	s.Shutdown(over) // breaks both streams
	eventually(t, func() bool { return s.exchanges.Load() == 0 })
	close(release)
	_, err := s.loop.Status(t.Context())
	require.NoError(t, err)
	require.Zero(t, r.waiting())
	require.Zero(t, s.underWay.Load())
}

// A client that says that it asks no more still gets its answers.
func TestAHalfClosedStreamIsAnswered(t *testing.T) {
	r := &scripted{}
	s, open := listening(t, r, func(o *Options) { o.RequestTimeout = 300 * time.Millisecond })
	stream := open()
	require.NoError(t, stream.Send(writes(1, 3)))
	require.NoError(t, stream.CloseSend())
	for _, a := range gather(t, stream, 3) {
		require.Equal(t, string(api.Timeout), a.Refusal.Type)
		require.False(t, a.Refusal.Definite)
	}
	_, err := stream.Recv()
	require.ErrorIs(t, err, io.EOF)
	eventually(t, func() bool { return s.exchanges.Load() == 0 })
}

// Both servers get what is theirs, however slowly it comes, and nobody else's silence is in their way.
func TestOnePortForBoth(t *testing.T) {
	r := &scripted{decide: func(fsm.Command) outcome { return outcome{result: answered} }}
	m := NewMetrics()
	s := New(Options{ID: "n1", Loop: NewLoop(m), Metrics: m})
	running(t, s.loop, r)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	silent, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer silent.Close()
	slow, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer slow.Close()
	for _, b := range []byte("GET /healthz HTTP/1.0\r\n\r\n") {
		_, err := slow.Write([]byte{b})
		require.NoError(t, err)
	}
	answer, err := io.ReadAll(slow)
	require.NoError(t, err)
	require.Contains(t, string(answer), "200 OK")
	require.NoError(t, s.Shutdown(t.Context()))
	require.NoError(t, <-served)
	_, err = net.Dial("tcp", l.Addr().String())
	require.Error(t, err)
}

// The requests of a stream are counted like those by HTTP.
func TestStreamsAreMeasured(t *testing.T) {
	r := &scripted{decide: func(c fsm.Command) outcome {
		if c.Value == "" {
			return outcome{err: replica.ErrSuperseded}
		}
		return outcome{result: answered}
	}}
	s, open := listening(t, r, nil)
	stream := open()
	frame := writes(1, 3)
	frame.Requests[2].Value = ""
	require.NoError(t, stream.Send(frame))
	gather(t, stream, 3)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`raftnode_requests_total{op="write",outcome="ok"} 2`, `raftnode_requests_total{op="write",outcome="superseded"} 1`,
		`raftnode_request_seconds_count{op="write"} 3`,
	} {
		require.Contains(t, w.Body.String(), want+"\n")
	}
}

// FuzzFrame has a server take any bytes for a frame: it must not panic, answers what it read as often as it read it,
// and hands on only what can be applied.
func FuzzFrame(f *testing.F) {
	for _, frame := range []*apipb.Requests{
		{}, writes(1, 2),
		{Requests: []*apipb.Request{{Id: 9, Op: apipb.Op_CAS, Key: "k", Expect: "u", Value: "v", Session: 1, Sequence: 2, Acked: 1}}},
		{Requests: []*apipb.Request{{Op: apipb.Op_READ, Key: "k", Consistency: apipb.Consistency_FOLLOWER}, {Op: 77}}},
		{Requests: []*apipb.Request{{Op: apipb.Op_OPEN_SESSION, TtlMs: 5}, {Op: apipb.Op_CLOSE_SESSION, Session: 3}}},
	} {
		b, err := proto.Marshal(frame)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add([]byte{1<<3 | 2, 100, 1})
	m := NewMetrics()
	s := New(Options{ID: "n1", Loop: NewLoop(m), Metrics: m})
	f.Fuzz(func(t *testing.T, b []byte) {
		var frame apipb.Requests
		if countRequests(b) != nil || proto.Unmarshal(b, &frame) != nil {
			return
		}
		require.LessOrEqual(t, len(frame.Requests), apipb.FrameRequests)
		e := newExchange(s)
		e.take(frame.Requests)
		var batch batch
		s.loop.take(&batch)
		for _, q := range batch.requests {
			if !q.read {
				_, err := fsm.Decode(q.command.Encode())
				require.NoError(t, err)
			}
			if f := q.asker.answered(outcome{result: answered}); f != nil {
				f.flush()
			}
		}
		require.Len(t, e.unsent, len(frame.Requests))
		for _, a := range e.unsent {
			var told apipb.Answer
			a.tell(&told, time.Now())
			_, err := proto.Marshal(&told)
			require.NoError(t, err)
		}
		require.Zero(t, e.waiting)
		e.abandon()
		require.Zero(t, s.underWay.Load())
	})
}

// The list of what is under way is right whatever the order of the answers. Against a plain slice.
func TestWhatIsUnderWay(t *testing.T) {
	m := NewMetrics()
	s := New(Options{ID: "n1", Loop: NewLoop(m), Metrics: m})
	e := newExchange(s)
	defer e.abandon()
	random := rand.New(rand.NewPCG(1, 2))
	var plain []*asked
	for range 2000 {
		if random.IntN(2) == 0 || len(plain) == 0 {
			a := &asked{exchange: e, id: random.Uint64(), begun: time.Now()}
			s.underWay.Add(1)
			e.mu.Lock()
			e.link(a)
			e.mu.Unlock()
			plain = append(plain, a)
		} else {
			i := random.IntN(len(plain))
			a := plain[i]
			a.answered(outcome{})
			require.Nil(t, a.answered(outcome{}), "once")
			plain = append(plain[:i:i], plain[i+1:]...)
		}
		a := e.oldest
		for _, want := range plain {
			require.Same(t, want, a)
			a = a.more
		}
		require.Nil(t, a)
		require.Equal(t, len(plain), e.waiting)
		require.Equal(t, int64(len(plain)), s.underWay.Load())
	}
}

package bus

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft"
)

// world is an implementation under test, with the nodes that joined it.
type world interface {
	// join starts a node, again if it left.
	join(t *testing.T, id raft.NodeID, h Handler) endpoint
	// leave ends a node without a word to the others.
	leave(t *testing.T, id raft.NodeID)
	// eventually lets messages move and time pass until done.
	eventually(t *testing.T, done func() bool)
}

type endpoint interface {
	Bus
	Close() error
}

// requestTimeout is that of the buses under test.
const requestTimeout = 300 * time.Millisecond

type memoryWorld struct{ bus *Memory }

func (w memoryWorld) join(_ *testing.T, id raft.NodeID, h Handler) endpoint {
	w.bus.Register(id, h)
	return w.bus
}

func (w memoryWorld) leave(_ *testing.T, id raft.NodeID) { w.bus.Unregister(id) }

func (w memoryWorld) eventually(t *testing.T, done func() bool) {
	for range 1000 {
		w.bus.DeliverAll()
		if done() {
			return
		}
		w.bus.Advance(requestTimeout / 10)
	}
	t.Fatal("it does not happen")
}

// addressBook is a Resolver that may be changed while it is in use.
type addressBook struct {
	mu        sync.Mutex
	addresses map[raft.NodeID][]string
}

func (a *addressBook) Addresses(id raft.NodeID) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.addresses[id]
}

// address is a node's only one.
func (a *addressBook) address(id raft.NodeID) string { return a.Addresses(id)[0] }

func (a *addressBook) set(id raft.NodeID, addresses ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.addresses == nil {
		a.addresses = make(map[raft.NodeID][]string)
	}
	a.addresses[id] = addresses
}

type grpcWorld struct {
	book   *addressBook
	nodes  map[raft.NodeID]*GRPC
	nextID MessageID
}

func newGRPCWorld() *grpcWorld {
	return &grpcWorld{book: &addressBook{}, nodes: make(map[raft.NodeID]*GRPC)}
}

func (w *grpcWorld) join(t *testing.T, id raft.NodeID, h Handler) endpoint {
	w.nextID += 1000
	b := NewGRPC(Options{ID: id, Handler: h, Resolver: w.book, FirstID: w.nextID, RequestTimeout: requestTimeout})
	l, err := Listen(context.Background(), "127.0.0.1:0")
	require.NoError(t, err)
	w.book.set(id, l.Addr().String())
	w.nodes[id] = b
	served := make(chan error, 1)
	go func() { served <- b.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, b.Close())
		require.NoError(t, <-served)
	})
	return b
}

func (w *grpcWorld) leave(t *testing.T, id raft.NodeID) { require.NoError(t, w.nodes[id].Close()) }

func (w *grpcWorld) eventually(t *testing.T, done func() bool) {
	t.Helper()
	require.Eventually(t, done, 20*time.Second, 2*time.Millisecond)
}

// heard is what onResponse was told.
type heard struct {
	mu      sync.Mutex
	answers []raft.Message
	errors  []error
}

func (h *heard) onResponse(m raft.Message, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.errors = append(h.errors, err)
	} else {
		h.answers = append(h.answers, m)
	}
}

func (h *heard) calls() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.answers) + len(h.errors)
}

func (h *heard) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.errors) == 0 {
		return nil
	}
	return h.errors[0]
}

func (h *heard) answer() raft.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.answers) == 0 {
		return raft.Message{}
	}
	return h.answers[0]
}

var heartbeat = raft.Message{Type: raft.MsgHeartbeat, Term: 1}

func ignore(raft.Message) {}

// echo answers each heartbeat, with its round and term.
func echo(b func() Bus) Handler {
	return func(m raft.Message) {
		b().Respond(m.To, m.From, raft.Message{Type: raft.MsgHeartbeatReply, Term: m.Term, ID: m.ID, ReadRound: m.ReadRound})
	}
}

// joinEcho starts a node that answers each heartbeat.
func joinEcho(t *testing.T, w world, id raft.NodeID) endpoint {
	ready := make(chan struct{})
	var b endpoint
	b = w.join(t, id, echo(func() Bus { <-ready; return b }))
	close(ready)
	return b
}

func TestConformance(t *testing.T) {
	worlds := map[string]func() world{
		"memory": func() world { return memoryWorld{NewMemory(requestTimeout)} },
		"grpc":   func() world { return newGRPCWorld() },
	}
	for name, newWorld := range worlds {
		for _, c := range conformance {
			t.Run(name+"/"+c.name, func(t *testing.T) { c.run(t, newWorld()) })
		}
	}
}

var conformance = []struct {
	name string
	run  func(t *testing.T, w world)
}{
	{"a request arrives whole and its answer comes back", func(t *testing.T, w world) {
		sent := raft.Message{
			Type: raft.MsgAppend, Term: 7, Index: 3, LogTerm: 6, Checksum: 99, Commit: 3, ReadRound: 5,
			Entries: []raft.Entry{{Index: 4, Term: 7, Type: raft.EntryCommand, Data: []byte("x"), Checksum: 100}},
		}
		arrived := make(chan raft.Message, 1)
		a := w.join(t, "a", ignore)
		b := w.join(t, "b", func(m raft.Message) { arrived <- m })
		var h heard
		id := a.Send("a", "b", sent, h.onResponse)
		require.NotZero(t, id)
		w.eventually(t, func() bool { return len(arrived) == 1 })
		got := <-arrived
		sent.From, sent.To, sent.ID = "a", "b", id
		require.Equal(t, sent, got)
		b.Respond("b", "a", raft.Message{Type: raft.MsgAppendReply, Term: 7, ID: id, Index: 4})
		w.eventually(t, func() bool { return h.calls() == 1 })
		require.Equal(t, raft.Message{Type: raft.MsgAppendReply, From: "b", To: "a", Term: 7, ID: id, Index: 4}, h.answer())
	}},
	{"every answer finds its own request, and once", func(t *testing.T, w world) {
		a := w.join(t, "a", ignore)
		joinEcho(t, w, "b")
		all := make([]heard, 500)
		for i := range all {
			a.Send("a", "b", raft.Message{Type: raft.MsgHeartbeat, Term: 1, ReadRound: uint64(i) + 1}, all[i].onResponse)
		}
		for i := range all {
			w.eventually(t, func() bool { return all[i].calls() > 0 })
			require.Equal(t, uint64(i)+1, all[i].answer().ReadRound)
			require.Equal(t, 1, all[i].calls())
		}
	}},
	{"both ask each other", func(t *testing.T, w world) {
		a, b := joinEcho(t, w, "a"), joinEcho(t, w, "b")
		var toB, toA heard
		a.Send("a", "b", heartbeat, toB.onResponse)
		b.Send("b", "a", heartbeat, toA.onResponse)
		w.eventually(t, func() bool { return toB.calls() == 1 && toA.calls() == 1 })
		require.Equal(t, raft.NodeID("b"), toB.answer().From)
		require.Equal(t, raft.NodeID("a"), toA.answer().From)
	}},
	{"a second answer to one request is dropped", func(t *testing.T, w world) {
		a := w.join(t, "a", ignore)
		b := w.join(t, "b", ignore)
		var first, second heard
		id := a.Send("a", "b", heartbeat, first.onResponse)
		reply := raft.Message{Type: raft.MsgHeartbeatReply, Term: 1, ID: id}
		w.eventually(t, func() bool { b.Respond("b", "a", reply); return first.calls() > 0 })
		b.Respond("b", "a", reply)
		a.Send("a", "b", heartbeat, second.onResponse)
		w.eventually(t, func() bool { return second.calls() == 1 })
		require.Equal(t, 1, first.calls())
	}},
	{"no answer in time is an error, and a late one is dropped", func(t *testing.T, w world) {
		a := w.join(t, "a", ignore)
		b := w.join(t, "b", ignore)
		var h heard
		id := a.Send("a", "b", heartbeat, h.onResponse)
		w.eventually(t, func() bool { return h.calls() > 0 })
		require.ErrorIs(t, h.err(), ErrTimeout)
		b.Respond("b", "a", raft.Message{Type: raft.MsgHeartbeatReply, Term: 1, ID: id})
		var later heard
		w.eventually(t, func() bool {
			if later.calls() == 0 {
				a.Send("a", "b", heartbeat, later.onResponse)
			}
			return later.calls() > 0
		})
		require.Equal(t, 1, h.calls())
	}},
	{"what was cancelled is never heard of", func(t *testing.T, w world) {
		a := w.join(t, "a", ignore)
		w.join(t, "b", ignore)
		var cancelled, after heard
		id := a.Send("a", "b", heartbeat, cancelled.onResponse)
		a.Send("a", "b", heartbeat, after.onResponse)
		a.Cancel(id)
		a.Cancel(id)
		a.Cancel(1 << 60)
		w.eventually(t, func() bool { return after.calls() == 1 })
		require.Zero(t, cancelled.calls())
	}},
	{"an answer may cancel another request", func(t *testing.T, w world) {
		a := w.join(t, "a", ignore)
		w.join(t, "b", ignore)
		var first, second, third heard
		ids := make(chan MessageID, 1)
		a.Send("a", "b", heartbeat, func(m raft.Message, err error) {
			a.Cancel(<-ids)
			first.onResponse(m, err)
		})
		ids <- a.Send("a", "b", heartbeat, second.onResponse)
		a.Send("a", "b", heartbeat, third.onResponse)
		w.eventually(t, func() bool { return first.calls() == 1 && third.calls() == 1 })
		require.Zero(t, second.calls())
	}},
	{"an answer may send again, and cancel itself", func(t *testing.T, w world) {
		a := w.join(t, "a", ignore)
		joinEcho(t, w, "b")
		var h heard
		ids := make(chan MessageID, 1)
		ids <- a.Send("a", "b", heartbeat, func(raft.Message, error) {
			a.Cancel(<-ids)
			a.Send("a", "b", heartbeat, h.onResponse)
		})
		w.eventually(t, func() bool { return h.calls() == 1 })
	}},
	{"a peer that nobody knows is an error, never from within Send", func(t *testing.T, w world) {
		a := w.join(t, "a", ignore)
		var lock sync.Mutex
		var h heard
		for range 10 {
			lock.Lock()
			a.Send("a", "nobody", heartbeat, func(m raft.Message, err error) {
				lock.Lock()
				defer lock.Unlock()
				h.onResponse(m, err)
			})
			lock.Unlock()
		}
		w.eventually(t, func() bool { return h.calls() == 10 })
		for _, err := range h.errors {
			require.True(t, err == ErrUnknownPeer || err == ErrUnreachable, "%v", err)
		}
	}},
	{"a peer that left is unreachable, and is reached when it is back", func(t *testing.T, w world) {
		a := w.join(t, "a", ignore)
		joinEcho(t, w, "b")
		var before heard
		a.Send("a", "b", heartbeat, before.onResponse)
		w.eventually(t, func() bool { return before.calls() == 1 })
		require.NoError(t, before.err())
		w.leave(t, "b")
		w.eventually(t, func() bool {
			var gone heard
			a.Send("a", "b", heartbeat, gone.onResponse)
			w.eventually(t, func() bool { return gone.calls() == 1 })
			return gone.err() == ErrUnreachable
		})
		joinEcho(t, w, "b")
		w.eventually(t, func() bool {
			var back heard
			a.Send("a", "b", heartbeat, back.onResponse)
			w.eventually(t, func() bool { return back.calls() == 1 })
			return back.err() == nil
		})
	}},
	{"closing fails what is unanswered, and all that is sent later", func(t *testing.T, w world) {
		a := w.join(t, "a", ignore)
		w.join(t, "b", ignore)
		var before, after heard
		a.Send("a", "b", heartbeat, before.onResponse)
		require.NoError(t, a.Close())
		require.NoError(t, a.Close())
		a.Send("a", "b", heartbeat, after.onResponse)
		a.Respond("a", "b", raft.Message{Type: raft.MsgHeartbeatReply, Term: 1, ID: 1})
		w.eventually(t, func() bool { return before.calls() == 1 && after.calls() == 1 })
		require.ErrorIs(t, before.err(), ErrClosed)
		require.ErrorIs(t, after.err(), ErrClosed)
	}},
}

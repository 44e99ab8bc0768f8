package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/api"
	"coup/raftnode/client"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
	"coup/raftnode/replica"
	"coup/raftnode/server"
)

// What holds for the client holds however it asks: each of these tests is played by each way to a node, by real
// sockets to a real server, whose replica is scripted.
func byEveryWay(t *testing.T, test func(t *testing.T, scheme string)) {
	for _, scheme := range []string{"http", "grpc", "grpcs"} {
		t.Run(scheme, func(t *testing.T) { test(t, scheme) })
	}
}

// scripted is a replica that says of each request what the test wants. mu guards its fields.
type scripted struct {
	mu      sync.Mutex
	decide  func(asked string, done func(replica.Result, error)) // nil never answers
	process func() error
	asked   []string
}

func (s *scripted) ask(what string, done func(replica.Result, error)) {
	s.mu.Lock()
	s.asked = append(s.asked, what)
	decide := s.decide
	s.mu.Unlock()
	if decide != nil {
		decide(what, done)
	}
}

func (s *scripted) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

func (s *scripted) Propose(c fsm.Command, done func(replica.Result, error)) {
	s.ask(fmt.Sprintf("%+v", c), done)
}

func (s *scripted) Read(key string, how replica.Consistency, done func(replica.Result, error)) {
	s.ask(fmt.Sprintf("read %s %d", key, how), done)
}

func (s *scripted) Stale(key string) (r replica.Result, err error) {
	s.ask("stale "+key, func(result replica.Result, _ error) { r = result })
	return r, nil
}

func (s *scripted) Process() error {
	s.mu.Lock()
	process := s.process
	s.mu.Unlock()
	if process != nil {
		return process()
	}
	return nil
}

func (s *scripted) Tick()                                                   {}
func (s *scripted) Receive(raft.Message)                                    {}
func (s *scripted) Change([]confchange.Change, func(replica.Result, error)) {}
func (s *scripted) Transfer(raft.NodeID) error                              { return nil }
func (s *scripted) HandOver() error                                         { return nil }
func (s *scripted) StepDown() error                                         { return nil }
func (s *scripted) TakeSnapshot() error                                     { return nil }
func (s *scripted) Status() replica.Status                                  { return replica.Status{Status: raft.Status{ID: "n1"}} }
func always(r replica.Result, err error) func(string, func(replica.Result, error)) {
	return func(_ string, done func(replica.Result, error)) { done(r, err) }
}

var answered = replica.Result{Result: fsm.Result{Value: "held", Revision: 5, Session: 6}, Index: 8, Term: 3, Node: "n1"}

// node is one that serves.
type node struct {
	*scripted
	url  string
	api  *server.Server
	loop *server.Loop
	stop func() // its loop
}

// serve starts a node.
func serve(t *testing.T, id, scheme string, change func(*server.Options)) *node {
	n := &node{scripted: &scripted{}}
	metrics := server.NewMetrics()
	o := server.Options{
		ID: raft.NodeID(id), Loop: server.NewLoop(metrics), Metrics: metrics, Version: "test",
		ClientURL: func(id raft.NodeID) string { return "http://" + string(id) + ":4100" },
	}
	if scheme == "grpcs" {
		o.ClientTLS = certificates(t).of(t, id)
	}
	if change != nil {
		change(&o)
	}
	n.api, n.loop = server.New(o), o.Loop
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	n.url = scheme + "://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { o.Loop.Run(ctx, n, server.Ticks{Passed: func() int { return 0 }}) })
	running.Go(func() { n.api.Serve(l) })
	n.stop = cancel
	t.Cleanup(func() {
		over, cancelled := context.WithCancel(context.Background())
		cancelled()
		n.api.Shutdown(over)
		cancel()
		running.Wait()
	})
	return n
}

// asking is a client of nodes.
func asking(t *testing.T, nodes map[string]string, o client.Options) *client.Client {
	o.TLS = certificates(t).of(t, "somebody")
	c, err := client.New(nodes, o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func one(t *testing.T, scheme string, change func(*server.Options)) (*node, *client.Client) {
	n := serve(t, "n1", scheme, change)
	return n, asking(t, map[string]string{"n1": n.url}, client.Options{})
}

// Each request reaches the replica as what it is, and its answer comes back whole.
func TestRequestsArriveWhole(t *testing.T) {
	byEveryWay(t, func(t *testing.T, scheme string) {
		n, c := one(t, scheme, nil)
		n.decide = always(answered, nil)
		ctx := t.Context()
		want := client.Result{Value: "held", Found: true, Revision: 5, Index: 8, Term: 3, Node: "n1"}
		gone := want
		gone.Found = false
		s, err := c.OpenSession(ctx, "n1", 5*time.Second)
		require.NoError(t, err)
		require.Equal(t, uint64(6), s.ID())
		for i, step := range []struct {
			do     func() (client.Result, error)
			result client.Result
			asked  string
		}{
			{func() (client.Result, error) { return c.Read(ctx, "n1", "a/b ?ü") }, want, "read a/b ?ü 0"},
			{func() (client.Result, error) { return c.LeaseRead(ctx, "n1", "k") }, want, "read k 1"},
			{func() (client.Result, error) { return c.FollowerRead(ctx, "n1", "k") }, want, "read k 2"},
			{func() (client.Result, error) { return c.Stale(ctx, "n1", "k") }, want, "stale k"},
			{func() (client.Result, error) { return c.Write(ctx, "n1", "k", "v") }, want, fmt.Sprintf("%+v", fsm.Command{Op: fsm.Write, Key: "k", Value: "v"})},
			{func() (client.Result, error) { return c.Write(ctx, "n1", "k", "") }, want, fmt.Sprintf("%+v", fsm.Command{Op: fsm.Write, Key: "k"})},
			{func() (client.Result, error) { return c.CAS(ctx, "n1", "k", "u", "v") }, want,
				fmt.Sprintf("%+v", fsm.Command{Op: fsm.CAS, Key: "k", Expect: "u", Value: "v"})},
			{func() (client.Result, error) { return c.Delete(ctx, "n1", "k") }, gone, fmt.Sprintf("%+v", fsm.Command{Op: fsm.Delete, Key: "k"})},
			{func() (client.Result, error) { return s.Write(ctx, "n1", "k", "v") }, want,
				fmt.Sprintf("%+v", fsm.Command{Op: fsm.Write, Key: "k", Value: "v", Session: 6, Sequence: 1})},
			{func() (client.Result, error) { return s.CAS(ctx, "n1", "k", "u", "v") }, want,
				fmt.Sprintf("%+v", fsm.Command{Op: fsm.CAS, Key: "k", Expect: "u", Value: "v", Session: 6, Sequence: 2, Acked: 1})},
			{func() (client.Result, error) { return s.Delete(ctx, "n1", "k") }, gone,
				fmt.Sprintf("%+v", fsm.Command{Op: fsm.Delete, Key: "k", Session: 6, Sequence: 3, Acked: 2})},
			{func() (client.Result, error) { return client.Result{}, s.Close(ctx, "n1") }, client.Result{},
				fmt.Sprintf("%+v", fsm.Command{Op: fsm.CloseSession, Session: 6})},
		} {
			got, err := step.do()
			require.NoError(t, err, step.asked)
			require.Equal(t, step.result, got, step.asked)
			require.Equal(t, step.asked, n.heard()[i+1])
		}
		require.Equal(t, fmt.Sprintf("%+v", fsm.Command{Op: fsm.OpenSession, TTL: 5000}), n.heard()[0])
		status, err := c.Status(ctx, "n1")
		require.NoError(t, err)
		require.Equal(t, raft.NodeID("n1"), status.ID, "what is not about keys is asked at the same port")
	})
}

// However a replica ends a request, its client is told the same by every way, and whether it is definite. Catches a
// refusal that one way takes for an unknown effect, or the other way about.
func TestOutcomesAreTheSameByEveryWay(t *testing.T) {
	code := func(code fsm.Code, repeated bool) func(string, func(replica.Result, error)) {
		r := answered
		r.Code, r.Repeated = code, repeated
		return always(r, nil)
	}
	held := "held"
	evidence := client.Error{Revision: 5, Index: 8, Term: 3}
	for _, c := range []struct {
		name     string
		decide   func(string, func(replica.Result, error))
		want     client.Error
		whenRead bool // a read, too, is refused by an error
	}{
		{"not the leader", always(replica.Result{}, &raft.NotLeaderError{Leader: "n2", Term: 4}),
			client.Error{Type: api.NotLeader, Definite: true, Status: 421, Leader: "n2", LeaderURL: "n2:4100", Term: 4}, true},
		{"no leader", always(replica.Result{}, &raft.NotLeaderError{Term: 4}), client.Error{Type: api.NotLeader, Definite: true, Status: 421, Term: 4}, true},
		{"transferring", always(replica.Result{}, raft.ErrTransferring), client.Error{Type: api.Transferring, Definite: true, Status: 503}, true},
		{"superseded", always(replica.Result{}, replica.ErrSuperseded), client.Error{Type: api.Superseded, Definite: true, Status: 409}, true},
		{"overloaded", always(replica.Result{}, raft.ErrOverloaded), client.Error{Type: api.Overloaded, Definite: true, Status: 503}, true},
		{"fate unknown", always(replica.Result{}, replica.ErrFateUnknown), client.Error{Type: api.Unavailable, Status: 503}, true},
		{"odd", always(replica.Result{}, errors.New("odd")), client.Error{Type: api.Unavailable, Status: 503}, true},
		{"absent", code(fsm.NotFound, false), func() client.Error {
			e := evidence
			e.Type, e.Definite, e.Status = api.KeyNotFound, true, 404
			return e
		}(), false},
		{"mismatch, again", code(fsm.Mismatch, true), func() client.Error {
			e := evidence
			e.Type, e.Definite, e.Status, e.Value, e.Repeated = api.CASMismatch, true, 412, &held, true
			return e
		}(), true},
		{"session expired", code(fsm.SessionExpired, false), func() client.Error {
			e := evidence
			e.Type, e.Definite, e.Status = api.SessionExpired, true, 410
			return e
		}(), true},
		{"sequence forgotten", code(fsm.SequenceForgotten, false), func() client.Error {
			e := evidence
			e.Type, e.Definite, e.Status = api.SequenceForgotten, true, 409
			return e
		}(), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			messages := make(map[string]bool)
			byEveryWay(t, func(t *testing.T, scheme string) {
				n, cl := one(t, scheme, nil)
				n.decide = c.decide
				want := c.want
				want.Node = "n1"
				if want.LeaderURL != "" {
					want.LeaderURL = scheme + "://" + want.LeaderURL
				}
				_, err := cl.Write(t.Context(), "n1", "k", "v")
				messages[told(t, err, want)] = true
				absent, err := cl.Read(t.Context(), "n1", "k")
				if !c.whenRead {
					require.NoError(t, err)
					require.Equal(t, client.Result{Revision: 5, Index: 8, Term: 3, Node: "n1"}, absent)
					return
				}
				want.Definite = true
				told(t, err, want)
			})
			require.Len(t, messages, 1, "the words, too")
		})
	}
}

// told compares all of an error but its words, which it returns.
func told(t *testing.T, err error, want client.Error) string {
	t.Helper()
	var e *client.Error
	require.ErrorAs(t, err, &e)
	got := *e
	got.Message, got.Err = "", nil
	require.Equal(t, want, got, "%v", err)
	return e.Message
}

// A request that is no answer to in time may take effect, unless it never reached the replica.
func TestTimeoutsTellWhetherItWasBegun(t *testing.T) {
	byEveryWay(t, func(t *testing.T, scheme string) {
		n, c := one(t, scheme, func(o *server.Options) { o.RequestTimeout = 100 * time.Millisecond })
		_, err := c.Write(t.Context(), "n1", "k", "begun")
		told(t, err, client.Error{Type: api.Timeout, Status: 504, Node: "n1"})
		_, err = c.Read(t.Context(), "n1", "k")
		told(t, err, client.Error{Type: api.Timeout, Definite: true, Status: 504, Node: "n1"})

		release, held := make(chan struct{}), make(chan struct{})
		defer sync.OnceFunc(func() { close(release) })()
		n.mu.Lock()
		n.process = sync.OnceValue(func() error { close(held); <-release; return nil })
		n.mu.Unlock()
		lost := make(chan error, 1)
		go func() { _, err := c.Write(context.Background(), "n1", "k", "holds the loop"); lost <- err }()
		<-held
		_, err = c.Write(t.Context(), "n1", "k", "not begun")
		told(t, err, client.Error{Type: api.Timeout, Definite: true, Status: 504, Node: "n1"})
		told(t, <-lost, client.Error{Type: api.Timeout, Status: 504, Node: "n1"})
		require.NotContains(t, strings.Join(n.heard(), " "), "not begun")
	})
}

// What the client gives up on may have happened; what it never sent cannot have.
func TestClientsOwnTimeouts(t *testing.T) {
	byEveryWay(t, func(t *testing.T, scheme string) {
		_, c := one(t, scheme, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := c.Write(ctx, "n1", "k", "v")
		told(t, err, client.Error{Type: api.Timeout, Node: "n1"})
		_, err = c.Write(ctx, "n1", "k", "v")
		told(t, err, client.Error{Type: client.Unreachable, Definite: true, Node: "n1"})
	})
}

// A node that stops answers what it can, says of the rest whether it was begun, and takes nothing new.
func TestStoppingNode(t *testing.T) {
	byEveryWay(t, func(t *testing.T, scheme string) {
		n, c := one(t, scheme, nil)
		lost := make(chan error, 1)
		go func() { _, err := c.Write(context.Background(), "n1", "k", "begun"); lost <- err }()
		require.Eventually(t, func() bool { return len(n.heard()) == 1 }, 10*time.Second, time.Millisecond)
		n.stop()
		told(t, <-lost, client.Error{Type: api.Unavailable, Status: 503, Node: "n1"})
		_, err := c.Write(t.Context(), "n1", "k", "late")
		told(t, err, client.Error{Type: api.Unavailable, Definite: true, Status: 503, Node: "n1"})
	})
}

// A graceful stop waits for what is under way.
func TestShutdownWaits(t *testing.T) {
	byEveryWay(t, func(t *testing.T, scheme string) {
		n, c := one(t, scheme, nil)
		asked := make(chan func(replica.Result, error), 1)
		n.decide = func(_ string, done func(replica.Result, error)) { asked <- done }
		got := make(chan error, 1)
		go func() { _, err := c.Write(context.Background(), "n1", "k", "v"); got <- err }()
		done := <-asked
		stopped := make(chan error, 1)
		go func() { stopped <- n.api.Shutdown(context.Background()) }()
		require.Eventually(t, func() bool { // nobody new is let in
			conn, err := net.Dial("tcp", n.url[strings.Index(n.url, "//")+2:])
			if err == nil {
				conn.Close()
			}
			return err != nil
		}, 10*time.Second, time.Millisecond)
		n.mu.Lock()
		n.process = sync.OnceValue(func() error { done(answered, nil); return nil })
		n.mu.Unlock()
		n.loop.Receive(raft.Message{}) // has it turn
		require.NoError(t, <-got)
		require.NoError(t, <-stopped)
		_, err := c.Write(t.Context(), "n1", "k", "v")
		var e *client.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, client.Unreachable, e.Type)
	})
}

// A connection that breaks leaves what was in flight unknown, and the next request connects again.
func TestBrokenConnection(t *testing.T) {
	byEveryWay(t, func(t *testing.T, scheme string) {
		n := serve(t, "n1", scheme, nil)
		relay := newRelay(t, n.url[strings.Index(n.url, "//")+2:])
		c := asking(t, map[string]string{"n1": scheme + "://" + relay.address}, client.Options{})
		var lost []chan error
		for i := range 5 {
			got := make(chan error, 1)
			lost = append(lost, got)
			go func() { _, err := c.Write(context.Background(), "n1", fmt.Sprint(i), "v"); got <- err }()
		}
		require.Eventually(t, func() bool { return len(n.heard()) == 5 }, 10*time.Second, time.Millisecond)
		read := make(chan error, 1)
		go func() { _, err := c.Read(context.Background(), "n1", "k"); read <- err }()
		require.Eventually(t, func() bool { return len(n.heard()) == 6 }, 10*time.Second, time.Millisecond)
		relay.cut()
		for _, got := range lost {
			told(t, <-got, client.Error{Type: client.ConnectionLost, Node: "n1"})
		}
		told(t, <-read, client.Error{Type: client.ConnectionLost, Definite: true, Node: "n1"})
		n.mu.Lock()
		n.decide = always(answered, nil)
		n.mu.Unlock()
		_, err := c.Write(t.Context(), "n1", "k", "v")
		require.NoError(t, err)
		require.Len(t, n.heard(), 7, "nothing was sent twice")

		relay.close()
		require.Eventually(t, func() bool {
			_, err := c.Write(t.Context(), "n1", "k", "v")
			var e *client.Error
			return errors.As(err, &e) && e.Type == client.Unreachable && e.Definite
		}, 10*time.Second, time.Millisecond)
	})
}

func TestRedirects(t *testing.T) {
	byEveryWay(t, func(t *testing.T, scheme string) {
		leader := serve(t, "n2", scheme, nil)
		leader.decide = always(answered, nil)
		follower := serve(t, "n1", scheme, func(o *server.Options) {
			o.ClientURL = func(raft.NodeID) string { return "http" + strings.TrimPrefix(leader.url, scheme) }
		})
		follower.decide = always(replica.Result{}, &raft.NotLeaderError{Leader: "n2", Term: 4})
		for _, nodes := range []map[string]string{{"n1": follower.url, "n2": leader.url}, {"n1": follower.url}} {
			c := asking(t, nodes, client.Options{FollowURLs: true})
			_, err := c.Write(t.Context(), "n1", "k", "v")
			require.NoError(t, err)
		}
		c := asking(t, map[string]string{"n1": follower.url}, client.Options{})
		_, err := c.Write(t.Context(), "n1", "k", "v")
		var e *client.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, api.NotLeader, e.Type)
	})
}

// A node that does not take part yet says so.
func TestNotBegun(t *testing.T) {
	byEveryWay(t, func(t *testing.T, scheme string) {
		_, c := one(t, scheme, func(o *server.Options) {
			o.Standing = func(replica.Status) (api.Standing, bool) { return api.Standing{Waiting: "for n2"}, false }
		})
		_, err := c.Write(t.Context(), "n1", "k", "v")
		require.Contains(t, told(t, err, client.Error{Type: api.NotReady, Definite: true, Status: 503, Node: "n1"}), "for n2")
	})
}

// What is too large is refused, definitely, and does not take down what else is asked.
func TestTooLarge(t *testing.T) {
	byEveryWay(t, func(t *testing.T, scheme string) {
		n, c := one(t, scheme, nil)
		n.decide = always(answered, nil)
		for _, key := range []string{strings.Repeat("k", 513)} {
			_, err := c.Write(t.Context(), "n1", key, "v")
			told(t, err, client.Error{Type: api.TooLarge, Definite: true, Status: 413, Node: "n1"})
		}
		_, err := c.Write(t.Context(), "n1", "k", strings.Repeat("v", 1<<20+1))
		told(t, err, client.Error{Type: api.TooLarge, Definite: true, Status: 413, Node: "n1"})
		_, err = c.Write(t.Context(), "n1", "k", strings.Repeat("v", 1<<20-1000))
		require.NoError(t, err)
		require.Len(t, n.heard(), 1)
		if scheme != "http" {
			_, err = c.Write(t.Context(), "n1", "k", strings.Repeat("v", 8<<20))
			told(t, err, client.Error{Type: api.TooLarge, Definite: true, Node: "n1"})
		}
	})
}

// Many who ask at once each get their own answer.
func TestAnswersAreTheAskersOwn(t *testing.T) {
	byEveryWay(t, func(t *testing.T, scheme string) {
		n, c := one(t, scheme, nil)
		n.decide = func(asked string, done func(replica.Result, error)) {
			r := answered
			r.Value = asked
			done(r, nil)
		}
		var asking sync.WaitGroup
		for i := range 64 {
			asking.Go(func() {
				for j := range 20 {
					key := fmt.Sprintf("%d-%d", i, j)
					got, err := c.Read(context.Background(), "n1", key)
					if err != nil || got.Value != "read "+key+" 0" {
						t.Errorf("%s: %v %v", key, got, err)
						return
					}
				}
			})
		}
		asking.Wait()
		c.Close()
		_, err := c.Read(t.Context(), "n1", "after an idle connection was closed")
		require.NoError(t, err)
	})
}

// Who shows no certificate of the authority is not heard, and a node that is another is not asked.
func TestOnlyTheRightOnesTalk(t *testing.T) {
	n, c := one(t, "grpcs", nil)
	n.decide = always(answered, nil)
	_, err := c.Write(t.Context(), "n1", "k", "v")
	require.NoError(t, err)
	address := strings.TrimPrefix(n.url, "grpcs://")
	stranger := newAuthority(t).of(t, "somebody")
	stranger.RootCAs = certificates(t).pool
	for name, try := range map[string]func() (*client.Client, error){
		"in the clear": func() (*client.Client, error) {
			return client.New(map[string]string{"n1": "grpc://" + address}, client.Options{})
		},
		"a stranger": func() (*client.Client, error) {
			return client.New(map[string]string{"n1": n.url}, client.Options{TLS: stranger})
		},
		"a node of another name": func() (*client.Client, error) {
			return asking(t, map[string]string{"n2": n.url}, client.Options{}), nil
		},
	} {
		c, err := try()
		require.NoError(t, err, name)
		for node := range map[string]bool{"n1": true, "n2": true} {
			_, err = c.Write(t.Context(), node, "k", "v")
			require.Error(t, err, name)
		}
		c.Close()
	}
	require.Len(t, n.heard(), 1)
	_, err = client.New(map[string]string{"n1": n.url}, client.Options{})
	require.ErrorContains(t, err, "TLS")
}

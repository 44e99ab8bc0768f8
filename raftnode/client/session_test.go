package client

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/api"
)

// node answers requests by a script, one line each, and remembers them.
type node struct {
	t        *testing.T
	mu       sync.Mutex
	script   []reply
	requests []string
}

type reply struct {
	status int // 0 breaks the connection
	body   any
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.requests = append(n.requests, r.Method+" "+r.URL.Path+" "+string(body))
	if len(n.script) == 0 {
		n.t.Error("a request that nobody expected: ", n.requests[len(n.requests)-1])
		panic(http.ErrAbortHandler)
	}
	next := n.script[0]
	n.script = n.script[1:]
	if next.status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(next.status)
	json.NewEncoder(w).Encode(next.body)
}

// then adds to the script.
func (n *node) then(r reply) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.script = append(n.script, r)
}

// heard is all that was asked so far.
func (n *node) heard() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.requests
}

// inSession opens session 7 at a node that then follows the script.
func inSession(t *testing.T, script ...reply) (*node, *Session) {
	n := &node{t: t, script: append([]reply{{200, api.SessionAnswer{Session: 7, Node: "n1"}}}, script...)}
	server := httptest.NewServer(n)
	t.Cleanup(server.Close)
	s, err := newClient(t, server.URL, Options{}).OpenSession(t.Context(), "n1", 1500*time.Microsecond)
	require.NoError(t, err)
	require.Equal(t, uint64(7), s.ID())
	return n, s
}

var (
	lost  = reply{}
	taken = reply{200, api.Answer{Key: "k", Value: "v", Revision: 9, Node: "n1"}}
)

func refusing(e api.ErrorType, definite bool) reply {
	return reply{http.StatusConflict, api.ErrorReply{Error: api.Error{Type: e, Definite: definite}}}
}

// Each command has a number of its own, a retry that of its command, and what is in doubt is not
// acknowledged. It would catch a client whose retry is executed once more, or whose answer is dropped
// before it came.
func TestSessionNumbersItsCommands(t *testing.T) {
	repeated := taken
	repeated.body = api.Answer{Key: "k", Value: "v", Revision: 9, Node: "n1", Repeated: true}
	n, s := inSession(t, taken, lost, taken, refusing(api.NotLeader, true), repeated, taken, lost, taken,
		reply{200, api.SessionAnswer{Session: 7, Node: "n1"}})
	ctx := t.Context()
	_, err := s.Write(ctx, "n1", "k", "v")
	require.NoError(t, err)
	_, err = s.CAS(ctx, "n1", "k", "v", "w")
	var doubt, e *Error
	require.ErrorAs(t, err, &doubt)
	require.False(t, doubt.Definite)
	require.Equal(t, uint64(2), doubt.Sequence)
	_, err = s.Delete(ctx, "n1", "k")
	require.NoError(t, err)
	_, err = s.Write(ctx, "n1", "k", "x")
	require.ErrorAs(t, err, &e)
	require.True(t, e.Definite)
	got, err := s.Retry(ctx, "n1", 2)
	require.NoError(t, err)
	require.Equal(t, Result{Value: "v", Found: true, Revision: 9, Node: "n1", Repeated: true}, got)
	_, err = s.Delete(ctx, "n1", "k")
	require.NoError(t, err)
	_, err = s.Delete(ctx, "n1", "k")
	require.ErrorAs(t, err, &doubt)
	s.Abandon(doubt.Sequence)
	_, err = s.Delete(ctx, "n1", "k")
	require.NoError(t, err)
	require.NoError(t, s.Close(ctx, "n1"))
	require.Equal(t, []string{
		`POST /sessions {"ttl_ms":1}`,
		`PUT /kv/k {"value":"v","session":7,"sequence":1,"acked":0}`,
		`POST /kv/k/cas {"expect":"v","value":"w","session":7,"sequence":2,"acked":1}`,
		`DELETE /kv/k {"session":7,"sequence":3,"acked":1}`,
		`PUT /kv/k {"value":"x","session":7,"sequence":4,"acked":1}`,
		`POST /kv/k/cas {"expect":"v","value":"w","session":7,"sequence":2,"acked":1}`,
		`DELETE /kv/k {"session":7,"sequence":5,"acked":4}`,
		`DELETE /kv/k {"session":7,"sequence":6,"acked":5}`,
		`DELETE /kv/k {"session":7,"sequence":7,"acked":6}`,
		`DELETE /sessions/7 `,
	}, n.heard())
}

// What a retry's end says of the command as a whole: a refusal that is definite for one attempt says
// nothing of the attempt before.
func TestRetryIsClassed(t *testing.T) {
	for _, c := range []struct {
		name     string
		reply    reply
		want     api.ErrorType
		definite bool
		again    bool // it may be retried once more
	}{
		{"mismatch", refusing(api.CASMismatch, true), api.CASMismatch, true, false},
		{"key not found", refusing(api.KeyNotFound, true), api.KeyNotFound, true, false},
		{"not leader", refusing(api.NotLeader, true), api.NotLeader, false, true},
		{"superseded", refusing(api.Superseded, true), api.Superseded, false, true},
		{"overloaded", refusing(api.Overloaded, true), api.Overloaded, false, true},
		{"timeout", refusing(api.Timeout, false), api.Timeout, false, true},
		{"lost", lost, ConnectionLost, false, true},
		{"session expired", refusing(api.SessionExpired, true), api.SessionExpired, false, false},
		{"sequence forgotten", refusing(api.SequenceForgotten, true), api.SequenceForgotten, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, s := inSession(t, lost, c.reply)
			_, err := s.CAS(t.Context(), "n1", "k", "u", "v")
			require.Error(t, err)
			_, err = s.Retry(t.Context(), "n1", 1)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.want, e.Type, "%v", err)
			require.Equal(t, c.definite, e.Definite)
			n.then(taken)
			_, err = s.Retry(t.Context(), "n1", 1)
			require.Equal(t, c.again, err == nil, "%v", err)
		})
	}
}

// A first attempt in an expired session did nothing; there is nothing to retry.
func TestFirstAttemptInAnExpiredSession(t *testing.T) {
	_, s := inSession(t, refusing(api.SessionExpired, true))
	_, err := s.Write(t.Context(), "n1", "k", "v")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, api.SessionExpired, e.Type)
	require.True(t, e.Definite)
	for _, sequence := range []uint64{0, 1, 2} {
		_, err = s.Retry(t.Context(), "n1", sequence)
		require.ErrorAs(t, err, &e)
		require.Equal(t, api.BadRequest, e.Type)
	}
}

func TestOpeningIsClassed(t *testing.T) {
	for _, c := range []struct {
		name     string
		url      func(*testing.T) string
		ttl      time.Duration
		want     api.ErrorType
		definite bool
	}{
		{"too short", refused, time.Microsecond, api.BadRequest, true},
		{"connection refused", refused, time.Second, Unreachable, true},
		{"no session", answer(200, `{"node":"n1"}`), time.Second, BadReply, false},
		{"not leader", answer(421, `{"error":{"type":"not_leader","definite":true}}`), time.Second, api.NotLeader, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := newClient(t, c.url(t), Options{}).OpenSession(t.Context(), "n1", c.ttl)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.want, e.Type)
			require.Equal(t, c.definite, e.Definite)
		})
	}
}

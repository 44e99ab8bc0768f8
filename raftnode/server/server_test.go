package server

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/api"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/replica"
)

// serving starts the API of a replica.
func serving(t *testing.T, r Replica, change func(*Options)) (*Server, func(method, path, body string) (int, string)) {
	m := NewMetrics()
	o := Options{
		ID: "n1", Loop: NewLoop(m), Metrics: m, PID: 42, Version: "test",
		ClientURL: func(id raft.NodeID) string { return "http://" + string(id) + ":4100" },
	}
	if change != nil {
		change(&o)
	}
	s := New(o)
	running(t, o.Loop, r)
	h := httptest.NewServer(s.Handler())
	t.Cleanup(h.Close)
	return s, func(method, path, body string) (int, string) {
		request, err := http.NewRequest(method, h.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		response, err := h.Client().Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		b, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(b)
	}
}

var answered = replica.Result{Result: fsm.Result{Value: "v", Revision: 5, Session: 6}, Index: 8, Term: 3, Node: "n1"}

// Each request must reach the replica as what it is, and carry all the evidence back.
func TestRequestsReachTheReplica(t *testing.T) {
	ok := `{"key":"a/b","value":"v","revision":5,"index":8,"term":3,"node":"n1"}` + "\n"
	for _, c := range []struct {
		method, path, body string
		want               fsm.Command
		answer             string
	}{
		{"GET", "/kv/a%2Fb", "", fsm.Command{Key: "a/b"}, ok},
		{"GET", "/kv/a%2Fb?consistency=linearizable", "", fsm.Command{Key: "a/b"}, ok},
		{"PUT", "/kv/a%2Fb", `{"value":"v"}`, fsm.Command{Op: fsm.Write, Key: "a/b", Value: "v"}, ok},
		{"PUT", "/kv/a%2Fb", ` {"value":""} `, fsm.Command{Op: fsm.Write, Key: "a/b"}, ok},
		{"POST", "/kv/a%2Fb/cas", `{"expect":"u","value":"v"}`, fsm.Command{Op: fsm.CAS, Key: "a/b", Expect: "u", Value: "v"}, ok},
		{"DELETE", "/kv/a%2Fb", "", fsm.Command{Op: fsm.Delete, Key: "a/b"}, ok},
		{"PUT", "/kv/a%2Fb", `{"value":"v","session":4,"sequence":2,"acked":1}`,
			fsm.Command{Op: fsm.Write, Key: "a/b", Value: "v", Session: 4, Sequence: 2, Acked: 1}, ok},
		{"POST", "/kv/a%2Fb/cas", `{"expect":"u","value":"v","session":4,"sequence":1,"acked":0}`,
			fsm.Command{Op: fsm.CAS, Key: "a/b", Expect: "u", Value: "v", Session: 4, Sequence: 1}, ok},
		{"DELETE", "/kv/a%2Fb", `{"session":4,"sequence":1,"acked":0}`, fsm.Command{Op: fsm.Delete, Key: "a/b", Session: 4, Sequence: 1}, ok},
		{"POST", "/sessions", `{"ttl_ms":5000}`, fsm.Command{Op: fsm.OpenSession, TTL: 5000},
			`{"session":6,"index":8,"term":3,"node":"n1"}` + "\n"},
		{"DELETE", "/sessions/4", "", fsm.Command{Op: fsm.CloseSession, Session: 4},
			`{"session":4,"index":8,"term":3,"node":"n1"}` + "\n"},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			r := &scripted{decide: func(fsm.Command) outcome { return outcome{result: answered} }}
			_, do := serving(t, r, nil)
			status, body := do(c.method, c.path, c.body)
			require.Equal(t, 200, status, body)
			require.Equal(t, c.answer, body)
			require.Equal(t, 1, r.waiting())
			require.Equal(t, c.want, r.proposals[0].command)
		})
	}
}

// That a request had taken effect before is told, whether it succeeded then or was refused.
func TestRepetitionsAreTold(t *testing.T) {
	for _, code := range []fsm.Code{fsm.OK, fsm.NotFound, fsm.Mismatch} {
		res := answered
		res.Code, res.Repeated = code, true
		_, do := serving(t, &scripted{decide: func(fsm.Command) outcome { return outcome{result: res} }}, nil)
		_, body := do("PUT", "/kv/k", `{"value":"v","session":4,"sequence":1,"acked":0}`)
		require.Contains(t, body, `"repeated":true`)
	}
}

// A stale read asks nobody, and says so by not going through the replica's Read.
func TestStaleReadIsLocal(t *testing.T) {
	r := &scripted{}
	_, do := serving(t, r, nil)
	status, body := do("GET", "/kv/k?consistency=stale", "")
	require.Equal(t, 200, status)
	require.Contains(t, body, `"value":"stale k"`)
	require.Zero(t, r.waiting())
}

// A malformed request must be refused before it reaches the log.
func TestMalformedRequestsAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     api.ErrorType
	}{
		{"no body", "PUT", "/kv/k", "", 400, api.BadRequest},
		{"no object", "PUT", "/kv/k", `"v"`, 400, api.BadRequest},
		{"no value", "PUT", "/kv/k", `{}`, 400, api.BadRequest},
		{"null", "PUT", "/kv/k", `{"value":null}`, 400, api.BadRequest},
		{"number", "PUT", "/kv/k", `{"value":1}`, 400, api.BadRequest},
		{"unknown field", "PUT", "/kv/k", `{"value":"v","ttl":1}`, 400, api.BadRequest},
		{"cut short", "PUT", "/kv/k", `{"value":"v"`, 400, api.BadRequest},
		{"two objects", "PUT", "/kv/k", `{"value":"v"}{"value":"w"}`, 400, api.BadRequest},
		{"something more", "PUT", "/kv/k", `{"value":"v"}]`, 400, api.BadRequest},
		{"not UTF-8", "PUT", "/kv/k", "{\"value\":\"\xff\"}", 400, api.BadRequest},
		{"cas without expect", "POST", "/kv/k/cas", `{"value":"v"}`, 400, api.BadRequest},
		{"cas without value", "POST", "/kv/k/cas", `{"expect":"v"}`, 400, api.BadRequest},
		{"session alone", "PUT", "/kv/k", `{"value":"v","session":1}`, 400, api.BadRequest},
		{"sequence alone", "POST", "/kv/k/cas", `{"expect":"u","value":"v","sequence":1}`, 400, api.BadRequest},
		{"acked missing", "DELETE", "/kv/k", `{"session":1,"sequence":1}`, 400, api.BadRequest},
		{"session 0", "PUT", "/kv/k", `{"value":"v","session":0,"sequence":1,"acked":0}`, 400, api.BadRequest},
		{"sequence 0", "PUT", "/kv/k", `{"value":"v","session":1,"sequence":0,"acked":0}`, 400, api.BadRequest},
		{"acked by itself", "PUT", "/kv/k", `{"value":"v","session":1,"sequence":1,"acked":1}`, 400, api.BadRequest},
		{"negative sequence", "PUT", "/kv/k", `{"value":"v","session":1,"sequence":-1,"acked":0}`, 400, api.BadRequest},
		{"delete with a value", "DELETE", "/kv/k", `{"value":"v"}`, 400, api.BadRequest},
		{"session without body", "POST", "/sessions", ``, 400, api.BadRequest},
		{"session without ttl", "POST", "/sessions", `{}`, 400, api.BadRequest},
		{"session with ttl 0", "POST", "/sessions", `{"ttl_ms":0}`, 400, api.BadRequest},
		{"close of a word", "DELETE", "/sessions/x", "", 400, api.BadRequest},
		{"close of session 0", "DELETE", "/sessions/0", "", 400, api.BadRequest},
		{"key not UTF-8", "DELETE", "/kv/%ff", "", 400, api.BadRequest},
		{"unknown consistency", "GET", "/kv/k?consistency=eventual", "", 400, api.BadRequest},
		{"unknown parameter", "GET", "/kv/k?stale=true", "", 400, api.BadRequest},
		{"long key", "DELETE", "/kv/" + strings.Repeat("k", 513), "", 413, api.TooLarge},
		{"long body", "PUT", "/kv/k", `{"value":"` + strings.Repeat("v", 1<<20) + `"}`, 413, api.TooLarge},
		{"no key", "GET", "/kv/", "", 404, api.NoRoute},
		{"no such path", "GET", "/", "", 404, api.NoRoute},
		{"no such method", "PATCH", "/kv/k", "", 404, api.NoRoute},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &scripted{}
			_, do := serving(t, r, nil)
			status, body := do(c.method, c.path, c.body)
			var reply api.ErrorReply
			require.NoError(t, json.Unmarshal([]byte(body), &reply), body)
			require.Equal(t, c.want, reply.Error.Type, body)
			require.Equal(t, c.status, status)
			require.True(t, reply.Error.Definite)
			require.Equal(t, raft.NodeID("n1"), reply.Error.Node)
			require.Zero(t, r.waiting())
		})
	}
}

// Each way in which a replica ends a request, as a client sees it.
func TestRefusalsAreTold(t *testing.T) {
	refused := func(code fsm.Code) outcome {
		res := answered
		res.Code = code
		return outcome{result: res}
	}
	for _, c := range []struct {
		name    string
		outcome outcome
		status  int
		want    string
	}{
		{"not the leader", outcome{err: &raft.NotLeaderError{Leader: "n2", Term: 4}}, 421,
			`{"type":"not_leader","message":"not the leader; the leader of term 4 is n2","definite":true,"leader":"n2","leader_url":"http://n2:4100","key":"k","term":4,"node":"n1"}`},
		{"no leader", outcome{err: &raft.NotLeaderError{Term: 4}}, 421,
			`{"type":"not_leader","message":"not the leader, and none is known in term 4","definite":true,"key":"k","term":4,"node":"n1"}`},
		{"leadership on its way", outcome{err: raft.ErrTransferring}, 503,
			`{"type":"transferring","message":"` + raft.ErrTransferring.Error() + `","definite":true,"key":"k","node":"n1"}`},
		{"superseded", outcome{err: replica.ErrSuperseded}, 409,
			`{"type":"superseded","message":"` + replica.ErrSuperseded.Error() + `","definite":true,"key":"k","node":"n1"}`},
		{"overloaded", outcome{err: raft.ErrOverloaded}, 503,
			`{"type":"overloaded","message":"` + raft.ErrOverloaded.Error() + `","definite":true,"key":"k","node":"n1"}`},
		{"absent", refused(fsm.NotFound), 404,
			`{"type":"key_not_found","message":"there is no such key","definite":true,"key":"k","revision":5,"index":8,"term":3,"node":"n1"}`},
		{"mismatch", refused(fsm.Mismatch), 412,
			`{"type":"cas_mismatch","message":"the key holds another value","definite":true,"key":"k","value":"v","revision":5,"index":8,"term":3,"node":"n1"}`},
		{"session expired", refused(fsm.SessionExpired), 410,
			`{"type":"session_expired","message":"there is no such session, or no longer","definite":true,"key":"k","revision":5,"index":8,"term":3,"node":"n1"}`},
		{"sequence forgotten", refused(fsm.SequenceForgotten), 409,
			`{"type":"sequence_forgotten","message":"the answer to this sequence is not kept any longer","definite":true,"key":"k","revision":5,"index":8,"term":3,"node":"n1"}`},
		{"an error that nobody foresaw", outcome{err: errors.New("odd")}, 503,
			`{"type":"unavailable","message":"odd","definite":false,"key":"k","node":"n1"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, do := serving(t, &scripted{decide: func(fsm.Command) outcome { return c.outcome }}, nil)
			status, body := do("PUT", "/kv/k", `{"value":"v"}`)
			require.Equal(t, c.status, status)
			require.Equal(t, `{"error":`+c.want+"}\n", body)
		})
	}
}

// A write that was proposed and not answered may have happened; a read changed nothing.
func TestTimeoutsAreTold(t *testing.T) {
	_, do := serving(t, &scripted{}, func(o *Options) { o.RequestTimeout = 20 * time.Millisecond })
	status, body := do("PUT", "/kv/k", `{"value":"v"}`)
	require.Equal(t, 504, status)
	require.Contains(t, body, `"type":"timeout"`)
	require.Contains(t, body, `"definite":false`)
	status, body = do("GET", "/kv/k", "")
	require.Equal(t, 504, status)
	require.Contains(t, body, `"definite":true`)
}

func TestStatusTellsAll(t *testing.T) {
	r := &scripted{state: replica.Status{
		Status: raft.Status{
			ID: "n1", Role: raft.Leader, Term: 7, Vote: "n1", Leader: "n1", Commit: 5, Applied: 4,
			LastIndex: 6, LastTerm: 7, LastChecksum: 99, Configuration: raft.Configuration{Voters: []raft.NodeID{"n1", "n2"}},
			Progress: map[raft.NodeID]raft.PeerProgress{"n2": {Match: 3, Next: 4, State: "probe"}},
			Snapshot: 1, First: 2, Upstream: "n3",
		},
		ConfigurationIndex: 2, StateHash: 11,
		Reigns: []replica.Reign{{Term: 3, Over: true}, {Term: 7}},
	}}
	_, do := serving(t, r, nil)
	status, body := do("GET", "/raft/status", "")
	require.Equal(t, 200, status)
	var got api.Status
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Positive(t, got.UptimeNS)
	got.UptimeNS = 0
	require.Equal(t, api.Status{
		ID: "n1", Role: "leader", Term: 7, Vote: "n1", Leader: "n1", LeaderURL: "http://n1:4100", Commit: 5, Applied: 4,
		LastIndex: 6, LastTerm: 7, LastChecksum: 99, Configuration: raft.Configuration{Voters: []raft.NodeID{"n1", "n2"}},
		Progress:           map[raft.NodeID]raft.PeerProgress{"n2": {Match: 3, Next: 4, State: "probe"}},
		ConfigurationIndex: 2, Snapshot: 1, First: 2, Upstream: "n3", StateHash: 11,
		Reigns: []api.Reign{{Term: 3, Over: true}, {Term: 7}}, PID: 42, Version: "test",
	}, got)
	_, body = do("GET", "/raft/config", "")
	require.Equal(t, `{"voters":["n1","n2"],"index":2,"committed":true,"term":7,"leader":"n1","leader_url":"http://n1:4100","node":"n1"}`+"\n", body)
	status, body = do("GET", "/healthz", "")
	require.Equal(t, 200, status)
	require.Equal(t, `{"id":"n1","leader_known":true,"leader":"n1","term":7}`+"\n", body)
	_, body = do("GET", "/metrics", "")
	for _, want := range []string{"raftnode_term 7", "raftnode_role 3", "raftnode_commit_index 5", "raftnode_queued_requests 0"} {
		require.Contains(t, body, want+"\n")
	}
}

// A node whose loop has ended is not healthy, though its HTTP server still answers.
func TestHealthNeedsTheLoop(t *testing.T) {
	m := NewMetrics()
	l := NewLoop(m)
	s := New(Options{ID: "n1", Loop: l, Metrics: m})
	require.NoError(t, running(t, l, &scripted{})())
	for _, path := range []string{"/healthz", "/raft/status"} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Contains(t, w.Body.String(), `"type":"unavailable"`)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
}

// What is too much at once is refused before it is read, by an error that says that nothing was done, and whoever looks
// after the node gets through. Catches a node that takes in whatever comes until its memory is full.
func TestRequestsUnderWayAreBounded(t *testing.T) {
	r := &scripted{} // answers nothing
	s, do := serving(t, r, func(o *Options) { o.MaxRequests = 3 })
	var waiting sync.WaitGroup
	for range 3 {
		waiting.Go(func() {
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, httptest.NewRequest("PUT", "/kv/k", strings.NewReader(`{"value":"v"}`)))
		})
	}
	eventually(t, func() bool { return r.waiting() == 3 })
	for _, c := range []struct{ method, path string }{{"PUT", "/kv/k"}, {"GET", "/kv/k"}, {"POST", "/sessions"}} {
		status, body := do(c.method, c.path, `{"value":"v"}`)
		require.Equal(t, 503, status)
		require.Contains(t, body, `"type":"overloaded"`)
		require.Contains(t, body, `"definite":true`)
	}
	status, _ := do("GET", "/raft/status", "")
	require.Equal(t, 200, status)
	r.locked(func() {
		for _, p := range r.proposals {
			p.done(answered, nil)
		}
	})
	waiting.Wait()
	r.decide = func(fsm.Command) outcome { return outcome{result: answered} }
	status, _ = do("PUT", "/kv/k", `{"value":"v"}`)
	require.Equal(t, 200, status)
}

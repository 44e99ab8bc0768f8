package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/api"
)

// newClient is a client of one node, n1, at url.
func newClient(t *testing.T, url string, o Options) *Client {
	c, err := New(map[string]string{"n1": url}, o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// answering serves one status and body to everything.
func answering(t *testing.T, status int, body string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// raw hands each connection, with the head and body of its first request read, to serve.
func raw(t *testing.T, serve func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Add(1)
	go func() {
		defer running.Done()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Add(1)
			go func() {
				defer running.Done()
				defer conn.Close()
				if readRequest(bufio.NewReader(conn)) {
					serve(conn)
				}
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); running.Wait() })
	return "http://" + l.Addr().String()
}

func readRequest(r *bufio.Reader) bool {
	request, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, request.Body)
	return err == nil
}

func refused(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return "http://" + l.Addr().String()
}

// Whatever goes wrong must be classed. It would catch an error that is taken for definite though the
// write may have happened (which makes false alarms) and one that is not though it cannot have.
func TestEveryErrorIsClassed(t *testing.T) {
	fromNode := func(e api.Error) string {
		b, err := json.Marshal(api.ErrorReply{Error: e})
		require.NoError(t, err)
		return string(b)
	}
	held := "held"
	for _, c := range []struct {
		name     string
		url      func(t *testing.T) string
		want     api.ErrorType
		definite bool
	}{
		{"connection refused", refused, Unreachable, true},
		{"connection closed", func(t *testing.T) string { return raw(t, func(net.Conn) {}) }, ConnectionLost, false},
		{"connection reset", func(t *testing.T) string {
			return raw(t, func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) })
		}, ConnectionLost, false},
		{"no answer", func(t *testing.T) string {
			return raw(t, func(c net.Conn) { io.Copy(io.Discard, c) })
		}, api.Timeout, false},
		{"half a head", func(t *testing.T) string {
			return raw(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 O") })
		}, ConnectionLost, false},
		{"half a body", func(t *testing.T) string {
			return raw(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{") })
		}, ConnectionLost, false},
		{"half a refusal", func(t *testing.T) string {
			return raw(t, func(c net.Conn) {
				io.WriteString(c, "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 300\r\n\r\n"+
					`{"error":{"type":"not_leader","definite":true}}`)
			})
		}, ConnectionLost, false},
		{"a body that never ends", func(t *testing.T) string {
			return raw(t, func(c net.Conn) {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
				io.Copy(io.Discard, c)
			})
		}, api.Timeout, false},
		{"not HTTP", func(t *testing.T) string {
			return raw(t, func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n") })
		}, ConnectionLost, false},
		{"a success that is not JSON", answer(200, "hello"), BadReply, false},
		{"a success that is empty", answer(200, ""), BadReply, false},
		{"a success about another key", answer(200, `{"key":"other","node":"n1"}`), BadReply, false},
		{"a success from nobody", answer(200, `{"key":"k"}`), BadReply, false},
		{"created", answer(201, `{"key":"k","node":"n1"}`), BadReply, false},
		{"redirect", answer(307, ""), BadReply, false},
		{"500 of a proxy", answer(500, "oops"), BadReply, false},
		{"502 of a proxy", answer(502, "<html>"), BadReply, false},
		{"404 of a proxy", answer(404, "not found"), BadReply, false},
		{"an error without type", answer(503, `{"error":{"definite":true}}`), BadReply, false},
		{"an error of unknown type", answer(503, `{"error":{"type":"novel","definite":true}}`), BadReply, false},
		{"not leader, leader unknown", answer(421, fromNode(api.Error{Type: api.NotLeader, Definite: true})), api.NotLeader, true},
		{"not leader, leader not in the map", answer(421, fromNode(api.Error{Type: api.NotLeader, Definite: true, Leader: "n9"})), api.NotLeader, true},
		{"not leader, but not definite", answer(421, fromNode(api.Error{Type: api.NotLeader, Leader: "n2"})), api.NotLeader, false},
		{"key not found", answer(404, fromNode(api.Error{Type: api.KeyNotFound, Definite: true})), api.KeyNotFound, true},
		{"mismatch", answer(412, fromNode(api.Error{Type: api.CASMismatch, Definite: true, Value: &held})), api.CASMismatch, true},
		{"superseded", answer(409, fromNode(api.Error{Type: api.Superseded, Definite: true})), api.Superseded, true},
		{"bad request", answer(400, fromNode(api.Error{Type: api.BadRequest, Definite: true})), api.BadRequest, true},
		{"too large", answer(413, fromNode(api.Error{Type: api.TooLarge, Definite: true})), api.TooLarge, true},
		{"no route", answer(404, fromNode(api.Error{Type: api.NoRoute, Definite: true})), api.NoRoute, true},
		{"session expired", answer(410, fromNode(api.Error{Type: api.SessionExpired, Definite: true})), api.SessionExpired, true},
		{"sequence forgotten", answer(409, fromNode(api.Error{Type: api.SequenceForgotten, Definite: true})), api.SequenceForgotten, true},
		{"overloaded", answer(503, fromNode(api.Error{Type: api.Overloaded, Definite: true})), api.Overloaded, true},
		{"timeout before the proposal", answer(504, fromNode(api.Error{Type: api.Timeout, Definite: true})), api.Timeout, true},
		{"timeout after the proposal", answer(504, fromNode(api.Error{Type: api.Timeout})), api.Timeout, false},
		{"stopping before the proposal", answer(503, fromNode(api.Error{Type: api.Unavailable, Definite: true})), api.Unavailable, true},
		{"stopping after the proposal", answer(503, fromNode(api.Error{Type: api.Unavailable})), api.Unavailable, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := newClient(t, c.url(t), Options{Timeout: 300 * time.Millisecond})
			var e *Error
			_, err := cl.Write(t.Context(), "n1", "k", "v")
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.want, e.Type, "%v", err)
			require.Equal(t, c.definite, e.Definite, "%v", err)
			require.Equal(t, "n1", e.Node)

			// What only reads has changed nothing, whatever happened to it.
			_, err = cl.Stale(t.Context(), "n1", "k")
			if c.want == api.KeyNotFound {
				require.NoError(t, err)
				return
			}
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.want, e.Type, "%v", err)
			require.True(t, e.Definite)
		})
	}
}

func answer(status int, body string) func(*testing.T) string {
	return func(t *testing.T) string { return answering(t, status, body) }
}

func TestWhatIsNeverSent(t *testing.T) {
	var requests atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer s.Close()
	c := newClient(t, s.URL, Options{})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, f := range map[string]struct {
		err  func() error
		want api.ErrorType
	}{
		"an empty key":           {func() error { _, err := c.Write(t.Context(), "n1", "", "v"); return err }, api.BadRequest},
		"a key that is a path":   {func() error { _, err := c.Write(t.Context(), "n1", "..", "v"); return err }, api.BadRequest},
		"a key not UTF-8":        {func() error { _, err := c.Read(t.Context(), "n1", "\xff"); return err }, api.BadRequest},
		"a value not UTF-8":      {func() error { _, err := c.Write(t.Context(), "n1", "k", "\xff"); return err }, api.BadRequest},
		"an unknown node":        {func() error { _, err := c.Write(t.Context(), "n7", "k", "v"); return err }, UnknownNode},
		"a context that is over": {func() error { _, err := c.Write(cancelled, "n1", "k", "v"); return err }, Unreachable},
	} {
		var e *Error
		require.ErrorAs(t, f.err(), &e, name)
		require.Equal(t, f.want, e.Type, name)
		require.True(t, e.Definite, name)
	}
	require.Zero(t, requests.Load())
}

// net/http sends an idempotent request again when a kept connection breaks under it. Then the
// recorder would see one operation and the node two.
func TestNothingIsSentTwice(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*Client) error
	}{
		{"read", func(c *Client) error { _, err := c.Read(context.Background(), "n1", "k"); return err }},
		{"write", func(c *Client) error { _, err := c.Write(context.Background(), "n1", "k", "v"); return err }},
		{"cas", func(c *Client) error { _, err := c.CAS(context.Background(), "n1", "k", "u", "v"); return err }},
		{"delete", func(c *Client) error { _, err := c.Delete(context.Background(), "n1", "k"); return err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var requests atomic.Int64
			url := raw(t, func(conn net.Conn) {
				requests.Add(1)
				body := `{"key":"k","node":"n1"}`
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				// The connection is kept, and breaks as soon as the next request has come.
				if readRequest(bufio.NewReader(conn)) {
					requests.Add(1)
				}
			})
			cl := newClient(t, url, Options{Timeout: 10 * time.Second})
			require.NoError(t, c.do(cl))
			err := c.do(cl)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, ConnectionLost, e.Type)
			require.Equal(t, c.name == "read", e.Definite)
			require.Equal(t, int64(2), requests.Load())
		})
	}
}

// A connection that takes no more must not be written to after the caller was told that nothing was
// sent.
func TestSealedConnectionTakesNothing(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	c := &conn{Conn: near}
	require.True(t, c.seal(c.begun()))
	_, err := c.Write([]byte("late"))
	require.ErrorIs(t, err, net.ErrClosed)

	used := &conn{Conn: near}
	before := used.begun()
	go io.Copy(io.Discard, far)
	_, err = used.Write([]byte("x"))
	require.NoError(t, err)
	require.False(t, used.seal(before), "what was written to may have been heard")
}

// pair starts two nodes that say what the other function makes of each request.
func pair(t *testing.T, n1, n2 http.HandlerFunc) *Client {
	s1, s2 := httptest.NewServer(n1), httptest.NewServer(n2)
	t.Cleanup(s1.Close)
	t.Cleanup(s2.Close)
	c, err := New(map[string]string{"n1": s1.URL, "n2": s2.URL}, Options{})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func notLeader(leader string, count *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		w.WriteHeader(http.StatusMisdirectedRequest)
		fmt.Fprintf(w, `{"error":{"type":"not_leader","definite":true,"leader":%q,"leader_url":"http://10.9.9.9:1","term":4,"node":"n1"}}`, leader)
	}
}

func TestRedirectFollowsTheLeader(t *testing.T) {
	var asked atomic.Int64
	var body atomic.Value
	c := pair(t, notLeader("n2", &asked), func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body.Store(r.Method + " " + r.URL.EscapedPath() + " " + string(b))
		io.WriteString(w, `{"key":"a/b ?","value":"v","revision":9,"index":10,"term":4,"node":"n2"}`)
	})
	got, err := c.CAS(t.Context(), "n1", "a/b ?", "u", "v")
	require.NoError(t, err)
	require.Equal(t, Result{Value: "v", Found: true, Revision: 9, Index: 10, Term: 4, Node: "n2"}, got)
	require.Equal(t, `POST /kv/a%2Fb%20%3F/cas {"expect":"u","value":"v"}`, body.Load())
	require.Equal(t, int64(1), asked.Load())
}

// Two nodes that take each other for the leader must not send a client round for ever.
func TestRedirectsAreBounded(t *testing.T) {
	var one, two atomic.Int64
	c := pair(t, notLeader("n2", &one), notLeader("n1", &two))
	_, err := c.Write(t.Context(), "n1", "k", "v")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, api.NotLeader, e.Type)
	require.True(t, e.Definite)
	require.Equal(t, int64(4), one.Load()+two.Load())
}

// A redirect that ends in an unknown effect has an unknown effect, and goes no further.
func TestRedirectIntoTheUnknown(t *testing.T) {
	var asked atomic.Int64
	c := pair(t, notLeader("n2", &asked), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	_, err := c.Write(t.Context(), "n1", "k", "v")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, ConnectionLost, e.Type)
	require.False(t, e.Definite)
	require.Equal(t, "n2", e.Node)
	require.Equal(t, int64(1), asked.Load())
}

func TestAbsentKeyIsNoErrorToRead(t *testing.T) {
	url := answering(t, 404, `{"error":{"type":"key_not_found","definite":true,"key":"k","revision":5,"index":8,"term":3,"node":"n1"}}`)
	c := newClient(t, url, Options{})
	got, err := c.Read(t.Context(), "n1", "k")
	require.NoError(t, err)
	require.Equal(t, Result{Revision: 5, Index: 8, Term: 3, Node: "n1"}, got)
	_, err = c.Delete(t.Context(), "n1", "k")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, api.KeyNotFound, e.Type)
}

func TestMismatchCarriesItsEvidence(t *testing.T) {
	url := answering(t, 412, `{"error":{"type":"cas_mismatch","definite":true,"key":"k","value":"other","revision":5,"index":8,"term":3,"node":"n1"}}`)
	_, err := newClient(t, url, Options{}).CAS(t.Context(), "n1", "k", "u", "v")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "other", *e.Value)
	require.Equal(t, []uint64{5, 8, 3}, []uint64{e.Revision, e.Index, e.Term})
}

func TestStatus(t *testing.T) {
	c := newClient(t, answering(t, 200, `{"id":"n1","role":"leader","term":7,"reigns":[{"term":7,"over":false}]}`), Options{})
	s, err := c.Status(t.Context(), "n1")
	require.NoError(t, err)
	require.Equal(t, "leader", s.Role)
	require.Equal(t, []api.Reign{{Term: 7}}, s.Reigns)
	_, err = newClient(t, answering(t, 200, `{}`), Options{}).Status(t.Context(), "n1")
	require.Error(t, err)
}

func TestNewRefusesAddresses(t *testing.T) {
	for _, url := range []string{"", "n1:4100", "https://n1:4100", "http://", "http://n1:4100/api", "http://%zz"} {
		_, err := New(map[string]string{"n1": url}, Options{})
		require.Error(t, err, url)
	}
}

// A proxy of the environment would answer in the nodes' name.
func TestNoProxy(t *testing.T) {
	require.Nil(t, newTransport(Options{}).http.Proxy)
}

func TestErrorsSayEverything(t *testing.T) {
	e := &Error{Type: ConnectionLost, Message: "EOF", Node: "n3"}
	require.True(t, strings.Contains(e.Error(), "effect unknown") && strings.Contains(e.Error(), "n3"), e.Error())
}

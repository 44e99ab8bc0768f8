package server

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"coup/raftnode/allocation"
	"coup/raftnode/api"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
	"coup/raftnode/wire"
)

// routesWithBodies are what a client may ask for, the key or ID left out.
var routesWithBodies = []struct{ method, before, after string }{
	{http.MethodGet, "/kv/", ""},
	{http.MethodPut, "/kv/", ""},
	{http.MethodPost, "/kv/", "/cas"},
	{http.MethodDelete, "/kv/", ""},
	{http.MethodPost, "/sessions", ""},
	{http.MethodDelete, "/sessions/", ""},
	{http.MethodPost, "/raft/members", ""},
	{http.MethodPost, "/raft/transfer", ""},
	{http.MethodGet, "/raft/config", ""},
}

// Would catch a request that crashes a node, takes memory beyond its size, is answered by what no client can read, or
// brings into the log what no node can take out of it again.
func FuzzRequest(f *testing.F) {
	for route, body := range []string{
		"", `{"value":"v","session":4,"sequence":2,"acked":1}`, `{"expect":"u","value":"v"}`, `{"session":4,"sequence":1,"acked":0}`,
		`{"ttl_ms":5000}`, "", `{"changes":[{"op":"add","node":"n4","address":"10.0.0.14"}]}`, `{"to":"n2"}`, "",
	} {
		f.Add(uint8(route), "k", "", body)
	}
	f.Add(uint8(0), "a/b", "consistency=stale", "")
	f.Add(uint8(1), "\xff", "", "{}{}")
	f.Add(uint8(4), "", "", `{"ttl_ms":18446744073709551615}`)
	f.Fuzz(func(t *testing.T, which uint8, name, query, body string) {
		var commands []fsm.Command
		var asked []confchange.Change
		r := &scripted{
			decide: func(c fsm.Command) outcome { commands = append(commands, c); return outcome{result: answered} },
			begin:  func(*scripted) error { return nil },
			change: func(_ *scripted, changes []confchange.Change) outcome {
				asked = changes
				return outcome{result: answered}
			},
		}
		loop := NewLoop(nil)
		s := New(Options{ID: "n1", Loop: loop, Metrics: loop.metrics, RequestTimeout: 20 * time.Millisecond})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- loop.Run(ctx, r, still) }()

		route := routesWithBodies[int(which)%len(routesWithBodies)]
		path := route.before
		if strings.HasSuffix(path, "/") {
			path += url.PathEscape(name) + route.after
		}
		request := httptest.NewRequest(route.method, path, strings.NewReader(body))
		request.URL.RawQuery = query
		recorder := httptest.NewRecorder()
		took := allocation.Of(func() { s.Handler().ServeHTTP(recorder, request) })
		cancel()
		require.NoError(t, <-ended)

		require.LessOrEqual(t, took, uint64(100*(len(name)+len(query)+len(body))+1<<20))
		if code := recorder.Code; code != http.StatusMovedPermanently && code != http.StatusTemporaryRedirect && code != http.StatusPermanentRedirect {
			require.True(t, json.Valid(recorder.Body.Bytes()), "%d: %s", code, recorder.Body)
			if code >= 400 {
				var refusal api.ErrorReply
				require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &refusal))
				require.NotEmpty(t, refusal.Error.Type)
			}
			require.NotEqual(t, http.StatusInternalServerError, code)
		}
		for _, c := range commands {
			if route.before == "/kv/" {
				require.Equal(t, name, c.Key)
				require.True(t, utf8.ValidString(c.Key) && c.Key != "")
			}
			if route.method == http.MethodGet {
				continue // a read is no command
			}
			again, err := fsm.Decode(c.Encode())
			require.NoError(t, err)
			require.Equal(t, c, again)
		}
		if asked == nil {
			return
		}
		next, err := confchange.Enter(raft.Configuration{Voters: []raft.NodeID{"n1", "n2", "n3"}}, asked)
		if err != nil {
			return
		}
		_, err = wire.MarshalBase(raft.Base{Index: 1, Term: 1, Configuration: next})
		require.NoError(t, err, "every node would stop at its next snapshot")
	})
}

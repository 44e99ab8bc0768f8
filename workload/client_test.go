package workload

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"coup/history"
	"coup/raftnode/api"
	"coup/raftnode/client"
)

// Catches an answer that is filed under the wrong outcome, which makes false alarms and hides true ones.
func TestClientClassesAnswers(t *testing.T) {
	read := Op{Process: 4, F: history.Read, Key: "k1", Node: "n1"}
	write := Op{Process: 4, F: history.Write, Key: "k1", Value: history.Int(8), Node: "n1"}
	cas := Op{Process: 4, F: history.CAS, Key: "k1", Value: history.Pair{7, 8}, Node: "n1"}
	answer := func(value string) api.Answer {
		return api.Answer{Key: "k1", Value: value, Revision: 12, Index: 13, Term: 3, Node: "n1"}
	}
	refusal := func(kind api.ErrorType, definite bool) api.ErrorReply {
		return api.ErrorReply{Error: api.Error{Type: kind, Message: "text", Definite: definite, Revision: 12, Term: 3, Node: "n1"}}
	}
	for name, c := range map[string]struct {
		op       Op
		status   int
		reply    any
		outcome  history.Type
		value    history.Value
		revision uint64
		err      string
	}{
		"read":                     {read, 200, answer("7"), history.OK, history.Int(7), 12, ""},
		"read of nothing":          {read, 404, refusal(api.KeyNotFound, true), history.OK, nil, 12, ""},
		"read of rubbish":          {read, 200, answer("seven"), history.OK, unwritten, 12, `read "seven"`},
		"read timed out":           {read, 504, refusal(api.Timeout, false), history.Fail, nil, 12, "timeout: text"},
		"read answered by nobody":  {read, 502, "gateway", history.Fail, nil, 0, "bad_reply"},
		"write":                    {write, 200, answer("8"), history.OK, history.Int(8), 12, ""},
		"write refused":            {write, 421, refusal(api.NotLeader, true), history.Fail, history.Int(8), 12, "not_leader: text"},
		"write superseded":         {write, 409, refusal(api.Superseded, true), history.Fail, history.Int(8), 12, "superseded: text"},
		"write timed out":          {write, 504, refusal(api.Timeout, false), history.Info, history.Int(8), 12, "timeout: text"},
		"write given up in time":   {write, 504, refusal(api.Timeout, true), history.Fail, history.Int(8), 12, "timeout: text"},
		"write answered by nobody": {write, 502, "gateway", history.Info, history.Int(8), 0, "bad_reply"},
		"cas":                      {cas, 200, answer("8"), history.OK, history.Pair{7, 8}, 12, ""},
		"cas of another value":     {cas, 412, refusal(api.CASMismatch, true), history.Fail, history.Pair{7, 8}, 12, history.ErrorMismatch + ": text"},
		"cas of nothing":           {cas, 404, refusal(api.KeyNotFound, true), history.Fail, history.Pair{7, 8}, 12, history.ErrorMismatch + ": text"},
		"cas timed out":            {cas, 504, refusal(api.Timeout, false), history.Info, history.Pair{7, 8}, 12, "timeout: text"},
	} {
		t.Run(name, func(t *testing.T) {
			node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_ = json.NewEncoder(w).Encode(c.reply)
			}))
			defer node.Close()
			nodes, err := client.New(map[string]string{"n1": node.URL}, client.Options{})
			require.NoError(t, err)
			defer nodes.Close()
			e := NewClient(nodes).Do(t.Context(), c.op)
			require.Equal(t, c.outcome, e.Type, e.Error)
			require.Equal(t, c.value, e.Value)
			require.Equal(t, c.revision, e.Revision)
			require.Equal(t, "n1", e.Node)
			require.Equal(t, 4, e.Process)
			if c.err == "" {
				require.Empty(t, e.Error)
			}
			require.Contains(t, e.Error, c.err)
			_, err = history.Ops([]history.Event{c.op.Invocation(0), func() history.Event { e.Index = 1; return e }()})
			require.NoError(t, err, "the completion fits its invocation")
		})
	}
}

// Catches a client that takes silence for failure.
func TestClientClassesSilence(t *testing.T) {
	node := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer node.Close()
	nodes, err := client.New(map[string]string{"n1": node.URL, "n2": "http://127.0.0.1:1"}, client.Options{})
	require.NoError(t, err)
	defer nodes.Close()
	do := func(node string, f history.F, value history.Value) history.Type {
		return NewClient(nodes).Do(t.Context(), Op{F: f, Key: "k1", Value: value, Node: node}).Type
	}
	require.Equal(t, history.Info, do("n1", history.Write, history.Int(1)), "the connection broke after it was sent")
	require.Equal(t, history.Fail, do("n1", history.Read, nil))
	require.Equal(t, history.Fail, do("n2", history.Write, history.Int(1)), "nothing was sent")
}

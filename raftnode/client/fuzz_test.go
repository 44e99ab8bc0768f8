package client

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/api"
)

// Would catch an answer that crashes a client, and one that makes it take for definite what nobody said was.
func FuzzAnswer(f *testing.F) {
	f.Add(uint16(200), []byte(`{"key":"k","value":"v","revision":5,"index":8,"term":3,"node":"n1"}`))
	f.Add(uint16(503), []byte(`{"error":{"type":"not_leader","message":"","definite":true,"leader":"n2","leader_url":"http://n2:4100","node":"n1"}}`))
	f.Add(uint16(409), []byte(`{"error":{"type":"cas_mismatch","message":"","definite":true,"value":"w","revision":4}}`))
	f.Add(uint16(504), []byte(`{"error":{"type":"timeout","message":"","definite":false}}`))
	f.Add(uint16(500), []byte(`no JSON`))
	var status int
	var content []byte
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write(content)
	}))
	f.Cleanup(node.Close)
	c, err := New(map[string]string{"n1": node.URL}, Options{MaxRedirects: -1})
	require.NoError(f, err)
	f.Cleanup(c.Close)
	f.Fuzz(func(t *testing.T, code uint16, body []byte) {
		status, content = 200+int(code)%400, body
		if status == http.StatusNoContent || status == http.StatusNotModified {
			content = nil // they have none
		}
		_, err := c.Write(t.Context(), "n1", "k", "v")
		var reply api.ErrorReply
		unreadable := json.Unmarshal(body, &reply)
		if err == nil {
			require.Equal(t, http.StatusOK, status)
			return
		}
		var e *Error
		require.ErrorAs(t, err, &e)
		if e.Definite {
			require.NoError(t, unreadable)
			require.True(t, reply.Error.Definite, "nobody said so")
		}
		_, err = c.Status(t.Context(), "n1")
		if err != nil {
			require.ErrorAs(t, err, &e)
			require.True(t, e.Definite, "a question changes nothing")
		}
	})
}

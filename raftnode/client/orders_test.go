package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/api"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
)

// Every refusal of an order, as a node tells it, is classed: what is definite stays so, what may still come about is
// not taken for a failure, and nothing that it carries is lost.
func TestOrdersAreClassed(t *testing.T) {
	orders := map[string]func(context.Context, *Client) error{
		"change": func(ctx context.Context, c *Client) error {
			_, err := c.Change(ctx, "n1", confchange.Change{Op: confchange.Add, Node: "n4"})
			return err
		},
		"transfer":  func(ctx context.Context, c *Client) error { _, err := c.Transfer(ctx, "n1", "n2"); return err },
		"step down": func(ctx context.Context, c *Client) error { _, err := c.StepDown(ctx, "n1"); return err },
		"snapshot":  func(ctx context.Context, c *Client) error { _, err := c.TakeSnapshot(ctx, "n1"); return err },
	}
	inFlight := raft.Configuration{Voters: []raft.NodeID{"n1", "n2"}, Outgoing: []raft.NodeID{"n1"}}
	for _, c := range []struct {
		status int
		sent   api.Error
	}{
		{503, api.Error{Type: api.NotReady, Definite: true}},
		{409, api.Error{Type: api.ChangeInFlight, Definite: true, Index: 7, Configuration: &inFlight}},
		{409, api.Error{Type: api.Lagging, Definite: true, Lag: &api.Lag{Node: "n4", Match: 2, Last: 900}}},
		{422, api.Error{Type: api.ChangeRefused, Definite: true, Change: &confchange.Change{Op: "add", Node: "n1"}}},
		{503, api.Error{Type: api.Transferring, Definite: true}},
		{409, api.Error{Type: api.TransferRefused, Definite: true}},
		{504, api.Error{Type: api.TransferFailed}},
		{409, api.Error{Type: api.SnapshotCurrent, Definite: true}},
		{504, api.Error{Type: api.Timeout}},
		{503, api.Error{Type: api.Unavailable}},
	} {
		body, err := json.Marshal(api.ErrorReply{Error: c.sent})
		require.NoError(t, err)
		client := newClient(t, answering(t, c.status, string(body)), Options{})
		for name, order := range orders {
			t.Run(string(c.sent.Type)+" to "+name, func(t *testing.T) {
				var got *Error
				require.ErrorAs(t, order(t.Context(), client), &got)
				require.Equal(t, c.sent.Type, got.Type)
				require.Equal(t, c.sent.Definite, got.Definite)
				require.Equal(t, c.sent.Configuration, got.Configuration)
				require.Equal(t, c.sent.Lag, got.Lag)
				require.Equal(t, c.sent.Change, got.Change)
			})
		}
	}
	for name, body := range map[string]string{"nonsense": "<html>", "nobody's": "{}"} {
		for what, order := range orders {
			var got *Error
			require.ErrorAs(t, order(t.Context(), newClient(t, answering(t, 200, body), Options{})), &got, name)
			require.Equal(t, BadReply, got.Type, what)
			require.False(t, got.Definite, what)
		}
	}
}

// What only a leader can do is asked of it, also of one that the client was never told of, where that is allowed.
func TestOrdersFollowTheLeaderAnywhere(t *testing.T) {
	var asked []string
	leader := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.String()+" "+string(b))
		io.WriteString(w, `{"node":"n9","term":4,"index":12,"configuration":{"voters":["n9"]},"leader":"n2"}`)
	}))
	defer leader.Close()
	refusal := `{"error":{"type":"not_leader","definite":true,"leader":"n9","leader_url":"` + leader.URL + `"}}`
	ctx := t.Context()

	wary := newClient(t, answering(t, 421, refusal), Options{})
	_, err := wary.Change(ctx, "n1")
	var got *Error
	require.ErrorAs(t, err, &got)
	require.Equal(t, "n9", got.Leader)
	require.Equal(t, leader.URL, got.LeaderURL)
	require.Empty(t, asked)

	follows := newClient(t, answering(t, 421, refusal), Options{FollowURLs: true})
	changed, err := follows.Change(ctx, "n1", confchange.Change{Op: confchange.Add, Node: "n4", Address: "h:1"}, confchange.Change{Op: confchange.Remove, Node: "n1"})
	require.NoError(t, err)
	require.Equal(t, api.ChangeAnswer{Configuration: raft.Configuration{Voters: []raft.NodeID{"n9"}}, Index: 12, Term: 4, Node: "n9"}, changed)
	transferred, err := follows.Transfer(ctx, "n1", "n2")
	require.NoError(t, err)
	require.Equal(t, api.LeadershipAnswer{Leader: "n2", Term: 4, Node: "n9"}, transferred)
	_, err = follows.Members(ctx, "n1")
	require.NoError(t, err)
	require.Equal(t, []string{
		`POST /raft/members {"changes":[{"op":"add","node":"n4","address":"h:1"},{"op":"remove","node":"n1"}]}`,
		`POST /raft/transfer {"to":"n2"}`,
		`GET /raft/config?consistency=linearizable `,
	}, asked)

	// To step down and to take a snapshot is asked of one node, and of no other.
	_, err = follows.StepDown(ctx, "n1")
	require.ErrorAs(t, err, &got)
	require.Equal(t, api.NotLeader, got.Type)
	require.Len(t, asked, 3)
}

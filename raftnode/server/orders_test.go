package server

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/api"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
	"coup/raftnode/replica"
)

func leading(term uint64) replica.Status {
	return replica.Status{Status: raft.Status{ID: "n1", Role: raft.Leader, Term: term, Leader: "n1", Applied: 9}}
}

// What an operator asks for reaches the replica whole, and the answer waits for the end.
func TestOrdersReachTheReplica(t *testing.T) {
	follows := replica.Status{Status: raft.Status{ID: "n1", Term: 4, Leader: "n2"}}
	abandoned := replica.Status{Status: raft.Status{ID: "n1", Term: 3}}
	taken := leading(3)
	taken.Snapshot, taken.First = 9, 6
	transferring := leading(3)
	transferring.Transferee = "n2"
	steps := func(all ...replica.Status) func(int) replica.Status {
		return func(asked int) replica.Status { return all[min(asked, len(all))-1] }
	}
	for _, c := range []struct {
		name, path, body string
		statuses         func(int) replica.Status
		ordered, want    string
	}{
		{"transfer", "/raft/transfer", `{"to":"n2"}`, steps(leading(3), transferring, transferring, abandoned, follows),
			"transfer n2", `{"leader":"n2","term":4,"node":"n1"}`},
		{"step down", "/raft/step-down", "", steps(leading(3), abandoned), "step down", `{"term":3,"node":"n1"}`},
		{"snapshot", "/raft/snapshot", "", steps(leading(3), leading(3), taken), "snapshot", `{"index":9,"first":6,"term":3,"node":"n1"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &scripted{statuses: c.statuses, begin: func(*scripted) error { return nil }}
			_, do := serving(t, r, nil)
			status, body := do("POST", c.path, c.body)
			require.Equal(t, 200, status, body)
			require.Equal(t, c.want+"\n", body)
			require.Equal(t, c.ordered, r.ordered)
		})
	}
	t.Run("changes", func(t *testing.T) {
		r := &scripted{state: leading(3), change: func(s *scripted, _ []confchange.Change) outcome {
			s.state.Configuration.Voters = []raft.NodeID{"n1", "n4"}
			return outcome{result: answered}
		}}
		_, do := serving(t, r, nil)
		status, body := do("POST", "/raft/members", `{"changes":[{"op":"add","node":"n4","address":"h"},{"op":"remove","node":"n2"}]}`)
		require.Equal(t, 200, status, body)
		require.Equal(t, `{"configuration":{"voters":["n1","n4"]},"index":8,"term":3,"node":"n1"}`+"\n", body)
		require.Equal(t, "change [add n4 remove n2]", r.ordered)
	})
}

// Each refusal of a change has a type of its own and carries what an operator needs to go on.
func TestRefusedChangesAreTold(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		want   string
	}{
		{&raft.NotLeaderError{Leader: "n2", Term: 4}, 421, `"type":"not_leader","message":"not the leader; the leader of term 4 is n2","definite":true,"leader":"n2","leader_url":"http://n2:4100","term":4,"node":"n1"`},
		{raft.ErrNotReady, 503, `"type":"not_ready","message":"` + raft.ErrNotReady.Error() + `","definite":true,"node":"n1"`},
		{raft.ErrTransferring, 503, `"type":"transferring","message":"` + raft.ErrTransferring.Error() + `","definite":true,"node":"n1"`},
		{&raft.ChangeInFlightError{Index: 7, Configuration: raft.Configuration{Voters: []raft.NodeID{"n1"}, Outgoing: []raft.NodeID{"n2"}}}, 409,
			`"type":"change_in_flight","message":"raft: a change of members is in flight: the configuration of entry 7, voters [n1], outgoing [n2]","definite":true,"index":7,"node":"n1","configuration":{"voters":["n1"],"outgoing":["n2"]}`},
		{&raft.LaggingError{Node: "n4", Match: 3, Last: 900}, 409,
			`"type":"lagging","message":"raft: n4 lags by 897 entries: it holds 3 of 900","definite":true,"node":"n1","lag":{"node":"n4","match":3,"last":900}`},
		{&confchange.RefusedError{Change: confchange.Change{Op: "add", Node: "n1"}, Reason: "it is a member already"}, 422,
			`"type":"change_refused","message":"confchange: add n1 refused: it is a member already","definite":true,"node":"n1","change":{"op":"add","node":"n1"}`},
		{&confchange.RefusedError{Reason: "no voter would be left"}, 422,
			`"type":"change_refused","message":"confchange: refused: no voter would be left","definite":true,"node":"n1"`},
		{replica.ErrSuperseded, 409, `"type":"superseded","message":"` + replica.ErrSuperseded.Error() + `","definite":true,"node":"n1"`},
		{replica.ErrFateUnknown, 503, `"type":"unavailable","message":"` + replica.ErrFateUnknown.Error() + `","definite":false,"node":"n1"`},
	} {
		t.Run(c.want[:30], func(t *testing.T) {
			_, do := serving(t, &scripted{change: func(*scripted, []confchange.Change) outcome { return outcome{err: c.err} }}, nil)
			status, body := do("POST", "/raft/members", `{"changes":[]}`)
			require.Equal(t, c.status, status)
			require.Equal(t, `{"error":{`+c.want+"}}\n", body)
		})
	}
}

// The same for what is asked of leadership and of snapshots.
func TestRefusedOrdersAreTold(t *testing.T) {
	for _, c := range []struct {
		path, body string
		err        error
		status     int
		want       api.ErrorType
	}{
		{"/raft/transfer", `{"to":"n9"}`, &raft.TransferRefusedError{To: "n9", Reason: "it is no voter"}, 409, api.TransferRefused},
		{"/raft/transfer", `{"to":"n2"}`, &raft.NotLeaderError{}, 421, api.NotLeader},
		{"/raft/transfer", `{"to":"n2"}`, raft.ErrTransferring, 503, api.Transferring},
		{"/raft/step-down", "", &raft.NotLeaderError{}, 421, api.NotLeader},
		{"/raft/snapshot", "", replica.ErrSnapshotting, 409, api.SnapshotCurrent},
		{"/raft/snapshot", "", replica.ErrMembersUnknown, 503, api.NotReady},
	} {
		t.Run(c.path+" "+string(c.want), func(t *testing.T) {
			_, do := serving(t, &scripted{state: leading(3), begin: func(*scripted) error { return c.err }}, nil)
			status, body := do("POST", c.path, c.body)
			require.Equal(t, c.status, status)
			var reply api.ErrorReply
			require.NoError(t, json.Unmarshal([]byte(body), &reply))
			require.Equal(t, c.want, reply.Error.Type)
			require.True(t, reply.Error.Definite)
		})
	}
}

// A transfer that was given up, and what is not over in time, may still come about.
func TestWhatIsNotOverIsNotDefinite(t *testing.T) {
	stays := &scripted{state: leading(3), begin: func(*scripted) error { return nil }}
	_, do := serving(t, stays, nil)
	status, body := do("POST", "/raft/transfer", `{"to":"n2"}`)
	require.Equal(t, 504, status)
	require.Contains(t, body, `"type":"transfer_failed"`)
	require.Contains(t, body, `"definite":false`)

	short := func(o *Options) { o.RequestTimeout = 30 * time.Millisecond }
	_, do = serving(t, &scripted{state: leading(3), begin: func(*scripted) error { return nil }}, short)
	for _, path := range []string{"/raft/snapshot", "/raft/members"} {
		status, body = do("POST", path, map[bool]string{true: `{"changes":[]}`}[path == "/raft/members"])
		require.Equal(t, 504, status)
		require.Contains(t, body, `"type":"timeout"`)
		require.Contains(t, body, `"definite":false`)
	}
}

func TestMalformedOrdersAreRefused(t *testing.T) {
	many := `{"changes":[` + strings.TrimSuffix(strings.Repeat(`{"op":"add","node":"n"},`, maxChanges+1), ",") + `]}`
	for _, c := range []struct{ path, body string }{
		{"/raft/members", ""},
		{"/raft/members", `{"changes":[{"op":"add","node":"n","weight":1}]}`},
		{"/raft/members", many},
		{"/raft/members", `{"changes":[{"op":"add","node":"` + strings.Repeat("n", 256) + `"}]}`},
		{"/raft/members", `{"changes":[{"op":"add","node":"n","address":"nowhere"}]}`},
		{"/raft/transfer", "{}"},
		{"/raft/transfer", ""},
	} {
		r := &scripted{}
		_, do := serving(t, r, func(o *Options) {
			o.CheckAddress = func(address string) error {
				require.Equal(t, "nowhere", address)
				return errors.New("there is no such place")
			}
		})
		status, body := do("POST", c.path, c.body)
		require.Equal(t, 400, status, body)
		require.Contains(t, body, `"definite":true`)
		require.Empty(t, r.ordered)
	}
}

// A configuration that is read linearizably has been confirmed by whoever leads; else it is this node's own.
func TestConfigurationCanBeConfirmed(t *testing.T) {
	r := &scripted{state: leading(3)}
	r.state.ConfigurationIndex, r.state.Commit = 8, 7
	_, do := serving(t, r, nil)
	_, body := do("GET", "/raft/config", "")
	require.Contains(t, body, `"committed":false`)
	require.Zero(t, r.waiting())
	r.locked(func() { r.decide = func(fsm.Command) outcome { return outcome{result: answered} } })
	status, body := do("GET", "/raft/config?consistency=linearizable", "")
	require.Equal(t, 200, status, body)
	require.Equal(t, 1, r.waiting())
	r.locked(func() {
		r.decide = func(fsm.Command) outcome { return outcome{err: &raft.NotLeaderError{Leader: "n2"}} }
	})
	status, body = do("GET", "/raft/config?consistency=linearizable", "")
	require.Equal(t, 421, status)
	require.Contains(t, body, `"leader_url":"http://n2:4100"`)
	status, _ = do("GET", "/raft/config?consistency=lease", "")
	require.Equal(t, 400, status)
}

// A node that does not take part yet says why at every door, and answers for nothing.
func TestNodeThatHasNotBegunSaysWhy(t *testing.T) {
	begun, phase := false, api.Phase("")
	r := &scripted{state: leading(3)}
	_, do := serving(t, r, func(o *Options) {
		o.Standing = func(s replica.Status) (api.Standing, bool) {
			if begun {
				return api.Standing{Phase: api.PhaseMember, Disagreements: []string{"of " + string(s.ID)}}, true
			}
			return api.Standing{Phase: phase, Waiting: "n2 is silent"}, false
		}
	})
	status, body := do("GET", "/raft/status", "")
	require.Equal(t, 503, status, "whoever has not read its term does not say that it is 0")
	require.NotContains(t, body, `"term"`)
	phase = api.PhaseBlank
	status, body = do("GET", "/raft/status", "")
	require.Equal(t, 200, status)
	require.Contains(t, body, `"phase":"blank","waiting":"n2 is silent"`)
	for _, c := range []struct{ method, path string }{{"PUT", "/kv/k"}, {"GET", "/healthz"}, {"POST", "/raft/members"}, {"GET", "/nowhere"}} {
		status, body = do(c.method, c.path, `{"value":"v"}`)
		require.Equal(t, 503, status)
		require.Contains(t, body, `"type":"not_ready","message":"the node does not take part yet: n2 is silent","definite":true`)
	}
	require.Zero(t, r.waiting())
	begun = true
	_, body = do("GET", "/raft/status", "")
	require.Contains(t, body, `"phase":"member","disagreements":["of n1"]`)
}

// Only what is known to a client can be classed by it.
func TestOrderErrorsAreTyped(t *testing.T) {
	_, _, known := refusedOrder(errors.New("odd"))
	require.False(t, known)
}

// Would catch a node that stops before another leads, one that never stops because nobody can, and one that does not say
// that it failed.
func TestHandOverEndsWhenAnotherLeads(t *testing.T) {
	transferring := leading(3)
	transferring.Transferee = "n2"
	nobody := replica.Status{Status: raft.Status{ID: "n1", Term: 3}}
	follows := replica.Status{Status: raft.Status{ID: "n1", Term: 4, Leader: "n2"}}
	for _, c := range []struct {
		name  string
		begin error
		steps []replica.Status
		want  error
		asked int // how often it looks, at least
	}{
		{"another leads", nil, []replica.Status{leading(3), transferring, transferring, nobody, follows}, nil, 5},
		{"it was being handed over already", raft.ErrTransferring, []replica.Status{transferring, transferring, follows}, nil, 3},
		{"it is given up", nil, []replica.Status{leading(3), transferring, leading(3)}, errTransferFailed, 3},
		{"it does not lead", &raft.NotLeaderError{}, []replica.Status{follows}, nil, 1},
		{"nobody could", &raft.TransferRefusedError{}, []replica.Status{leading(3)}, nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &scripted{begin: func(*scripted) error { return c.begin }}
			r.statuses = func(asked int) replica.Status { return c.steps[min(asked, len(c.steps))-1] }
			server, _ := serving(t, r, nil)
			require.ErrorIs(t, server.HandOver(t.Context()), c.want)
			require.Equal(t, "hand over", r.ordered)
			require.GreaterOrEqual(t, r.asked, c.asked)
		})
	}
}

package server

import (
	"errors"
	"net/http"

	"coup/raftnode/api"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
	"coup/raftnode/replica"
)

// Outcome is what the client of a request about a key, empty for one about a session, is told, given what the replica of that node
// came to: an answer, or else an error, with the HTTP status of either. read says that the request
// changes nothing, so that whatever became of it is definite. It does no I/O: a simulated node answers
// with it too.
func Outcome(node raft.NodeID, key string, read bool, r replica.Result, err error) (status int, answer *api.Answer, refusal *api.Error) {
	if err == nil && r.Code == fsm.OK {
		return http.StatusOK, &api.Answer{
			Key: key, Value: r.Value, Revision: r.Revision, Index: r.Index, Term: r.Term, Node: r.Node,
			Repeated: r.Repeated,
		}, nil
	}
	var e api.Error
	if err == nil {
		status, e = refusedByState(r)
	} else {
		status, e = failed(err, read)
	}
	e.Key = key
	if e.Node == "" {
		e.Node = node
	}
	return status, nil, &e
}

// Unanswered is the error of a request that the node gave up: because it is stopping, or else because
// no answer came in time. begun says that the request had reached the replica, so that it may still
// take effect.
func Unanswered(stopping, begun bool) error {
	return &unansweredError{stopping: stopping, definite: !begun}
}

// refusedByState is what a command or a query that the state machine refused is told.
func refusedByState(r replica.Result) (status int, e api.Error) {
	e = api.Error{Definite: true, Revision: r.Revision, Index: r.Index, Term: r.Term, Node: r.Node, Repeated: r.Repeated}
	switch r.Code {
	case fsm.Mismatch:
		e.Type, e.Message, e.Value = api.CASMismatch, "the key holds another value", &r.Value
		return http.StatusPreconditionFailed, e
	case fsm.SessionExpired:
		e.Type, e.Message = api.SessionExpired, "there is no such session, or no longer"
		return http.StatusGone, e
	case fsm.SequenceForgotten:
		e.Type, e.Message = api.SequenceForgotten, "the answer to this sequence is not kept any longer"
		return http.StatusConflict, e
	}
	e.Type, e.Message = api.KeyNotFound, "there is no such key"
	return http.StatusNotFound, e
}

// refusedOrder is what an operator's request is told that the replica refused; known is false of an error that is
// not peculiar to such requests.
func refusedOrder(err error) (status int, e api.Error, known bool) {
	e = api.Error{Message: err.Error(), Definite: true}
	var inFlight *raft.ChangeInFlightError
	var lagging *raft.LaggingError
	var change *confchange.RefusedError
	var transfer *raft.TransferRefusedError
	switch {
	case errors.Is(err, raft.ErrNotReady), errors.Is(err, replica.ErrMembersUnknown):
		e.Type = api.NotReady
		return http.StatusServiceUnavailable, e, true
	case errors.As(err, &inFlight):
		e.Type, e.Index, e.Configuration = api.ChangeInFlight, inFlight.Index, &inFlight.Configuration
		return http.StatusConflict, e, true
	case errors.As(err, &lagging):
		e.Type, e.Lag = api.Lagging, &api.Lag{Node: lagging.Node, Match: lagging.Match, Last: lagging.Last}
		return http.StatusConflict, e, true
	case errors.As(err, &change):
		e.Type = api.ChangeRefused
		if change.Change != (confchange.Change{}) {
			e.Change = &change.Change
		}
		return http.StatusUnprocessableEntity, e, true
	case errors.As(err, &transfer):
		e.Type = api.TransferRefused
		return http.StatusConflict, e, true
	case errors.Is(err, errTransferFailed):
		e.Type, e.Definite = api.TransferFailed, false
		return http.StatusGatewayTimeout, e, true
	case errors.Is(err, replica.ErrSnapshotting):
		e.Type = api.SnapshotCurrent
		return http.StatusConflict, e, true
	}
	return 0, api.Error{}, false
}

// failed names an error of the loop or of the replica. What only reads is always definite.
func failed(err error, read bool) (status int, e api.Error) {
	e = api.Error{Message: err.Error(), Definite: true}
	var notLeader *raft.NotLeaderError
	var unanswered *unansweredError
	switch {
	case errors.As(err, &notLeader):
		e.Type, e.Leader, e.Term = api.NotLeader, notLeader.Leader, notLeader.Term
		return http.StatusMisdirectedRequest, e
	case errors.Is(err, raft.ErrTransferring):
		e.Type = api.Transferring
		return http.StatusServiceUnavailable, e
	case errors.Is(err, replica.ErrSuperseded):
		e.Type = api.Superseded
		return http.StatusConflict, e
	case errors.Is(err, raft.ErrOverloaded), errors.Is(err, errQueueFull):
		e.Type = api.Overloaded
		return http.StatusServiceUnavailable, e
	case errors.As(err, &unanswered):
		e.Definite = unanswered.definite || read
		e.Type, status = api.Timeout, http.StatusGatewayTimeout
		if unanswered.stopping {
			e.Type, status = api.Unavailable, http.StatusServiceUnavailable
		}
		return status, e
	}
	e.Type, e.Definite = api.Unavailable, read
	return http.StatusServiceUnavailable, e
}

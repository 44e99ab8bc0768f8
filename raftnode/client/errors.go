package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"

	"coup/raftnode/api"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
)

// The error types that the client itself gives, beside those of package api.
const (
	// Unreachable: nothing was sent. Definite.
	Unreachable api.ErrorType = "unreachable"
	// ConnectionLost: something may have been sent, and no whole answer came back. Not definite for
	// what changes something.
	ConnectionLost api.ErrorType = "connection_lost"
	// BadReply: an answer came that is not a node's. Not definite for what changes something.
	BadReply api.ErrorType = "bad_reply"
	// UnknownNode: the client was not told of such a node. Definite.
	UnknownNode api.ErrorType = "unknown_node"
)

// Error is how an operation failed. Every error that this package's operations return is one.
type Error struct {
	Type    api.ErrorType
	Message string
	// Definite promises that nothing was changed and never will be. What only reads is always
	// definite. Otherwise the operation may have taken effect, or may yet.
	Definite bool
	Node     string // the node that was asked last

	Status int    // HTTP status; 0 when no answer came
	Leader string // api.NotLeader: who leads, if known
	// LeaderURL is where the node that was asked thinks the leader is; empty when it does not know.
	LeaderURL string
	Value     *string
	Revision  uint64 // with Value, Index and Term: evidence that came with a refusal
	Index     uint64
	Term      uint64
	// Repeated: this refusal was the answer to an earlier attempt.
	Repeated bool
	// Sequence is the number of a session's command, with which Session.Retry sends it again as long as
	// its effect is unknown; 0 outside sessions.
	Sequence uint64
	// What a refused change of members comes with; see api.Error.
	Configuration *raft.Configuration
	Lag           *api.Lag
	Change        *confchange.Change
	Err           error // the cause, when it is not the node's own answer
}

func (e *Error) Error() string {
	effect := "definite"
	if !e.Definite {
		effect = "effect unknown"
	}
	return fmt.Sprintf("%s: %s (node %s, %s)", e.Type, e.Message, e.Node, effect)
}

func (e *Error) Unwrap() error { return e.Err }

// NotSent marks the failure of a request of which nothing was sent, or ever will be.
func NotSent(err error) error { return &unsentError{err} }

// Failed names what went wrong below HTTP, so that no whole answer came; effect says that the request
// would change something.
func Failed(node string, effect bool, err error) *Error {
	e := &Error{Type: ConnectionLost, Message: err.Error(), Definite: !effect, Node: node, Err: err}
	var unsent *unsentError
	var timeout net.Error
	switch {
	case errors.As(err, &unsent):
		e.Type, e.Definite = Unreachable, true
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Type = api.Timeout
	}
	return e
}

// known are the types whose definiteness a node may be believed to tell.
var known = map[api.ErrorType]bool{
	api.NotLeader: true, api.KeyNotFound: true, api.CASMismatch: true, api.Superseded: true,
	api.BadRequest: true, api.TooLarge: true, api.NoRoute: true, api.Overloaded: true,
	api.Timeout: true, api.Unavailable: true, api.SessionExpired: true, api.SequenceForgotten: true,
	api.NotReady: true, api.ChangeInFlight: true, api.Lagging: true, api.ChangeRefused: true, api.Transferring: true,
	api.TransferRefused: true, api.TransferFailed: true, api.SnapshotCurrent: true,
}

// refusal reads an answer that is not a success. What a node did not say is not definite.
func refusal(node string, effect bool, status int, content []byte) *Error {
	var reply api.ErrorReply
	if err := json.Unmarshal(content, &reply); err != nil || !known[reply.Error.Type] {
		return &Error{
			Type: BadReply, Message: fmt.Sprintf("HTTP status %d: %.80q", status, strings.TrimSpace(string(content))),
			Definite: !effect, Node: node, Status: status, Err: err,
		}
	}
	return Refused(node, effect, status, reply.Error)
}

// Refused is what a node's refusal means to its client. effect says that the request would change
// something: what only reads is definite whatever the node says.
func Refused(node string, effect bool, status int, r api.Error) *Error {
	return &Error{
		Type: r.Type, Message: r.Message, Definite: r.Definite || !effect, Node: node, Status: status,
		Leader: string(r.Leader), LeaderURL: r.LeaderURL,
		Value: r.Value, Revision: r.Revision, Index: r.Index, Term: r.Term, Repeated: r.Repeated,
		Configuration: r.Configuration, Lag: r.Lag, Change: r.Change,
	}
}

// Elsewhere is the node to ask instead, after this refusal by the node that was asked last: the one
// said to lead. It is empty unless the refusal proves that nothing was done.
func (e *Error) Elsewhere() string {
	if e.Type != api.NotLeader || !e.Definite || e.Leader == e.Node {
		return ""
	}
	return e.Leader
}

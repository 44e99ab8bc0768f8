// Package api is the JSON that a node's HTTP API speaks, shared by server and client.
//
//	GET    /kv/{key}                     Answer   linearizable
//	GET    /kv/{key}?consistency=lease   Answer   linearizable while clocks keep their bound; by the leader's lease
//	GET    /kv/{key}?consistency=follower Answer  linearizable, by any member
//	GET    /kv/{key}?consistency=stale   Answer   this node's own state, however old; index says how old
//	PUT    /kv/{key}       WriteRequest  Answer
//	POST   /kv/{key}/cas   CASRequest    Answer
//	DELETE /kv/{key}       DeleteRequest Answer   the body may be missing
//	POST   /sessions       SessionRequest SessionAnswer
//	DELETE /sessions/{id}                SessionAnswer
//	GET    /raft/status                  Status
//	GET    /raft/config                  raft.Configuration
//	GET    /healthz                      Health
//	GET    /metrics                      Prometheus' text format
//
// Whatever fails is answered by an ErrorReply.
package api

import "coup/raftnode/raft"

// WriteRequest is the body of PUT /kv/{key}. Value is required and may be empty.
type WriteRequest struct {
	Value *string `json:"value"`
	InSession
}

// CASRequest is the body of POST /kv/{key}/cas. Both fields are required and may be empty.
type CASRequest struct {
	Expect *string `json:"expect"`
	Value  *string `json:"value"`
	InSession
}

// DeleteRequest is the body of DELETE /kv/{key}.
type DeleteRequest struct {
	InSession
}

// InSession makes a request part of a session, in which it takes effect at most once however often it is
// sent: all three fields, or none. A repetition is answered as the first was, and says so.
type InSession struct {
	Session *uint64 `json:"session,omitempty"` // from POST /sessions
	// Sequence numbers the session's requests from 1; they may come in any order. At most 256 answers
	// above Acked are kept, with values of 1 MiB in all.
	Sequence *uint64 `json:"sequence,omitempty"`
	// Acked is below Sequence: the client has the answers of all requests up to it, and will send none of
	// them again.
	Acked *uint64 `json:"acked,omitempty"`
}

// SessionRequest is the body of POST /sessions.
type SessionRequest struct {
	// TTL, at least 1, is in milliseconds of the log's time, which passes only while there is a leader:
	// the session ends when nothing was sent in it for longer. It may end before that, when more than
	// 4096 are open.
	TTL *uint64 `json:"ttl_ms"`
}

// SessionAnswer is what a request about a session that succeeded is told.
type SessionAnswer struct {
	Session uint64      `json:"session"`
	Index   uint64      `json:"index"` // as in Answer
	Term    uint64      `json:"term"`
	Node    raft.NodeID `json:"node"`
}

// Answer is what a request that succeeded is told.
type Answer struct {
	Key      string      `json:"key"`
	Value    string      `json:"value"`    // the key's value afterwards; empty for a deleted key
	Revision uint64      `json:"revision"` // index of the entry that made Value, or deleted the key
	Index    uint64      `json:"index"`    // the node's applied index when it answered
	Term     uint64      `json:"term"`     // the node's term then
	Node     raft.NodeID `json:"node"`     // who answered
	// Repeated: the request had taken effect before, and this is what it was answered then.
	Repeated bool `json:"repeated,omitempty"`
}

// ErrorReply is the body of every answer that is not a success.
type ErrorReply struct {
	Error Error `json:"error"`
}

// Error says why a request did not succeed. A refusal by the state machine (KeyNotFound,
// CASMismatch) went through the log or was a linearizable read, and carries all that an Answer does.
type Error struct {
	Type    ErrorType `json:"type"`
	Message string    `json:"message"`
	// Definite promises that the request changed nothing and never will. A request that ended with
	// an error that is not definite may have taken effect, or may yet.
	Definite bool `json:"definite"`

	Leader    raft.NodeID `json:"leader,omitempty"`     // not_leader: who leads, if known
	LeaderURL string      `json:"leader_url,omitempty"` // where the answering node thinks it is
	Key       string      `json:"key,omitempty"`
	Value     *string     `json:"value,omitempty"` // cas_mismatch: what the key holds
	Revision  uint64      `json:"revision,omitempty"`
	Index     uint64      `json:"index,omitempty"`
	Term      uint64      `json:"term,omitempty"`
	Node      raft.NodeID `json:"node,omitempty"` // who answered
	// Repeated: key_not_found or cas_mismatch was the answer to an earlier attempt.
	Repeated bool `json:"repeated,omitempty"`
}

// ErrorType names a reason. The values are part of the API.
type ErrorType string

// The error types, with their HTTP status and whether they are definite.
const (
	NotLeader   ErrorType = "not_leader"    // 421, definite: only the leader can
	KeyNotFound ErrorType = "key_not_found" // 404, definite: the key is absent
	CASMismatch ErrorType = "cas_mismatch"  // 412, definite: the key holds something else
	Superseded  ErrorType = "superseded"    // 409, definite: another leader's entry took its place
	BadRequest  ErrorType = "bad_request"   // 400, definite: malformed key, body or parameter
	TooLarge    ErrorType = "too_large"     // 413, definite: the body or the key is too large
	NoRoute     ErrorType = "no_route"      // 404, definite: no such path, or not by this method
	Overloaded  ErrorType = "overloaded"    // 503, definite: the queue is full
	// SessionExpired: 410, definite for this attempt: there is no such session, or no longer. An earlier
	// attempt with the same sequence may have taken effect; no later one will.
	SessionExpired ErrorType = "session_expired"
	// SequenceForgotten: 409, definite for this attempt: the answer to this sequence was acknowledged, or
	// too many came after it. An earlier attempt may have taken effect; no later one will.
	SequenceForgotten ErrorType = "sequence_forgotten"
	// Timeout: 504. Definite for a read, and for a write that was given up before it was proposed.
	Timeout ErrorType = "timeout"
	// Unavailable: 503, the node is stopping. Definite under the same conditions as Timeout.
	Unavailable ErrorType = "unavailable"
)

// Status is what a node says of itself.
type Status struct {
	ID            raft.NodeID                       `json:"id"`
	Role          string                            `json:"role"` // follower, pre-candidate, candidate or leader
	Term          uint64                            `json:"term"`
	Vote          raft.NodeID                       `json:"vote"`   // empty for nobody
	Leader        raft.NodeID                       `json:"leader"` // empty when unknown
	LeaderURL     string                            `json:"leader_url,omitempty"`
	Commit        uint64                            `json:"commit"`
	Applied       uint64                            `json:"applied"`
	LastIndex     uint64                            `json:"last_index"`
	LastTerm      uint64                            `json:"last_term"`
	LastChecksum  uint32                            `json:"last_checksum"` // cumulative, at LastIndex
	Configuration raft.Configuration                `json:"configuration"`
	Progress      map[raft.NodeID]raft.PeerProgress `json:"progress,omitempty"` // of a leader only
	Reigns        []Reign                           `json:"reigns"`             // oldest first, at most 64
	UptimeNS      int64                             `json:"uptime_ns"`
	PID           int                               `json:"pid"`
	Version       string                            `json:"version,omitempty"`
}

// Reign is a term that this process led.
type Reign struct {
	Term uint64 `json:"term"`
	Over bool   `json:"over"`
}

// Health answers GET /healthz. That it comes at all says that the node's loop turns.
type Health struct {
	ID          raft.NodeID `json:"id"`
	LeaderKnown bool        `json:"leader_known"`
	Leader      raft.NodeID `json:"leader,omitempty"`
	Term        uint64      `json:"term"`
}

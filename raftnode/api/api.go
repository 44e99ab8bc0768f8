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
//	GET    /raft/config                  Configuration   in force at this node, which may be behind
//	GET    /raft/config?consistency=linearizable Configuration   in force at the leader, which a quorum has confirmed
//	POST   /raft/members   ChangeRequest   ChangeAnswer   answered when the change is over
//	POST   /raft/transfer  TransferRequest LeadershipAnswer   answered when another leads
//	POST   /raft/step-down               LeadershipAnswer
//	POST   /raft/snapshot                SnapshotAnswer   of this node; answered when it is on the disk
//	GET    /healthz                      Health
//	GET    /metrics                      Prometheus' text format
//
// Whatever fails is answered by an ErrorReply.
package api

import (
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
)

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

// Configuration is who is a member, as far as the answering node knows.
type Configuration struct {
	raft.Configuration
	Index uint64 `json:"index"` // of its entry; that of the log's base when no entry of the log has one
	// Committed: it will not be taken back. A joint configuration is left as soon as it is committed.
	Committed bool        `json:"committed"`
	Term      uint64      `json:"term"`
	Leader    raft.NodeID `json:"leader,omitempty"`
	LeaderURL string      `json:"leader_url,omitempty"`
	Node      raft.NodeID `json:"node"`
}

// ChangeRequest is the body of POST /raft/members: all of its changes are made, in one step, or none.
type ChangeRequest struct {
	Changes []confchange.Change `json:"changes"`
}

// ChangeAnswer tells that the members are those that were asked for. A newcomer that was added to be a voter is a
// learner until it has caught up.
type ChangeAnswer struct {
	Configuration raft.Configuration `json:"configuration"` // in force when it was answered
	Index         uint64             `json:"index"`         // the node's applied index then
	Term          uint64             `json:"term"`
	Node          raft.NodeID        `json:"node"`
}

// TransferRequest is the body of POST /raft/transfer.
type TransferRequest struct {
	To raft.NodeID `json:"to"`
}

// LeadershipAnswer tells that the answering node leads no longer. Leader is who leads instead; it is empty where
// the election is not over.
type LeadershipAnswer struct {
	Leader raft.NodeID `json:"leader,omitempty"`
	Term   uint64      `json:"term"`
	Node   raft.NodeID `json:"node"`
}

// SnapshotAnswer tells that the answering node has a snapshot that covers all that it had applied.
type SnapshotAnswer struct {
	Index uint64      `json:"index"` // of the last entry that the snapshot covers
	First uint64      `json:"first"` // the first entry that the log still has, or would have
	Term  uint64      `json:"term"`
	Node  raft.NodeID `json:"node"`
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

	// change_in_flight: what the change under way has logged last; Index is that of its entry.
	Configuration *raft.Configuration `json:"configuration,omitempty"`
	// lagging: how far the learner is.
	Lag *Lag `json:"lag,omitempty"`
	// change_refused: the change that cannot be, unless the reason is the whole.
	Change *confchange.Change `json:"change,omitempty"`
}

// Lag is how far a learner is behind its leader.
type Lag struct {
	Node  raft.NodeID `json:"node"`
	Match uint64      `json:"match"` // the last entry that it is known to hold
	Last  uint64      `json:"last"`  // the leader's last entry
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
	// NotReady: 503, definite: the node does not take part yet, or its leader has committed nothing of its term
	// yet; asking again soon is in order. Status.Waiting says for what a node waits.
	NotReady ErrorType = "not_ready"
	// ChangeInFlight: 409, definite: another change of members is under way. Configuration and Index say what.
	ChangeInFlight ErrorType = "change_in_flight"
	// Lagging: 409, definite: a learner is promoted when it has caught up, and not before. Lag says how far it is.
	Lagging ErrorType = "lagging"
	// ChangeRefused: 422, definite: the change makes no sense: the message says why.
	ChangeRefused ErrorType = "change_refused"
	// Transferring: 503, definite: leadership is being handed over; asking the next leader is in order.
	Transferring ErrorType = "transferring"
	// TransferRefused: 409, definite: that node cannot take leadership over: the message says why.
	TransferRefused ErrorType = "transfer_refused"
	// TransferFailed: 504: the leader gave the transfer up after an election time-out. Not definite: the other
	// was perhaps told to campaign.
	TransferFailed ErrorType = "transfer_failed"
	// SnapshotCurrent: 409, definite: a snapshot is being taken, or nothing was applied since the last.
	SnapshotCurrent ErrorType = "snapshot_current"
	// Unavailable: 503, the node is stopping. Definite under the same conditions as Timeout.
	Unavailable ErrorType = "unavailable"
)

// Status is what a node says of itself.
type Status struct {
	ID            raft.NodeID        `json:"id"`
	Role          string             `json:"role"` // follower, pre-candidate, candidate or leader
	Term          uint64             `json:"term"`
	Vote          raft.NodeID        `json:"vote"`   // empty for nobody
	Leader        raft.NodeID        `json:"leader"` // empty when unknown
	LeaderURL     string             `json:"leader_url,omitempty"`
	Commit        uint64             `json:"commit"`
	Applied       uint64             `json:"applied"`
	LastIndex     uint64             `json:"last_index"`
	LastTerm      uint64             `json:"last_term"`
	LastChecksum  uint32             `json:"last_checksum"` // cumulative, at LastIndex
	Configuration raft.Configuration `json:"configuration"`
	// ConfigurationIndex is that of its entry: it is committed when that is at most Commit.
	ConfigurationIndex uint64      `json:"configuration_index"`
	Snapshot           uint64      `json:"snapshot"`           // what the latest snapshot covers; 0 for none
	First              uint64      `json:"first"`              // the first entry that the log still has, or would have
	Upstream           raft.NodeID `json:"upstream,omitempty"` // of a read-only peer: whom it asks
	StateHash          uint64      `json:"state_hash"`         // of the state at Applied, equal on all nodes
	Standing
	Progress map[raft.NodeID]raft.PeerProgress `json:"progress,omitempty"` // of a leader only
	Reigns   []Reign                           `json:"reigns"`             // oldest first, at most 64
	UptimeNS int64                             `json:"uptime_ns"`
	PID      int                               `json:"pid"`
	Version  string                            `json:"version,omitempty"`
}

// Standing is how a node stands to its cluster, and what its operator should know of that.
type Standing struct {
	Phase Phase `json:"phase"`
	// Waiting says for what the node waits, and what would end that; empty when it waits for nothing.
	Waiting string `json:"waiting,omitempty"`
	// Founders are the first members that the node was told of, in the phases blank and founded.
	Founders []raft.NodeID `json:"founders,omitempty"`
	// Disagreements are where the command line says something else than what is stored. The store wins.
	Disagreements []string `json:"disagreements,omitempty"`
}

// Phase is how far a node has come in being a member. The values are part of the API.
type Phase string

// The phases. Up to PhaseFounded all but /raft/status and /metrics is refused with not_ready.
const (
	PhaseBlank   Phase = "blank"   // its disk is empty, and it is to be a first member
	PhaseJoining Phase = "joining" // its disk is empty, and it has not learned yet that it may wait to be added
	PhaseFounded Phase = "founded" // a first member that waits until all the others are
	PhaseOutside Phase = "outside" // it takes part, and waits to be made a member
	PhaseMember  Phase = "member"
	PhaseRemoved Phase = "removed" // it was a member, and the leader says that it is none any more
)

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

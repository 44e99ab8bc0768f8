package raft

import (
	"fmt"

	"coup/raftnode/raft/quorum"
)

// NodeID names a node for the whole life of a cluster: "n1" in a cluster, "raft-0" in a scenario.
// The empty NodeID is nobody.
type NodeID = quorum.NodeID

// EntryType says who reads an entry's Data.
type EntryType uint8

// The entry types. The values are written to disk and sent between nodes: never renumber.
const (
	EntryCommand       EntryType = 0 // Data is for the state machine
	EntryNoOp          EntryType = 1 // appended by a new leader; Data is empty
	EntryConfiguration EntryType = 2 // Data is an encoded Configuration
)

// Entry is one slot of the replicated log.
type Entry struct {
	Index uint64 // first is 1
	Term  uint64
	Type  EntryType
	Data  []byte // never modified once the entry exists
	// Checksum is cumulative: CRC-32C over the previous entry's checksum and all of this entry, so
	// that equal checksums at an index mean equal logs up to it.
	Checksum uint32
}

// HardState is what a node must never forget. It is written in one atomic write, and nothing that
// relies on it leaves the node before the write is durable (Raft paper, figure 2).
type HardState struct {
	Term uint64
	Vote NodeID // whom this node voted for in Term; empty for nobody
}

// Base is what stands before the first entry of a log: a committed prefix known by its end. A new
// cluster's log starts from Base{Configuration: the first members}.
type Base struct {
	Index         uint64
	Term          uint64
	Checksum      uint32 // cumulative checksum of the entry at Index
	Configuration Configuration
}

// Configuration is a set of members. Outside a joint change Outgoing is empty.
type Configuration struct {
	Voters   []NodeID `json:"voters"`             // sorted; Cnew in a joint configuration
	Outgoing []NodeID `json:"outgoing,omitempty"` // sorted; Cold in a joint configuration
	Learners []NodeID `json:"learners,omitempty"` // sorted; replicated to, never counted
}

// Quorum is the rule by which this configuration elects and commits.
func (c Configuration) Quorum() quorum.Joint {
	return quorum.Joint{quorum.NewMajority(c.Voters...), quorum.NewMajority(c.Outgoing...)}
}

// MessageType says what a message asks or answers.
type MessageType uint8

// The message types. The values are sent between nodes: never renumber.
const (
	MsgPreVote MessageType = iota + 1
	MsgPreVoteReply
	MsgVote
	MsgVoteReply
	MsgAppend
	MsgAppendReply
	MsgHeartbeat
	MsgHeartbeatReply
)

// IsReply tells an answer from a request. The bus routes an answer to whoever sent the request
// whose ID the answer repeats.
func (t MessageType) IsReply() bool { return t%2 == 0 }

// Message is what one node says to another. A field that a type does not list is zero.
type Message struct {
	Type MessageType
	From NodeID
	To   NodeID
	Term uint64 // the sender's term; of MsgPreVote, the term it would campaign in
	// ID is given to a request by the bus; the reply repeats it. Zero before sending.
	ID uint64

	// PreVote, Vote: the sender's last entry. Append: the entry before Entries.
	// AppendReply: Index is the follower's match when accepted, the refused Index when rejected.
	Index    uint64
	LogTerm  uint64
	Checksum uint32 // Append: cumulative checksum of the entry at Index

	Entries []Entry // Append
	Commit  uint64  // Append, Heartbeat: at most what the receiver is known to hold, for Heartbeat

	Reject bool // all replies
	// AppendReply with Reject: where the logs may still agree, which is the follower's last index at
	// most Index whose term is at most LogTerm, and the term there.
	ConflictIndex uint64
	ConflictTerm  uint64

	// ReadRound, on Append, Heartbeat and their replies, numbers the leader's confirmation of its
	// leadership: a reply with round r was sent after every read of a round up to r arrived.
	ReadRound uint64
}

// Ready is what must now be done, in this order: send Early at any time; make HardState and
// Entries durable in one atomic write; send Messages; apply Committed; answer Reads; call Advance.
type Ready struct {
	HardState *HardState // nil when unchanged
	// Entries go to the log; whatever the log holds from Entries[0].Index on is replaced.
	Entries []Entry
	// Early promises nothing that is not durable yet: a leader's appends and heartbeats, sent while
	// its own disk still writes (Raft thesis, 10.2.1).
	Early     []Message
	Messages  []Message
	Committed []Entry
	Reads     []ReadState
}

// ReadState answers a ReadIndex request: once Index is applied, the state is fresh enough.
type ReadState struct {
	ID    uint64 // as given to ReadIndex
	Index uint64
	Err   error // set when the read cannot be served; it was not
}

// Role is what a node takes itself for.
type Role uint8

// The roles.
const (
	Follower Role = iota
	PreCandidate
	Candidate
	Leader
)

func (r Role) String() string {
	return [...]string{"follower", "pre-candidate", "candidate", "leader"}[r]
}

// NotLeaderError refuses a request that only a leader can take. Nothing was done.
type NotLeaderError struct {
	Leader NodeID // empty when unknown
	Term   uint64
}

func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return fmt.Sprintf("not the leader, and none is known in term %d", e.Term)
	}
	return fmt.Sprintf("not the leader; the leader of term %d is %s", e.Term, e.Leader)
}

// Status is a snapshot of a node for people, tests and checkers.
type Status struct {
	ID            NodeID
	Role          Role
	Term          uint64
	Vote          NodeID
	Leader        NodeID // empty when unknown
	Commit        uint64
	Applied       uint64
	LastIndex     uint64
	LastTerm      uint64
	LastChecksum  uint32
	Configuration Configuration
	Progress      map[NodeID]PeerProgress // of a leader only
}

// PeerProgress is what a leader knows of a peer.
type PeerProgress struct {
	Match        uint64 `json:"match"`
	Next         uint64 `json:"next"`
	State        string `json:"state"` // probe or replicate
	InFlight     int    `json:"in_flight"`
	RecentActive bool   `json:"recent_active"`
}

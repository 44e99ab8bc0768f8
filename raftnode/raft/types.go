package raft

import (
	"fmt"

	"coup/raftnode/raft/confchange"
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
	// Joined is where a node that began without memory became a member: it gives no vote before its log
	// comes up to that entry. If it is an earlier member whose disk was lost, its log then holds
	// all that the earlier one had promised to keep. Zero for a first member.
	Joined uint64
}

// Base is what stands before the first entry of a log: a committed prefix known by its end. A new
// cluster's log starts from Base{Configuration: the first members}.
type Base struct {
	Index         uint64
	Term          uint64
	Checksum      uint32 // cumulative checksum of the entry at Index
	Configuration Configuration
}

// Configuration is a set of members; see confchange.
type Configuration = confchange.Configuration

// Snapshot is a committed prefix of the log in the form of the state that it leads to. Its content is a
// sequence of chunks, each with a cumulative checksum, so that a transfer can stop and go on anywhere.
type Snapshot struct {
	Base          // the last entry that it covers, and the configuration as of that
	Chunks uint64 // how many, at least 1; numbered from 0
	// ContentChecksum is that of the last chunk. Snapshots with equal Base, Chunks and ContentChecksum are the same,
	// whoever took them.
	ContentChecksum uint32
}

// Same tells whether two snapshots have the same content, chunk by chunk.
func (s Snapshot) Same(t Snapshot) bool {
	return s.Index == t.Index && s.Term == t.Term && s.Checksum == t.Checksum &&
		s.Chunks == t.Chunks && s.ContentChecksum == t.ContentChecksum
}

// Chunk is a piece of a snapshot's content.
type Chunk struct {
	Number uint64
	Data   []byte
	// Checksum is cumulative: CRC-32C of the content up to the end of Data. See NextContentChecksum.
	Checksum uint32
}

// Received is how far a snapshot from a leader, or from the upstream of a read-only peer, has come.
type Received struct {
	Snapshot Snapshot
	Next     uint64 // number of the chunk wanted next; Snapshot.Chunks is never reached, for then it is installed
	Checksum uint32 // cumulative, of the chunks before Next; 0 when there are none
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
	MsgSnapshot // one chunk
	MsgSnapshotReply
	MsgTimeoutNow // leadership transfer: campaign at once (thesis, 3.10)
	MsgTimeoutNowReply
	MsgReadIndex // a follower asks up to where it must have applied for a linearizable read
	MsgReadIndexReply
	MsgFetch // a read-only peer asks its upstream for what is committed
	MsgFetchReply
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

	// ReadRound, on Append, Heartbeat, Snapshot and their replies, numbers the leader's confirmation of
	// its leadership: a reply with round r was sent after every read of a round up to r arrived. On
	// ReadIndex it is the asker's number for the read, which the reply repeats with Index as the answer.
	ReadRound uint64

	// Epoch, on Append, Heartbeat and Snapshot, is the index of the configuration entry by which the
	// receiver became a member; replies repeat it. What was said to an earlier member of the same name
	// counts for nothing.
	Epoch uint64

	// Transfer, on Vote: the leader itself asked for this campaign, so that nobody defends it.
	Transfer bool

	// Snapshot: one chunk of it. Fetch: what the read-only peer has begun to receive, nil when it has
	// not. FetchReply: one chunk, when the log no longer reaches back to Index.
	Snapshot *Snapshot
	// Snapshot, FetchReply: the chunk. SnapshotReply, Fetch: Number is the chunk wanted next.
	Chunk Chunk
}

// Ready is what must now be done, in this order: send Early at any time; keep Gathered; install
// Install; make HardState and Entries durable in one atomic write; send Messages; apply Committed;
// answer Reads; call Advance.
type Ready struct {
	HardState *HardState // nil when unchanged
	// Gathered are chunks to be kept with the snapshot that is being received; number 0 starts over.
	Gathered []Gathered
	// Install, if not nil, is the received snapshot, now whole: it takes the place of the log and of
	// the state, in one atomic write along with HardState and before Entries.
	Install *Snapshot
	// Entries go to the log; whatever the log holds from Entries[0].Index on is replaced.
	Entries []Entry
	// Early promises nothing that is not durable yet: a leader's appends and heartbeats, sent while
	// its own disk still writes (Raft thesis, 10.2.1).
	Early     []Message
	Messages  []Message
	Committed []Entry
	Reads     []ReadState
}

// Gathered is a chunk of a snapshot that is being received.
type Gathered struct {
	Snapshot Snapshot
	Chunk    Chunk
}

// ReadState answers a ReadIndex request: once Index is applied, the state is fresh enough.
type ReadState struct {
	ID    uint64 // as given to ReadIndex
	Index uint64
	Lease bool  // answered by the lease, without asking anybody
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
	Snapshot      uint64                  // index of the latest snapshot; 0 for none
	First         uint64                  // index of the first entry that the log still has, or would have
	Upstream      NodeID                  // of a read-only peer: whom it fetches from
	Transferee    NodeID                  // of a leader: whom it is handing leadership to; empty for nobody
	Progress      map[NodeID]PeerProgress // of a leader only
}

// PeerProgress is what a leader knows of a peer.
type PeerProgress struct {
	Match        uint64 `json:"match"`
	Next         uint64 `json:"next"`
	State        string `json:"state"` // probe, replicate or snapshot
	InFlight     int    `json:"in_flight"`
	RecentActive bool   `json:"recent_active"`
}

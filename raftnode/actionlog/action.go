// Package actionlog is the Raft action log: one typed, numbered list of what every node did, written by
// the simulator and by real nodes alike. From it come a transcript, a sequence diagram, and a trace of
// one JSON object a line; docs/action-log.md is its schema. It imports nothing but the core's types.
package actionlog

import (
	"time"

	"coup/raftnode/raft"
)

// Kind says what an action is. Which fields of an Action count, each kind says.
type Kind string

// What a node does by itself.
const (
	Start         Kind = "start"         // its process begins: Term, Vote, Index of its log's last entry, Configuration in force
	Stop          Kind = "stop"          // its process ends, and knows it: Text is why
	Term          Kind = "term"          // it comes to Term
	Role          Kind = "role"          // Role or Leader changed, in Term: Text is what it was upon
	Vote          Kind = "vote"          // its vote for Vote in Term is durable
	Send          Kind = "send"          // Message leaves
	Receive       Kind = "receive"       // Message is taken up
	Unanswered    Kind = "unanswered"    // it is told that nobody answers Message: Text is why
	Append        Kind = "append"        // Entries are durable in its log
	Truncate      Kind = "truncate"      // the entries after Index are gone from its log, replaced by another leader's
	Commit        Kind = "commit"        // it knows its log to be committed up to Index
	Configuration Kind = "configuration" // State tells what became of Configuration, which stands at Index
	Apply         Kind = "apply"         // Entries were applied to its state
	Snapshot      Kind = "snapshot"      // it has taken one up to Index, whose entry is of Term
	Install       Kind = "install"       // a received one took the place of its log and state: Index, Term, Configuration
	Compact       Kind = "compact"       // the entries up to Index are gone from its log, covered by a snapshot
	Read          Kind = "read"          // it may answer a read with its state at Index: Text is the key
)

// What clients do.
const (
	Request Kind = "request" // Client's request, Text, has come to Node
	Answer  Kind = "answer"  // Client's request has ended: Text is how; Node is who was asked last
)

// What is done to nodes and their network.
const (
	Crash     Kind = "crash"     // Node's process is gone, and what it had not made durable may be: Text is why
	Pause     Kind = "pause"     // Node's process stands still
	Resume    Kind = "resume"    // and runs on
	Lose      Kind = "lose"      // Message does not arrive: Text is why
	Duplicate Kind = "duplicate" // Message will arrive once more
	Cut       Kind = "cut"       // nothing sent by Node reaches Peer any more
	Heal      Kind = "heal"      // and now it does again
	Disk      Kind = "disk"      // Text is what is wrong with Node's disk
)

// What somebody has to say of it.
const (
	Violation Kind = "violation" // what must hold does not: Text is what
	Note      Kind = "note"      // Text, about Node if that is set
)

// Kinds are all there are, in the order of the schema.
func Kinds() []Kind {
	return []Kind{
		Start, Stop, Term, Role, Vote, Send, Receive, Unanswered, Append, Truncate, Commit, Configuration, Apply, Snapshot,
		Install, Compact, Read, Request, Answer, Crash, Pause, Resume, Lose, Duplicate, Cut, Heal, Disk, Violation, Note,
	}
}

// The states of a configuration: it is in force from its append on (Raft thesis, 4.1).
const (
	Appended   = "appended"
	Committed  = "committed"
	RolledBack = "rolled back" // its entry was truncated; Configuration is the one in force instead
)

// Action is one thing that happened. A field that its kind does not name is empty, except that Term,
// where it is set, is the node's term.
type Action struct {
	Number uint64        `json:"number"`         // from 1 on; a gap is what a writer had to drop
	Time   time.Duration `json:"time"`           // since the log began, in nanoseconds; virtual in the simulator
	Began  int64         `json:"began,omitzero"` // when that was, in nanoseconds since 1970; in the first action of a real node's process
	Kind   Kind          `json:"kind"`

	Node          raft.NodeID         `json:"node,omitzero"` // empty: of no single node
	Term          uint64              `json:"term,omitzero"`
	Role          string              `json:"role,omitzero"`   // as raft.Role tells it
	Leader        raft.NodeID         `json:"leader,omitzero"` // empty: not known
	Vote          raft.NodeID         `json:"vote,omitzero"`   // empty: for nobody
	Index         uint64              `json:"index,omitzero"`
	Entries       []Run               `json:"entries,omitempty"`
	State         string              `json:"state,omitzero"`
	Configuration *raft.Configuration `json:"configuration,omitempty"`
	Message       *Message            `json:"message,omitempty"`
	Peer          raft.NodeID         `json:"peer,omitzero"`
	Client        string              `json:"client,omitzero"` // empty: its name is not known
	Text          string              `json:"text,omitzero"`
}

// Run is a part of a log, all of one term.
type Run struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	Term  uint64 `json:"term"`
}

// Runs tells where entries stand, and their terms.
func Runs(entries []raft.Entry) []Run {
	var runs []Run
	for i := range entries {
		e := &entries[i]
		if n := len(runs); n > 0 && runs[n-1].Term == e.Term && runs[n-1].Last+1 == e.Index {
			runs[n-1].Last = e.Index
			continue
		}
		runs = append(runs, Run{e.Index, e.Index, e.Term})
	}
	return runs
}

// Message is what counts of one. A field that its type does not use is zero.
type Message struct {
	Type string      `json:"type"` // as TypeName tells it
	From raft.NodeID `json:"from"`
	To   raft.NodeID `json:"to"`
	// ID is given to a request by its sender; its reply repeats it. With From, To and Type it names the message.
	ID      uint64 `json:"id,omitzero"`
	Term    uint64 `json:"term,omitzero"`
	Index   uint64 `json:"index,omitzero"`
	LogTerm uint64 `json:"log_term,omitzero"`
	Entries []Run  `json:"entries,omitempty"`
	Commit  uint64 `json:"commit,omitzero"`
	Reject  bool   `json:"reject,omitzero"`

	ConflictIndex uint64 `json:"conflict_index,omitzero"`
	ConflictTerm  uint64 `json:"conflict_term,omitzero"`

	Snapshot uint64 `json:"snapshot,omitzero"` // its index, where a chunk of it is carried or asked for
	Chunk    uint64 `json:"chunk,omitzero"`    // number of that chunk, from 0
}

var typeNames = [...]string{
	raft.MsgPreVote: "pre-vote", raft.MsgPreVoteReply: "pre-vote-reply", raft.MsgVote: "vote", raft.MsgVoteReply: "vote-reply",
	raft.MsgAppend: "append", raft.MsgAppendReply: "append-reply", raft.MsgHeartbeat: "heartbeat", raft.MsgHeartbeatReply: "heartbeat-reply",
	raft.MsgSnapshot: "snapshot", raft.MsgSnapshotReply: "snapshot-reply", raft.MsgTimeoutNow: "timeout-now", raft.MsgTimeoutNowReply: "timeout-now-reply",
	raft.MsgReadIndex: "read-index", raft.MsgReadIndexReply: "read-index-reply", raft.MsgFetch: "fetch", raft.MsgFetchReply: "fetch-reply",
}

// TypeName names a type of message.
func TypeName(t raft.MessageType) string { return typeNames[t] }

// Summary tells what counts of a message.
func Summary(m *raft.Message) *Message {
	s := &Message{
		Type: TypeName(m.Type), From: m.From, To: m.To, ID: m.ID, Term: m.Term, Index: m.Index, LogTerm: m.LogTerm,
		Entries: Runs(m.Entries), Commit: m.Commit, Reject: m.Reject, ConflictIndex: m.ConflictIndex, ConflictTerm: m.ConflictTerm,
		Chunk: m.Chunk.Number,
	}
	if m.Snapshot != nil {
		s.Snapshot = m.Snapshot.Index
	}
	return s
}

// Log numbers and times what happens, and hands it on. For use by one goroutine.
type Log struct {
	now  func() time.Duration
	sink func(Action)
	last uint64
}

// New begins a log. now tells how much time has passed since it began.
func New(now func() time.Duration, sink func(Action)) *Log { return &Log{now: now, sink: sink} }

// Add takes an action that happens now.
func (l *Log) Add(a Action) {
	l.last++
	a.Number, a.Time = l.last, l.now()
	l.sink(a)
}

package sim

import (
	"fmt"
	"io"
	"math/bits"
	"time"

	"coup/raftnode/raft"
)

// trace keeps what has happened as one number and, when asked to, as lines for people.
type trace struct {
	hash uint64
	out  io.Writer
}

func newTrace(out io.Writer) trace { return trace{0x9e3779b97f4a7c15, out} }

// mix takes a number in.
func (t *trace) mix(x uint64) {
	hi, lo := bits.Mul64(t.hash^x, 0xd6e8feb86659fd93)
	t.hash = bits.RotateLeft64(t.hash, 23) ^ hi ^ lo
}

func (t *trace) message(now time.Duration, m *raft.Message) {
	t.mix(uint64(now))
	t.mix(uint64(m.Type) | uint64(len(m.Entries))<<8 | uint64(m.Checksum)<<32)
	t.mix(m.ID)
	t.mix(m.Term)
	t.mix(m.Index<<32 ^ m.Commit)
	flags := m.ReadRound << 1
	if m.Reject {
		flags++
	}
	t.mix(flags)
	if n := len(m.Entries); n > 0 {
		t.mix(uint64(m.Entries[n-1].Checksum))
	}
	if t.out != nil {
		t.line(now, "%s>%s %s", m.From, m.To, describe(m))
	}
}

// note takes in something else that happened to a node.
func (t *trace) note(now time.Duration, what string, n *node, detail uint64) {
	t.mix(uint64(now))
	t.mix(uint64(what[0]) | uint64(len(what))<<8 | uint64(n.index)<<16 | detail<<32)
	if t.out != nil {
		t.line(now, "%s %s %d", n.id, what, detail)
	}
}

func (t *trace) line(now time.Duration, format string, args ...any) {
	if t.out != nil {
		fmt.Fprintf(t.out, "%12.6f  %s\n", now.Seconds(), fmt.Sprintf(format, args...))
	}
}

var messageNames = [...]string{
	raft.MsgPreVote: "pre-vote", raft.MsgPreVoteReply: "pre-vote-reply", raft.MsgVote: "vote", raft.MsgVoteReply: "vote-reply",
	raft.MsgAppend: "append", raft.MsgAppendReply: "append-reply", raft.MsgHeartbeat: "heartbeat", raft.MsgHeartbeatReply: "heartbeat-reply",
	raft.MsgSnapshot: "snapshot", raft.MsgSnapshotReply: "snapshot-reply", raft.MsgTimeoutNow: "timeout-now", raft.MsgTimeoutNowReply: "timeout-now-reply",
	raft.MsgReadIndex: "read-index", raft.MsgReadIndexReply: "read-index-reply", raft.MsgFetch: "fetch", raft.MsgFetchReply: "fetch-reply",
}

func describe(m *raft.Message) string {
	text := fmt.Sprintf("%s term=%d index=%d", messageNames[m.Type], m.Term, m.Index)
	if n := len(m.Entries); n > 0 {
		text += fmt.Sprintf(" entries=%d..%d", m.Entries[0].Index, m.Entries[n-1].Index)
	}
	if m.Commit > 0 {
		text += fmt.Sprintf(" commit=%d", m.Commit)
	}
	if m.Reject {
		text += " refused"
	}
	return text
}

package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"coup/raftnode/raft"
	"coup/sim"
)

// messageKinds are the kinds of messages, as scenarios call them.
var messageKinds = []struct {
	name  string
	types []raft.MessageType
	doc   string
}{
	{"message", nil, "any message"},
	{"request", []raft.MessageType{raft.MsgPreVote, raft.MsgVote, raft.MsgAppend, raft.MsgHeartbeat, raft.MsgSnapshot, raft.MsgTimeoutNow, raft.MsgReadIndex, raft.MsgFetch}, "any that asks for something"},
	{"reply", []raft.MessageType{raft.MsgPreVoteReply, raft.MsgVoteReply, raft.MsgAppendReply, raft.MsgHeartbeatReply, raft.MsgSnapshotReply, raft.MsgTimeoutNowReply, raft.MsgReadIndexReply, raft.MsgFetchReply}, "any answer"},
	{"pre-vote", []raft.MessageType{raft.MsgPreVote}, "asks whether it would get a vote, before a campaign"},
	{"pre-vote-reply", []raft.MessageType{raft.MsgPreVoteReply}, "the answer to that"},
	{"vote", []raft.MessageType{raft.MsgVote}, "asks for a vote"},
	{"vote-reply", []raft.MessageType{raft.MsgVoteReply}, "gives a vote, or refuses it"},
	{"append", []raft.MessageType{raft.MsgAppend}, "entries of the leader, or a probe without any"},
	{"append-reply", []raft.MessageType{raft.MsgAppendReply}, "says up to where the logs agree"},
	{"heartbeat", []raft.MessageType{raft.MsgHeartbeat}, "says who leads, and what is committed"},
	{"heartbeat-reply", []raft.MessageType{raft.MsgHeartbeatReply}, "the answer to that"},
	{"chunk", []raft.MessageType{raft.MsgSnapshot}, "a piece of a snapshot"},
	{"chunk-reply", []raft.MessageType{raft.MsgSnapshotReply}, "asks for the next piece"},
	{"timeout-now", []raft.MessageType{raft.MsgTimeoutNow}, "has a follower campaign at once, for a transfer"},
	{"timeout-now-reply", []raft.MessageType{raft.MsgTimeoutNowReply}, "the answer to that"},
	{"read-index", []raft.MessageType{raft.MsgReadIndex}, "a follower asks from where on it may read"},
	{"read-index-reply", []raft.MessageType{raft.MsgReadIndexReply}, "the answer to that"},
	{"fetch", []raft.MessageType{raft.MsgFetch}, "a read-only peer asks for entries"},
	{"fetch-reply", []raft.MessageType{raft.MsgFetchReply}, "the entries, or a refusal"},
}

// messageKind is a kind by its name, or by that with an s.
func messageKind(word string) (types []raft.MessageType, ok bool) {
	for _, k := range messageKinds {
		if word == k.name || word == k.name+"s" || strings.HasSuffix(k.name, "reply") && word == strings.TrimSuffix(k.name, "y")+"ies" {
			return k.types, true
		}
	}
	return nil, false
}

// kindName is what a type of message is called.
func kindName(t raft.MessageType) string {
	for _, k := range messageKinds {
		if len(k.types) == 1 && k.types[0] == t {
			return k.name
		}
	}
	return fmt.Sprintf("message-%d", t)
}

// messages picks messages, as a line says it.
type messages struct {
	kind     []raft.MessageType // nil for all
	word     string
	from, to *selector // nil for whoever
}

// filter is messages once it is known who the nodes are.
type filter struct {
	kind     []raft.MessageType
	from, to []raft.NodeID // nil for whoever
}

// nth is which of several messages a line means.
type nth struct {
	number int  // from 1
	newest bool // counted from the newest
}

// nth takes "2nd", "last" or "2nd last"; nothing is the oldest.
func (p *parser) nth() (w nth) {
	w.number = 1
	if p.more() && !p.tokens[p.at].quoted {
		if n, ok := ordinal(p.tokens[p.at].text); ok {
			w.number = n
			p.at++
		}
	}
	w.newest = p.accept("last")
	return w
}

// ordinal is the number of a word such as 2nd.
func ordinal(word string) (n int, ok bool) {
	if len(word) < 3 || !slices.Contains([]string{"st", "nd", "rd", "th"}, word[len(word)-2:]) {
		return 0, false
	}
	n, err := strconv.Atoi(word[:len(word)-2])
	return n, err == nil && n > 0
}

// of is the message that is meant, of several, oldest first.
func (w nth) of(found []uint64) (number uint64, ok bool) {
	at := w.number - 1
	if w.newest {
		at = len(found) - w.number
	}
	if at < 0 || at >= len(found) {
		return 0, false
	}
	return found[at], true
}

// messages takes a kind, and from whom to whom.
func (p *parser) messages() (m messages, err error) {
	var names []string
	for _, k := range messageKinds {
		names = append(names, k.name)
	}
	if !p.more() {
		return m, p.wanted("a kind of message", names...)
	}
	if m.word = "message"; !p.peek("among") && !p.peek("from") && !p.peek("to") {
		m.word = p.tokens[p.at].text
		var ok bool
		if m.kind, ok = messageKind(m.word); !ok || p.tokens[p.at].quoted {
			return m, p.wanted("a kind of message", names...)
		}
		p.at++
	}
	for {
		var into **selector
		switch {
		case m.from == nil && m.to == nil && p.accept("among"):
			s, err := p.nodes()
			if err != nil {
				return m, err
			}
			m.from, m.to = &s, &s
			return m, nil
		case m.from == nil && p.accept("from"):
			into = &m.from
		case m.to == nil && p.accept("to"):
			into = &m.to
		default:
			return m, nil
		}
		s, err := p.nodes()
		if err != nil {
			return m, err
		}
		*into = &s
	}
}

func (m messages) String() string {
	text := m.word
	if m.from != nil && m.from == m.to {
		return text + " among " + m.from.String()
	}
	if m.from != nil {
		text += " from " + m.from.String()
	}
	if m.to != nil {
		text += " to " + m.to.String()
	}
	return text
}

// filter finds out who the nodes are now.
func (s *stage) filter(m messages) (f filter, err error) {
	f.kind = m.kind
	for _, side := range []struct {
		of   *selector
		into *[]raft.NodeID
	}{{m.from, &f.from}, {m.to, &f.to}} {
		if side.of == nil {
			continue
		}
		picked, err := s.pick(*side.of)
		if err != nil {
			return f, err
		}
		for _, i := range picked {
			*side.into = append(*side.into, raft.NodeID(name(i)))
		}
	}
	return f, nil
}

func (f filter) takes(m *raft.Message) bool {
	return (f.kind == nil || slices.Contains(f.kind, m.Type)) &&
		(f.from == nil || slices.Contains(f.from, m.From)) && (f.to == nil || slices.Contains(f.to, m.To))
}

// matching are the numbers of the messages under way that a filter takes, oldest first.
func (s *stage) matching(f filter) (found []uint64) {
	for _, fl := range s.hand.Flights() {
		if f.takes(fl.Message) {
			found = append(found, fl.Number)
		}
	}
	return found
}

// rule is what becomes of messages as they leave.
type rule struct {
	filter
	treatment sim.Treatment
	left      int // for how many more; -1 for all
}

// treat is asked about each message that leaves.
func (s *stage) treat(m *raft.Message) (t sim.Treatment) {
	for i := range s.rules {
		r := &s.rules[i]
		if r.left == 0 || !r.takes(m) {
			continue
		}
		if r.left > 0 {
			r.left--
		}
		t.Drop = t.Drop || r.treatment.Drop
		t.Hold = t.Hold || r.treatment.Hold
		t.Twice = t.Twice || r.treatment.Twice
		t.Delay += r.treatment.Delay
	}
	return t
}

// describe is a message for people.
func describe(m *raft.Message) string {
	text := fmt.Sprintf("%-17s %s > %s  term %d", kindName(m.Type), m.From, m.To, m.Term)
	if n := len(m.Entries); n > 0 {
		text += fmt.Sprintf("  entries %d..%d", m.Entries[0].Index, m.Entries[n-1].Index)
	}
	switch m.Type {
	case raft.MsgAppend, raft.MsgPreVote, raft.MsgVote:
		text += fmt.Sprintf("  after %d of term %d", m.Index, m.LogTerm)
	case raft.MsgAppendReply:
		text += fmt.Sprintf("  up to %d", m.Index)
	case raft.MsgSnapshot, raft.MsgSnapshotReply:
		text += fmt.Sprintf("  chunk %d", m.Chunk.Number)
	}
	if m.Commit > 0 {
		text += fmt.Sprintf("  commit %d", m.Commit)
	}
	if m.Reject {
		text += "  refused"
	}
	return text
}

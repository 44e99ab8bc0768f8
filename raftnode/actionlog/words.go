package actionlog

import (
	"cmp"
	"fmt"
	"strings"

	"coup/raftnode/raft"
)

// String tells what happened in a few words, without when and where.
func (a Action) String() string {
	switch a.Kind {
	case Start:
		text := fmt.Sprintf("starts in term %d", a.Term)
		if a.Vote != "" {
			text += fmt.Sprintf(", voted %s", a.Vote)
		}
		return text + fmt.Sprintf(", log up to %d, %s", a.Index, members(a.Configuration))
	case Term:
		return fmt.Sprintf("comes to term %d", a.Term)
	case Role:
		text := fmt.Sprintf("%s of term %d", a.Role, a.Term)
		if a.Leader != "" && a.Leader != a.Node {
			text += " under " + string(a.Leader)
		}
		return because(text, a.Text)
	case Vote:
		return fmt.Sprintf("votes %s in term %d", a.Vote, a.Term)
	case Send:
		return fmt.Sprintf("sends %s: %s", a.Message.To, a.Message)
	case Receive:
		return fmt.Sprintf("hears %s: %s", a.Message.From, a.Message)
	case Unanswered:
		return because(fmt.Sprintf("no answer of %s: %s", a.Message.To, a.Message), a.Text)
	case Append:
		return "appends " + runs(a.Entries)
	case Truncate:
		return fmt.Sprintf("truncates what comes after %d", a.Index)
	case Commit:
		return fmt.Sprintf("commits up to %d", a.Index)
	case Configuration:
		return fmt.Sprintf("configuration %s at %d: %s", a.State, a.Index, members(a.Configuration))
	case Apply:
		return "applies " + runs(a.Entries)
	case Snapshot:
		return fmt.Sprintf("takes a snapshot up to %d of term %d", a.Index, a.Term)
	case Install:
		return fmt.Sprintf("installs a snapshot up to %d of term %d, %s", a.Index, a.Term, members(a.Configuration))
	case Compact:
		return fmt.Sprintf("drops its log up to %d", a.Index)
	case Read:
		return fmt.Sprintf("may answer a read of %s, at %d", a.Text, a.Index)
	case Request:
		return fmt.Sprintf("is asked by %s: %s", cmp.Or(a.Client, "a client"), a.Text)
	case Answer:
		return fmt.Sprintf("to %s: %s", cmp.Or(a.Client, "a client"), a.Text)
	case Lose:
		return because(fmt.Sprintf("lost on the way from %s to %s: %s", a.Message.From, a.Message.To, a.Message), a.Text)
	case Duplicate:
		return fmt.Sprintf("doubled on the way from %s to %s: %s", a.Message.From, a.Message.To, a.Message)
	case Crash:
		return because("crashes", a.Text)
	case Stop:
		return because("stops", a.Text)
	case Pause:
		return "pauses"
	case Resume:
		return "runs on"
	case Cut:
		return because("is cut off from "+string(a.Peer), a.Text)
	case Heal:
		return "reaches " + string(a.Peer) + " again"
	case Disk:
		return "disk: " + a.Text
	case Violation:
		return "VIOLATION " + a.Text
	}
	return a.Text
}

// because adds why, where that is known.
func because(text, why string) string {
	if why == "" {
		return text
	}
	return text + " (" + why + ")"
}

// String tells what a message says, without who says it to whom.
func (m *Message) String() string {
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(m.Type, "-reply"))
	switch {
	case m.Type != strings.TrimSuffix(m.Type, "-reply") && m.Reject:
		b.WriteString(" refused")
	case m.Type != strings.TrimSuffix(m.Type, "-reply"):
		b.WriteString(" ok")
	}
	if len(m.Entries) > 0 {
		fmt.Fprintf(&b, " %s", runs(m.Entries))
	}
	fmt.Fprintf(&b, ", term %d", m.Term)
	if m.Index > 0 || m.LogTerm > 0 {
		fmt.Fprintf(&b, ", at %d", m.Index)
		if m.LogTerm > 0 {
			fmt.Fprintf(&b, "@%d", m.LogTerm)
		}
	}
	if m.Commit > 0 {
		fmt.Fprintf(&b, ", commit %d", m.Commit)
	}
	if m.ConflictIndex > 0 {
		fmt.Fprintf(&b, ", conflict at %d@%d", m.ConflictIndex, m.ConflictTerm)
	}
	if m.Snapshot > 0 {
		fmt.Fprintf(&b, ", snapshot %d chunk %d", m.Snapshot, m.Chunk)
	}
	return b.String()
}

// runs tells where entries stand: "5..7@3 8@4" is from 5 to 7 of term 3 and 8 of term 4.
func runs(all []Run) string {
	words := make([]string, len(all))
	for i, r := range all {
		words[i] = fmt.Sprintf("%d..%d@%d", r.First, r.Last, r.Term)
		if r.First == r.Last {
			words[i] = fmt.Sprintf("%d@%d", r.First, r.Term)
		}
	}
	return strings.Join(words, " ")
}

// members tells who is in a configuration, and where it is joint who was before.
func members(c *raft.Configuration) string {
	if c == nil || len(c.Voters) == 0 {
		return "no members"
	}
	var b strings.Builder
	for _, part := range []struct {
		name string
		of   []raft.NodeID
	}{{"", c.Outgoing}, {" → ", c.Voters}, {" learners ", c.Learners}, {" to be learners ", c.LearnersNext}, {" read-only ", c.ReadOnly}} {
		if len(part.of) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(part.name)
		}
		for i, id := range part.of {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(string(id))
		}
	}
	return "{" + b.String() + "}"
}

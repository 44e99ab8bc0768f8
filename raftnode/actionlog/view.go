package actionlog

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"coup/raftnode/raft"
)

// View chooses what of a log is shown. The zero View shows all.
type View struct {
	From, To     uint64        // numbers of the first and the last action; 0 for no bound
	Since, Until time.Duration // likewise by time
	Nodes        []raft.NodeID // only what they did, and messages between them; empty for all
	Kinds        []Kind        // empty for all
	Without      []string      // kinds and types of messages; a type stands for its replies, too
}

// Check refuses a View that names what there is not.
func (v View) Check() error {
	for _, k := range v.Kinds {
		if !slices.Contains(Kinds(), k) {
			return fmt.Errorf("there is no kind %q; there are %s", k, list(Kinds()))
		}
	}
	for _, w := range v.Without {
		if !slices.Contains(Kinds(), Kind(w)) && !slices.Contains(typeNames[1:], w) {
			return fmt.Errorf("there is no kind or message %q; there are %s, %s", w, list(Kinds()), list(requestNames()))
		}
	}
	return nil
}

func list[T ~string](words []T) string {
	var all []string
	for _, w := range words {
		all = append(all, string(w))
	}
	return strings.Join(all, ", ")
}

func requestNames() (names []string) {
	for t, name := range typeNames {
		if t > 0 && !raft.MessageType(t).IsReply() {
			names = append(names, name)
		}
	}
	return names
}

// Of are the actions that are shown.
func (v View) Of(actions []Action) []Action {
	var shown []Action
	for i := range actions {
		if v.shows(&actions[i]) {
			shown = append(shown, actions[i])
		}
	}
	return shown
}

func (v View) shows(a *Action) bool {
	switch {
	case a.Number < v.From || v.To > 0 && a.Number > v.To:
		return false
	case a.Time < v.Since || v.Until > 0 && a.Time > v.Until:
		return false
	case len(v.Kinds) > 0 && !slices.Contains(v.Kinds, a.Kind):
		return false
	case slices.Contains(v.Without, string(a.Kind)):
		return false
	case a.Message != nil:
		return v.has(a.Message.From) && v.has(a.Message.To) &&
			!slices.Contains(v.Without, a.Message.Type) && !slices.Contains(v.Without, request(a.Message.Type))
	}
	return (a.Node == "" || v.has(a.Node)) && (a.Peer == "" || v.has(a.Peer))
}

func (v View) has(id raft.NodeID) bool { return len(v.Nodes) == 0 || slices.Contains(v.Nodes, id) }

// request is the type of message that a type answers, or itself.
func request(kind string) string { return strings.TrimSuffix(kind, "-reply") }

// lanes are the nodes that actions are about, n2 before n10.
func (v View) lanes(actions []Action) []raft.NodeID {
	seen := map[raft.NodeID]bool{}
	for i := range actions {
		a := &actions[i]
		seen[a.Node], seen[a.Peer] = true, true
		if a.Message != nil {
			seen[a.Message.From], seen[a.Message.To] = true, true
		}
	}
	var all []raft.NodeID
	for id := range seen {
		if id != "" && v.has(id) {
			all = append(all, id)
		}
	}
	slices.SortFunc(all, func(a, b raft.NodeID) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	return all
}

// transit is one copy of a message on its way.
type transit struct {
	send       int // of the actions; -1 where it is not among them
	end        int // its Receive or Lose; -1 where there is none
	unanswered bool
}

// name tells messages apart.
type name struct {
	kind        string
	from, to    raft.NodeID
	id          uint64
	term, index uint64
}

func (m *Message) name() name { return name{m.Type, m.From, m.To, m.ID, m.Term, m.Index} }

// transits joins what was sent to where it arrived, or did not. The first that arrives is the first that was sent.
func transits(actions []Action) []transit {
	var all []transit
	open := map[name][]int{} // of all
	for i := range actions {
		m := actions[i].Message
		if m == nil {
			continue
		}
		key := m.name()
		switch actions[i].Kind {
		case Send:
			open[key] = append(open[key], len(all))
			all = append(all, transit{send: i, end: -1})
		case Duplicate:
			send := -1
			if of := open[key]; len(of) > 0 {
				send = all[of[len(of)-1]].send
			}
			open[key] = append(open[key], len(all))
			all = append(all, transit{send: send, end: -1})
		case Receive, Lose:
			if of := open[key]; len(of) > 0 {
				all[of[0]].end = i
				open[key] = of[1:]
			} else {
				all = append(all, transit{send: -1, end: i})
			}
		case Unanswered:
			if of := open[key]; len(of) > 0 {
				all[of[0]].unanswered = true
			}
		}
	}
	return all
}

// short tells in a word or two what an action is, for a drawing that shows where and when.
func (a *Action) short() string {
	switch a.Kind {
	case Start:
		return fmt.Sprintf("start, log %d", a.Index)
	case Stop:
		return because("stop", a.Text)
	case Crash:
		return because("crash", a.Text)
	case Term:
		return fmt.Sprintf("term %d", a.Term)
	case Role:
		if a.Leader != "" && a.Leader != a.Node {
			return "follows " + string(a.Leader)
		}
		return a.Role
	case Vote:
		if a.Vote == a.Node {
			return "votes itself"
		}
		return fmt.Sprintf("votes %s", a.Vote)
	case Append:
		return "log " + runs(a.Entries)
	case Truncate:
		return fmt.Sprintf("truncate after %d", a.Index)
	case Commit:
		return fmt.Sprintf("commit %d", a.Index)
	case Configuration:
		if a.State == Appended {
			return fmt.Sprintf("config %d %s", a.Index, members(a.Configuration))
		}
		return fmt.Sprintf("config %d %s", a.Index, a.State)
	case Apply:
		return "apply " + span(a.Entries)
	case Snapshot:
		return fmt.Sprintf("snapshot %d", a.Index)
	case Install:
		return fmt.Sprintf("install snapshot %d", a.Index)
	case Compact:
		return fmt.Sprintf("drop log to %d", a.Index)
	case Read:
		return fmt.Sprintf("read %s at %d", a.Text, a.Index)
	case Request, Answer:
		return strings.TrimSpace(a.Client + " " + a.Text)
	case Unanswered:
		return "no answer: " + a.Message.short()
	case Pause:
		return "paused"
	case Resume:
		return "runs on"
	}
	return a.String()
}

// short tells what a message is about: "append 5..7 @3" is sent in term 3.
func (m *Message) short() string {
	text := request(m.Type)
	if text != m.Type {
		switch {
		case m.Reject && m.ConflictIndex > 0:
			return fmt.Sprintf("%s ✗ back to %d", text, m.ConflictIndex)
		case m.Reject:
			return text + " ✗"
		case m.Type == TypeName(raft.MsgAppendReply):
			return fmt.Sprintf("%s ✓ %d", text, m.Index)
		}
		return text + " ✓"
	}
	switch {
	case len(m.Entries) > 0:
		text += " " + span(m.Entries)
	case m.Type == TypeName(raft.MsgSnapshot):
		text += fmt.Sprintf(" %d, chunk %d", m.Snapshot, m.Chunk)
	}
	text += fmt.Sprintf(" @%d", m.Term)
	if m.Commit > 0 && m.Type == TypeName(raft.MsgHeartbeat) {
		text += fmt.Sprintf(", commit %d", m.Commit)
	}
	return text
}

// span tells from where to where entries stand.
func span(all []Run) string {
	if len(all) == 0 {
		return "nothing"
	}
	first, last := all[0].First, all[len(all)-1].Last
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d..%d", first, last)
}

// About tells whether an action concerns a node.
func (a *Action) About(id raft.NodeID) bool {
	return a.Node == id || a.Peer == id || a.Message != nil && (a.Message.From == id || a.Message.To == id)
}

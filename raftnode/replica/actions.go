package replica

import (
	"fmt"

	"coup/raftnode/actionlog"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
)

// recorder tells Config.Actions what the replica does, each action once it is true: what the core comes to upon
// an input right after that input, what is kept once it is durable, a message once the bus has it. A nil recorder
// tells nothing.
type recorder struct {
	tell func(actionlog.Action)
	id   raft.NodeID
	core *raft.Raft

	// As told last.
	term, commit uint64
	role         raft.Role
	leader       raft.NodeID
	voted        raft.HardState
	last         uint64 // index of the log's last durable entry
	configured   uint64 // index of the configuration in force there
}

// begin tells of the start of a node and what it holds.
func begin(c Config, core *raft.Raft, state raft.State) *recorder {
	if c.Actions == nil {
		return nil
	}
	r := &recorder{
		tell: c.Actions, id: c.ID, core: core,
		term: core.Term(), commit: core.Commit(), role: core.Role(), voted: state.HardState, last: state.Last, configured: core.ConfigurationIndex(),
	}
	inForce := core.Configuration()
	r.tell(actionlog.Action{Kind: actionlog.Start, Node: c.ID, Term: r.term, Vote: core.Vote(), Index: state.Last, Configuration: &inForce})
	return r
}

func (r *recorder) received(m *raft.Message) {
	if r != nil {
		r.tell(actionlog.Action{Kind: actionlog.Receive, Node: r.id, Message: actionlog.Summary(m)})
	}
}

func (r *recorder) sent(m *raft.Message) {
	if r != nil {
		r.tell(actionlog.Action{Kind: actionlog.Send, Node: r.id, Message: actionlog.Summary(m)})
	}
}

func (r *recorder) unanswered(m *raft.Message, why error) {
	if r != nil {
		r.tell(actionlog.Action{Kind: actionlog.Unanswered, Node: r.id, Message: actionlog.Summary(m), Text: why.Error()})
	}
}

// noticed tells what the core has come to, upon a message or, where that is nil, upon something else.
func (r *recorder) noticed(m *raft.Message, upon string) {
	if r == nil {
		return
	}
	if term := r.core.Term(); term != r.term {
		r.term = term
		r.tell(actionlog.Action{Kind: actionlog.Term, Node: r.id, Term: term})
	}
	role, leader := r.core.Role(), r.core.Leader()
	if role == r.role && leader == r.leader {
		return
	}
	r.role, r.leader = role, leader
	if m != nil {
		upon = fmt.Sprintf("%s of %s", actionlog.TypeName(m.Type), m.From)
	}
	r.tell(actionlog.Action{Kind: actionlog.Role, Node: r.id, Term: r.term, Role: role.String(), Leader: leader, Text: upon})
}

// kept tells of what is durable now, and of what is known to be committed.
func (r *recorder) kept(ready *raft.Ready) {
	if r == nil {
		return
	}
	if hs := ready.HardState; hs != nil {
		if hs.Vote != "" && (hs.Vote != r.voted.Vote || hs.Term != r.voted.Term) {
			r.tell(actionlog.Action{Kind: actionlog.Vote, Node: r.id, Term: hs.Term, Vote: hs.Vote})
		}
		r.voted = *hs
	}
	if len(ready.Entries) > 0 {
		r.appended(ready.Entries)
	}
	if commit := r.core.Commit(); commit > r.commit {
		r.commit = commit
		r.tell(actionlog.Action{Kind: actionlog.Commit, Node: r.id, Term: r.term, Index: commit})
	}
	for i := range ready.Committed {
		if e := &ready.Committed[i]; e.Type == raft.EntryConfiguration {
			if base, err := r.core.BaseAt(e.Index); err == nil {
				r.configuration(actionlog.Committed, e.Index, base.Configuration)
			}
		}
	}
}

func (r *recorder) appended(entries []raft.Entry) {
	first := entries[0].Index
	if first <= r.last {
		r.tell(actionlog.Action{Kind: actionlog.Truncate, Node: r.id, Term: r.term, Index: first - 1})
	}
	r.last = entries[len(entries)-1].Index
	r.tell(actionlog.Action{Kind: actionlog.Append, Node: r.id, Term: r.term, Entries: actionlog.Runs(entries)})
	if r.configured >= first {
		if base, err := r.core.BaseAt(first - 1); err == nil {
			r.configuration(actionlog.RolledBack, first-1, base.Configuration)
		}
	}
	r.core.Configurations(first-1, func(index uint64, c raft.Configuration) {
		r.configuration(actionlog.Appended, index, c)
	})
	r.configured = r.core.ConfigurationIndex()
}

func (r *recorder) configuration(state string, index uint64, c raft.Configuration) {
	r.tell(actionlog.Action{
		Kind: actionlog.Configuration, Node: r.id, Term: r.term, Index: index, State: state, Configuration: &c,
	})
}

// applies comes before anybody is answered.
func (r *recorder) applies(entries []raft.Entry) {
	if r != nil && len(entries) > 0 {
		r.tell(actionlog.Action{Kind: actionlog.Apply, Node: r.id, Entries: actionlog.Runs(entries)})
	}
}

func (r *recorder) took(s raft.Snapshot) {
	if r != nil {
		r.tell(actionlog.Action{Kind: actionlog.Snapshot, Node: r.id, Term: s.Term, Index: s.Index})
	}
}

func (r *recorder) installed(s raft.Snapshot) {
	if r != nil {
		r.last, r.configured, r.commit = s.Index, s.Index, max(r.commit, s.Index)
		r.tell(actionlog.Action{Kind: actionlog.Install, Node: r.id, Term: s.Term, Index: s.Index, Configuration: &s.Configuration})
	}
}

func (r *recorder) compacted(to uint64) {
	if r != nil {
		r.tell(actionlog.Action{Kind: actionlog.Compact, Node: r.id, Index: to})
	}
}

func (r *recorder) read(q query) {
	if r != nil {
		r.tell(actionlog.Action{Kind: actionlog.Read, Node: r.id, Term: r.core.Term(), Index: q.index, Text: q.key})
	}
}

// command tells of a client's command, and later how that ended.
func (r *recorder) command(c fsm.Command, done func(Result, error)) func(Result, error) {
	if r == nil {
		return done
	}
	return r.asked(describe(c), done)
}

// change is command of a change of members.
func (r *recorder) change(changes []confchange.Change, done func(Result, error)) func(Result, error) {
	if r == nil {
		return done
	}
	return r.asked(fmt.Sprint(changes), done)
}

// query is command of a read.
func (r *recorder) query(key string, done func(Result, error)) func(Result, error) {
	if r == nil {
		return done
	}
	return r.asked("read "+key, done)
}

func (r *recorder) asked(what string, done func(Result, error)) func(Result, error) {
	r.tell(actionlog.Action{Kind: actionlog.Request, Node: r.id, Text: what})
	return func(result Result, err error) {
		text := what + ": ok"
		if err != nil {
			text = what + ": " + err.Error()
		}
		r.tell(actionlog.Action{Kind: actionlog.Answer, Node: r.id, Text: text})
		done(result, err)
	}
}

// describe tells what a command asks for; values may be long, and are nobody's business.
func describe(c fsm.Command) string {
	switch c.Op {
	case fsm.Write:
		return "write " + c.Key
	case fsm.CAS:
		return "cas " + c.Key
	case fsm.Delete:
		return "delete " + c.Key
	case fsm.OpenSession:
		return "open a session"
	case fsm.CloseSession:
		return fmt.Sprintf("close session %d", c.Session)
	}
	return "tell the time"
}

package sim

import (
	"errors"
	"hash/crc32"

	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/raft/invariant"
)

// surface is what is durable of a log, without its content.
type surface struct {
	state raft.HardState
	base  invariant.Mark
	marks []invariant.Mark // from base on
}

func (s *surface) take(x *write) {
	if x.withState {
		s.state = x.state
	}
	switch x.kind {
	case writeLog:
		if len(x.entries) > 0 {
			s.marks = s.marks[:x.entries[0].Index-s.base.Index-1]
			for i := range x.entries {
				e := &x.entries[i]
				s.marks = append(s.marks, invariant.Mark{Index: e.Index, Term: e.Term, Checksum: e.Checksum})
			}
		}
	case writeBase:
		s.base, s.marks = markOf(*x.base), s.marks[:0]
	case writeTruncation:
		if x.base.Index > s.base.Index {
			s.marks = s.marks[:copy(s.marks, s.marks[x.base.Index-s.base.Index:])]
			s.base = markOf(*x.base)
		}
	}
}

func markOf(b raft.Base) invariant.Mark {
	return invariant.Mark{Index: b.Index, Term: b.Term, Checksum: b.Checksum}
}

// show brings the surface up to what is durable by now.
func (d *disk) show() *surface {
	for d.shown < len(d.journal) && d.journal[d.shown].durable <= d.world.now {
		d.surface.take(&d.journal[d.shown])
		d.shown++
	}
	return &d.surface
}

// platter is what is durable of a node now, as the checker of invariants looks at it.
type platter struct{ *disk }

// Term implements invariant.Disk.
func (p platter) Term() uint64 { return p.show().state.Term }

// Vote implements invariant.Disk.
func (p platter) Vote() raft.NodeID { return p.show().state.Vote }

// LastIndex implements invariant.Disk.
func (p platter) LastIndex() uint64 {
	s := p.show()
	return s.base.Index + uint64(len(s.marks))
}

// BaseIndex implements invariant.Disk.
func (p platter) BaseIndex() uint64 { return p.show().base.Index }

// Entry implements invariant.Disk.
func (p platter) Entry(index uint64) (term uint64, checksum uint32, found bool) {
	s := p.show()
	switch {
	case index == s.base.Index:
		return s.base.Term, s.base.Checksum, true
	case index < s.base.Index || index > s.base.Index+uint64(len(s.marks)):
		return 0, 0, false
	}
	m := &s.marks[index-s.base.Index-1]
	return m.Term, m.Checksum, true
}

// deed is what a state machine did: it applied an entry or was made from a snapshot.
type deed struct {
	mark          invariant.Mark
	hash          uint64
	configuration *raft.Configuration // of a snapshot; else nil
	// Of a command of a session; else zero.
	session, sequence, answer uint64
	repeated                  bool

	key   string // that it wrote, as far as anybody has to know
	wrote version
}

// witness notes what becomes of a node's state. It is judged once it can be seen from outside.
type witness struct{ *node }

// Applied implements replica.Observer.
func (n witness) Applied(e raft.Entry, r fsm.Result, hash uint64) {
	d := deed{mark: invariant.Mark{Index: e.Index, Term: e.Term, Checksum: e.Checksum}, hash: hash}
	if e.Type == raft.EntryCommand && n.world.session.begun && r.Code != fsm.SessionExpired && r.Code != fsm.SequenceForgotten {
		if c, err := fsm.Decode(e.Data); err == nil && c.Sequence > 0 {
			d.session, d.sequence, d.repeated = c.Session, c.Sequence, r.Repeated
			d.answer = uint64(r.Code)<<56 ^ r.Revision<<32 ^ uint64(crc32.ChecksumIEEE([]byte(r.Value)))
		}
	}
	if n.world.applied != nil {
		n.world.applied[e.Index] = e
	}
	d.key, d.wrote = n.world.past.writes(&e, &r)
	n.deeds, n.state = append(n.deeds, d), hash
}

// Restored implements replica.Observer.
func (n witness) Restored(b raft.Base, hash uint64) {
	n.deeds = append(n.deeds, deed{mark: markOf(b), hash: hash, configuration: &b.Configuration})
	n.state = hash
}

// broken takes what a check came to.
func (w *World) broken(err error) {
	if err == nil || w.failure != nil || w.options.Unchecked {
		return
	}
	var violation *invariant.Violation
	if errors.As(err, &violation) {
		w.fail(violation.Invariant, "%s", violation.Text)
		return
	}
	w.fail("harness", "%v", err)
}

// judgeStart begins a life of a node for the checks.
func (w *World) judgeStart(n *node) {
	if n.disk.database != nil {
		// Its state may be the first that shows an entry to be committed: of a crash before that could be seen.
		w.broken(w.check.Start(n.id, n.replica.Core(), platter{n.disk}))
		w.judgeDeeds(n)
		return
	}
	w.judgeDeeds(n)
	w.broken(w.check.Start(n.id, n.replica.Core(), platter{n.disk}))
}

func (w *World) judgeDeeds(n *node) {
	for i := range n.deeds {
		if d := &n.deeds[i]; d.configuration != nil {
			w.broken(w.check.Restore(n.id, d.mark, *d.configuration, d.hash))
			w.past.skip(d.mark.Index)
		} else {
			w.broken(w.check.Apply(n.id, d.mark, d.hash))
			w.past.note(d.mark.Index, d.key, d.wrote)
		}
		switch d := &n.deeds[i]; {
		case d.session == 0:
		case d.repeated:
			w.broken(w.check.Repeat(d.session, d.sequence, d.answer))
		default:
			w.broken(w.check.Execute(d.session, d.sequence, d.mark.Index, d.answer))
		}
	}
	n.deeds = n.deeds[:0]
}

// judge holds a node to the invariants.
func (w *World) judge(n *node) {
	w.judgeDeeds(n)
	if !w.options.Unchecked {
		w.broken(w.check.Step(n.id))
	}
	if c := n.replica.Core(); c.ConfigurationIndex() != n.configured {
		n.configured = c.ConfigurationIndex()
		if c.Leads() && c.Configuration().Joint() {
			w.reached.Joint++
		}
	}
}

// judgeSent judges a message that leaves.
func (w *World) judgeSent(n *node, ref int32) {
	if w.options.Unchecked {
		return
	}
	m := &w.network.letters[ref].m
	p := invariant.Promise{Term: m.Term}
	switch m.Type {
	case raft.MsgPreVote:
		p.Term--
	case raft.MsgPreVoteReply:
		if !m.Reject {
			p.Term = 0 // it repeats what was asked
		}
	case raft.MsgVote:
		p.VoteFor = m.From
	case raft.MsgVoteReply:
		if !m.Reject {
			p.VoteFor = m.To
		}
	case raft.MsgAppendReply, raft.MsgSnapshotReply:
		if !m.Reject {
			p.Accepted = m.Index
		}
	}
	w.broken(w.check.Sent(n.id, p))
}

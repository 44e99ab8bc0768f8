package raft

import "fmt"

// Propose appends a command to the log of a leader. It will be applied if the entry at index still
// has this term when it is committed. Errors: *NotLeaderError, ErrOverloaded, ErrTransferring; nothing was
// done then.
func (r *Raft) Propose(data []byte) (index, term uint64, err error) {
	if r.role != Leader {
		return 0, 0, r.notLeader()
	}
	if r.transfer.to != "" {
		return 0, 0, ErrTransferring
	}
	if r.uncommitted > 0 && r.uncommitted+len(data) > r.config.MaxUncommittedBytes {
		return 0, 0, ErrOverloaded
	}
	return r.appendAsLeader(Entry{Type: EntryCommand, Data: data}), r.term, nil
}

func (r *Raft) notLeader() error { return &NotLeaderError{Leader: r.leader, Term: r.term} }

func (r *Raft) appendAsLeader(e Entry) uint64 {
	end, err := r.log.end()
	r.fail(err)
	e.Index, e.Term = end.index+1, r.term
	e.Checksum = NextChecksum(end.checksum, e)
	r.fail(r.append(e))
	r.uncommitted += len(e.Data)
	return e.Index
}

// replicate fills the peers' windows with what they lack.
func (r *Raft) replicate() {
	for _, id := range r.inForce().replicated {
		p := r.peers[id]
		if p == nil {
			continue
		}
		for p.next <= r.log.last() && p.canSend(r.config.MaxInFlight) {
			var err error
			if p.state == sending || p.next <= r.log.base.Index {
				err = r.sendChunk(id, p)
			} else {
				err = r.sendAppend(id, p)
			}
			if err != nil {
				r.fail(err)
				return
			}
		}
	}
}

func (r *Raft) sendAppend(to NodeID, p *progress) error {
	previous, err := r.log.at(p.next - 1)
	if err != nil {
		return err
	}
	entries, err := r.log.slice(p.next, r.log.last()+1, r.config.MaxMessageBytes)
	if err != nil {
		return err
	}
	p.sent(entries[len(entries)-1].Index)
	r.early = append(r.early, Message{
		Type: MsgAppend, From: r.config.ID, To: to, Term: r.term, Epoch: p.epoch,
		Index: previous.index, LogTerm: previous.term, Checksum: previous.checksum,
		Entries: entries, Commit: r.log.commit, ReadRound: r.readRound,
	})
	return nil
}

// beat sends a heartbeat to everybody.
func (r *Raft) beat() {
	r.sinceBeat = 0
	r.beginLease()
	for _, id := range r.inForce().replicated {
		if p := r.peers[id]; p != nil {
			r.early = append(r.early, Message{
				Type: MsgHeartbeat, From: r.config.ID, To: id, Term: r.term, Epoch: p.epoch,
				Commit: min(r.log.commit, p.match), ReadRound: r.readRound,
			})
		}
	}
}

// Unreachable says that a request to a peer was lost, or may have been, or was never answered.
func (r *Raft) Unreachable(m Message) {
	switch m.Type {
	case MsgReadIndex:
		r.refuseAsked(m.ReadRound)
	case MsgFetch:
		r.feed.lost(m.To)
	default:
		p := r.peers[m.To]
		if p == nil || m.Term != r.term || m.Epoch != p.epoch {
			return
		}
		if p.state != sending {
			p.probe(p.match + 1)
		}
		p.waiting = true // until it answers a heartbeat
	}
}

// follow takes m.From for the leader of the term. Two leaders in one term are a broken invariant.
func (r *Raft) follow(m Message) error {
	if r.role == Leader || r.leader != "" && r.leader != m.From {
		err := &InvariantError{fmt.Sprintf("%s and %s both lead term %d", r.leader, m.From, m.Term)}
		r.fail(err)
		return err
	}
	if r.role != Follower {
		r.becomeFollower(m.Term, m.From)
	}
	r.leader, r.sinceHeard, r.heardLeader = m.From, 0, r.now
	if r.joined == 0 && len(r.inForce().Voters) == 0 {
		r.joined = m.Epoch
	}
	return nil
}

func (r *Raft) stepAppend(m Message) error {
	if err := checkEntries(m); err != nil {
		return err
	}
	if err := r.follow(m); err != nil {
		return err
	}
	if known := r.log.commit; m.Index < known {
		// What is committed is the same everywhere: only what comes after it is news.
		if m.Index+uint64(len(m.Entries)) <= known {
			r.reply(m, Message{Index: known})
			return nil
		}
		e := &m.Entries[known-m.Index-1]
		m.Index, m.LogTerm, m.Checksum, m.Entries = e.Index, e.Term, e.Checksum, m.Entries[known-m.Index:]
	}
	mine, err := r.agreement(m.Index, m.LogTerm)
	if err != nil {
		r.fail(err)
		return err
	}
	if mine.index != m.Index || mine.term != m.LogTerm {
		r.reply(m, Message{Reject: true, Index: m.Index, ConflictIndex: mine.index, ConflictTerm: mine.term})
		return nil
	}
	fresh, err := r.differing(mine, m)
	if err == nil && len(fresh) > 0 {
		err = r.append(fresh...)
	}
	if err != nil {
		r.fail(err)
		return err
	}
	last := m.Index + uint64(len(m.Entries))
	r.log.commit = max(r.log.commit, min(m.Commit, last))
	r.reply(m, Message{Index: last})
	return nil
}

// agreement is the entry at index when its term is the given one, else the last one before it at which the logs may
// still agree.
func (r *Raft) agreement(index, term uint64) (mark, error) {
	if index <= r.log.last() {
		if mine, err := r.log.at(index); err != nil || mine.term == term {
			return mine, err
		}
	}
	return r.log.atMost(index, term)
}

// checkEntries refuses an append that no leader sends. Its entries' checksums must follow from the
// one of the entry before them.
func checkEntries(m Message) error {
	previous := Entry{Index: m.Index, Term: m.LogTerm, Checksum: m.Checksum}
	for _, e := range m.Entries {
		switch {
		case e.Index != previous.Index+1, e.Term < previous.Term, e.Term > m.Term:
			return fmt.Errorf("raft: append from %s has entry (%d, term %d) after (%d, term %d)",
				m.From, e.Index, e.Term, previous.Index, previous.Term)
		case e.Checksum != NextChecksum(previous.Checksum, e):
			return fmt.Errorf("raft: append from %s: entry %d fails its checksum", m.From, e.Index)
		}
		previous = e
	}
	return nil
}

// differing returns those of m.Entries that the log lacks or has with another term. Entries of equal
// index and term must be equal.
func (r *Raft) differing(previous mark, m Message) ([]Entry, error) {
	if previous.checksum != m.Checksum {
		return nil, r.diverged(previous, m.From, m.Checksum)
	}
	for i, e := range m.Entries {
		if e.Index > r.log.last() {
			return m.Entries[i:], nil
		}
		mine, err := r.log.at(e.Index)
		if err != nil {
			return nil, err
		}
		if mine.term != e.Term {
			return m.Entries[i:], nil
		}
		if mine.checksum != e.Checksum {
			return nil, r.diverged(mine, m.From, e.Checksum)
		}
	}
	return nil, nil
}

func (r *Raft) diverged(mine mark, leader NodeID, checksum uint32) error {
	return &InvariantError{fmt.Sprintf(
		"the log up to entry %d (term %d) differs from leader %s's: checksum %08x here, %08x there",
		mine.index, mine.term, leader, mine.checksum, checksum)}
}

// answerer is what the leader knows of the sender of a reply; nil when the reply does not count: this
// node does not lead, or the sender is no member, or was none when it was asked.
func (r *Raft) answerer(m Message) *progress {
	p := r.peers[m.From]
	if r.role != Leader || p == nil || p.epoch != m.Epoch {
		return nil
	}
	p.heard = r.now
	return p
}

func (r *Raft) stepAppendReply(m Message) error {
	p := r.answerer(m)
	if p == nil {
		return nil
	}
	r.confirmRound(p, m.ReadRound)
	if m.Reject {
		return r.stepRefusal(p, m)
	}
	if m.Index > r.log.last() {
		return fmt.Errorf("raft: %s claims entry %d, beyond the leader's last %d", m.From, m.Index, r.log.last())
	}
	if p.accepted(m.Index) {
		r.advanceCommit()
	}
	return nil
}

// stepRefusal finds where the peer's log may still agree, skipping whole terms (paper, 5.3). Where the
// log no longer reaches back to that, the peer needs a snapshot.
func (r *Raft) stepRefusal(p *progress, m Message) error {
	if p.state == sending || p.state == probing && m.Index != p.next-1 {
		return nil
	}
	if m.Index <= p.match {
		// It came before what it builds on, and was refused for that: nothing else is under way that brings it.
		p.probe(p.match + 1)
		return nil
	}
	if m.ConflictIndex < r.log.base.Index {
		p.probe(m.ConflictIndex + 1)
		return nil
	}
	agreed, err := r.log.atMost(m.ConflictIndex, m.ConflictTerm)
	if err != nil {
		r.fail(err)
		return err
	}
	if agreed.term > m.ConflictTerm {
		// Not even the base agrees.
		p.probe(agreed.index)
		return nil
	}
	p.probe(agreed.index + 1)
	return nil
}

// advanceCommit commits what a quorum holds durably, if it is of this leader's term: an older entry
// is committed only along with a newer one (paper, 5.4.2, figure 8).
func (r *Raft) advanceCommit() {
	index := r.quorum().Committed(func(id NodeID) uint64 {
		if id == r.config.ID {
			return r.log.durable
		}
		if p := r.peers[id]; p != nil {
			return p.match
		}
		return 0
	})
	if index <= r.log.commit {
		return
	}
	at, err := r.log.at(index)
	if err != nil {
		r.fail(err)
		return
	}
	if at.term != r.term {
		return
	}
	r.releaseUncommitted(index)
	r.log.commit = index
	if !r.termCommitted {
		r.termCommitted = true
		r.admitReads()
	}
}

func (r *Raft) releaseUncommitted(commit uint64) {
	lo := max(r.log.commit+1, r.log.offset)
	if lo > commit {
		return
	}
	for _, e := range r.log.tail[lo-r.log.offset : commit+1-r.log.offset] {
		if e.Term == r.term {
			r.uncommitted -= len(e.Data)
		}
	}
}

func (r *Raft) stepHeartbeat(m Message) error {
	if err := r.follow(m); err != nil {
		return err
	}
	r.log.commit = max(r.log.commit, min(m.Commit, r.log.last()))
	r.reply(m, Message{})
	return nil
}

func (r *Raft) stepHeartbeatReply(m Message) {
	p := r.answerer(m)
	if p == nil || m.Reject {
		return
	}
	p.waiting = false
	r.confirmRound(p, m.ReadRound)
}

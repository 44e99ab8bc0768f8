package raft

// Status describes the node.
func (r *Raft) Status() Status {
	s := Status{
		ID: r.config.ID, Role: r.role, Term: r.term, Vote: r.vote, Leader: r.leader,
		Commit: r.log.commit, Applied: r.log.applied, Configuration: r.Configuration(),
		Snapshot: r.snapshot.Index, First: r.log.base.Index + 1,
	}
	if r.role != Leader && r.fed() {
		s.Upstream = r.feed.upstream
	}
	end, err := r.log.end()
	r.fail(err)
	s.LastIndex, s.LastTerm, s.LastChecksum = end.index, end.term, end.checksum
	if r.role == Leader {
		s.Transferee = r.transfer.to
		s.Progress = make(map[NodeID]PeerProgress, len(r.peers))
		for id, p := range r.peers {
			s.Progress[id] = p.status(r.now, r.config.ElectionTicks)
		}
	}
	return s
}

// Term is the node's current term.
func (r *Raft) Term() uint64 { return r.term }

// Vote is whom the node voted for in its term; empty for nobody.
func (r *Raft) Vote() NodeID { return r.vote }

// Role is what the node takes itself for.
func (r *Raft) Role() Role { return r.role }

// Leads tells whether the node takes itself for the leader.
func (r *Raft) Leads() bool { return r.role == Leader }

// Leader is the leader of the node's term, as far as it knows; empty when unknown.
func (r *Raft) Leader() NodeID { return r.leader }

// Commit is the index up to which the log is known to be committed.
func (r *Raft) Commit() uint64 { return r.log.commit }

// Applied is the index up to which the driver has applied the log.
func (r *Raft) Applied() uint64 { return r.log.applied }

// LastIndex is that of the last entry, durable or not.
func (r *Raft) LastIndex() uint64 { return r.log.last() }

// BaseIndex is that of the last entry that the log no longer has.
func (r *Raft) BaseIndex() uint64 { return r.log.base.Index }

// Entry tells the term and the cumulative checksum at an index of the log, or of its base.
func (r *Raft) Entry(index uint64) (term uint64, checksum uint32, found bool) {
	if index < r.log.base.Index || index > r.log.last() {
		return 0, 0, false
	}
	m, err := r.log.at(index)
	return m.term, m.checksum, err == nil
}

// ConfigurationIndex is the index of the entry whose configuration is in force; the base's when no entry of the log has one.
func (r *Raft) ConfigurationIndex() uint64 { return r.inForce().index }

// Configurations yields those that stand in the log above after, oldest first, each with the index of its entry.
func (r *Raft) Configurations(after uint64, yield func(index uint64, c Configuration)) {
	for i := range r.configurations {
		if c := &r.configurations[i]; c.index > max(after, r.log.base.Index) {
			yield(c.index, c.Configuration)
		}
	}
}

// Peers yields what a leader knows of those that it replicates to, in the order of their names.
func (r *Raft) Peers(yield func(id NodeID, match, next, epoch uint64)) {
	for _, id := range r.inForce().replicated {
		if p := r.peers[id]; p != nil {
			yield(id, p.match, p.next, p.epoch)
		}
	}
}

// LatestSnapshot is the one that the driver told of last, or that was installed.
func (r *Raft) LatestSnapshot() Snapshot { return r.snapshot }

// ReceivedSnapshot is how far a snapshot that this node is being sent has come.
func (r *Raft) ReceivedSnapshot() Received { return r.received }

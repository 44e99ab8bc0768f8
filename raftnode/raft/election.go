package raft

import "coup/raftnode/raft/quorum"

// hearsLeader tells whether a leader is alive for all this node knows, so that campaigns of others
// are turned down (thesis, 4.2.3). A leader that lost its quorum notices by itself.
//
// Where leases rest on that, they outlast the term that the node was in when it heard the leader: a
// candidate of a later term may still collect votes. And a node that has just started may have heard a
// leader before it stopped, and keeps still for as long as its lease may last.
func (r *Raft) hearsLeader() bool {
	defends := r.leader != "" || r.config.LeaseDrift > 0
	return r.role == Leader || defends && r.now-r.heardLeader < uint64(r.config.ElectionTicks)
}

func (r *Raft) becomeFollower(term uint64, leader NodeID) {
	if term > r.term {
		r.term, r.vote = term, ""
	}
	r.role, r.leader = Follower, leader
	r.votes, r.peers = nil, nil
	r.transfer, r.lease = transfer{}, lease{}
	r.restartTimer()
	r.refuseReads()
}

func (r *Raft) restartTimer() {
	r.sinceHeard = 0
	r.timeout = r.config.ElectionTicks + r.random.IntN(r.config.ElectionTicks)
}

// campaign asks for votes: as PreCandidate whether they would be given in the next term (thesis,
// 9.6), as Candidate for the votes themselves. With transfer the leader itself has asked for it.
func (r *Raft) campaign(as Role, transfer bool) {
	r.becomeFollower(r.term, "")
	r.role = as
	request := Message{Type: MsgPreVote, Term: r.term + 1}
	if as == Candidate {
		r.term, r.vote = r.term+1, r.config.ID
		request = Message{Type: MsgVote, Term: r.term, Transfer: transfer}
	}
	end, err := r.log.end()
	r.fail(err)
	request.Index, request.LogTerm, request.From = end.index, end.term, r.config.ID

	r.votes = map[NodeID]bool{r.config.ID: true}
	for _, id := range r.quorum().Members() {
		if id != r.config.ID {
			request.To = id
			r.messages = append(r.messages, request)
		}
	}
	r.countVotes()
}

func (r *Raft) countVotes() {
	switch r.quorum().Tally(r.votes) {
	case quorum.Won:
		if r.role == PreCandidate {
			r.campaign(Candidate, false)
		} else {
			r.becomeLeader()
		}
	case quorum.Lost:
		r.becomeFollower(r.term, "")
	}
}

// stepVoteRequest answers whoever asks, member or not: the asker may know a configuration that this
// node does not (thesis, 4.2.3).
func (r *Raft) stepVoteRequest(m Message) {
	end, err := r.log.end()
	r.fail(err)
	current := m.LogTerm > end.term || m.LogTerm == end.term && m.Index >= end.index
	free := m.Term > r.term || r.vote == m.From || r.vote == "" && r.leader == ""
	// A node without memory of what it promised, or may have promised under the same name, has no vote.
	blank := len(r.inForce().Voters) == 0 || end.index < r.joined
	if blank || r.hearsLeader() && !m.Transfer || !current || !free {
		r.reply(m, Message{Reject: true})
		return
	}
	if m.Type == MsgVote {
		r.vote = m.From
		r.restartTimer()
	}
	r.reply(m, Message{Term: m.Term})
}

func (r *Raft) stepVoteReply(m Message) {
	asking := r.role == PreCandidate && m.Type == MsgPreVoteReply && (m.Reject || m.Term == r.term+1) ||
		r.role == Candidate && m.Type == MsgVoteReply && m.Term == r.term
	if !asking {
		return
	}
	if _, voted := r.votes[m.From]; voted {
		return
	}
	r.votes[m.From] = !m.Reject
	r.countVotes()
}

func (r *Raft) becomeLeader() {
	r.role, r.leader = Leader, r.config.ID
	r.sinceHeard, r.sinceBeat, r.reign = 0, 0, 0
	r.votes = nil
	r.readRound, r.termCommitted = 0, false
	r.uncommitted = 0
	r.peers = make(map[NodeID]*progress, len(r.inForce().replicated))
	r.updatePeers(r.log.last() + 1)
	r.appendAsLeader(Entry{Type: EntryNoOp})
}

func (r *Raft) tickLeader() {
	if r.sinceHeard >= r.config.ElectionTicks {
		r.sinceHeard = 0
		if !r.hearsQuorum() {
			r.becomeFollower(r.term, "")
			return
		}
	}
	if r.tickTransfer(); r.role != Leader {
		return
	}
	r.sinceBeat++
	if r.sinceBeat >= r.config.HeartbeatTicks {
		r.beat()
	}
}

// hearsQuorum tells whether a quorum has answered within the last election time-out (thesis, 6.2).
func (r *Raft) hearsQuorum() bool {
	heard := map[NodeID]bool{r.config.ID: true}
	for id, p := range r.peers {
		heard[id] = r.recent(p)
	}
	return r.quorum().Tally(heard) == quorum.Won
}

// recent tells whether a peer has answered within the last election time-out.
func (r *Raft) recent(p *progress) bool { return r.now-p.heard <= uint64(r.config.ElectionTicks) }

package raft

import (
	"slices"

	"coup/raftnode/raft/quorum"
)

// hearsLeader tells whether a leader is alive for all this node knows, so that campaigns of others
// are turned down (thesis, 4.2.3). A leader that lost its quorum notices by itself.
func (r *Raft) hearsLeader() bool {
	return r.role == Leader || r.leader != "" && r.sinceHeard < r.config.ElectionTicks
}

func (r *Raft) becomeFollower(term uint64, leader NodeID) {
	if term > r.term {
		r.term, r.vote = term, ""
	}
	r.role, r.leader = Follower, leader
	r.votes, r.peers = nil, nil
	r.restartTimer()
	r.refuseReads()
}

func (r *Raft) restartTimer() {
	r.sinceHeard = 0
	r.timeout = r.config.ElectionTicks + r.random.IntN(r.config.ElectionTicks)
}

// campaign asks for votes: as PreCandidate whether they would be given in the next term (thesis,
// 9.6), as Candidate for the votes themselves.
func (r *Raft) campaign(as Role) {
	r.becomeFollower(r.term, "")
	r.role = as
	request := Message{Type: MsgPreVote, Term: r.term + 1}
	if as == Candidate {
		r.term, r.vote = r.term+1, r.config.ID
		request = Message{Type: MsgVote, Term: r.term}
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
			r.campaign(Candidate)
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
	if r.hearsLeader() || !current || !free {
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
	r.sinceHeard, r.sinceBeat = 0, 0
	r.votes = nil
	r.readRound, r.termCommitted = 0, false
	r.uncommitted = 0
	r.peers = make(map[NodeID]*progress)
	for _, id := range r.members() {
		if id != r.config.ID {
			p := &progress{active: true}
			p.probe(r.log.last() + 1)
			r.peers[id] = p
		}
	}
	r.appendAsLeader(Entry{Type: EntryNoOp})
}

// members are all that are replicated to, sorted.
func (r *Raft) members() []NodeID {
	all := append(r.quorum().Members(), r.Configuration().Learners...)
	slices.Sort(all)
	return slices.Compact(all)
}

func (r *Raft) tickLeader() {
	if r.sinceHeard >= r.config.ElectionTicks {
		r.sinceHeard = 0
		if !r.hearsQuorum() {
			r.becomeFollower(r.term, "")
			return
		}
	}
	r.sinceBeat++
	if r.sinceBeat >= r.config.HeartbeatTicks {
		r.beat()
	}
}

// hearsQuorum tells whether a quorum has answered since it was last asked (thesis, 6.2).
func (r *Raft) hearsQuorum() bool {
	heard := map[NodeID]bool{r.config.ID: true}
	for id, p := range r.peers {
		heard[id] = p.active
		p.active = false
	}
	return r.quorum().Tally(heard) == quorum.Won
}

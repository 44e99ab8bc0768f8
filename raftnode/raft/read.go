package raft

// read is a ReadIndex request on its way (thesis, 6.4).
type read struct {
	id    uint64
	asker Message // of a follower that asks on behalf of its client; zero for this node's own
	index uint64  // the commit index when it was admitted
	round uint64  // the round that must be confirmed; 0 until one begins
	ready bool    // admitted: an entry of this term was committed when index was taken
}

// ReadIndex asks up to where a read must have seen the log to be linearizable. The answer, under the
// same id, is in a later Ready, or is refused there when leadership is lost before. Errors:
// *NotLeaderError.
func (r *Raft) ReadIndex(id uint64) error {
	if r.role != Leader {
		return r.notLeader()
	}
	r.admit(read{id: id})
	return nil
}

func (r *Raft) admit(read read) {
	read.index, read.ready = r.log.commit, r.termCommitted
	r.reads = append(r.reads, read)
}

// admitReads gives the reads that came too early their index: a new leader knows what is committed
// only once an entry of its own term is.
func (r *Raft) admitReads() {
	for i := range r.reads {
		r.reads[i].ready, r.reads[i].index = true, r.log.commit
	}
}

// beginReadRound asks the peers to confirm this leader, for reads that arrived since the last round.
// A confirmation counts only for a round that began after the read arrived.
func (r *Raft) beginReadRound() {
	begun := false
	for i := range r.reads {
		if read := &r.reads[i]; read.ready && read.round == 0 {
			if !begun {
				begun = true
				r.readRound++
			}
			read.round = r.readRound
		}
	}
	if begun {
		r.beat()
		r.answerReads()
	}
}

// answer tells whoever asked.
func (r *Raft) answer(read read, err error) {
	switch {
	case read.asker.Type == 0:
		r.answers = append(r.answers, ReadState{ID: read.id, Index: read.index, Err: err})
	case err != nil:
		r.reply(read.asker, Message{Reject: true})
	default:
		r.reply(read.asker, Message{Index: read.index})
	}
}

func (r *Raft) confirmRound(p *progress, round uint64) {
	if round > p.readRound {
		p.readRound = round
		r.answerReads()
	}
}

// answerReads releases the reads whose round a quorum has confirmed.
func (r *Raft) answerReads() {
	confirmed := r.quorum().Committed(func(id NodeID) uint64 {
		if id == r.config.ID {
			return r.readRound
		}
		if p := r.peers[id]; p != nil {
			return p.readRound
		}
		return 0
	})
	r.extendLease(confirmed)
	done := 0
	for done < len(r.reads) && r.reads[done].round != 0 && r.reads[done].round <= confirmed {
		r.answer(r.reads[done], nil)
		done++
	}
	r.reads = r.reads[done:]
}

// refuseReads fails all reads that are still waiting: this node leads no more, or follows somebody else.
func (r *Raft) refuseReads() {
	for _, read := range r.reads {
		r.answer(read, r.notLeader())
	}
	r.reads = nil
	for _, a := range r.asked {
		r.answers = append(r.answers, ReadState{ID: a.id, Err: r.notLeader()})
	}
	r.asked = nil
}

// asked is a read of this follower's client that waits for the leader to say up to where this node must
// have applied (thesis, 6.4).
type asked struct {
	id     uint64 // the client's
	number uint64 // the message's
}

// FollowerReadIndex is ReadIndex on any node: a follower asks the leader. Errors: *NotLeaderError when no
// leader is known.
func (r *Raft) FollowerReadIndex(id uint64) error {
	if r.role == Leader {
		return r.ReadIndex(id)
	}
	if r.leader == "" {
		return r.notLeader()
	}
	r.readRound++
	r.asked = append(r.asked, asked{id, r.readRound})
	r.early = append(r.early, Message{
		Type: MsgReadIndex, From: r.config.ID, To: r.leader, Term: r.term, ReadRound: r.readRound,
	})
	return nil
}

func (r *Raft) stepReadIndex(m Message) {
	if r.role != Leader {
		r.reply(m, Message{Reject: true})
		return
	}
	r.admit(read{asker: m})
}

func (r *Raft) stepReadIndexReply(m Message) {
	for i, a := range r.asked {
		if a.number != m.ReadRound {
			continue
		}
		state := ReadState{ID: a.id, Index: m.Index}
		if m.Reject {
			state = ReadState{ID: a.id, Err: r.notLeader()}
		}
		r.answers = append(r.answers, state)
		r.asked = append(r.asked[:i:i], r.asked[i+1:]...)
		return
	}
}

// refuseAsked fails the read whose question was lost.
func (r *Raft) refuseAsked(number uint64) {
	r.stepReadIndexReply(Message{ReadRound: number, Reject: true})
}

// lease lets a leader answer reads without asking: while it lasts, a quorum that answered a round of
// its heartbeats elects nobody else (thesis, 6.4.1). It counts from when the round was sent.
type lease struct {
	rounds []leaseRound // sent and not confirmed yet, oldest first
	since  uint64       // tick at which the latest confirmed round was sent
	held   bool         // since is set
	// forfeited: this leader has told somebody to campaign, and nothing that it hears takes that back.
	forfeited bool
}

type leaseRound struct{ round, sent uint64 }

// mostLeaseRounds bounds what a leader without a quorum remembers.
const mostLeaseRounds = 64

// beginLease has the heartbeat that leaves now begin a round of its own.
func (r *Raft) beginLease() {
	if r.config.LeaseDrift == 0 {
		return
	}
	if n := len(r.lease.rounds); n == 0 || r.lease.rounds[n-1].round == r.readRound {
		r.readRound++
	}
	r.lease.rounds = append(r.lease.rounds, leaseRound{r.readRound, r.now})
	if len(r.lease.rounds) > mostLeaseRounds {
		r.lease.rounds = r.lease.rounds[1:]
	}
}

// extendLease notes that a quorum has answered a round.
func (r *Raft) extendLease(confirmed uint64) {
	done := 0
	for done < len(r.lease.rounds) && r.lease.rounds[done].round <= confirmed {
		r.lease.since, r.lease.held = r.lease.rounds[done].sent, true
		done++
	}
	r.lease.rounds = r.lease.rounds[done:]
}

// leaseTicks is how long a lease lasts: shorter than the fewest of this node's ticks in which another's
// election time-out can pass. The first of that one's ticks may come at once, hence the one less.
func (r *Raft) leaseTicks() uint64 {
	return uint64((r.config.ElectionTicks - 1) * (100 - r.config.LeaseDrift) / 100)
}

// LeaseRead is ReadIndex that is answered at once while the leader's lease lasts. Errors: *NotLeaderError.
func (r *Raft) LeaseRead(id uint64) error {
	l := &r.lease
	if r.role != Leader || !r.termCommitted || !l.held || l.forfeited || r.now-l.since >= r.leaseTicks() {
		return r.ReadIndex(id)
	}
	r.answers = append(r.answers, ReadState{ID: id, Index: r.log.commit, Lease: true})
	return nil
}

package raft

// read is a ReadIndex request on its way (thesis, 6.4).
type read struct {
	id    uint64
	index uint64 // the commit index when it was admitted
	round uint64 // the round that must be confirmed; 0 until one begins
	ready bool   // admitted: an entry of this term was committed when index was taken
}

// ReadIndex asks up to where a read must have seen the log to be linearizable. The answer, under the
// same id, is in a later Ready, or is refused there when leadership is lost before. Errors:
// *NotLeaderError.
func (r *Raft) ReadIndex(id uint64) error {
	if r.role != Leader {
		return r.notLeader()
	}
	r.reads = append(r.reads, read{id: id, index: r.log.commit, ready: r.termCommitted})
	return nil
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
	done := 0
	for done < len(r.reads) && r.reads[done].round != 0 && r.reads[done].round <= confirmed {
		r.answers = append(r.answers, ReadState{ID: r.reads[done].id, Index: r.reads[done].index})
		done++
	}
	r.reads = r.reads[done:]
}

// refuseReads fails all reads that are still waiting: this node leads no more.
func (r *Raft) refuseReads() {
	for _, read := range r.reads {
		r.answers = append(r.answers, ReadState{ID: read.id, Err: r.notLeader()})
	}
	r.reads = nil
}

package raft

// transfer is the handing over of leadership (thesis, 3.10). While it lasts nothing is proposed.
type transfer struct {
	to    NodeID // empty for none
	ticks int    // since it began
	told  bool   // it was told to campaign
	final bool   // the leader steps down when it fails
}

// Transfer hands leadership to a voter once that holds the whole log. It is given up after an election
// time-out. Errors: *NotLeaderError, *TransferRefusedError, ErrTransferring when one is under way.
func (r *Raft) Transfer(to NodeID) error {
	switch {
	case r.role != Leader:
		return r.notLeader()
	case r.transfer.to != "":
		return ErrTransferring
	case to == r.config.ID:
		return &TransferRefusedError{to, "it leads already"}
	case !r.inForce().IsVoter(to):
		return &TransferRefusedError{to, "it is no voter"}
	case !r.recent(r.peers[to]):
		return &TransferRefusedError{to, "it was not heard lately"}
	}
	r.transfer = transfer{to: to}
	return nil
}

// HandOver is a Transfer to the voter that holds the most of the log, of those that were heard lately. Errors: those of Transfer.
func (r *Raft) HandOver() error { return r.Transfer(r.heir()) }

// StepDown makes a leader a follower that leaves the next election to others, if they can hold one.
// Errors: *NotLeaderError.
func (r *Raft) StepDown() error {
	if r.role != Leader {
		return r.notLeader()
	}
	r.becomeFollower(r.term, "")
	r.timeout += r.config.ElectionTicks
	return nil
}

// tickTransfer passes time: transfers do not last, and neither do reigns.
func (r *Raft) tickTransfer() {
	if r.transfer.to != "" {
		r.transfer.ticks++
		if r.transfer.ticks >= r.config.ElectionTicks {
			final := r.transfer.final
			r.transfer = transfer{}
			if final {
				r.fail(r.StepDown())
			}
			return
		}
	}
	r.reign++
	if r.config.MaxLeaderTicks == 0 || r.reign < r.config.MaxLeaderTicks {
		return
	}
	if r.config.AtMaxReign == Exit {
		r.fail(ErrReignOver)
		return
	}
	if r.transfer.to == "" {
		if r.Transfer(r.heir()) != nil {
			r.fail(r.StepDown())
			return
		}
	}
	r.transfer.final = true
}

// heir is the voter, heard lately, that holds the most of the log; empty when there is none.
func (r *Raft) heir() (best NodeID) {
	var match uint64
	for _, id := range r.inForce().replicated {
		p := r.peers[id]
		if p != nil && r.inForce().IsVoter(id) && r.recent(p) && (best == "" || p.match > match) {
			best, match = id, p.match
		}
	}
	return best
}

// finishTransfer tells the transferee to campaign, once it holds all.
func (r *Raft) finishTransfer() {
	t := &r.transfer
	if p := r.peers[t.to]; t.to != "" && !t.told && p != nil && p.match == r.log.last() {
		t.told = true
		r.crown(t.to)
	}
}

// crown tells a voter to campaign at once. From then on there may be another leader at any time.
func (r *Raft) crown(to NodeID) {
	if to == "" {
		return
	}
	r.lease.forfeited = true
	r.early = append(r.early, Message{Type: MsgTimeoutNow, From: r.config.ID, To: to, Term: r.term})
}

func (r *Raft) stepTimeoutNow(m Message) {
	r.reply(m, Message{})
	if r.role == Follower && r.mayCampaign() {
		r.campaign(Candidate, true)
	}
}

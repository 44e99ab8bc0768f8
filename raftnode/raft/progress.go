package raft

// progress is what a leader knows of one peer in its term. match < next; what is in flight ends
// below next.
type progress struct {
	match uint64 // known to be durable at the peer
	next  uint64 // first entry to send

	// A probing peer's log is not known to match: one append at a time, then wait. Otherwise appends
	// are pipelined, up to the window.
	probing bool
	waiting bool     // probing: an append is under way, or the peer cannot be reached
	flights []uint64 // replicating: the last index of each append not yet answered, ascending

	active    bool   // answered since the last check of the quorum
	readRound uint64 // latest round confirmed
}

// probe goes back to sending one append at a time from just after match.
func (p *progress) probe(next uint64) {
	p.probing, p.waiting, p.flights = true, false, nil
	p.next = max(next, p.match+1)
}

// canSend tells whether another append may leave now.
func (p *progress) canSend(window int) bool {
	if p.probing {
		return !p.waiting
	}
	return len(p.flights) < window
}

// sent notes that an append with entries up to last has left.
func (p *progress) sent(last uint64) {
	if p.probing {
		p.waiting = true
		return
	}
	p.next = last + 1
	p.flights = append(p.flights, last)
}

// accepted notes that the peer holds everything up to index, and tells whether that is news.
func (p *progress) accepted(index uint64) bool {
	if p.probing {
		p.probing, p.waiting = false, false
		p.next = p.match + 1
	}
	p.next = max(p.next, index+1)
	done := 0
	for done < len(p.flights) && p.flights[done] <= index {
		done++
	}
	p.flights = p.flights[done:]
	if index <= p.match {
		return false
	}
	p.match = index
	return true
}

func (p *progress) status() PeerProgress {
	state := "replicate"
	if p.probing {
		state = "probe"
	}
	return PeerProgress{Match: p.match, Next: p.next, State: state, InFlight: len(p.flights), RecentActive: p.active}
}

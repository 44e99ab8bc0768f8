package raft

// progress is what a leader knows of one peer in its term. match < next; what is in flight ends
// below next.
type progress struct {
	epoch uint64 // index of the entry by which it became a member; replies to an earlier epoch do not count
	match uint64 // known to be durable at the peer
	next  uint64 // first entry to send

	state progressState
	// waiting: probing, an append is under way; sending a snapshot, a chunk is; or the peer cannot be
	// reached, and must answer a heartbeat first.
	waiting  bool
	flights  []uint64 // replicating: the last index of each append not yet answered, ascending
	snapshot Snapshot // sending: which
	chunk    uint64   // sending: the number to send next

	heard     uint64 // tick at which it answered last
	readRound uint64 // latest round confirmed
}

// progressState is how a leader sends to a peer.
type progressState uint8

const (
	probing     progressState = iota // its log is not known to match: one append at a time, then wait
	replicating                      // appends are pipelined, up to the window
	sending                          // it needs what the log no longer has: a snapshot, chunk by chunk
)

func (s progressState) String() string { return [...]string{"probe", "replicate", "snapshot"}[s] }

// probe goes back to sending one append at a time from just after match.
func (p *progress) probe(next uint64) {
	p.state, p.waiting, p.flights = probing, false, nil
	p.snapshot, p.chunk = Snapshot{}, 0
	p.next = max(next, p.match+1)
}

// send begins to send a snapshot.
func (p *progress) send(s Snapshot) {
	p.state, p.waiting, p.flights = sending, false, nil
	p.snapshot, p.chunk = s, 0
}

// canSend tells whether another append may leave now.
func (p *progress) canSend(window int) bool {
	if p.state == replicating {
		return len(p.flights) < window
	}
	return !p.waiting
}

// sent notes that an append with entries up to last has left.
func (p *progress) sent(last uint64) {
	if p.state == probing {
		p.waiting = true
		return
	}
	p.next = last + 1
	p.flights = append(p.flights, last)
}

// accepted notes that the peer holds everything up to index, and tells whether that is news.
func (p *progress) accepted(index uint64) bool {
	if p.state == probing || p.state == sending && index >= p.snapshot.Index {
		p.state, p.waiting = replicating, false
		p.snapshot, p.chunk = Snapshot{}, 0
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

func (p *progress) status(now uint64, window int) PeerProgress {
	return PeerProgress{
		Match: p.match, Next: p.next, State: p.state.String(), InFlight: len(p.flights),
		RecentActive: now-p.heard <= uint64(window),
	}
}

package raft

import (
	"errors"
	"fmt"
)

// sendChunk sends a peer the next chunk of a snapshot, of the latest if none was begun or the one that
// was is gone.
func (r *Raft) sendChunk(to NodeID, p *progress) error {
	if r.install != nil {
		p.waiting = true // until the snapshot is on disk, and the peer has answered a heartbeat
		return nil
	}
	if p.state != sending {
		p.send(r.snapshot)
	}
	c, err := r.log.storage.Chunk(p.snapshot.Index, p.chunk)
	if errors.Is(err, ErrSnapshotGone) {
		p.send(r.snapshot)
		c, err = r.log.storage.Chunk(p.snapshot.Index, p.chunk)
	}
	if err != nil {
		return fmt.Errorf("raft: reading chunk %d of the snapshot at %d: %w", p.chunk, p.snapshot.Index, err)
	}
	s := p.snapshot
	p.waiting = true
	r.early = append(r.early, Message{
		Type: MsgSnapshot, From: r.config.ID, To: to, Term: r.term, Epoch: p.epoch,
		ReadRound: r.readRound, Snapshot: &s, Chunk: c,
	})
	return nil
}

func (r *Raft) stepSnapshotReply(m Message) {
	p := r.answerer(m)
	if p == nil {
		return
	}
	r.confirmRound(p, m.ReadRound)
	if p.state != sending {
		return
	}
	if m.Index > 0 {
		if m.Index <= r.log.last() && p.accepted(m.Index) {
			r.advanceCommit()
		}
		return
	}
	if m.Chunk.Number < p.snapshot.Chunks {
		p.chunk, p.waiting = m.Chunk.Number, false
	}
}

func (r *Raft) stepSnapshot(m Message) error {
	if m.Snapshot == nil {
		return fmt.Errorf("raft: a snapshot from %s is missing", m.From)
	}
	if err := r.follow(m); err != nil {
		return err
	}
	held, err := r.holds(m.From, m.Snapshot.Base)
	if err != nil {
		r.fail(err)
		return err
	}
	if held {
		r.reply(m, Message{Index: r.log.commit})
		return nil
	}
	// A chunk of a transfer that a newer one has overtaken is late.
	if r.receivedFrom == m.From && m.Snapshot.Index < r.received.Snapshot.Index {
		return nil
	}
	r.receivedFrom = m.From
	installed, err := r.gather(*m.Snapshot, m.Chunk)
	switch {
	case err != nil:
		r.reply(m, Message{Chunk: Chunk{Number: r.received.Next}})
		return fmt.Errorf("raft: snapshot from %s: %w", m.From, err)
	case installed:
		r.reply(m, Message{Index: m.Snapshot.Index})
	default:
		r.reply(m, Message{Chunk: Chunk{Number: r.received.Next}})
	}
	return nil
}

// holds tells whether the log holds all that a snapshot with this base covers; it is then known to be
// committed.
func (r *Raft) holds(from NodeID, b Base) (bool, error) {
	if b.Index <= r.log.commit {
		return true, nil
	}
	if b.Index > r.log.last() {
		return false, nil
	}
	mine, err := r.log.at(b.Index)
	if err != nil || mine.term != b.Term {
		return false, err
	}
	if mine.checksum != b.Checksum {
		return false, r.diverged(mine, from, b.Checksum)
	}
	r.log.commit = b.Index
	r.received = Received{}
	return true, nil
}

// gather takes a chunk, in order, and installs the snapshot with its last. A chunk of another snapshot
// than the one begun begins anew; one that is not the next is left, and so is one that is damaged.
func (r *Raft) gather(s Snapshot, c Chunk) (installed bool, err error) {
	if r.install != nil {
		return false, nil // its chunks must not be overwritten before it is installed
	}
	if r.received.Snapshot.Index == 0 || !r.received.Snapshot.Same(s) {
		r.received = Received{Snapshot: s}
	}
	have := &r.received
	if c.Number != have.Next {
		return false, nil
	}
	if sum := NextContentChecksum(have.Checksum, c.Data); sum != c.Checksum {
		return false, fmt.Errorf("chunk %d fails its checksum: %08x, not %08x", c.Number, sum, c.Checksum)
	}
	if have.Next+1 == s.Chunks && c.Checksum != s.ContentChecksum {
		*have = Received{}
		return false, fmt.Errorf("the whole fails its checksum: %08x, not %08x", c.Checksum, s.ContentChecksum)
	}
	r.gathered = append(r.gathered, Gathered{s, c})
	have.Next, have.Checksum = have.Next+1, c.Checksum
	if have.Next < s.Chunks {
		return false, nil
	}
	r.install, r.snapshot, r.received = &s, s, Received{}
	r.log.restore(s.Base)
	r.configurations = append(r.configurations[:0:0], at(s.Index, s.Configuration))
	return true, nil
}

// Snapshotted says that the driver has published a snapshot of its own state.
func (r *Raft) Snapshotted(s Snapshot) {
	if s.Index > r.snapshot.Index {
		r.snapshot = s
	}
}

// BaseAt is what a log would start from that begins after index, an applied entry of the log: what a
// snapshot of the state at that index covers.
func (r *Raft) BaseAt(index uint64) (Base, error) {
	m, err := r.log.at(index)
	if err != nil {
		return Base{}, err
	}
	b := Base{Index: m.index, Term: m.term, Checksum: m.checksum}
	for _, c := range r.configurations {
		if c.index <= index {
			b.Configuration = c.Configuration
		}
	}
	return b, nil
}

// Truncatable is up to where the log may be truncated now: behind the latest snapshot, sparing the last
// keep applied entries. A leader also spares what peers that it has heard lately still need, but no
// more than the last spare entries for that. The index is at least the base's.
func (r *Raft) Truncatable(keep, spare uint64) uint64 {
	to := min(r.snapshot.Index, r.log.applied-min(keep, r.log.applied))
	needed := to
	for _, p := range r.peers {
		if r.recent(p) {
			needed = min(needed, max(p.match, p.snapshot.Index))
		}
	}
	if last := r.log.last(); last > spare {
		needed = max(needed, last-spare)
	}
	return max(r.log.base.Index, min(to, needed))
}

// Truncated says that the driver has made the log begin after base, which BaseAt gave.
func (r *Raft) Truncated(b Base) {
	r.log.truncated(b)
	kept := r.configurations[:0:0]
	for i, c := range r.configurations {
		if c.index > b.Index {
			kept = append(kept, c)
		} else if i+1 == len(r.configurations) || r.configurations[i+1].index > b.Index {
			c.index = b.Index
			kept = append(kept, c)
		}
	}
	r.configurations = kept
}

// Sending tells whether this leader is sending its latest snapshot to a peer that answers: a newer one
// would make it begin again.
func (r *Raft) Sending() bool {
	for _, p := range r.peers {
		if p.state == sending && r.recent(p) {
			return true
		}
	}
	return false
}

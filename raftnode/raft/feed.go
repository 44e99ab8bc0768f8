package raft

import (
	"fmt"
	"slices"
)

// A read-only peer hangs off a follower: it asks that follower, its upstream, for what is committed after
// the entry that it holds, and is answered with entries or, where the upstream's log no longer reaches
// back so far, with chunks of a snapshot. Nobody counts it, waits for it or keeps track of it, so that any
// number of them costs the leader nothing. When its upstream falls silent it asks another.

// feed is what a read-only peer knows of its upstream.
type feed struct {
	upstream NodeID // empty for none
	asking   bool   // a question is on its way
	idle     int    // ticks since the last question
	silence  int    // ticks since the last good answer
}

// lost says that a question was not answered.
func (f *feed) lost(upstream NodeID) {
	if upstream == f.upstream {
		f.asking = false
	}
}

// fed tells whether this node is a read-only peer: by the configuration in force, or as it was told,
// when that names it not at all.
func (r *Raft) fed() bool {
	c := r.inForce()
	return c.IsReadOnly(r.config.ID) || len(r.config.Upstreams) > 0 && !c.Contains(r.config.ID)
}

func (r *Raft) tickFed() {
	f := &r.feed
	f.idle++
	f.silence++
	if f.upstream == "" || f.silence >= r.config.ElectionTicks {
		r.hang()
	}
	if f.upstream != "" && (!f.asking && f.idle >= r.config.HeartbeatTicks || f.idle >= r.config.ElectionTicks) {
		r.fetch()
	}
}

// hang chooses an upstream, another than the last if there is one.
func (r *Raft) hang() {
	// Who was told of members may know of some that its log does not.
	candidates := slices.Concat(r.inForce().replicated, r.config.Upstreams)
	slices.Sort(candidates)
	candidates = slices.Compact(candidates)
	var others []NodeID
	for _, id := range candidates {
		if id != r.config.ID && id != r.feed.upstream {
			others = append(others, id)
		}
	}
	upstream := r.feed.upstream
	if len(others) > 0 {
		upstream = others[r.random.IntN(len(others))]
	}
	r.feed = feed{upstream: upstream, idle: r.config.HeartbeatTicks}
}

// fetch asks for what comes after the last entry known to be committed.
func (r *Raft) fetch() {
	mine, err := r.log.at(r.log.commit)
	if err != nil {
		r.fail(err)
		return
	}
	r.feed.asking, r.feed.idle = true, 0
	m := Message{
		Type: MsgFetch, From: r.config.ID, To: r.feed.upstream, Term: r.term,
		Index: mine.index, LogTerm: mine.term, Checksum: mine.checksum,
	}
	if r.received.Snapshot.Index > 0 {
		s := r.received.Snapshot
		m.Snapshot, m.Chunk.Number = &s, r.received.Next
	}
	r.early = append(r.early, m)
}

// stepFetch answers a read-only peer of the configuration in force. A leader leaves that to others once the peer
// holds that configuration: before, it may know no other. One that hears no leader leaves it to others, too,
// for it may have been removed and never learn more.
func (r *Raft) stepFetch(m Message) error {
	now := r.inForce()
	busy := r.role == Leader && len(now.replicated) > 1 && m.Index >= now.index
	if busy || !now.IsReadOnly(m.From) || r.fed() || !r.hearsLeader() {
		r.reply(m, Message{Reject: true})
		return nil
	}
	if m.Index < r.log.base.Index {
		return r.feedChunk(m)
	}
	if m.Index > r.log.commit {
		r.reply(m, Message{Index: m.Index, LogTerm: m.LogTerm, Checksum: m.Checksum, Commit: r.log.commit})
		return nil
	}
	previous, err := r.log.at(m.Index)
	if err != nil {
		r.fail(err)
		return err
	}
	entries, err := r.log.slice(m.Index+1, r.log.commit+1, r.config.MaxMessageBytes)
	if err != nil {
		r.fail(err)
		return err
	}
	r.reply(m, Message{
		Index: previous.index, LogTerm: previous.term, Checksum: previous.checksum, Entries: entries, Commit: r.log.commit,
	})
	return nil
}

func (r *Raft) feedChunk(m Message) error {
	if r.install != nil {
		r.reply(m, Message{Reject: true}) // what is not installed yet cannot be read
		return nil
	}
	s := r.snapshot
	number := uint64(0)
	if m.Snapshot != nil && m.Snapshot.Same(s) {
		number = m.Chunk.Number
	}
	c, err := r.log.storage.Chunk(s.Index, number)
	if err != nil {
		err = fmt.Errorf("raft: reading chunk %d of the snapshot at %d: %w", number, s.Index, err)
		r.fail(err)
		return err
	}
	r.reply(m, Message{Snapshot: &s, Chunk: c})
	return nil
}

func (r *Raft) stepFetchReply(m Message) error {
	f := &r.feed
	if !r.fed() || m.From != f.upstream {
		return nil
	}
	f.asking = false
	if m.Reject {
		f.silence = r.config.ElectionTicks // the next tick asks another
		return nil
	}
	if err := checkEntries(m); err != nil {
		return err
	}
	f.silence = 0
	if m.Snapshot != nil {
		held, err := r.holds(m.From, m.Snapshot.Base)
		if err != nil {
			r.fail(err)
			return err
		}
		if !held {
			if _, err := r.gather(*m.Snapshot, m.Chunk); err != nil {
				return fmt.Errorf("raft: snapshot from %s: %w", m.From, err)
			}
		}
		r.fetch()
		return nil
	}
	if m.Index > r.log.commit || len(m.Entries) == 0 {
		return nil
	}
	if m.Index < r.log.base.Index {
		return nil // long overtaken
	}
	mine, err := r.log.at(m.Index)
	if err != nil {
		r.fail(err)
		return err
	}
	fresh, err := r.differing(mine, m)
	if err == nil && len(fresh) > 0 {
		err = r.append(fresh...)
	}
	if err != nil {
		r.fail(err)
		return err
	}
	r.log.commit = max(r.log.commit, m.Index+uint64(len(m.Entries)))
	r.received = Received{}
	r.fetch()
	return nil
}

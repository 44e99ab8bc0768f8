package raft

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft/invariant"
)

// disk is a Storage that forgets nothing and checks nothing.
type disk struct {
	hs       HardState
	base     Base
	entries  []Entry
	snapshot Snapshot
	chunks   []Chunk // of snapshot
	received Received
	gathered []Chunk // of received
	writes   int
}

func newDisk(voters ...NodeID) *disk {
	slices.Sort(voters)
	return &disk{base: Base{Configuration: Configuration{Voters: voters}}}
}

func (d *disk) Load() (State, error) {
	s := State{HardState: d.hs, Base: d.base, Last: d.LastIndex(), Snapshot: d.snapshot, Received: d.received}
	for _, e := range d.entries {
		if e.Type == EntryConfiguration {
			s.Configurations = append(s.Configurations, e)
		}
	}
	return s, nil
}

func (d *disk) Entries(lo, hi uint64, maxBytes int) ([]Entry, error) {
	if lo <= d.base.Index || hi > d.LastIndex()+1 {
		return nil, fmt.Errorf("no entries [%d, %d)", lo, hi)
	}
	found := d.entries[lo-1-d.base.Index : hi-1-d.base.Index]
	size := 0
	for i, e := range found {
		if size += len(e.Data); i > 0 && size > maxBytes {
			return found[:i], nil
		}
	}
	return found, nil
}

func (d *disk) Snapshot() (Snapshot, error) { return d.snapshot, nil }

func (d *disk) Chunk(index, number uint64) (Chunk, error) {
	if index != d.snapshot.Index {
		return Chunk{}, ErrSnapshotGone
	}
	return d.chunks[number], nil
}

func (d *disk) save(rd Ready) {
	for _, g := range rd.Gathered {
		d.gathered = append(d.gathered[:g.Chunk.Number], g.Chunk)
		d.received = Received{Snapshot: g.Snapshot, Next: g.Chunk.Number + 1, Checksum: g.Chunk.Checksum}
	}
	if rd.Install != nil {
		d.base, d.entries = rd.Install.Base, nil
		d.snapshot, d.chunks = *rd.Install, slices.Clone(d.gathered)
		d.received, d.gathered = Received{}, nil
	}
	if rd.HardState != nil {
		d.hs = *rd.HardState
		d.writes++
	}
	if len(rd.Entries) > 0 {
		d.entries = append(slices.Clip(d.entries[:rd.Entries[0].Index-1-d.base.Index]), rd.Entries...)
		d.writes++
	}
}

// publish makes a snapshot of what was applied, in chunks of a few bytes.
func (d *disk) publish(b Base, applied []Entry) Snapshot {
	content, _ := json.Marshal(applied)
	d.chunks = nil
	checksum := uint32(0)
	for data := range slices.Chunk(content, len(content)/3+1) {
		checksum = NextContentChecksum(checksum, data)
		d.chunks = append(d.chunks, Chunk{Number: uint64(len(d.chunks)), Data: data, Checksum: checksum})
	}
	d.snapshot = Snapshot{Base: b, Chunks: uint64(len(d.chunks)), ContentChecksum: checksum}
	return d.snapshot
}

// restored is what was applied as of the snapshot.
func (d *disk) restored(t require.TestingT) []Entry {
	var content []byte
	for _, c := range d.chunks {
		content = append(content, c.Data...)
	}
	var applied []Entry
	require.NoError(t, json.Unmarshal(content, &applied))
	return applied
}

func (d *disk) truncate(b Base) { d.entries, d.base = d.entries[b.Index-d.base.Index:], b }

// What follows is how the invariants look at a disk.

func (d *disk) Term() uint64      { return d.hs.Term }
func (d *disk) Vote() NodeID      { return d.hs.Vote }
func (d *disk) BaseIndex() uint64 { return d.base.Index }
func (d *disk) LastIndex() uint64 { return d.base.Index + uint64(len(d.entries)) }

func (d *disk) Entry(index uint64) (term uint64, checksum uint32, found bool) {
	switch {
	case index == d.base.Index:
		return d.base.Term, d.base.Checksum, true
	case index < d.base.Index || index > d.LastIndex():
		return 0, 0, false
	}
	e := &d.entries[index-d.base.Index-1]
	return e.Term, e.Checksum, true
}

// core is how they look at a node.
type core struct{ *Raft }

func (c core) Configurations(after uint64, yield func(index uint64, c Configuration)) {
	for _, k := range c.configurations {
		if k.index > max(after, c.log.base.Index) {
			yield(k.index, k.Configuration)
		}
	}
}

// promise is what a message says that must be durable before it leaves.
func promise(m Message) invariant.Promise {
	p := invariant.Promise{Term: m.Term}
	switch {
	case m.Type == MsgPreVote || m.Type == MsgPreVoteReply && !m.Reject:
		p.Term = 0 // that of a campaign that may never be
	case m.Type == MsgVote:
		p.VoteFor = m.From
	case m.Type == MsgVoteReply && !m.Reject:
		p.VoteFor = m.To
	case m.Type == MsgAppendReply && !m.Reject, m.Type == MsgSnapshotReply && !m.Reject:
		p.Accepted = m.Index
	}
	return p
}

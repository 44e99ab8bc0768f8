package store

import (
	"fmt"

	"coup/raftnode/raft"
	"coup/raftnode/wire"
)

// content is how much of a snapshot's content has come, in order.
type content struct {
	next     uint64 // number of the chunk that must come next
	checksum uint32 // cumulative, of the chunks before next
	before   uint32 // the same without the last of them
}

// with follows the content to c, or says why c cannot come next.
func (n content) with(c raft.Chunk) (content, error) {
	switch {
	case c.Number != n.next:
		return n, fmt.Errorf("chunk %d comes where chunk %d should", c.Number, n.next)
	case c.Checksum != raft.NextContentChecksum(n.checksum, c.Data):
		return n, fmt.Errorf("chunk %d fails its checksum", c.Number)
	}
	return content{next: n.next + 1, checksum: c.Checksum, before: n.checksum}, nil
}

// wholeOf tells whether the content is all that s says, or why not.
func (n content) wholeOf(s raft.Snapshot) error {
	if n.next != s.Chunks || n.checksum != s.ContentChecksum {
		return fmt.Errorf("%d chunks with checksum %08x are there of the snapshot at %d, which has %d with %08x",
			n.next, n.checksum, s.Index, s.Chunks, s.ContentChecksum)
	}
	return nil
}

// resume is from where to go on receiving a content of so many chunks. The last one is wanted again where it
// was not followed by an install: that is what its arrival must cause.
func (n content) resume(chunks uint64) (next uint64, checksum uint32) {
	if n.next == chunks {
		return n.next - 1, n.before
	}
	return n.next, n.checksum
}

// take is the extent once c is added to what this node takes.
func (x extent) take(c raft.Chunk) (extent, error) {
	if !x.bootstrapped {
		return x, ErrNotBootstrapped
	}
	if c.Number == 0 {
		x.taken = content{}
	}
	var err error
	if x.taken, err = x.taken.with(c); err != nil {
		return x, fmt.Errorf("store: refusing to take: %w", err)
	}
	return x, nil
}

// publish is the extent once s, whose content was taken, is the latest snapshot. What is being received
// is of no more use once s covers it.
func (x extent) publish(s raft.Snapshot, at func(index uint64) (chain, error)) (extent, error) {
	if !x.bootstrapped {
		return x, ErrNotBootstrapped
	}
	if err := wire.CheckSnapshot(s); err != nil {
		return x, fmt.Errorf("store: refusing to publish: %w", err)
	}
	if s.Index <= x.snapshot.Index {
		return x, fmt.Errorf("store: refusing to publish: the snapshot at %d is not later than that at %d", s.Index, x.snapshot.Index)
	}
	if err := x.agrees(s.Base, at); err != nil {
		return x, fmt.Errorf("store: refusing to publish: %w", err)
	}
	if err := x.taken.wholeOf(s); err != nil {
		return x, fmt.Errorf("store: refusing to publish: %w", err)
	}
	x.snapshot, x.taken = s, content{}
	if x.receiving.Index <= s.Index {
		x.receiving, x.received = raft.Snapshot{}, content{}
	}
	return x, nil
}

// gather is the extent once g is added to what is being received.
func (x extent) gather(g raft.Gathered) (extent, error) {
	if !x.bootstrapped {
		return x, ErrNotBootstrapped
	}
	if g.Chunk.Number == 0 {
		if err := wire.CheckSnapshot(g.Snapshot); err != nil {
			return x, fmt.Errorf("store: refusing to gather: %w", err)
		}
		if g.Snapshot.Index <= x.snapshot.Index {
			return x, fmt.Errorf("store: refusing to gather: the snapshot at %d is not later than that at %d", g.Snapshot.Index, x.snapshot.Index)
		}
		x.receiving, x.received = g.Snapshot, content{}
	}
	if x.receiving.Index == 0 || !g.Snapshot.Same(x.receiving) {
		return x, fmt.Errorf("store: refusing to gather: chunk %d is of a snapshot at %d, and one at %d is being received",
			g.Chunk.Number, g.Snapshot.Index, x.receiving.Index)
	}
	if err := x.receive(g.Chunk); err != nil {
		return x, fmt.Errorf("store: refusing to gather: %w", err)
	}
	return x, nil
}

// receive adds c to what has come of the snapshot that is being received. The last chunk may come again.
func (x *extent) receive(c raft.Chunk) error {
	received := x.received
	if received.next == x.receiving.Chunks && c.Number+1 == received.next {
		received = content{next: c.Number, checksum: received.before}
	}
	received, err := received.with(c)
	if err != nil {
		return err
	}
	if received.next >= x.receiving.Chunks {
		if err := received.wholeOf(x.receiving); err != nil {
			return err
		}
	}
	x.received = received
	return nil
}

// install is the extent once s, whose content was gathered, is the base of an empty log.
func (x extent) install(s raft.Snapshot, hs *raft.HardState) (extent, error) {
	if !x.bootstrapped {
		return x, ErrNotBootstrapped
	}
	if !s.Same(x.receiving) || !s.Configuration.Equal(x.receiving.Configuration) {
		return x, fmt.Errorf("store: refusing to install: the snapshot at %d is not the one that was gathered, at %d", s.Index, x.receiving.Index)
	}
	if err := x.received.wholeOf(s); err != nil {
		return x, fmt.Errorf("store: refusing to install: %w", err)
	}
	if s.Index <= x.snapshot.Index {
		return x, fmt.Errorf("store: refusing to install: the snapshot at %d is not later than that at %d", s.Index, x.snapshot.Index)
	}
	if hs != nil {
		if err := wire.CheckHardState(*hs); err != nil {
			return x, fmt.Errorf("store: refusing to install: %w", err)
		}
		x.hardState = *hs
	}
	x.base, x.end, x.snapshot = s.Base, chainOf(s.Base), s
	x.taken, x.receiving, x.received = content{}, raft.Snapshot{}, content{}
	if err := x.termsHold(); err != nil {
		return x, fmt.Errorf("store: refusing to install: %w", err)
	}
	return x, nil
}

// compact is the extent once the log starts from base. To compact to where the log starts already changes
// nothing.
func (x extent) compact(base raft.Base, at func(index uint64) (chain, error)) (extent, error) {
	if !x.bootstrapped {
		return x, ErrNotBootstrapped
	}
	if err := wire.CheckBase(base); err != nil {
		return x, fmt.Errorf("store: refusing to compact: %w", err)
	}
	if base.Index > x.snapshot.Index {
		return x, fmt.Errorf("store: refusing to compact: the snapshot at %d does not cover entry %d", x.snapshot.Index, base.Index)
	}
	if err := x.agrees(base, at); err != nil {
		return x, fmt.Errorf("store: refusing to compact: %w", err)
	}
	if base.Index > x.base.Index {
		x.base = base
	}
	return x, nil
}

// agrees tells whether the log says the same of base.Index as base does.
func (x extent) agrees(base raft.Base, at func(index uint64) (chain, error)) error {
	if base.Index < x.base.Index || base.Index > x.end.index {
		return fmt.Errorf("entry %d is not in a log that starts from %d and ends at %d", base.Index, x.base.Index, x.end.index)
	}
	c, err := at(base.Index)
	if err != nil {
		return err
	}
	if c != chainOf(base) {
		return fmt.Errorf("entry %d has term %d and checksum %08x, where the log has term %d and %08x",
			base.Index, base.Term, base.Checksum, c.term, c.checksum)
	}
	return nil
}

// chunkOf tells whether a chunk of the latest snapshot can be read.
func (x extent) chunkOf(index, number uint64) error {
	if x.snapshot.Index == 0 || index != x.snapshot.Index {
		return raft.ErrSnapshotGone
	}
	if number >= x.snapshot.Chunks {
		return fmt.Errorf("store: chunk %d of the snapshot at %d, which has %d", number, index, x.snapshot.Chunks)
	}
	return nil
}

package replica

import (
	"errors"
	"fmt"
	"slices"

	"coup/raftnode/fsm"
	"coup/raftnode/raft"
)

// taking is a snapshot of the state that is being written, a few chunks at a time, while the node goes on.
type taking struct {
	snapshot raft.Snapshot // as far as it is known
	state    *fsm.Snapshot
}

// restoring is a snapshot, installed, that is being restored, a few chunks at a time: into a fresh table, while the state
// before it stays as it is, and what is committed later waits.
type restoring struct {
	snapshot raft.Snapshot
	table    fsm.Table // nil in memory
	restore  *fsm.Restore
	next     uint64 // chunk
}

// chunksPerStep is how many chunks are written between two batches of other work.
const chunksPerStep = 4

// TakeSnapshot begins to take a snapshot of the state as it is now. Errors: ErrSnapshotting, ErrMembersUnknown.
func (r *Replica) TakeSnapshot() error {
	if r.taking != nil || r.state.Applied() <= r.core.LatestSnapshot().Index {
		return ErrSnapshotting
	}
	base, err := r.core.BaseAt(r.state.Applied())
	if err != nil {
		return fmt.Errorf("replica: beginning a snapshot: %w", err)
	}
	if len(base.Configuration.Voters) == 0 {
		return ErrMembersUnknown
	}
	state, err := r.state.Snapshot()
	if err != nil {
		return fmt.Errorf("replica: beginning a snapshot: %w", err)
	}
	r.taking, r.applied = &taking{snapshot: raft.Snapshot{Base: base}, state: state}, 0
	return nil
}

// stopTaking forgets the snapshot that is being taken.
func (r *Replica) stopTaking() error {
	t := r.taking
	r.taking = nil
	if t == nil {
		return nil
	}
	if err := t.state.Close(); err != nil {
		return fmt.Errorf("replica: closing a snapshot: %w", err)
	}
	return nil
}

// keepSnapshots begins a snapshot when one is due, and goes on with the one that is being taken.
func (r *Replica) keepSnapshots() error {
	if r.truncating {
		r.truncating = false
		if err := r.truncate(0, 0); err != nil {
			return err
		}
	}
	if r.taking == nil {
		if !r.snapshotDue() {
			return nil
		}
		switch err := r.TakeSnapshot(); {
		case errors.Is(err, ErrMembersUnknown):
			return nil
		case err != nil:
			return err
		}
	}
	t := r.taking
	if counted, err := t.state.Count(chunksPerStep * r.snapshots.ChunkBytes); err != nil || !counted {
		return err
	}
	for range chunksPerStep {
		data, done, err := t.state.Next(r.snapshots.ChunkBytes)
		if err != nil {
			return fmt.Errorf("replica: reading the state for a snapshot: %w", err)
		}
		s := &t.snapshot
		s.ContentChecksum = raft.NextContentChecksum(s.ContentChecksum, data)
		if err := r.store.TakeChunk(raft.Chunk{Number: s.Chunks, Data: data, Checksum: s.ContentChecksum}); err != nil {
			return fmt.Errorf("replica: writing a snapshot: %w", err)
		}
		s.Chunks++
		if done {
			return errors.Join(r.stopTaking(), r.publish(*s))
		}
	}
	return nil
}

// snapshotDue tells whether enough was applied since the last. One that is being sent is not replaced
// at once, for its receiver would have to begin again.
func (r *Replica) snapshotDue() bool {
	every, latest := r.snapshots.Every, r.core.LatestSnapshot()
	if r.state.Applied() <= latest.Index {
		return false
	}
	if r.snapshots.Amortized && latest.Chunks > 0 && r.applied < (latest.Chunks-1)*uint64(r.snapshots.ChunkBytes) {
		return false
	}
	since := r.state.Applied() - latest.Index
	return every > 0 && since >= every && (since >= 4*every || !r.core.Sending())
}

func (r *Replica) publish(s raft.Snapshot) error {
	if err := r.store.Publish(s); err != nil {
		return fmt.Errorf("replica: publishing the snapshot at %d: %w", s.Index, err)
	}
	r.core.Snapshotted(s)
	r.record.took(s)
	r.log.Info("snapshot taken", "index", s.Index, "term", s.Term, "chunks", s.Chunks)
	return r.truncate(r.snapshots.Keep, r.snapshots.Spare)
}

// ErrNothingToTruncate refuses to truncate a log that holds nothing that the latest snapshot covers.
var ErrNothingToTruncate = errors.New("replica: the log holds nothing that the latest snapshot covers")

// Truncate has the next Process drop all of the log that the latest snapshot covers, also what peers may still need: they
// are sent the snapshot instead. Errors: ErrNothingToTruncate.
func (r *Replica) Truncate() error {
	if r.core.Truncatable(0, 0) <= r.core.BaseIndex() {
		return ErrNothingToTruncate
	}
	r.truncating = true
	return nil
}

// truncate drops the part of the log that the snapshot covers and that nobody needs.
func (r *Replica) truncate(keep, spare uint64) error {
	to := r.core.Truncatable(keep, spare)
	if to <= r.core.BaseIndex() {
		return nil
	}
	base, err := r.core.BaseAt(to)
	if err != nil {
		return fmt.Errorf("replica: truncating the log to %d: %w", to, err)
	}
	if err := r.store.Compact(base); err != nil {
		return fmt.Errorf("replica: truncating the log to %d: %w", to, err)
	}
	r.core.Truncated(base)
	r.record.compacted(to)
	r.log.Info("log truncated", "to", to)
	return nil
}

// install makes a received snapshot the node's log and state. Whoever waits for an entry that it covers
// is told that its fate is unknown.
func (r *Replica) install(s raft.Snapshot, hs *raft.HardState) error {
	if err := r.stopTaking(); err != nil {
		return err
	}
	if err := r.store.Install(s, hs); err != nil {
		return fmt.Errorf("replica: installing the snapshot at %d: %w", s.Index, err)
	}
	if err := r.restore(s); err != nil {
		return err
	}
	r.record.installed(s)
	r.log.Info("snapshot installed", "index", s.Index, "term", s.Term, "voters", s.Configuration.Voters)
	var lost []uint64
	for index := range r.proposals {
		if index <= s.Index {
			lost = append(lost, index)
		}
	}
	for _, p := range r.leaving {
		p.done(Result{}, ErrFateUnknown)
	}
	r.leaving = nil
	slices.Sort(lost)
	for _, index := range lost {
		for p := r.proposals[index]; p != nil; p = p.next {
			p.done(Result{}, ErrFateUnknown)
		}
		delete(r.proposals, index)
	}
	return nil
}

// restore begins to make the state from the store's latest snapshot. One in memory it makes at once.
func (r *Replica) restore(s raft.Snapshot) error {
	var fresh fsm.Table
	if r.table != nil {
		var err error
		if fresh, err = r.table.Fresh(); err != nil {
			return fmt.Errorf("replica: a table for the snapshot at %d: %w", s.Index, err)
		}
	}
	r.restoring = &restoring{snapshot: s, table: fresh, restore: fsm.NewRestore(fresh)}
	return r.restoreMore()
}

// restoreMore goes on with the snapshot that is being restored.
func (r *Replica) restoreMore() error {
	w := r.restoring
	s := w.snapshot
	for done := 0; w.next < s.Chunks; w.next++ {
		if r.table != nil && done >= r.snapshots.RestoreBytes {
			return nil
		}
		c, err := r.store.Chunk(s.Index, w.next)
		if err != nil {
			return fmt.Errorf("replica: reading chunk %d of the snapshot at %d: %w", w.next, s.Index, err)
		}
		if err := w.restore.Write(c.Data); err != nil {
			return fmt.Errorf("replica: chunk %d of the snapshot at %d: %w", w.next, s.Index, err)
		}
		done += len(c.Data)
	}
	r.restoring = nil
	state, err := w.restore.Finish()
	if err != nil {
		return fmt.Errorf("replica: the snapshot at %d: %w", s.Index, err)
	}
	if state.Applied() != s.Index {
		return fmt.Errorf("replica: the snapshot at %d holds the state at %d", s.Index, state.Applied())
	}
	if err := state.Adopt(); err != nil {
		return fmt.Errorf("replica: adopting the snapshot at %d: %w", s.Index, err)
	}
	r.log.Info("state restored", "index", s.Index)
	r.state, r.table = state, w.table
	r.core.Restored()
	if r.observer != nil {
		r.observer.Restored(s.Base, state.Hash())
	}
	return nil
}

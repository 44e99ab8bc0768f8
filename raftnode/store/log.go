package store

import (
	"errors"
	"fmt"

	"coup/raftnode/raft"
	"coup/raftnode/wire"
)

// ErrNotEmpty refuses to bootstrap a store that has been bootstrapped before. Nothing was changed.
var ErrNotEmpty = errors.New("store: not empty")

// ErrNotBootstrapped refuses to save into a store without a base.
var ErrNotBootstrapped = errors.New("store: not bootstrapped")

// extent is what must be known of a store's content to add to it. The zero extent is of an empty store.
type extent struct {
	bootstrapped bool
	base         raft.Base
	hardState    raft.HardState
	end          chain         // of the last entry, or of the base
	snapshot     raft.Snapshot // the latest; base.Index <= snapshot.Index <= end.index; zero when there is none
	taken        content       // what TakeChunk has brought so far
	receiving    raft.Snapshot // what Gather brings; zero when nothing is being received
	received     content       // how much of it is there
}

// after is the extent once hs and entries are saved, or why they must not be: a store takes nothing
// that Load would refuse. at is called for an index in [base, end].
func (x extent) after(hs *raft.HardState, entries []raft.Entry, at func(index uint64) (chain, error)) (extent, error) {
	if !x.bootstrapped {
		return x, ErrNotBootstrapped
	}
	if hs != nil {
		if err := wire.CheckHardState(*hs); err != nil {
			return x, fmt.Errorf("store: refusing to save: %w", err)
		}
		x.hardState = *hs
	}
	if len(entries) > 0 {
		first := entries[0].Index
		switch {
		case first <= x.base.Index || first > x.end.index+1:
			return x, fmt.Errorf("store: entry %d does not fit a log from %d to %d", first, x.base.Index+1, x.end.index)
		case first <= x.snapshot.Index:
			return x, fmt.Errorf("store: entry %d is covered by the snapshot at %d", first, x.snapshot.Index)
		}
		c, err := at(first - 1)
		if err != nil {
			return x, err
		}
		for _, e := range entries {
			if err := wire.CheckEntry(e); err != nil {
				return x, fmt.Errorf("store: refusing to save: %w", err)
			}
			if c, err = c.next(e); err != nil {
				return x, fmt.Errorf("store: refusing to save: %w", err)
			}
		}
		x.end = c
	}
	if err := x.termsHold(); err != nil {
		return x, fmt.Errorf("store: refusing to save: %w", err)
	}
	return x, nil
}

// termsHold tells whether the hard state has heard of the terms of the log and of the snapshot.
func (x extent) termsHold() error {
	if x.end.index > x.base.Index && x.end.term > x.hardState.Term {
		return fmt.Errorf("entry %d has term %d, and the hard state only %d", x.end.index, x.end.term, x.hardState.Term)
	}
	if x.snapshot.Term > x.hardState.Term {
		return fmt.Errorf("the snapshot at %d has term %d, and the hard state only %d",
			x.snapshot.Index, x.snapshot.Term, x.hardState.Term)
	}
	return nil
}

// holds checks the bounds of a read of [lo, hi).
func (x extent) holds(lo, hi uint64) error {
	if lo <= x.base.Index || lo > hi || hi > x.end.index+1 {
		return fmt.Errorf("store: entries [%d, %d) are not in a log from %d to %d", lo, hi, x.base.Index+1, x.end.index)
	}
	return nil
}

// bootstrap is the extent of a log that starts from base and has nothing else, and base as it is encoded.
// What it keeps of base shares nothing with the caller's.
func bootstrap(base raft.Base) (extent, []byte, error) {
	if base.Index > 0 {
		return extent{}, nil, fmt.Errorf("store: bootstrapping: entries up to %d are said to be covered, by no snapshot", base.Index)
	}
	encoded, err := wire.MarshalBase(base)
	if err == nil {
		base, err = wire.UnmarshalBase(encoded)
	}
	if err != nil {
		return extent{}, nil, fmt.Errorf("store: bootstrapping: %w", err)
	}
	return extent{bootstrapped: true, base: base, end: chainOf(base)}, encoded, nil
}

// state is what Load says of x.
func (x extent) state(configurations []raft.Entry) raft.State {
	s := raft.State{
		HardState: x.hardState, Base: x.base, Last: x.end.index, Configurations: configurations, Snapshot: x.snapshot,
	}
	if x.receiving.Index > 0 {
		next, checksum := x.received.resume(x.receiving.Chunks)
		s.Received = raft.Received{Snapshot: x.receiving, Next: next, Checksum: checksum}
	}
	return s
}

// budget counts entries against a limit in bytes of data; the first always fits.
type budget struct{ left int }

func (b *budget) fits(e raft.Entry, first bool) bool {
	b.left -= len(e.Data)
	return first || b.left >= 0
}

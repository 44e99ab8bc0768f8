package raft

import (
	"fmt"
	"slices"
	"sort"
)

// log is the replicated log: what storage holds, with the newest entries kept in memory too.
//
// base.Index <= applied <= commit <= last, and durable <= last. tail holds [offset, last] and at
// least (durable, last]. A slice of tail that was handed out is never written to again.
type log struct {
	storage Storage
	base    Base
	tail    []Entry
	offset  uint64 // index of tail[0], or of the entry to come
	bytes   int    // of the data of tail
	durable uint64 // entries up to here are on disk
	commit  uint64
	applied uint64
}

// keptEntries is how many entries that are durable and applied stay in memory for slow followers, and keptBytes bounds
// their data. There may be twice as much before anything is forgotten.
const (
	keptEntries = 4096
	keptBytes   = 4 << 20
)

// newLog is a log of which the state held all up to applied when it was last seen.
func newLog(storage Storage, s State, applied uint64) log {
	begun := max(s.Base.Index, s.Snapshot.Index, applied)
	return log{
		storage: storage, base: s.Base, offset: s.Last + 1,
		durable: s.Last, commit: begun, applied: begun,
	}
}

func (l *log) last() uint64 { return l.offset + uint64(len(l.tail)) - 1 }

// mark is an entry without its content.
type mark struct {
	index, term uint64
	checksum    uint32
}

// restore begins the log anew after a snapshot, which the state machine restores too.
func (l *log) restore(b Base) {
	l.base, l.tail, l.offset = b, nil, b.Index+1
	l.bytes = 0
	l.durable, l.commit, l.applied = b.Index, b.Index, b.Index
}

// truncated notes that storage has forgotten all up to base.
func (l *log) truncated(b Base) {
	l.base = b
	if b.Index >= l.offset {
		l.drop(min(b.Index+1-l.offset, uint64(len(l.tail))))
	}
}

// at tells the term and checksum at index, which is in [base.Index, last].
func (l *log) at(index uint64) (mark, error) {
	switch {
	case index == l.base.Index:
		return mark{index, l.base.Term, l.base.Checksum}, nil
	case index < l.base.Index || index > l.last():
		return mark{}, fmt.Errorf("raft: entry %d is outside the log (%d, %d]", index, l.base.Index, l.last())
	}
	if index >= l.offset {
		e := &l.tail[index-l.offset]
		return mark{index, e.Term, e.Checksum}, nil
	}
	e, err := l.slice(index, index+1, 0)
	if err != nil {
		return mark{}, err
	}
	return mark{index, e[0].Term, e[0].Checksum}, nil
}

func (l *log) end() (mark, error) { return l.at(l.last()) }

// slice returns the entries in [lo, hi), as many as fit into maxBytes of data but at least one.
func (l *log) slice(lo, hi uint64, maxBytes int) ([]Entry, error) {
	if lo >= hi {
		return nil, nil
	}
	if lo < l.offset {
		found, err := l.storage.Entries(lo, min(hi, l.offset), maxBytes)
		if err != nil {
			return nil, fmt.Errorf("raft: reading the log from %d: %w", lo, err)
		}
		return found, nil
	}
	found := l.tail[lo-l.offset : hi-l.offset]
	size := 0
	for i := range found {
		size += len(found[i].Data)
		if i > 0 && size > maxBytes {
			return slices.Clip(found[:i]), nil
		}
	}
	return slices.Clip(found), nil
}

// append puts entries at the end, replacing what the log holds from entries[0].Index on.
func (l *log) append(entries []Entry) error {
	first := entries[0].Index
	switch {
	case first <= l.commit:
		return &InvariantError{fmt.Sprintf("entry %d is committed and would be overwritten by one of term %d", first, entries[0].Term)}
	case first > l.last()+1:
		return &InvariantError{fmt.Sprintf("entry %d would leave a gap after %d", first, l.last())}
	case first < l.offset:
		l.tail, l.offset, l.bytes = nil, first, 0
	case first <= l.last():
		l.bytes -= dataOf(l.tail[first-l.offset:])
		l.tail = slices.Clip(l.tail[:first-l.offset])
	}
	l.durable = min(l.durable, first-1)
	l.tail = append(l.tail, entries...)
	l.bytes += dataOf(entries)
	return nil
}

// unstable are the entries that are not on disk yet.
func (l *log) unstable() []Entry {
	return slices.Clip(l.tail[l.durable+1-l.offset:])
}

// trim forgets entries that are durable and applied, but for the newest.
func (l *log) trim() {
	done := min(l.durable, l.applied)
	if l.bytes >= 2*keptBytes {
		done = l.durable // what waits to be applied for long is read again
	}
	if done < l.offset || done-l.offset < 2*keptEntries && l.bytes < 2*keptBytes {
		return
	}
	drop, left := uint64(0), l.bytes
	for ; drop < done-l.offset && (done-l.offset-drop > keptEntries || left > keptBytes); drop++ {
		left -= len(l.tail[drop].Data)
	}
	// What stays is copied: not for a few.
	if drop >= uint64(len(l.tail))/4 {
		l.drop(drop)
	}
}

// drop forgets the first n of tail.
func (l *log) drop(n uint64) {
	l.bytes -= dataOf(l.tail[:n])
	l.tail = append([]Entry(nil), l.tail[n:]...)
	l.offset += n
}

func dataOf(entries []Entry) (bytes int) {
	for i := range entries {
		bytes += len(entries[i].Data)
	}
	return bytes
}

// atMost is the last mark in [base.Index, index] whose term is at most term; the base when none is.
// Terms never fall along a log, so it is found by bisection.
func (l *log) atMost(index, term uint64) (mark, error) {
	index = min(index, l.last())
	var failure error
	n := sort.Search(int(index-l.base.Index), func(i int) bool {
		m, err := l.at(index - uint64(i))
		if err != nil {
			failure = err
		}
		return m.term <= term
	})
	if failure != nil {
		return mark{}, failure
	}
	return l.at(index - uint64(n))
}

package store

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"coup/raftnode/raft"
	"coup/raftnode/wire"
)

// inventory is what a Pebble must know of its database.
type inventory struct {
	extent extent
	generations
}

// reading is what one pass through a whole database has found so far.
type reading struct {
	inventory
	configurations []raft.Entry
	whole          content // what is there of the latest snapshot
	cut            bool    // a chunk of what is being received was not good
	useless        []span
}

// read goes through the whole database once and verifies it, but for the rows of the state. It never holds more than one
// value.
func (p *Pebble) read() (r reading, err error) {
	iter, err := p.db.NewIter(&pebble.IterOptions{UpperBound: []byte(prefixRow)})
	if err != nil {
		return reading{}, p.explain("the database", fmt.Errorf("store: reading: %w", err))
	}
	defer func() {
		if closing := iter.Close(); closing != nil && err == nil {
			err = p.explain("the database", fmt.Errorf("store: reading: %w", closing))
		}
	}()
	empty, formatted := true, false
	for valid := iter.First(); valid; valid = iter.Next() {
		empty = false
		key := string(iter.Key())
		switch {
		case strings.HasPrefix(key, prefixEntry):
			err = p.readEntry(iter, key, &r)
		case strings.HasPrefix(key, prefixChunk):
			err = p.readChunk(iter, key, &r)
		case key == keyFormat:
			formatted = true
			err = p.readFormat(iter)
		default:
			err = p.readValue(iter, key, &r)
		}
		if err != nil {
			return reading{}, err
		}
	}
	if err := iter.Error(); err != nil {
		return reading{}, p.explain("the database", fmt.Errorf("store: reading: %w", err))
	}
	if !empty && !(r.extent.bootstrapped && formatted) {
		return reading{}, p.corrupt("the base", "base and format do not stand together")
	}
	if err := p.conclude(&r); err != nil {
		return reading{}, err
	}
	return r, p.findTables(&r)
}

// conclude checks what can be said only once all has been read.
func (p *Pebble) conclude(r *reading) error {
	x := &r.extent
	if err := x.termsHold(); err != nil {
		return p.corrupt("the log", "%v", err)
	}
	if x.base.Index > x.snapshot.Index || x.snapshot.Index > x.end.index {
		return p.corrupt("the snapshot", "it covers entries up to %d, where the log starts from %d and ends at %d",
			x.snapshot.Index, x.base.Index, x.end.index)
	}
	if err := r.whole.wholeOf(x.snapshot); err != nil {
		return p.corrupt("the snapshot", "%v", err)
	}
	if x.receiving.Index > 0 && x.received.next == 0 {
		// Nothing has come that would be worth to go on with.
		r.useless = append(r.useless, span{[]byte(keyReceiving), append([]byte(keyReceiving), 0)})
		x.receiving, r.received = raft.Snapshot{}, 0
	}
	return nil
}

func (p *Pebble) readFormat(iter *pebble.Iterator) error {
	value, err := iter.ValueAndErr()
	if err != nil {
		return p.explain(keyFormat, fmt.Errorf("store: reading %s: %w", keyFormat, err))
	}
	if string(value) != format {
		return fmt.Errorf("store: %s has format %q, and this version reads %q only", p.dir, value, format)
	}
	return nil
}

// readValue takes what stands under a key of its own.
func (p *Pebble) readValue(iter *pebble.Iterator, key string, r *reading) error {
	value, err := iter.ValueAndErr()
	if err != nil {
		return p.explain(key, fmt.Errorf("store: reading %s: %w", key, err))
	}
	x := &r.extent
	switch key {
	case keyBase:
		if x.base, err = wire.UnmarshalBase(value); err != nil {
			return p.corrupt("the base", "%v", err)
		}
		x.bootstrapped, x.end = true, chainOf(x.base)
	case keyHardState:
		if x.hardState, err = wire.UnmarshalHardState(value); err != nil {
			return p.corrupt("the hard state", "%v", err)
		}
	case keyLatest:
		if r.latest, x.snapshot, err = decodeSnapshot(value); err != nil {
			return p.corrupt("the snapshot", "%v", err)
		}
		return p.passSnapshot(r)
	case keyReceiving:
		if r.received, x.receiving, err = decodeSnapshot(value); err != nil {
			return p.corrupt("the snapshot that is being received", "%v", err)
		}
		if r.received == r.latest {
			return p.corrupt("the snapshot that is being received", "its chunks are those of the latest one")
		}
	case keyState:
		if len(value) != 8 {
			return p.corrupt("the state", "%d bytes name no table", len(value))
		}
		r.state = binary.BigEndian.Uint64(value)
	default:
		return p.corrupt("the database", "unknown key %q", key)
	}
	return nil
}

func (p *Pebble) readEntry(iter *pebble.Iterator, key string, r *reading) error {
	if len(key) != len(prefixEntry)+8 {
		return p.corrupt("the log", "unknown key %q", key)
	}
	if !r.extent.bootstrapped {
		return p.corrupt("the base", "there is a log, but nothing that it starts from")
	}
	e, err := p.entry(iter, binary.BigEndian.Uint64([]byte(key[len(prefixEntry):])))
	if err != nil {
		return err
	}
	if r.extent.end, err = r.extent.end.next(e); err != nil {
		return p.corrupt("the log", "%v", err)
	}
	if e.Type == raft.EntryConfiguration {
		r.configurations = append(r.configurations, e)
	}
	return p.passSnapshot(r)
}

// passSnapshot compares log and snapshot where the one has come to the end of the other.
func (p *Pebble) passSnapshot(r *reading) error {
	if at := chainOf(r.extent.snapshot.Base); r.extent.end.index == at.index && r.extent.end != at {
		return p.corrupt("the snapshot", "at entry %d it is of another log", at.index)
	}
	return nil
}

// readChunk verifies a chunk of the latest snapshot, and one of what is being received, of which it
// keeps the beginning that is good.
func (p *Pebble) readChunk(iter *pebble.Iterator, key string, r *reading) error {
	if len(key) != len(prefixChunk)+16 {
		return p.corrupt("the snapshot", "unknown key %q", key)
	}
	generation := binary.BigEndian.Uint64([]byte(key[len(prefixChunk):]))
	number := binary.BigEndian.Uint64([]byte(key[len(prefixChunk)+8:]))
	r.last = max(r.last, generation)
	switch {
	case generation == r.latest:
		value, err := iter.ValueAndErr()
		if err != nil {
			return p.explain("the snapshot", fmt.Errorf("store: reading chunk %d: %w", number, err))
		}
		c, err := decodeChunk(value, number)
		if err == nil {
			r.whole, err = r.whole.with(c)
		}
		if err != nil {
			return p.corrupt("the snapshot", "%v", err)
		}
	case generation == r.received:
		if r.cut {
			return nil
		}
		value, err := iter.ValueAndErr()
		if err != nil {
			return p.explain("the snapshot that is being received", fmt.Errorf("store: reading chunk %d: %w", number, err))
		}
		c, err := decodeChunk(value, number)
		if err == nil {
			err = r.extent.receive(c)
		}
		if err != nil {
			r.cut = true
			r.useless = append(r.useless, chunksSpan(generation, number))
		}
	case number == 0:
		r.useless = append(r.useless, chunksSpan(generation, 0))
	}
	return nil
}

// entry decodes the one under iter, which must be that of index.
func (p *Pebble) entry(iter *pebble.Iterator, index uint64) (raft.Entry, error) {
	value, err := iter.ValueAndErr()
	if err != nil {
		return raft.Entry{}, p.explain("the log", fmt.Errorf("store: reading entry %d: %w", index, err))
	}
	e, err := wire.UnmarshalEntry(value)
	if err != nil {
		return raft.Entry{}, p.corrupt("the log", "entry %d: %v", index, err)
	}
	if e.Index != index {
		return raft.Entry{}, p.corrupt("the log", "entry %d stands where entry %d should", e.Index, index)
	}
	return e, nil
}

func (p *Pebble) corrupt(where, format string, args ...any) error {
	return &CorruptionError{Where: where + " of " + p.dir, What: fmt.Sprintf(format, args...), Remedy: remedy}
}

// explain makes a *CorruptionError of an error of Pebble that stands for damaged files.
func (p *Pebble) explain(where string, err error) error {
	if !pebble.IsCorruptionError(err) {
		return err
	}
	return &CorruptionError{Where: where + " of " + p.dir, What: err.Error(), Remedy: remedy, Err: err}
}

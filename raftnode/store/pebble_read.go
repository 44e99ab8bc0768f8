package store

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"coup/raftnode/raft"
	"coup/raftnode/wire"
)

// content is all that a database holds.
type content struct {
	extent         extent
	configurations []raft.Entry
}

// read goes through the whole database once and verifies it.
func (p *Pebble) read() (c content, err error) {
	iter, err := p.db.NewIter(nil)
	if err != nil {
		return content{}, p.explain("the database", fmt.Errorf("store: reading: %w", err))
	}
	defer func() {
		if closing := iter.Close(); closing != nil && err == nil {
			err = p.explain("the database", fmt.Errorf("store: reading: %w", closing))
		}
	}()
	found := make(map[string]bool)
	for valid := iter.First(); valid; valid = iter.Next() {
		key := string(iter.Key())
		if strings.HasPrefix(key, prefixEntry) {
			if !c.extent.bootstrapped {
				return content{}, p.corrupt("the base", "there is a log, but nothing that it starts from")
			}
			if err := p.readEntry(iter, key, &c); err != nil {
				return content{}, err
			}
			continue
		}
		value, err := iter.ValueAndErr()
		if err != nil {
			return content{}, p.explain(key, fmt.Errorf("store: reading %s: %w", key, err))
		}
		found[key] = true
		switch key {
		case keyBase:
			base, err := wire.UnmarshalBase(value)
			if err != nil {
				return content{}, p.corrupt("the base", "%v", err)
			}
			c.extent = begun(base)
		case keyFormat:
			if string(value) != format {
				return content{}, fmt.Errorf("store: %s has format %q, and this version reads %q only", p.dir, value, format)
			}
		case keyHardState:
			if c.extent.hardState, err = wire.UnmarshalHardState(value); err != nil {
				return content{}, p.corrupt("the hard state", "%v", err)
			}
		default:
			return content{}, p.corrupt("the database", "unknown key %q", key)
		}
	}
	if err := iter.Error(); err != nil {
		return content{}, p.explain("the database", fmt.Errorf("store: reading: %w", err))
	}
	if len(found) > 0 && !(found[keyBase] && found[keyFormat]) {
		return content{}, p.corrupt("the base", "base and format do not stand together")
	}
	if err := c.extent.termsHold(); err != nil {
		return content{}, p.corrupt("the log", "%v", err)
	}
	return c, nil
}

func (p *Pebble) readEntry(iter *pebble.Iterator, key string, c *content) error {
	if len(key) != len(prefixEntry)+8 {
		return p.corrupt("the log", "unknown key %q", key)
	}
	e, err := p.entry(iter, binary.BigEndian.Uint64([]byte(key[len(prefixEntry):])))
	if err != nil {
		return err
	}
	if c.extent.end, err = c.extent.end.next(e); err != nil {
		return p.corrupt("the log", "%v", err)
	}
	if e.Type == raft.EntryConfiguration {
		c.configurations = append(c.configurations, e)
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

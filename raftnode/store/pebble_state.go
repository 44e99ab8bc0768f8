package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"coup/raftnode/fsm"
)

// table is one generation of the state, in the database of the log. What is committed to it waits for no sync.
type table struct {
	store      *Pebble
	generation uint64
	prefix     []byte
	key        []byte // that is being read
}

var _ fsm.Table = (*table)(nil)

// State is the table of the state that comes of the log, as the last Adopt left it; empty before. It is of the store: an
// error of either finishes both, and Close closes it.
func (p *Pebble) State() (fsm.Table, error) {
	if _, err := p.known(); err != nil {
		return nil, err
	}
	return p.table(p.content.state), nil
}

func (p *Pebble) table(generation uint64) *table {
	return &table{store: p, generation: generation, prefix: keyOfRow(generation, nil)}
}

// Get is defined by fsm.Table.
func (t *table) Get(key []byte, use func(value []byte)) (bool, error) {
	if err := t.store.usable(); err != nil {
		return false, err
	}
	t.key = append(append(t.key[:0], t.prefix...), key...)
	value, closer, err := t.store.db.Get(t.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, t.store.explain("the state", fmt.Errorf("store: reading the state: %w", err))
	}
	use(value)
	return true, closer.Close()
}

// Commit is defined by fsm.Table. The next synced write makes it durable.
func (t *table) Commit(changes []fsm.Change) error {
	return t.commit("committing the state", t.size(changes), func(b *pebble.Batch) error { return t.fill(b, changes) })
}

// size is about how many bytes of a batch changes take.
func (t *table) size(changes []fsm.Change) int {
	size := 128
	for i := range changes {
		size += 16 + len(t.prefix) + len(changes[i].Key) + len(changes[i].Value)
	}
	return size
}

func (t *table) commit(doing string, size int, fill func(*pebble.Batch) error) error {
	p := t.store
	if err := p.usable(); err != nil {
		return err
	}
	if err := p.apply(size, fill); err != nil {
		p.failed = fmt.Errorf("store: %s: %w", doing, err)
		return p.failed
	}
	return nil
}

func (t *table) fill(b *pebble.Batch, changes []fsm.Change) error {
	for i := range changes {
		c := &changes[i]
		if c.Delete {
			key := b.DeleteDeferred(len(t.prefix) + len(c.Key))
			copy(key.Key[copy(key.Key, t.prefix):], c.Key)
			if err := key.Finish(); err != nil {
				return err
			}
			continue
		}
		row := b.SetDeferred(len(t.prefix)+len(c.Key), len(c.Value))
		copy(row.Key[copy(row.Key, t.prefix):], c.Key)
		copy(row.Value, c.Value)
		if err := row.Finish(); err != nil {
			return err
		}
	}
	return nil
}

// Fresh is defined by fsm.Table.
func (t *table) Fresh() (fsm.Table, error) {
	p := t.store
	if err := p.usable(); err != nil {
		return nil, err
	}
	g := &p.content.generations
	if g.lastState > g.state {
		err := t.commit("dropping a table", 64, func(b *pebble.Batch) error { return rowsSpan(g.state+1, g.lastState).drop(b) })
		if err != nil {
			return nil, err
		}
	}
	g.lastState = max(g.lastState, g.state) + 1
	return p.table(g.lastState), nil
}

// Adopt is defined by fsm.Table.
func (t *table) Adopt(changes []fsm.Change) error {
	before := t.store.content.state
	if t.generation != t.store.content.lastState || t.generation == before {
		return fmt.Errorf("store: table %d of the state is adopted, where %d is in place and %d was begun last", t.generation, before, t.store.content.lastState)
	}
	err := t.commit("adopting a table", t.size(changes), func(b *pebble.Batch) error {
		return errors.Join(
			t.fill(b, changes),
			b.Set([]byte(keyState), binary.BigEndian.AppendUint64(nil, t.generation), nil),
			rowsSpan(before, t.generation-1).drop(b),
		)
	})
	if err == nil {
		t.store.content.state = t.generation
	}
	return err
}

// Rows is defined by fsm.Table.
func (t *table) Rows(from, to []byte) (fsm.Rows, error) {
	if err := t.store.usable(); err != nil {
		return nil, err
	}
	o := pebble.IterOptions{LowerBound: keyOfRow(t.generation, from), UpperBound: keyOfRow(t.generation+1, nil)}
	if to != nil {
		o.UpperBound = keyOfRow(t.generation, to)
	}
	iter, err := t.store.db.NewIter(&o)
	if err != nil {
		return nil, t.store.explain("the state", fmt.Errorf("store: reading the state: %w", err))
	}
	r := &rows{store: t.store, iter: iter, move: iter.First}
	t.store.rows[r] = struct{}{}
	return r, nil
}

// rows are those of one table as of one moment.
type rows struct {
	store *Pebble
	iter  *pebble.Iterator // nil once closed
	move  func() bool      // to the next row
}

// Next is defined by fsm.Rows.
func (r *rows) Next() (key, value []byte, err error) {
	if r.iter == nil {
		return nil, nil, ErrClosed
	}
	if r.move() {
		r.move = r.iter.Next
		value, err = r.iter.ValueAndErr()
		key = r.iter.Key()[len(prefixRow)+8:]
	} else {
		err = r.iter.Error()
	}
	if err != nil {
		return nil, nil, r.store.explain("the state", fmt.Errorf("store: reading the state: %w", err))
	}
	return key, value, nil
}

// Rewind is defined by fsm.Rows.
func (r *rows) Rewind() {
	if r.iter != nil {
		r.move = r.iter.First
	}
}

// Close is defined by fsm.Rows.
func (r *rows) Close() error {
	if r.iter == nil {
		return nil
	}
	iter := r.iter
	r.iter = nil
	delete(r.store.rows, r)
	return iter.Close()
}

// findTables finds which generations of the state there are: those that nothing names are of no use.
func (p *Pebble) findTables(r *reading) (err error) {
	iter, err := p.db.NewIter(&pebble.IterOptions{LowerBound: []byte(prefixRow)})
	if err != nil {
		return p.explain("the state", fmt.Errorf("store: reading the state: %w", err))
	}
	defer func() {
		if closing := iter.Close(); closing != nil && err == nil {
			err = p.explain("the state", fmt.Errorf("store: reading the state: %w", closing))
		}
	}()
	r.lastState = r.state
	for valid := iter.First(); valid; {
		key := iter.Key()
		if len(key) < len(prefixRow)+8 || string(key[:len(prefixRow)]) != prefixRow {
			return p.corrupt("the database", "unknown key %q", key)
		}
		if !r.extent.bootstrapped {
			return p.corrupt("the base", "there is a state, but no log that it comes of")
		}
		generation := binary.BigEndian.Uint64(key[len(prefixRow):])
		r.lastState = max(r.lastState, generation)
		if generation != r.state {
			r.useless = append(r.useless, rowsSpan(generation, generation))
		}
		valid = iter.SeekGE(keyOfRow(generation+1, nil))
	}
	if err := iter.Error(); err != nil {
		return p.explain("the state", fmt.Errorf("store: reading the state: %w", err))
	}
	return nil
}

func keyOfRow(generation uint64, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64([]byte(prefixRow), generation), key...)
}

// rowsSpan is of all rows of the generations from first to last.
func rowsSpan(first, last uint64) span { return span{keyOfRow(first, nil), keyOfRow(last+1, nil)} }

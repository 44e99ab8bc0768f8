package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"coup/raftnode/raft"
	"coup/raftnode/wire"
)

// The keys, in their order, in which Load relies on it that what refers to others comes after them or, of
// a snapshot, before its chunks. Entries have the index after the prefix, chunks their generation and
// number, rows of the state their generation and key, all numbers big-endian.
const (
	keyBase      = "base"
	keyFormat    = "format"
	keyHardState = "hard"
	keyLatest    = "latest"
	prefixEntry  = "log/"
	keyReceiving = "receiving"
	prefixChunk  = "snapshot/"
	keyState     = "state"
	prefixRow    = "state/"
)

// format names the layout of keys and values. Another one is refused.
const format = "2"

// ErrClosed refuses whatever is asked of a closed store.
var ErrClosed = errors.New("store: closed")

// Pebble is a store in a Pebble database of its own, along with the state that comes of the log. That they share one
// write-ahead log is what orders them: a batch never survives a crash without those before it, so that the state
// is never ahead of the log, and the log is never truncated where the state is behind.
//
// Damaged files are found by Pebble's checksums, and what those miss by the log's. One thing cannot
// be found: damage within the last 32 KiB block of the newest write-ahead log looks like a write that
// a crash cut short, and what follows it there is lost.
type Pebble struct {
	dir        string
	db         *pebble.DB
	content    *inventory            // nil until the database has been read
	failed     error                 // the first error of a method that writes, or ErrClosed
	background atomic.Pointer[error] // the first error of Pebble's own goroutines
	rows       map[*rows]struct{}    // that are open
}

var _ Store = (*Pebble)(nil)

// OpenPebble opens the store in dir, which is made when it is missing. A nil fs is the operating
// system's, a nil logger is silent. What Pebble says of itself is logged at debug level, and its
// errors at error level.
//
// It returns a *CorruptionError when Pebble finds its files damaged. Where Pebble cannot go on
// from a background goroutine (its manifest cannot be written), the process ends in a panic that
// says so, and nothing that was not durable has been acknowledged.
func OpenPebble(dir string, fs vfs.FS, logger *slog.Logger) (*Pebble, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if fs == nil {
		fs = vfs.Default
	}
	p := &Pebble{dir: dir, rows: make(map[*rows]struct{})}
	db, err := pebble.Open(dir, p.options(fs, logger))
	if err != nil {
		return nil, p.explain("the database", fmt.Errorf("store: opening %s: %w", dir, err))
	}
	p.db = db
	return p, nil
}

// Load is defined by raft.Storage. It returns a *CorruptionError when the log or the snapshot is not what
// was saved. The first Load frees the space of what is of no use to this process.
func (p *Pebble) Load() (raft.State, error) {
	if err := p.usable(); err != nil {
		return raft.State{}, err
	}
	found, err := p.read()
	if err != nil {
		return raft.State{}, err
	}
	if p.content == nil {
		if err := p.sweep(found.useless); err != nil {
			return raft.State{}, err
		}
		p.content = &found.inventory
	}
	return found.extent.state(found.configurations), nil
}

// Entries is defined by raft.Storage. An entry counts as the bytes of its data.
func (p *Pebble) Entries(lo, hi uint64, maxBytes int) (found []raft.Entry, err error) {
	x, err := p.known()
	if err != nil {
		return nil, err
	}
	if err := x.holds(lo, hi); err != nil || lo == hi {
		return nil, err
	}
	iter, err := p.db.NewIter(&pebble.IterOptions{LowerBound: keyOf(lo), UpperBound: keyOf(hi)})
	if err != nil {
		return nil, p.explain("the log", fmt.Errorf("store: reading the log: %w", err))
	}
	defer func() {
		if closing := iter.Close(); closing != nil && err == nil {
			found, err = nil, p.explain("the log", fmt.Errorf("store: reading the log: %w", closing))
		}
	}()
	found = make([]raft.Entry, 0, min(hi-lo, 64))
	left := budget{maxBytes}
	for index, valid := lo, iter.First(); index < hi; index, valid = index+1, iter.Next() {
		if !valid {
			if err := iter.Error(); err != nil {
				return nil, p.explain("the log", fmt.Errorf("store: reading entry %d: %w", index, err))
			}
			return nil, p.corrupt("the log", "entry %d is missing", index)
		}
		e, err := p.entry(iter, index)
		if err != nil {
			return nil, err
		}
		if !left.fits(e, index == lo) {
			break
		}
		found = append(found, e)
	}
	return found, nil
}

// Bootstrap is defined by Store.
func (p *Pebble) Bootstrap(base raft.Base) error {
	x, err := p.known()
	if err != nil {
		return err
	}
	if x.bootstrapped {
		return ErrNotEmpty
	}
	next, encoded, err := bootstrap(base)
	if err != nil {
		return err
	}
	err = p.commit(func(b *pebble.Batch) error {
		return errors.Join(
			b.Set([]byte(keyFormat), []byte(format), nil),
			b.Set([]byte(keyBase), encoded, nil),
		)
	})
	if err == nil {
		// The first write-ahead log of a database lacks the marks by which later ones tell damage from
		// an unfinished write. A flush ends it; whether it is done yet does not matter.
		_, err = p.db.AsyncFlush()
	}
	if err != nil {
		p.failed = fmt.Errorf("store: bootstrapping: %w", err)
		return p.failed
	}
	*x = next
	return nil
}

// Save is defined by Store: one synced batch.
func (p *Pebble) Save(hs *raft.HardState, entries []raft.Entry) error {
	x, err := p.known()
	if err != nil {
		return err
	}
	if hs == nil && len(entries) == 0 {
		return nil
	}
	next, err := x.after(hs, entries, p.at)
	if err == nil {
		err = p.commit(func(b *pebble.Batch) error { return fill(b, hs, entries, x.end.index) })
	}
	return p.settle(x, next, "saving", err)
}

// Close releases the database. What was saved is on disk already.
func (p *Pebble) Close() error {
	if errors.Is(p.failed, ErrClosed) {
		return nil
	}
	p.failed = ErrClosed
	var errs []error
	for r := range p.rows {
		errs = append(errs, r.Close())
	}
	if err := errors.Join(append(errs, p.db.Close())...); err != nil {
		return fmt.Errorf("store: closing %s: %w", p.dir, err)
	}
	return nil
}

// fill puts into b what Save writes to a log that ends at last.
func fill(b *pebble.Batch, hs *raft.HardState, entries []raft.Entry, last uint64) error {
	if err := fillHardState(b, hs); err != nil {
		return err
	}
	for _, e := range entries {
		value, err := wire.MarshalEntry(e)
		if err != nil {
			return err
		}
		if err := b.Set(keyOf(e.Index), value, nil); err != nil {
			return err
		}
	}
	if len(entries) == 0 {
		return nil
	}
	if end := entries[len(entries)-1].Index; end < last {
		return b.DeleteRange(keyOf(end+1), keyOf(last+1), nil)
	}
	return nil
}

func fillHardState(b *pebble.Batch, hs *raft.HardState) error {
	if hs == nil {
		return nil
	}
	value, err := wire.MarshalHardState(*hs)
	if err != nil {
		return err
	}
	return b.Set([]byte(keyHardState), value, nil)
}

// commit makes one batch durable. Asking for the sync first and waiting for it afterwards lets a
// failed one come back as an error; Pebble's plain commit takes it for fatal.
func (p *Pebble) commit(fill func(*pebble.Batch) error) error {
	b := p.db.NewBatch()
	if err := fill(b); err != nil {
		return errors.Join(err, b.Close())
	}
	if err := p.db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		return err
	}
	if err := b.SyncWait(); err != nil {
		return err
	}
	return b.Close()
}

// apply makes one batch part of the content, and leaves it to the next commit to make it durable: a log of
// batches has no holes, so that a batch never survives a crash without those before it. It takes about size bytes.
func (p *Pebble) apply(size int, fill func(*pebble.Batch) error) error {
	b := p.db.NewBatchWithSize(size)
	if err := fill(b); err != nil {
		return errors.Join(err, b.Close())
	}
	if err := p.db.Apply(b, pebble.NoSync); err != nil {
		return err
	}
	return b.Close()
}

// settle ends a method that writes: with next as what is known, or with the store finished.
func (p *Pebble) settle(x *extent, next extent, doing string, err error) error {
	if err != nil {
		p.failed = fmt.Errorf("store: %s: %w", doing, err)
		return p.failed
	}
	*x = next
	return nil
}

// usable is the first error that finished this store.
func (p *Pebble) usable() error {
	if p.failed != nil {
		return p.failed
	}
	if err := p.background.Load(); err != nil {
		p.failed = *err
	}
	return p.failed
}

// known is the extent of the content, which is read when it has not been yet.
func (p *Pebble) known() (*extent, error) {
	if err := p.usable(); err != nil {
		return nil, err
	}
	if p.content == nil {
		if _, err := p.Load(); err != nil {
			return nil, err
		}
	}
	return &p.content.extent, nil
}

func (p *Pebble) at(index uint64) (chain, error) {
	switch x := p.content.extent; index {
	case x.base.Index:
		return chainOf(x.base), nil
	case x.end.index:
		return x.end, nil
	}
	found, err := p.Entries(index, index+1, 0)
	if err != nil {
		return chain{}, err
	}
	return chainAt(found[0]), nil
}

func keyOf(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(prefixEntry), index)
}

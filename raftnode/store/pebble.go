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

// The keys, in their order. Entries have the index, big-endian, after the prefix.
const (
	keyBase      = "base"
	keyFormat    = "format"
	keyHardState = "hard"
	prefixEntry  = "log/"
)

// format names the layout of keys and values. Another one is refused.
const format = "1"

// ErrClosed refuses whatever is asked of a closed store.
var ErrClosed = errors.New("store: closed")

// Pebble is a store in a Pebble database of its own.
//
// Damaged files are found by Pebble's checksums, and what those miss by the log's. One thing cannot
// be found: damage within the last 32 KiB block of the newest write-ahead log looks like a write that
// a crash cut short, and what follows it there is lost.
type Pebble struct {
	dir        string
	db         *pebble.DB
	extent     *extent               // nil until the log has been read
	failed     error                 // the first error of Save or Bootstrap, or ErrClosed
	background atomic.Pointer[error] // the first error of Pebble's own goroutines
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
	p := &Pebble{dir: dir}
	db, err := pebble.Open(dir, p.options(fs, logger))
	if err != nil {
		return nil, p.explain("the database", fmt.Errorf("store: opening %s: %w", dir, err))
	}
	p.db = db
	return p, nil
}

// Load is defined by raft.Storage. It returns a *CorruptionError when the log is not what was saved.
func (p *Pebble) Load() (raft.State, error) {
	if err := p.usable(); err != nil {
		return raft.State{}, err
	}
	l, err := p.read()
	if err != nil {
		return raft.State{}, err
	}
	p.extent = &l.extent
	return raft.State{
		HardState:      l.extent.hardState,
		Base:           l.extent.base,
		Last:           l.extent.end.index,
		Configurations: l.configurations,
	}, nil
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
	encoded, err := wire.MarshalBase(base)
	if err != nil {
		return fmt.Errorf("store: bootstrapping: %w", err)
	}
	// Decoding gives a copy that shares nothing with the caller's.
	if base, err = wire.UnmarshalBase(encoded); err != nil {
		return fmt.Errorf("store: bootstrapping: %w", err)
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
	*x = begun(base)
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
	if err != nil {
		p.failed = fmt.Errorf("store: saving: %w", err)
		return p.failed
	}
	*x = next
	return nil
}

// Close releases the database. What was saved is on disk already.
func (p *Pebble) Close() error {
	if errors.Is(p.failed, ErrClosed) {
		return nil
	}
	p.failed = ErrClosed
	if err := p.db.Close(); err != nil {
		return fmt.Errorf("store: closing %s: %w", p.dir, err)
	}
	return nil
}

// fill puts into b what Save writes to a log that ends at last.
func fill(b *pebble.Batch, hs *raft.HardState, entries []raft.Entry, last uint64) error {
	if hs != nil {
		value, err := wire.MarshalHardState(*hs)
		if err != nil {
			return err
		}
		if err := b.Set([]byte(keyHardState), value, nil); err != nil {
			return err
		}
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

// known is the log's extent, read when it has not been yet.
func (p *Pebble) known() (*extent, error) {
	if err := p.usable(); err != nil {
		return nil, err
	}
	if p.extent == nil {
		if _, err := p.Load(); err != nil {
			return nil, err
		}
	}
	return p.extent, nil
}

func (p *Pebble) at(index uint64) (chain, error) {
	switch index {
	case p.extent.base.Index:
		return chainOf(p.extent.base), nil
	case p.extent.end.index:
		return p.extent.end, nil
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

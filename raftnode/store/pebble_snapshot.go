package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"coup/raftnode/raft"
	"coup/raftnode/wire"
)

// generations number the snapshots of which there are chunks, so that a snapshot takes the place of another by
// a change of what names them, and no chunk is written twice. Zero is none.
type generations struct {
	latest   uint64
	received uint64
	taken    uint64 // named by nothing on disk
	last     uint64 // the highest that may be on disk
	// Tables of the state have generations of their own.
	state     uint64 // 0 for the first, which nothing names
	lastState uint64 // the highest of which something may be on disk
}

// next is a generation of which nothing is on disk.
func (g *generations) next() uint64 {
	g.last++
	return g.last
}

// span is the range of keys from one up to, without it, another.
type span struct{ from, to []byte }

func (s span) drop(b *pebble.Batch) error { return b.DeleteRange(s.from, s.to, nil) }

// Snapshot is defined by raft.Storage.
func (p *Pebble) Snapshot() (raft.Snapshot, error) {
	x, err := p.known()
	if err != nil {
		return raft.Snapshot{}, err
	}
	return x.snapshot, nil
}

// Chunk is defined by raft.Storage.
func (p *Pebble) Chunk(index, number uint64) (raft.Chunk, error) {
	x, err := p.known()
	if err != nil {
		return raft.Chunk{}, err
	}
	if err := x.chunkOf(index, number); err != nil {
		return raft.Chunk{}, err
	}
	value, closer, err := p.db.Get(keyOfChunk(p.content.latest, number))
	if errors.Is(err, pebble.ErrNotFound) {
		return raft.Chunk{}, p.corrupt("the snapshot", "chunk %d is missing", number)
	}
	if err != nil {
		return raft.Chunk{}, p.explain("the snapshot", fmt.Errorf("store: reading chunk %d: %w", number, err))
	}
	c, err := decodeChunk(value, number)
	if err != nil {
		err = p.corrupt("the snapshot", "%v", err)
	}
	return c, errors.Join(err, closer.Close())
}

// chunkOverhead is more than what is written beside a chunk's data.
const chunkOverhead = 512

// TakeChunk is defined by Store.
func (p *Pebble) TakeChunk(c raft.Chunk) error {
	x, err := p.known()
	if err != nil {
		return err
	}
	next, err := x.take(c)
	if err == nil {
		err = p.apply(chunkOverhead+len(c.Data), func(b *pebble.Batch) error {
			if c.Number > 0 {
				return setChunk(b, p.content.taken, c)
			}
			old := p.content.taken
			p.content.taken = p.content.next()
			return errors.Join(dropChunks(b, old), setChunk(b, p.content.taken, c))
		})
	}
	return p.settle(x, next, "taking a chunk", err)
}

// Publish is defined by Store.
func (p *Pebble) Publish(s raft.Snapshot) error {
	x, err := p.known()
	if err != nil {
		return err
	}
	next, err := x.publish(s, p.at)
	if err == nil {
		g := p.content.generations
		err = p.commit(func(b *pebble.Batch) error {
			err := errors.Join(setSnapshot(b, keyLatest, g.taken, s), dropChunks(b, g.latest))
			g.latest, g.taken = g.taken, 0
			if next.receiving.Index == 0 && g.received != 0 {
				err = errors.Join(err, b.Delete([]byte(keyReceiving), nil), dropChunks(b, g.received))
				g.received = 0
			}
			return err
		})
		p.content.generations = g
	}
	return p.settle(x, next, "publishing a snapshot", err)
}

// Gather is defined by Store.
func (p *Pebble) Gather(g raft.Gathered) error {
	x, err := p.known()
	if err != nil {
		return err
	}
	next, err := x.gather(g)
	if err == nil {
		err = p.apply(chunkOverhead+len(g.Chunk.Data), func(b *pebble.Batch) error {
			if g.Chunk.Number > 0 {
				return setChunk(b, p.content.received, g.Chunk)
			}
			old := p.content.received
			p.content.received = p.content.next()
			return errors.Join(
				dropChunks(b, old),
				setSnapshot(b, keyReceiving, p.content.received, g.Snapshot),
				setChunk(b, p.content.received, g.Chunk),
			)
		})
	}
	return p.settle(x, next, "gathering a chunk", err)
}

// Install is defined by Store.
func (p *Pebble) Install(s raft.Snapshot, hs *raft.HardState) error {
	x, err := p.known()
	if err != nil {
		return err
	}
	next, err := x.install(s, hs)
	if err == nil {
		g := p.content.generations
		err = p.commit(func(b *pebble.Batch) error {
			return errors.Join(
				fillHardState(b, hs),
				setBase(b, s.Base),
				entriesSpan(x.base.Index+1, x.end.index).drop(b),
				setSnapshot(b, keyLatest, g.received, s),
				b.Delete([]byte(keyReceiving), nil),
				dropChunks(b, g.latest),
				dropChunks(b, g.taken),
			)
		})
		p.content.generations = generations{latest: g.received, last: g.last, state: g.state, lastState: g.lastState}
	}
	return p.settle(x, next, "installing a snapshot", err)
}

// Compact is defined by Store.
func (p *Pebble) Compact(base raft.Base) error {
	x, err := p.known()
	if err != nil {
		return err
	}
	next, err := x.compact(base, p.at)
	if err == nil && next.base.Index > x.base.Index {
		err = p.commit(func(b *pebble.Batch) error {
			return errors.Join(setBase(b, base), entriesSpan(x.base.Index+1, base.Index).drop(b))
		})
	}
	return p.settle(x, next, "compacting the log", err)
}

// sweep frees the space of what is of no use.
func (p *Pebble) sweep(useless []span) error {
	if len(useless) == 0 {
		return nil
	}
	err := p.apply(64*len(useless), func(b *pebble.Batch) error {
		for _, s := range useless {
			if err := s.drop(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		p.failed = fmt.Errorf("store: freeing space: %w", err)
	}
	return p.failed
}

func setBase(b *pebble.Batch, base raft.Base) error {
	value, err := wire.MarshalBase(base)
	if err != nil {
		return err
	}
	return b.Set([]byte(keyBase), value, nil)
}

func setSnapshot(b *pebble.Batch, key string, generation uint64, s raft.Snapshot) error {
	value, err := wire.MarshalSnapshot(s)
	if err != nil {
		return err
	}
	return b.Set([]byte(key), append(binary.BigEndian.AppendUint64(nil, generation), value...), nil)
}

func setChunk(b *pebble.Batch, generation uint64, c raft.Chunk) error {
	value, err := wire.MarshalChunk(c)
	if err != nil {
		return err
	}
	return b.Set(keyOfChunk(generation, c.Number), value, nil)
}

func dropChunks(b *pebble.Batch, generation uint64) error {
	if generation == 0 {
		return nil
	}
	return chunksSpan(generation, 0).drop(b)
}

// decodeSnapshot is the inverse of setSnapshot.
func decodeSnapshot(value []byte) (generation uint64, s raft.Snapshot, err error) {
	if len(value) < 8 {
		return 0, raft.Snapshot{}, fmt.Errorf("%d bytes name no snapshot", len(value))
	}
	s, err = wire.UnmarshalSnapshot(value[8:])
	return binary.BigEndian.Uint64(value), s, err
}

// decodeChunk is the inverse of setChunk.
func decodeChunk(value []byte, number uint64) (raft.Chunk, error) {
	c, err := wire.UnmarshalChunk(value)
	if err != nil {
		return raft.Chunk{}, fmt.Errorf("chunk %d: %w", number, err)
	}
	if c.Number != number {
		return raft.Chunk{}, fmt.Errorf("chunk %d stands where chunk %d should", c.Number, number)
	}
	return c, nil
}

func keyOfChunk(generation, number uint64) []byte {
	key := binary.BigEndian.AppendUint64([]byte(prefixChunk), generation)
	return binary.BigEndian.AppendUint64(key, number)
}

// chunksSpan is of a generation's chunks from a number on.
func chunksSpan(generation, from uint64) span {
	return span{keyOfChunk(generation, from), keyOfChunk(generation+1, 0)}
}

// entriesSpan is of the entries from first to last.
func entriesSpan(first, last uint64) span { return span{keyOf(first), keyOf(last + 1)} }

package faultfs

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// inode is one file, whatever its names: what is durable, and what was written since.
type inode struct {
	names   int // guarded by FS.mu, like handles
	handles int

	mu      sync.Mutex
	reader  vfs.File
	writer  vfs.File // nil until the file is opened for writing
	durable int64    // length in the base
	forsook extents  // what no sync will make durable any more, and is seen here all the same
	dirty   extents
}

func newInode(reader, writer vfs.File) (*inode, error) {
	info, err := reader.Stat()
	if err != nil {
		return nil, err
	}
	return &inode{names: 1, reader: reader, writer: writer, durable: info.Size()}, nil
}

func (n *inode) isDirty() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.dirty) > 0
}

// isClean tells whether the base has all that there is to see.
func (n *inode) isClean() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.dirty) == 0 && len(n.forsook) == 0
}

func (n *inode) length() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.size()
}

func (n *inode) size() int64 { return max(n.durable, n.forsook.end(), n.dirty.end()) }

// readAt reads what was written, synced or not.
func (n *inode) readAt(p []byte, offset int64) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if offset < 0 {
		return 0, errors.New("faultfs: negative offset")
	}
	short := n.size()-offset < int64(len(p))
	if short {
		p = p[:max(n.size()-offset, 0)]
	}
	if fromBase := min(n.durable-offset, int64(len(p))); fromBase > 0 {
		if read, err := n.reader.ReadAt(p[:fromBase], offset); int64(read) < fromBase {
			return 0, errors.Join(io.ErrUnexpectedEOF, err)
		}
		clear(p[fromBase:])
	} else {
		clear(p)
	}
	n.forsook.overlay(p, offset)
	n.dirty.overlay(p, offset)
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}

// writeAt keeps p in memory.
func (n *inode) writeAt(p []byte, offset int64) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if offset < 0 {
		return 0, errors.New("faultfs: negative offset")
	}
	n.dirty = n.dirty.write(p, offset)
	return len(p), nil
}

// sync moves to the base all that was written. After an error everything stays un-synced, though the
// base may have some of it.
func (n *inode) sync() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.writer == nil {
		return nil
	}
	for _, e := range n.dirty {
		// A write may modify the slice that it is given.
		if _, err := n.writer.WriteAt(bytes.Clone(e.data), e.offset); err != nil {
			return err
		}
		n.durable = max(n.durable, e.end())
	}
	if err := n.writer.Sync(); err != nil {
		return err
	}
	for _, e := range n.dirty {
		before, after := n.forsook.around(e.offset, e.end())
		n.forsook = slices.Concat(before, after)
	}
	n.dirty = nil
	return nil
}

// forsake is a sync that fails, and of which no later one makes up: the pages are taken for clean.
func (n *inode) forsake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.dirty {
		n.forsook = n.forsook.write(e.data, e.offset)
	}
	n.dirty = nil
}

// sectorBytes is what a disk writes whole, or not at all.
const sectorBytes = 512

// tear moves to the base a part of what was written: a beginning, which may end within a sector, or any sectors. It tells
// how many bytes of how many.
func (n *inode) tear(random *rand.Rand) (kept, of int, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.dirty {
		of += len(e.data)
	}
	left := random.IntN(of + 1)
	anySectors := random.IntN(2) == 0
	for _, e := range n.dirty {
		for at := e.offset; at < e.end(); {
			to := min(e.end(), at/sectorBytes*sectorBytes+sectorBytes)
			if !anySectors {
				to = min(to, at+int64(left))
			}
			if anySectors && random.IntN(2) == 0 {
				at = to
				continue
			}
			if at == to {
				break
			}
			if _, err := n.writer.WriteAt(bytes.Clone(e.data[at-e.offset:to-e.offset]), at); err != nil {
				return kept, of, err
			}
			kept += int(to - at)
			left -= int(to - at)
			at = to
		}
	}
	return kept, of, n.writer.Sync()
}

func (n *inode) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	closeAll(n.reader, n.writer)
}

// closeAll closes handles that nothing is expected of: what they wrote is synced or given up.
func closeAll(files ...vfs.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

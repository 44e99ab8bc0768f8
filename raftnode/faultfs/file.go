package faultfs

import (
	"errors"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// file is one handle of an inode, for use by one goroutine but for ReadAt.
type file struct {
	fs       *FS
	inode    *inode
	name     string // that it was opened by
	position int64
	writable bool
	closed   bool
}

var _ vfs.File = (*file)(nil)

var errReadOnly = errors.New("faultfs: the file is open for reading only")

func (h *file) Read(p []byte) (int, error) {
	n, err := h.ReadAt(p, h.position)
	h.position += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (h *file) ReadAt(p []byte, offset int64) (int, error) {
	if err := h.fs.disk.read(h.name); err != nil {
		return 0, err
	}
	return h.inode.readAt(p, offset)
}

func (h *file) Write(p []byte) (int, error) {
	n, err := h.WriteAt(p, h.position)
	h.position += int64(n)
	return n, err
}

func (h *file) WriteAt(p []byte, offset int64) (int, error) {
	if !h.writable {
		return 0, errReadOnly
	}
	taken, failure := h.fs.disk.write(h.name, len(p))
	n, err := h.inode.writeAt(p[:taken], offset)
	if err == nil {
		err = failure
	}
	return n, err
}

func (h *file) Sync() error { return h.fs.disk.sync(h.name, h.inode, h.inode.sync) }

func (h *file) SyncData() error { return h.Sync() }

// SyncTo syncs nothing: without a full sync it promises nothing.
func (h *file) SyncTo(int64) (fullSync bool, err error) { return false, nil }

// Close keeps what was not synced.
func (h *file) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return fs.ErrClosed
	}
	h.closed = true
	h.inode.handles--
	h.fs.release(h.inode)
	return nil
}

func (h *file) Stat() (vfs.FileInfo, error) {
	info, err := h.inode.reader.Stat()
	if err != nil {
		return nil, err
	}
	return fileInfo{info, h.inode.length()}, nil
}

func (h *file) Preallocate(int64, int64) error { return nil }

func (h *file) Prefetch(int64, int64) error { return nil }

// Fd hides the base's descriptor, by which the cache would be passed over.
func (h *file) Fd() uintptr { return vfs.InvalidFd }

// fileInfo tells the length that includes what was not synced.
type fileInfo struct {
	vfs.FileInfo
	size int64
}

func (i fileInfo) Size() int64 { return i.size }

// directory is a handle of one, on a disk that can be broken.
type directory struct {
	vfs.File
	name string
	disk *Disk
}

func (d *directory) Sync() error { return d.disk.sync(d.name, nil, d.File.Sync) }

func (d *directory) SyncData() error { return d.disk.sync(d.name, nil, d.File.SyncData) }

// Package faultfs is a file system for tests whose page cache is this process: what is written stays
// in memory until fsync, so that SIGKILL loses what a power failure would. It wraps another file
// system, which holds what is durable.
//
// Nothing is flushed in the background. Closing a file keeps what was not synced, and every handle of
// the file sees it. Only content is held back: creating, linking, renaming and removing take effect
// at once, as if the directory were synced each time. Two names are known to be of one file when they
// were linked through this FS.
//
// An FS made by NewBreakable can moreover be broken while it is in use, as disks break: see Faults.
package faultfs

import (
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is a vfs.FS. Safe for concurrent use.
type FS struct {
	base vfs.FS
	disk *Disk // nil for one that does nothing wrong

	mu     sync.Mutex
	inodes map[string]*inode // by name; those in use, with un-synced content, or with several names
}

var _ vfs.FS = (*FS)(nil)

// New wraps base. While it is in use nobody else may write to the same files of base.
func New(base vfs.FS) *FS {
	return &FS{base: base, inodes: make(map[string]*inode)}
}

// NewBreakable is New, with a disk that can be broken. A torn write ends with a call of end, which says what was torn; it
// should end the process. If it returns, the write has failed.
func NewBreakable(base vfs.FS, end func(torn string)) (*FS, *Disk) {
	f := New(base)
	f.disk = &Disk{end: end, changed: make(chan struct{})}
	return f, f.disk
}

// Create is defined by vfs.FS. The empty file is durable at once.
func (f *FS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.disk.make(name); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	created, err := f.base.Create(name, category)
	if err != nil {
		return nil, err
	}
	if err := created.Close(); err != nil {
		return nil, err
	}
	f.unlink(name)
	return f.open(name, category, true)
}

// Open is defined by vfs.FS.
func (f *FS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := f.base.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return f.directory(name, func() (vfs.File, error) { return f.base.Open(name, opts...) })
	}
	return f.open(name, vfs.WriteCategoryUnspecified, false, opts...)
}

// OpenReadWrite is defined by vfs.FS.
func (f *FS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open(name, category, true, opts...)
}

// open gives a handle of the file at name, which may be missing only when write is set.
func (f *FS) open(name string, category vfs.DiskWriteCategory, write bool, opts ...vfs.OpenOption) (vfs.File, error) {
	n, err := f.inode(name, category, write)
	if err != nil {
		return nil, err
	}
	n.handles++
	h := &file{fs: f, inode: n, name: name, writable: write}
	for _, opt := range opts {
		opt.Apply(h)
	}
	return h, nil
}

// inode finds the file at name, or begins to follow it.
func (f *FS) inode(name string, category vfs.DiskWriteCategory, write bool) (*inode, error) {
	name = filepath.Clean(name)
	n := f.inodes[name]
	if n != nil && (n.writer != nil || !write) {
		return n, nil
	}
	var writer, reader vfs.File
	var err error
	if write {
		if writer, err = f.base.OpenReadWrite(name, category); err != nil {
			return nil, err
		}
	}
	if n != nil {
		n.mu.Lock()
		n.writer = writer
		n.mu.Unlock()
		return n, nil
	}
	if reader, err = f.base.Open(name); err == nil {
		n, err = newInode(reader, writer)
	}
	if err != nil {
		closeAll(reader, writer)
		return nil, err
	}
	f.inodes[name] = n
	return n, nil
}

// unlink takes a name off the file that has it.
func (f *FS) unlink(name string) {
	name = filepath.Clean(name)
	if n := f.inodes[name]; n != nil {
		delete(f.inodes, name)
		n.names--
		f.release(n)
	}
}

// release stops following a file that nobody holds and that is in base as it is here.
func (f *FS) release(n *inode) {
	switch {
	case n.handles > 0, n.names > 1, n.names == 1 && !n.isClean():
		return
	}
	maps.DeleteFunc(f.inodes, func(_ string, other *inode) bool { return other == n })
	n.close()
}

// Link is defined by vfs.FS.
func (f *FS) Link(oldname, newname string) error {
	if err := f.disk.make(newname); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.base.Link(oldname, newname); err != nil {
		return err
	}
	n, err := f.inode(oldname, vfs.WriteCategoryUnspecified, false)
	if err != nil {
		return err
	}
	n.names++
	f.inodes[filepath.Clean(newname)] = n
	return nil
}

// Rename is defined by vfs.FS. Un-synced content goes along.
func (f *FS) Rename(oldname, newname string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rename(oldname, newname)
}

func (f *FS) rename(oldname, newname string) error {
	if err := f.base.Rename(oldname, newname); err != nil {
		return err
	}
	oldname, newname = filepath.Clean(oldname), filepath.Clean(newname)
	if oldname == newname {
		return nil
	}
	f.unlink(newname)
	for _, name := range f.under(oldname) {
		f.inodes[newname+strings.TrimPrefix(name, oldname)] = f.inodes[name]
		delete(f.inodes, name)
	}
	return nil
}

// under lists the followed names that are name or below it.
func (f *FS) under(name string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(f.inodes)), func(other string) bool {
		return other != name && !strings.HasPrefix(other, name+string(filepath.Separator))
	})
}

// ReuseForWrite is defined by vfs.FS.
func (f *FS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.rename(oldname, newname); err != nil {
		return nil, err
	}
	return f.open(newname, category, true)
}

// Remove is defined by vfs.FS.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.base.Remove(name); err != nil {
		return err
	}
	f.unlink(name)
	return nil
}

// RemoveAll is defined by vfs.FS.
func (f *FS) RemoveAll(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.base.RemoveAll(name)
	for _, below := range f.under(filepath.Clean(name)) {
		if _, gone := f.base.Stat(below); gone != nil {
			f.unlink(below)
		}
	}
	return err
}

// Stat is defined by vfs.FS.
func (f *FS) Stat(name string) (vfs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := f.base.Stat(name)
	if n := f.inodes[filepath.Clean(name)]; n != nil && err == nil {
		return fileInfo{info, n.length()}, nil
	}
	return info, err
}

// OpenDir is defined by vfs.FS.
func (f *FS) OpenDir(name string) (vfs.File, error) {
	return f.directory(name, func() (vfs.File, error) { return f.base.OpenDir(name) })
}

func (f *FS) directory(name string, open func() (vfs.File, error)) (vfs.File, error) {
	d, err := open()
	if err != nil || f.disk == nil {
		return d, err
	}
	return &directory{d, name, f.disk}, nil
}

// MkdirAll is defined by vfs.FS.
func (f *FS) MkdirAll(dir string, perm fs.FileMode) error {
	if err := f.disk.make(dir); err != nil {
		return err
	}
	return f.base.MkdirAll(dir, perm)
}

// Lock is defined by vfs.FS.
func (f *FS) Lock(name string) (io.Closer, error) { return f.base.Lock(name) }

// List is defined by vfs.FS.
func (f *FS) List(dir string) ([]string, error) { return f.base.List(dir) }

// PathBase is defined by vfs.FS.
func (f *FS) PathBase(path string) string { return f.base.PathBase(path) }

// PathJoin is defined by vfs.FS.
func (f *FS) PathJoin(elem ...string) string { return f.base.PathJoin(elem...) }

// PathDir is defined by vfs.FS.
func (f *FS) PathDir(path string) string { return f.base.PathDir(path) }

// GetDiskUsage is defined by vfs.FS. It is that of base: what was not synced takes no space.
func (f *FS) GetDiskUsage(path string) (vfs.DiskUsage, error) { return f.base.GetDiskUsage(path) }

// Unwrap is defined by vfs.FS.
func (f *FS) Unwrap() vfs.FS { return f.base }

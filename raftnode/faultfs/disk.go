package faultfs

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// Faults are what a disk does wrong. The zero value is a disk that does nothing wrong.
type Faults struct {
	// SyncFails has each fsync fail with EIO. As in Linux, the process goes on to see what it wrote, and a later fsync
	// that succeeds does not make it durable: it is lost with the process.
	SyncFails bool `json:"sync_fails,omitempty"`
	// SyncTakes is how much longer an fsync takes. One that waits is let go when the faults change.
	SyncTakes time.Duration `json:"sync_takes_ns,omitempty"`
	// WriteFails has each write, and the making of files, fail with EIO.
	WriteFails bool `json:"write_fails,omitempty"`
	// ReadFails has each read of a file fail with EIO.
	ReadFails bool `json:"read_fails,omitempty"`
	// Room is how many more bytes the disk takes; then writes and the making of files fail with ENOSPC. A write that goes
	// beyond is done in part. What is removed gives no room. Nil: there is no end to it.
	Room *int64 `json:"room_bytes,omitempty"`
	// Tear is the seed of a torn write: the next fsync that has something to do makes durable some of the sectors, as
	// drawn from it, or a beginning, and then the process ends as by SIGKILL. Nil: nothing is torn.
	Tear *uint64 `json:"tear_seed,omitempty"`
}

// Counts are what a disk did since it was made.
type Counts struct {
	Syncs        uint64 `json:"syncs"`         // that succeeded
	SyncsDelayed uint64 `json:"syncs_delayed"` // begun late
	SyncsWaiting int    `json:"syncs_waiting"` // of those, not over yet
	SyncsFailed  uint64 `json:"syncs_failed"`
	WritesFailed uint64 `json:"writes_failed"`
	BytesRefused uint64 `json:"bytes_refused"` // by the full disk
	ReadsFailed  uint64 `json:"reads_failed"`
}

// Disk breaks the disk beneath an FS while that is in use. Safe for concurrent use.
type Disk struct {
	end func(torn string)

	mu      sync.Mutex
	faults  Faults
	changed chan struct{} // closed when faults change
	counts  Counts
}

// Break sets all that is wrong from now on, in place of what was.
func (d *Disk) Break(f Faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.Room != nil {
		room := *f.Room // counts down
		f.Room = &room
	}
	d.faults = f
	close(d.changed)
	d.changed = make(chan struct{})
}

// Report tells what is wrong now, with the room that is left, and what was done so far.
func (d *Disk) Report() (Faults, Counts) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.faults
	if f.Room != nil {
		room := *f.Room
		f.Room = &room
	}
	return f, d.counts
}

// sync does what an fsync of the named file comes to; full makes its content durable. A file that has no content of its own,
// as a directory, has no inode.
func (d *Disk) sync(name string, n *inode, full func() error) error {
	if d == nil {
		return full()
	}
	d.delay()
	d.mu.Lock()
	fails, tear := d.faults.SyncFails, d.faults.Tear
	if fails {
		d.counts.SyncsFailed++
	}
	d.mu.Unlock()
	switch {
	case fails:
		if n != nil {
			n.forsake()
		}
		return fmt.Errorf("faultfs: injected: fsync of %s: %w", name, syscall.EIO)
	case tear != nil && n != nil && n.isDirty():
		kept, of, err := n.tear(rand.New(rand.NewPCG(*tear, 0)))
		if err != nil {
			return err
		}
		d.end(fmt.Sprintf("faultfs: injected: torn write: %d of %d bytes of %s became durable", kept, of, name))
		return fmt.Errorf("faultfs: injected: torn write of %s: %w", name, syscall.EIO)
	}
	err := full()
	if err == nil {
		d.mu.Lock()
		d.counts.Syncs++
		d.mu.Unlock()
	}
	return err
}

// delay waits until an fsync may begin.
func (d *Disk) delay() {
	d.mu.Lock()
	takes, changed := d.faults.SyncTakes, d.changed
	if takes > 0 {
		d.counts.SyncsDelayed++
		d.counts.SyncsWaiting++
	}
	d.mu.Unlock()
	if takes <= 0 {
		return
	}
	timer := time.NewTimer(takes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	}
	d.mu.Lock()
	d.counts.SyncsWaiting--
	d.mu.Unlock()
}

// write tells how many of size bytes may be written, and why not all.
func (d *Disk) write(name string, size int) (int, error) {
	if d == nil {
		return size, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.faults.WriteFails {
		d.counts.WritesFailed++
		return 0, fmt.Errorf("faultfs: injected: write to %s: %w", name, syscall.EIO)
	}
	room := d.faults.Room
	if room == nil {
		return size, nil
	}
	taken := int(min(max(*room, 0), int64(size)))
	*room -= int64(taken)
	if taken < size {
		d.counts.BytesRefused += uint64(size - taken)
		return taken, fmt.Errorf("faultfs: injected: write to %s: %w", name, syscall.ENOSPC)
	}
	return taken, nil
}

// make tells why no file of that name can be made.
func (d *Disk) make(name string) error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.faults.WriteFails:
		d.counts.WritesFailed++
		return fmt.Errorf("faultfs: injected: making %s: %w", name, syscall.EIO)
	case d.faults.Room != nil && *d.faults.Room <= 0:
		return fmt.Errorf("faultfs: injected: making %s: %w", name, syscall.ENOSPC)
	}
	return nil
}

// read tells why the file cannot be read.
func (d *Disk) read(name string) error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.faults.ReadFails {
		d.counts.ReadsFailed++
		return fmt.Errorf("faultfs: injected: read of %s: %w", name, syscall.EIO)
	}
	return nil
}

package sim

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"coup/raftnode/raft"
	"coup/raftnode/store"
)

// database is a Pebble store that is given what a disk is given, and must come out of every crash with what
// the disk comes out with. Along with the log it has the state, of which the next process begins with what the
// crash has left.
type database struct {
	dice  dice
	files *vfs.MemFS
	store *store.Pebble

	live    *store.Pebble         // the process's; nil before the first
	left    *vfs.MemFS            // what the next process finds; nil for nothing
	applied map[uint64]raft.Entry // by all nodes

	mu sync.Mutex // for Pebble's own goroutines
	// tear, if not nil, is called when a file is about to be synced, once.
	tear func()
}

func newDatabase(seed uint64, name string, applied map[uint64]raft.Entry) (*database, error) {
	d := &database{dice: newDice(seed, "database of "+name), files: vfs.NewCrashableMem(), applied: applied}
	return d, d.open()
}

// open opens the store on the files as they are.
func (d *database) open() (err error) {
	watched := errorfs.Wrap(d.files, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			d.mu.Lock()
			defer d.mu.Unlock()
			if tear := d.tear; tear != nil {
				d.tear = nil
				tear()
			}
		}
		return nil
	}))
	d.store, err = store.OpenPebble("/data", watched, nil)
	return err
}

// image is the files as a power failure would leave them: what is not synced is lost, or some of it.
func (d *database) image(unsyncedPercent int) *vfs.MemFS {
	return d.files.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: unsyncedPercent, RNG: rand.New(rand.NewPCG(d.dice.next(), 0)),
	})
}

// restart ends the process and opens the store on other files.
func (d *database) restart(files *vfs.MemFS) error {
	if err := d.store.Close(); err != nil {
		return err
	}
	d.files = files
	return d.open()
}

// crash has the power fail in the midst of the next write, or while nothing is written when next is nil. Before it
// the store must hold what before does; after it, that or what it is with the write.
func (d *database) crash(before *store.Memory, next *write) error {
	// Some of what is there nobody has synced: chunks that were received. The disk kept them, and so must this.
	state, err := before.Load()
	if err == nil && state.HardState != (raft.HardState{}) {
		err = d.store.Save(&state.HardState, nil)
	}
	if err != nil {
		return err
	}
	good := d.image(0)
	d.end()
	d.left = d.image(0)
	torn := d.image(pick(&d.dice, 0, 50, 100))
	allowed := []*store.Memory{before}
	after := before.Clone()
	// A clone forgets the snapshot that was being taken, so that what goes on with one cannot be judged.
	if next != nil && next.do(after) == nil {
		allowed = append(allowed, after)
		percent := pick(&d.dice, 0, 50, 100)
		d.watch(func() { torn = d.image(percent) })
		err := next.do(d.store)
		d.watch(nil)
		if err != nil {
			return err
		}
	}
	if err := d.restart(torn); err != nil {
		return fmt.Errorf("it does not open after a power failure: %w", err)
	}
	found, err := contentOf(d.store)
	if err != nil {
		return err
	}
	matches := false
	for _, m := range allowed {
		want, err := contentOf(m)
		if err != nil {
			return err
		}
		matches = matches || reflect.DeepEqual(found, want)
	}
	if !matches {
		return fmt.Errorf("it holds %+v after a power failure", found.state)
	}
	if err := d.checkState(found.state.Last); err != nil {
		return err
	}
	return d.restart(good)
}

// watch has tear called at the next sync.
func (d *database) watch(tear func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tear = tear
}

// content is what a store holds.
type content struct {
	state   raft.State
	entries []raft.Entry
	chunks  []raft.Chunk
}

func contentOf(s store.Store) (c content, err error) {
	if c.state, err = s.Load(); err != nil {
		return c, err
	}
	for next := c.state.Base.Index + 1; next <= c.state.Last; next = c.entries[len(c.entries)-1].Index + 1 {
		some, err := s.Entries(next, c.state.Last+1, 1<<30)
		if err != nil {
			return c, err
		}
		c.entries = append(c.entries, some...)
	}
	for i := range c.entries {
		if len(c.entries[i].Data) == 0 {
			c.entries[i].Data = nil
		}
	}
	for i := range c.state.Configurations {
		if len(c.state.Configurations[i].Data) == 0 {
			c.state.Configurations[i].Data = nil
		}
	}
	for number := range c.state.Snapshot.Chunks {
		chunk, err := s.Chunk(c.state.Snapshot.Index, number)
		if err != nil {
			return c, err
		}
		c.chunks = append(c.chunks, chunk)
	}
	return c, nil
}

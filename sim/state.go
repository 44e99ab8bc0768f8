package sim

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/store"
)

// stateTable is the table of a node's state, where nodes keep that in Pebble. The process reads from a database of its own,
// which begins as the crash before left it; what it commits is an un-synced write of the disk, and comes to the disk's
// database along with the log.
type stateTable struct {
	disk *disk
	live fsm.Table
	// beneath is the table in the disk's database; nil before the first write to it, and then the one in place.
	beneath fsm.Table
}

var _ fsm.Table = (*stateTable)(nil)

// state is the table that a process starts with; nil where nodes keep their state in memory.
func (d *disk) state() (fsm.Table, error) {
	if d.database == nil {
		return nil, nil
	}
	live, err := d.database.begin()
	if err != nil {
		return nil, err
	}
	return &stateTable{disk: d, live: live}, nil
}

// write has the disk's database do what this process's has done or is about to do.
func (t *stateTable) write(do func(beneath fsm.Table) error) error {
	return t.disk.write(write{kind: writeContent, name: stateWrite, other: func(s store.Store) (err error) {
		database, ok := s.(*store.Pebble)
		if !ok {
			return nil
		}
		if t.beneath == nil {
			if t.beneath, err = database.State(); err != nil {
				return err
			}
		}
		return do(t.beneath)
	}}, false)
}

// stateWrite is the name of a write to a table. Nothing can be armed for it.
const stateWrite = "state"

// Get implements fsm.Table.
func (t *stateTable) Get(key []byte, use func(value []byte)) (bool, error) {
	return t.live.Get(key, use)
}

// Rows implements fsm.Table.
func (t *stateTable) Rows(from, to []byte) (fsm.Rows, error) { return t.live.Rows(from, to) }

// Commit implements fsm.Table.
func (t *stateTable) Commit(changes []fsm.Change) error {
	kept := clone(changes)
	if err := t.write(func(beneath fsm.Table) error { return beneath.Commit(kept) }); err != nil {
		return err
	}
	return t.live.Commit(changes)
}

// Fresh implements fsm.Table.
func (t *stateTable) Fresh() (fsm.Table, error) {
	live, err := t.live.Fresh()
	if err != nil {
		return nil, err
	}
	fresh := &stateTable{disk: t.disk, live: live}
	return fresh, t.write(func(beneath fsm.Table) (err error) {
		fresh.beneath, err = beneath.Fresh()
		return err
	})
}

// Adopt implements fsm.Table.
func (t *stateTable) Adopt(changes []fsm.Change) error {
	kept := clone(changes)
	if err := t.write(func(beneath fsm.Table) error { return beneath.Adopt(kept) }); err != nil {
		return err
	}
	return t.live.Adopt(changes)
}

func clone(changes []fsm.Change) []fsm.Change {
	cloned := make([]fsm.Change, len(changes))
	for i, c := range changes {
		cloned[i] = fsm.Change{Key: bytes.Clone(c.Key), Value: bytes.Clone(c.Value), Delete: c.Delete}
	}
	return cloned
}

// begin opens the database of a new process on what the last one left.
func (d *database) begin() (fsm.Table, error) {
	d.end()
	if d.left == nil {
		d.left = vfs.NewMem()
	}
	var err error
	if d.live, err = store.OpenPebble("/data", d.left, nil); err != nil {
		return nil, err
	}
	return d.live.State()
}

// end ends the process's database.
func (d *database) end() {
	if d.live != nil {
		_ = d.live.Close() // its files are in memory, and nobody reads them again
		d.live = nil
	}
}

// checkState holds the state in the database to the log: it must be all of what the log leads to at one index, not
// beyond the log's last.
func (d *database) checkState(last uint64) error {
	table, err := d.store.State()
	if err != nil {
		return err
	}
	found, err := fsm.Open(table)
	if err != nil {
		return err
	}
	if found.Applied() > last {
		return fmt.Errorf("its state is at entry %d after a power failure, and its log ends at %d", found.Applied(), last)
	}
	want := fsm.NewKV()
	for index := uint64(1); index <= found.Applied(); index++ {
		switch e, known := d.applied[index]; {
		case !known:
			return fmt.Errorf("its state is at entry %d after a power failure, and nobody has applied entry %d", found.Applied(), index)
		case e.Type == raft.EntryCommand:
			_, err = want.Apply(index, e.Data)
		default:
			err = want.Skip(index)
		}
		if err != nil {
			return err
		}
	}
	a, err := wholeState(want)
	if err != nil {
		return err
	}
	b, err := wholeState(found)
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("its state at entry %d is not what the log leads to after a power failure", found.Applied())
	}
	return nil
}

// wholeState is the content of a snapshot of a state.
func wholeState(s *fsm.KV) (whole []byte, err error) {
	shot, err := s.Snapshot()
	if err != nil {
		return nil, err
	}
	for {
		piece, done, err := shot.Next(1 << 20)
		if err != nil {
			return nil, err
		}
		whole = append(whole, piece...)
		if done {
			return whole, shot.Close()
		}
	}
}

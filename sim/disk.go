package sim

import (
	"errors"
	"fmt"
	"time"

	"coup/raftnode/actionlog"
	"coup/raftnode/raft"
	"coup/raftnode/store"
)

// The errors of a disk.
var (
	errSync = errors.New("sim: injected: fsync failed")
	errFull = errors.New("sim: injected: no space left on the disk")
)

// disk is a node's store. It takes a write at once and makes it durable later; a crash before loses
// it, or does not, and of several writes it leaves the first few: what a log of atomic batches shows.
type disk struct {
	*store.Memory // as the process sees it
	world         *World
	node          *node
	// beneath is what is on the disk, but for journal: the writes since then, oldest first. It takes
	// them in only when it must, for most are never needed again.
	beneath  *store.Memory
	journal  []write
	database *database // is given the same; nil for none
	surface  surface
	shown    int  // of the journal, are in surface
	failed   bool // until the process ends
	full     bool

	// By Hand alone:
	written raft.HardState // last
	hangs   bool           // no write becomes durable before Flush
	kept    int            // of what is not durable, how many writes a crash leaves
}

// close lets go of what is beside memory.
func (d *disk) close() {
	if d.database != nil {
		d.database.end()
		_ = d.database.store.Close() // its files are in memory, and nobody reads them again
	}
}

// write is one atomic write.
type write struct {
	durable   time.Duration // from then on; never for one that no later write has synced
	state     raft.HardState
	withState bool
	kind      writeKind
	name      string // see Writes
	entries   []raft.Entry
	base      *raft.Base              // of writeBase and writeTruncation
	other     func(store.Store) error // what it is instead of a Save; else nil
}

type writeKind uint8

const (
	writeLog        writeKind = iota
	writeBase                 // the log is empty and begins after base
	writeTruncation           // the log begins after base
	writeContent              // of a snapshot; the log stays as it is
)

func (x *write) do(s store.Store) error {
	if x.other != nil {
		return x.other(s)
	}
	if x.withState {
		return s.Save(&x.state, x.entries)
	}
	return s.Save(nil, x.entries)
}

// keptWrites bounds the journal.
const keptWrites = 4096

func newDisk(w *World, n *node) *disk {
	d := &disk{world: w, node: n, Memory: store.NewMemory(), beneath: store.NewMemory()}
	if w.options.Store == StorePebble {
		var err error
		if d.database, err = newDatabase(w.options.Seed, string(n.id), w.applied); err != nil {
			w.fail("disk", "the database of %s does not open: %v", n.id, err)
		}
	}
	return d
}

// Save implements store.Store.
func (d *disk) Save(hs *raft.HardState, entries []raft.Entry) error {
	x := write{entries: entries}
	if hs != nil {
		x.state, x.withState = *hs, true
	}
	if n := len(entries); n > 0 {
		if entries[0].Index <= d.node.last {
			d.world.reached.Truncated++
		}
		d.node.last = entries[n-1].Index
	}
	return d.write(x, true)
}

// Bootstrap implements store.Store.
func (d *disk) Bootstrap(base raft.Base) error {
	// What is refused must not come to the journal, not even where the sync then fails.
	if err := d.Memory.Clone().Bootstrap(base); err != nil {
		return err
	}
	return d.write(write{kind: writeBase, name: "bootstrap", base: &base, other: func(s store.Store) error { return s.Bootstrap(base) }}, true)
}

// TakeChunk implements store.Store.
func (d *disk) TakeChunk(c raft.Chunk) error {
	return d.write(write{kind: writeContent, name: "chunk", other: func(s store.Store) error { return s.TakeChunk(c) }}, false)
}

// Publish implements store.Store.
func (d *disk) Publish(s raft.Snapshot) error {
	d.world.reached.SnapshotsTaken++
	d.showCommitted(s.Index)
	return d.write(write{kind: writeContent, name: "snapshot", other: func(t store.Store) error { return t.Publish(s) }}, true)
}

// Gather implements store.Store.
func (d *disk) Gather(g raft.Gathered) error {
	return d.write(write{kind: writeContent, name: "chunk", other: func(s store.Store) error { return s.Gather(g) }}, false)
}

// Install implements store.Store.
func (d *disk) Install(s raft.Snapshot, hs *raft.HardState) error {
	d.world.reached.SnapshotsInstalled++
	d.node.last = s.Index
	x := write{kind: writeBase, name: "install", base: &s.Base, other: func(t store.Store) error { return t.Install(s, hs) }}
	if hs != nil {
		x.state, x.withState = *hs, true
	}
	d.world.strand(d.node)
	return d.write(x, true)
}

// Compact implements store.Store.
func (d *disk) Compact(base raft.Base) error {
	d.world.reached.Compactions++
	d.showCommitted(base.Index)
	return d.write(write{kind: writeTruncation, name: "truncation", base: &base, other: func(s store.Store) error { return s.Compact(base) }}, true)
}

// showCommitted comes before what builds on an entry being committed. A node that is a quorum by itself commits what it
// wrote in the same turn. Nobody is to find that gone, or in a snapshot, before it was seen.
func (d *disk) showCommitted(index uint64) {
	if index > d.world.check.Committed() {
		d.sync()
		d.world.judge(d.node)
	}
}

// write takes a write. The node waits until it is durable, if it is to be synced.
func (d *disk) write(x write, synced bool) error {
	w, n := d.world, d.node
	if d.failed {
		return errSync
	}
	if synced && n.writes == 0 {
		n.early = len(n.said)
		// What is said early is judged by what the node knows now. One that comes to a new term or takes
		// another log says nothing early, and may already act as it will only once that is durable.
		if !x.withState && x.kind != writeBase && n.alive() {
			w.judge(n)
		}
	}
	if synced {
		n.writes++
	}
	if d.full {
		d.failed = true
		return errFull
	}
	what := noAction
	if w.byHand() && x.name != stateWrite {
		what = w.hand.atWrite(n, &x)
	}
	if what == CrashBefore {
		return errCrash
	}
	d.hangs = d.hangs || what == HangWrite
	x.durable = never
	broken := false
	if synced {
		var took time.Duration
		if took, broken = w.trouble.sync(w); what == FailWrite || what == FailButWrite {
			broken = true
		}
		if d.hangs {
			took = hung
		}
		if !broken {
			n.cursor += took
			x.durable = n.cursor
			for i := len(d.journal) - 1; i >= 0 && d.journal[i].durable == never; i-- {
				d.journal[i].durable = x.durable
			}
		}
	}
	if broken {
		d.journal = append(d.journal, x)
		if what == FailButWrite {
			d.sync()
		}
		d.failed = true
		w.reached.FailedSyncs++
		w.tell(n, actionlog.Action{Kind: actionlog.Disk, Text: "fsync fails"})
		return errSync
	}
	if err := x.do(d.Memory); err != nil {
		return err
	}
	d.journal = append(d.journal, x)
	if x.withState {
		d.written = x.state
	}
	if what == CrashAfter {
		d.sync()
		return errCrash
	}
	if len(d.journal) > keptWrites {
		return d.settle(d.durable())
	}
	return nil
}

// sync makes all that was written durable now.
func (d *disk) sync() {
	for i := range d.journal {
		d.journal[i].durable = min(d.journal[i].durable, d.world.now)
	}
}

// durable is how many writes of the journal are durable now.
func (d *disk) durable() int {
	n := 0
	for n < len(d.journal) && d.journal[n].durable <= d.world.now {
		n++
	}
	return n
}

// settle takes the first n writes of the journal in.
func (d *disk) settle(n int) error {
	for i := range d.journal[:n] {
		if err := d.journal[i].do(d.beneath); err != nil {
			return fmt.Errorf("sim: %s's disk: %w", d.node.id, err)
		}
		if d.database != nil {
			if err := d.journal[i].do(d.database.store); err != nil {
				return fmt.Errorf("sim: %s's database: %w", d.node.id, err)
			}
		}
	}
	d.show()
	d.shown -= n
	d.journal = append(d.journal[:0:0], d.journal[n:]...)
	return nil
}

// damage flips a bit of what is on the disk while no process runs, and says of what; of nothing where there is nothing.
func (d *disk) damage(dice *dice) (what string) {
	if what = d.beneath.Damage(dice.below); what != "" {
		d.Memory = d.beneath.Clone()
	}
	return what
}

// crash forgets what is not durable, or not all of it. The next process finds the rest.
func (d *disk) crash(dice *dice) error {
	n := d.durable()
	pending := len(d.journal) - n
	kept := 0
	if pending > 0 {
		if kept = min(d.kept, pending); !d.world.byHand() {
			kept = pick(dice, 0, 0, pending, dice.below(pending+1))
		}
		if lost := pending - kept; lost > 0 {
			d.world.reached.LostWrites += lost
		}
		if kept > 0 && kept < pending {
			d.world.reached.TornWrites++
		}
	}
	d.world.options.Script.crashed(d.node, pending-kept)
	for i := range d.journal[n : n+kept] {
		d.journal[n+i].durable = d.world.now
	}
	if err := d.settle(n + kept); err != nil {
		return err
	}
	if d.database != nil {
		var next *write
		if len(d.journal) > 0 {
			next = &d.journal[0]
		}
		if err := d.database.crash(d.beneath, next); err != nil {
			return fmt.Errorf("sim: %s's database: %w", d.node.id, err)
		}
	}
	d.journal = d.journal[:0]
	d.failed, d.hangs = false, false
	d.Memory = d.beneath.Clone()
	return nil
}

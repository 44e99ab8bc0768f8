package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"coup/raftnode/fsm"
	"coup/raftnode/raft"
)

// history is a log of commands, all of them committed, and the states that it leads to.
type history struct {
	entries []raft.Entry
	states  map[uint64][]byte // by index, as they are asked for
}

func newHistory(random *rand.Rand, length int) *history {
	h := &history{states: map[uint64][]byte{}}
	end := chainOf(genesis)
	for range length {
		e := entriesAfter(end, string(drawCommand(random, end.index+1).Encode()), 1)[0]
		if random.IntN(10) == 0 {
			e = raft.Entry{Index: e.Index, Term: 1, Type: raft.EntryNoOp}
			e.Checksum = raft.NextChecksum(end.checksum, e)
		}
		h.entries, end = append(h.entries, e), chainAt(e)
	}
	return h
}

// drawCommand draws commands that meet in few keys and sessions.
func drawCommand(random *rand.Rand, index uint64) fsm.Command {
	c := fsm.Command{Key: fmt.Sprint("key-", random.IntN(20)), Value: strings.Repeat("v", random.IntN(300))}
	switch random.IntN(12) {
	case 0:
		return fsm.Command{Op: fsm.OpenSession, TTL: uint64(random.IntN(200))}
	case 1:
		return fsm.Command{Op: fsm.CloseSession, Session: 1 + random.Uint64N(index)}
	case 2:
		return fsm.Command{Op: fsm.Clock, Now: index * 3}
	case 3:
		c.Op, c.Value = fsm.Delete, ""
	case 4, 5:
		c.Op, c.Expect = fsm.CAS, strings.Repeat("v", random.IntN(3))
	default:
		c.Op = fsm.Write
	}
	if random.IntN(2) == 0 {
		c.Session, c.Sequence = 1+random.Uint64N(min(index, 12)), 1+random.Uint64N(20)
		c.Acked = random.Uint64N(c.Sequence)
	}
	return c
}

func apply(s *fsm.KV, e raft.Entry) (fsm.Result, error) {
	if e.Type == raft.EntryCommand {
		return s.Apply(e.Index, e.Data)
	}
	return fsm.Result{}, s.Skip(e.Index)
}

// at is the content of the state at an index.
func (h *history) at(t *testing.T, index uint64) []byte {
	if h.states[index] == nil {
		s := fsm.NewKV()
		for _, e := range h.entries[:index] {
			_, err := apply(s, e)
			require.NoError(t, err)
		}
		h.states[index] = contentOf(t, s)
	}
	return h.states[index]
}

func contentOf(t *testing.T, s *fsm.KV) (whole []byte) {
	shot, err := s.Snapshot()
	require.NoError(t, err)
	for done := false; !done; {
		var piece []byte
		piece, done, err = shot.Next(300)
		require.NoError(t, err)
		whole = append(whole, piece...)
	}
	require.NoError(t, shot.Close())
	return whole
}

// snapshot is one of the history.
func (h *history) snapshot(t *testing.T, index uint64) (raft.Snapshot, []raft.Chunk) {
	var pieces []string
	for piece := range slices.Chunk(h.at(t, index), 300) {
		pieces = append(pieces, string(piece))
	}
	return snapshotAt(h.entries[index-1], pieces...)
}

func opened(t *testing.T, s Store) *fsm.KV {
	table, err := s.(*Pebble).State()
	require.NoError(t, err)
	state, err := fsm.Open(table)
	require.NoError(t, err)
	return state
}

// A state in Pebble answers as one in memory does, has its hash and its snapshots, and outlives whoever closes it.
func TestStateIsAsInMemory(t *testing.T) {
	conform(t, func(t *testing.T, open func() Store) {
		s, pebbles := open().(*Pebble)
		if !pebbles {
			t.Skip("it has no table")
		}
		random := rand.New(rand.NewPCG(1, 2))
		h := newHistory(random, 600)
		require.NoError(t, s.Bootstrap(genesis))
		require.NoError(t, s.Save(&raft.HardState{Term: 1}, nil))
		state, want := opened(t, s), fsm.NewKV()
		for i, e := range h.entries {
			require.NoError(t, s.Save(nil, []raft.Entry{e}))
			a, err := apply(want, e)
			require.NoError(t, err)
			b, err := apply(state, e)
			require.NoError(t, err)
			require.Equal(t, a, b, "entry %d", e.Index)
			require.Equal(t, want.Hash(), state.Hash())
			require.Equal(t, want.Sessions(), state.Sessions())
			if random.IntN(4) == 0 {
				require.NoError(t, state.Commit())
			}
			if random.IntN(40) == 0 {
				require.NoError(t, state.Commit())
				require.Equal(t, contentOf(t, want), contentOf(t, state))
			}
			if random.IntN(40) == 0 {
				require.NoError(t, state.Commit())
				require.NoError(t, s.Save(&raft.HardState{Term: 1, Joined: uint64(i + 1)}, nil)) // by which the state is durable
				require.NoError(t, s.Close())
				s = open().(*Pebble)
				state = opened(t, s)
			}
		}
		require.NoError(t, state.Commit())
		require.Equal(t, contentOf(t, want), contentOf(t, state))
	})
}

// member is a node that does to its store what a replica does.
type member struct {
	t      *testing.T
	random *rand.Rand
	*history
	s        *Pebble
	state    *fsm.KV
	last     uint64
	snapshot raft.Snapshot
	acked    func(last uint64)
}

// turn does one thing. An error is of the store, and its end.
func (m *member) turn() error {
	switch m.random.IntN(6) {
	case 0:
		return m.take()
	case 1:
		if m.random.IntN(3) == 0 {
			return m.receive()
		}
	}
	n := min(1+m.random.Uint64N(8), uint64(len(m.entries))-m.last)
	if n == 0 {
		return nil
	}
	if err := m.s.Save(&raft.HardState{Term: 1}, m.entries[m.last:m.last+n]); err != nil {
		return err
	}
	m.last += n
	m.acked(m.last)
	return m.apply(m.last - min(m.random.Uint64N(3), n-1))
}

func (m *member) apply(to uint64) error {
	for _, e := range m.entries[m.state.Applied():max(to, m.state.Applied())] {
		if _, err := apply(m.state, e); err != nil {
			return err
		}
	}
	return m.state.Commit()
}

// take takes a snapshot and truncates the log.
func (m *member) take() error {
	index := m.state.Applied()
	if index <= m.snapshot.Index {
		return nil
	}
	s, chunks := m.history.snapshot(m.t, index)
	shot, err := m.state.Snapshot()
	if err != nil {
		return err
	}
	for _, c := range chunks {
		data, _, err := shot.Next(300)
		if err != nil {
			return err
		}
		require.Equal(m.t, c.Data, data)
		if err := m.s.TakeChunk(c); err != nil {
			return err
		}
	}
	if err := errors.Join(shot.Close(), m.s.Publish(s)); err != nil {
		return err
	}
	m.snapshot = s
	return m.s.Compact(baseAt(m.entries[index-m.random.Uint64N(min(index-m.base(), 3))-1]))
}

func (m *member) base() uint64 { return m.s.content.extent.base.Index }

// receive installs a snapshot from another node, and restores it.
func (m *member) receive() error {
	left := uint64(len(m.entries)) - m.last
	if left == 0 {
		return nil
	}
	s, chunks := m.history.snapshot(m.t, m.last+1+m.random.Uint64N(min(left, 40)))
	for _, c := range chunks {
		if err := m.s.Gather(raft.Gathered{Snapshot: s, Chunk: c}); err != nil {
			return err
		}
	}
	if err := m.s.Install(s, &raft.HardState{Term: 1}); err != nil {
		return err
	}
	m.snapshot, m.last = s, s.Index
	m.acked(m.last)
	return m.restore()
}

func (m *member) restore() error {
	table, err := m.s.State()
	if err != nil {
		return err
	}
	fresh, err := table.Fresh()
	if err != nil {
		return err
	}
	r := fsm.NewRestore(fresh)
	for number := range m.snapshot.Chunks {
		c, err := m.s.Chunk(m.snapshot.Index, number)
		if err != nil {
			return err
		}
		if err := r.Write(c.Data); err != nil {
			return err
		}
	}
	if m.state, err = r.Finish(); err != nil {
		return err
	}
	return m.state.Adopt()
}

// recover is a node's start on what a crash has left, and all that follows from the log. It fails the test on what must not
// be: a log that lost what was acknowledged, or a state that is not what the log leads to.
func (m *member) recover(image vfs.FS, acked uint64) {
	t := m.t
	m.s = opener(t, "/data", image)().(*Pebble)
	found := load(t, m.s)
	require.GreaterOrEqual(t, found.Last, acked, "what was acknowledged is lost")
	m.last, m.snapshot = found.Last, found.Snapshot
	m.state = opened(t, m.s)
	applied := m.state.Applied()
	require.LessOrEqual(t, applied, m.last, "the state is ahead of the log")
	require.True(t, bytes.Equal(m.at(t, applied), contentOf(t, m.state)), "the state at entry %d is not what the log leads to", applied)
	if applied < m.snapshot.Index {
		require.NoError(t, m.restore())
		require.True(t, bytes.Equal(m.at(t, m.snapshot.Index), contentOf(t, m.state)))
	}
	require.GreaterOrEqual(t, m.state.Applied(), found.Base.Index, "the log lacks what comes next")
	m.acked = func(uint64) {}
	require.NoError(t, m.apply(m.last))
	require.True(t, bytes.Equal(m.at(t, m.last), contentOf(t, m.state)))
	// And life goes on, with nothing left of tables that nobody adopted.
	for range 3 {
		require.NoError(t, m.turn())
	}
	again, err := m.s.read()
	require.NoError(t, err)
	for _, useless := range again.useless {
		require.False(t, bytes.HasPrefix(useless.from, []byte(prefixRow)), "rows that are of no use")
	}
}

func newMember(t *testing.T, seed uint64, disk vfs.FS) *member {
	m := &member{t: t, random: rand.New(rand.NewPCG(seed, 1)), acked: func(uint64) {}}
	m.history = newHistory(m.random, 150)
	var err error
	m.s, err = OpenPebble("/data", disk, nil)
	require.NoError(t, err)
	require.NoError(t, m.s.Bootstrap(genesis))
	require.NoError(t, m.s.Save(&raft.HardState{Term: 1}, nil))
	m.state = opened(t, m.s)
	return m
}

// Would catch a state of which a crash leaves half a batch, one that is ahead of the log or behind what the log begins with,
// one that is half of a snapshot and half what was before, and an applied index that is not the data's.
func TestCrashOfTheState(t *testing.T) {
	seeds := 1200
	if testing.Short() {
		seeds = 100
	}
	var behind, restored int
	for seed := range uint64(seeds) {
		random := rand.New(rand.NewPCG(seed, 0))
		c := &crasher{disk: vfs.NewCrashableMem(), countdown: -1}
		c.config = vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[random.IntN(3)], RNG: random}
		m := newMember(t, seed, errorfs.Wrap(c.disk, errorfs.InjectorFunc(c.before)))
		m.acked = func(last uint64) { c.acked.Store(int64(last)) }
		turns := 20
		crashAt := m.random.IntN(turns)
		for i := range turns {
			if i == crashAt {
				c.mu.Lock()
				c.countdown = m.random.IntN(20)
				c.mu.Unlock()
			}
			require.NoError(t, m.turn(), "seed %d", seed)
			if m.random.IntN(6) == 0 {
				_, err := m.s.db.AsyncFlush()
				require.NoError(t, err)
			}
		}
		c.mu.Lock()
		c.countdown = -1
		if c.image == nil {
			c.crash()
		}
		c.mu.Unlock()
		ended := m.state.Applied()
		require.NoError(t, m.s.Close())
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		m.recover(c.image, uint64(c.low))
		if m.state.Applied() < ended {
			behind++
		}
		if m.snapshot.Index > 0 {
			restored++
		}
		require.NoError(t, m.s.Close())
	}
	require.Greater(t, behind, seeds/10, "too few crashes lost anything")
	require.Greater(t, restored, seeds/10, "too few had a snapshot")
}

// Would catch a restoration of which a crash leaves a mix: one is cut short before each of its file operations.
func TestCrashInEveryStepOfARestoration(t *testing.T) {
	for operation, done := 0, false; !done; operation++ {
		for _, percent := range []int{0, 50, 100} {
			c := &crasher{disk: vfs.NewCrashableMem(), countdown: -1}
			c.config = vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(operation), 0))}
			m := newMember(t, 7, errorfs.Wrap(c.disk, errorfs.InjectorFunc(c.before)))
			for range 6 {
				require.NoError(t, m.turn())
			}
			c.mu.Lock()
			c.countdown = operation
			c.mu.Unlock()
			require.NoError(t, m.receive())
			require.NoError(t, m.s.Save(&raft.HardState{Term: 1, Vote: "n2"}, nil))
			c.mu.Lock()
			c.countdown = -1
			done = c.image == nil
			if done {
				c.crash()
			}
			c.mu.Unlock()
			require.NoError(t, m.s.Close())
			m.recover(c.image, 0)
			require.NoError(t, m.s.Close())
		}
		require.Less(t, operation, 200)
	}
}

// Would catch a store, or a state, that goes on after its disk refused a write or a sync, whichever that was; and one that
// then finds anything else than what the log leads to.
func TestFailingDiskFinishesTheState(t *testing.T) {
	broken := errors.New("input/output error")
	failures := 0
	for nth := range 60 {
		disk := vfs.NewCrashableMem()
		var left atomicCountdown
		left.arm(-1)
		m := newMember(t, uint64(nth), errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if strings.HasSuffix(op.Path, ".log") && left.hit() {
				return broken
			}
			return nil
		})))
		acked := uint64(0)
		m.acked = func(last uint64) { acked = last }
		left.arm(nth)
		var err error
		for range 20 {
			if err = m.turn(); err != nil {
				break
			}
		}
		if err != nil {
			failures++
			require.ErrorIs(t, err, broken)
			require.Error(t, m.s.Save(&raft.HardState{Term: 2}, nil), "a retry would lie")
			_, err = m.s.State()
			require.Error(t, err)
		}
		left.arm(-1)
		image := disk.CrashClone(vfs.CrashCloneCfg{})
		_ = m.s.Close() // it may say once more that the disk is broken
		m.recover(image, acked)
	}
	require.Greater(t, failures, 20)
}

// atomicCountdown is hit from some operation on.
type atomicCountdown struct{ left atomic.Int64 }

func (c *atomicCountdown) arm(left int) { c.left.Store(int64(left)) }

// hit tells whether the countdown is over; one that is negative from the start never is.
func (c *atomicCountdown) hit() bool {
	for {
		left := c.left.Load()
		if left <= 0 {
			return left == 0
		}
		if c.left.CompareAndSwap(left, left-1) {
			return false
		}
	}
}

// Would catch a damaged file whose rows are taken for good ones.
func TestDamagedStateIsFound(t *testing.T) {
	disk := vfs.NewMem()
	m := newMember(t, 3, disk)
	require.NoError(t, m.s.Save(&raft.HardState{Term: 1}, m.entries))
	m.last = uint64(len(m.entries))
	require.NoError(t, m.apply(m.last))
	require.NoError(t, m.s.db.Flush())
	require.NoError(t, m.s.Close())
	names, err := disk.List("/data")
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(5, 6))
	found, tables := 0, 0
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		tables++
		for range 60 {
			info, err := disk.Stat("/data/" + name)
			require.NoError(t, err)
			offset := random.Int64N(info.Size())
			flip(t, disk, "/data", name, offset)
			content, err := stateOn(disk)
			var corrupt *CorruptionError
			switch {
			case err == nil:
				require.True(t, bytes.Equal(m.at(t, m.last), content), "it is another state")
			case errors.As(err, &corrupt), errors.Is(err, fsm.ErrDamagedTable):
				found++
			default:
				require.NoError(t, err)
			}
			flip(t, disk, "/data", name, offset)
		}
	}
	require.Positive(t, tables)
	require.Greater(t, found, 20)
}

// stateOn is the content of the state on a disk, read whole.
func stateOn(disk vfs.FS) (content []byte, err error) {
	s, err := OpenPebble("/data", disk, nil)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if _, err := s.Load(); err != nil {
		return nil, err
	}
	table, err := s.State()
	if err != nil {
		return nil, err
	}
	state, err := fsm.Open(table)
	if err != nil {
		return nil, err
	}
	shot, err := state.Snapshot()
	if err != nil {
		return nil, err
	}
	for {
		piece, done, err := shot.Next(300)
		content = append(content, piece...)
		if done || err != nil {
			return content, err
		}
	}
}

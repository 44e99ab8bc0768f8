package fsm

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// shelf is a disk of tables: the one that was adopted is found again. fails, if not nil, is what all methods say.
type shelf struct {
	adopted map[string]string
	fails   error
}

// book is a table on a shelf.
type book struct {
	shelf *shelf
	rows  map[string]string
}

func (b *book) Get(key []byte, use func([]byte)) (bool, error) {
	row, found := b.rows[string(key)]
	if found {
		use([]byte(row))
	}
	return found, b.shelf.fails
}

func (b *book) Rows(from, to []byte) (Rows, error) {
	p := &page{rows: maps.Clone(b.rows), shelf: b.shelf}
	for _, key := range slices.Sorted(maps.Keys(b.rows)) {
		if key >= string(from) && (to == nil || key < string(to)) {
			p.keys = append(p.keys, key)
		}
	}
	return p, b.shelf.fails
}

func (b *book) Commit(changes []Change) error {
	for _, c := range changes {
		if c.Delete {
			delete(b.rows, string(c.Key))
		} else {
			b.rows[string(c.Key)] = string(bytes.Clone(c.Value))
		}
	}
	return b.shelf.fails
}

func (b *book) Fresh() (Table, error) { return &book{b.shelf, map[string]string{}}, b.shelf.fails }

func (b *book) Adopt(changes []Change) error {
	err := b.Commit(changes)
	b.shelf.adopted = b.rows
	return err
}

type page struct {
	keys  []string
	next  int
	rows  map[string]string
	shelf *shelf
}

func (p *page) Next() (key, value []byte, err error) {
	if p.next == len(p.keys) || p.shelf.fails != nil {
		return nil, nil, p.shelf.fails
	}
	key = []byte(p.keys[p.next])
	p.next++
	return key, []byte(p.rows[string(key)]), nil
}

func (p *page) Rewind()      { p.next = 0 }
func (p *page) Close() error { return nil }

// open is the table that a process finds.
func (s *shelf) open() Table {
	if s.adopted == nil {
		s.adopted = map[string]string{}
	}
	return &book{s, s.adopted}
}

// opened is the state on a shelf, under the small bounds.
func opened(t require.TestingT, s *shelf) *KV {
	kv := unopened(s.open())
	require.NoError(t, kv.begin())
	return kv
}

// unopened is what Open begins with, but for its bounds.
func unopened(table Table) *KV {
	kv := newStoredKV(table)
	kv.sessions.most = small
	return kv
}

// restoredInto is a state after it went through a snapshot into a fresh table.
func restoredInto(t require.TestingT, s *shelf, from *KV) *KV {
	fresh, err := s.open().Fresh()
	require.NoError(t, err)
	r := NewRestore(fresh)
	r.state.sessions.most = small
	for whole := content(t, from, 64); len(whole) > 0; {
		n := min(5, len(whole))
		require.NoError(t, r.Write(whole[:n]))
		whole = whole[n:]
	}
	kv, err := r.Finish()
	require.NoError(t, err)
	require.NoError(t, kv.Adopt())
	return kv
}

// Would catch a damaged row that a state begins with: whatever Open says of a table with one byte changed, one row gone
// or one row more, it never ends with a panic, and refuses what no state has.
func TestDamagedTableIsRefused(t *testing.T) {
	good := &shelf{}
	m := &machine{t, opened(t, good)}
	m.apply(Command{Op: OpenSession, TTL: 300})
	m.apply(Command{Op: Write, Key: "k", Value: "v", Session: 1, Sequence: 3, Acked: 1})
	require.NoError(t, m.state.Commit())
	for name, damage := range map[string]func(rows map[string]string){
		"no row of the state":       func(rows map[string]string) { delete(rows, "m") },
		"half a row of the state":   func(rows map[string]string) { rows["m"] = rows["m"][:9] },
		"a longer row of the state": func(rows map[string]string) { rows["m"] += "x" },
		"an unknown row":            func(rows map[string]string) { rows["x"] = "" },
		"a cell without a revision": func(rows map[string]string) { rows["kk"] = "" },
		"a cell of the future":      func(rows map[string]string) { rows["kk"] = "\x03v" },
		"a session of the future":   func(rows map[string]string) { rows["s\x00\x00\x00\x00\x00\x00\x00\x03"] = "\x01\x00\x03\x00" },
		"a session cut short":       func(rows map[string]string) { rows["s\x00\x00\x00\x00\x00\x00\x00\x01"] = "\x01" },
		"a session without its row": func(rows map[string]string) { delete(rows, "s\x00\x00\x00\x00\x00\x00\x00\x01") },
		"an answer that is forgotten": func(rows map[string]string) {
			rows["s\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01"] = "\x00\x02v"
		},
		"an answer of an unknown code": func(rows map[string]string) {
			rows["s\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x09"] = "\x09\x02v"
		},
		"an answer as of no entry applied": func(rows map[string]string) {
			rows["s\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x09"] = "\x00\x03v"
		},
	} {
		t.Run(name, func(t *testing.T) {
			bad := &shelf{adopted: maps.Clone(good.adopted)}
			_, err := Open(bad.open())
			require.NoError(t, err)
			damage(bad.adopted)
			_, err = Open(bad.open())
			require.ErrorIs(t, err, ErrDamagedTable)
		})
	}
}

// Would catch an answer that rests on a table that could not be read or written.
func TestFailingTableFinishesTheState(t *testing.T) {
	broken := errors.New("input/output error")
	write := Command{Op: Write, Key: "k", Value: "v"}.Encode()
	cas := Command{Op: CAS, Key: "other", Value: "v"}.Encode()
	for name, do := range map[string]func(s *KV) error{
		"get":      func(s *KV) error { _, err := s.Get("k"); return err },
		"cas":      func(s *KV) error { _, err := s.Apply(2, cas); return err },
		"commit":   func(s *KV) error { return errors.Join(s.Skip(2), s.Commit()) },
		"snapshot": func(s *KV) error { _, err := s.Snapshot(); return err },
	} {
		t.Run(name, func(t *testing.T) {
			disk := &shelf{}
			s := opened(t, disk)
			_, err := s.Apply(1, write)
			require.NoError(t, err)
			require.NoError(t, s.Commit())
			disk.fails = broken
			require.ErrorIs(t, do(s), broken)
			disk.fails = nil
			_, err = s.Get("k")
			require.ErrorIs(t, err, broken)
			require.ErrorIs(t, s.Commit(), broken)
			_, err = s.Apply(s.Applied()+1, write)
			require.ErrorIs(t, err, broken)
		})
	}
}

// Would catch a snapshot that sees what was applied later, or that lacks what is not committed.
func TestSnapshotOfATableIsOfWhatIsCommitted(t *testing.T) {
	disk := &shelf{}
	m := &machine{t, opened(t, disk)}
	for _, key := range []string{"a", "b", "c"} {
		m.apply(Command{Op: Write, Key: key, Value: "before"})
	}
	_, err := m.state.Snapshot()
	require.Error(t, err, "nothing is committed")
	require.NoError(t, m.state.Commit())
	want := content(t, m.state, 64)
	s := snapshot(t, m.state)
	for done, steps := false, 0; !done; steps++ {
		done, err = s.Count(3)
		require.NoError(t, err)
		m.apply(Command{Op: Write, Key: "b", Value: "after"})
		m.apply(Command{Op: Write, Key: "d", Value: "after"})
		require.NoError(t, m.state.Commit())
		require.Less(t, steps, 5)
	}
	require.Equal(t, want, rest(t, s, 64))
}

// Sessions take no more than their bound together, and who is dropped for it is the same on all nodes.
func TestSessionsAreBoundedTogether(t *testing.T) {
	m := newMachine(t)
	value := string(make([]byte, 64<<10))
	for range 4 {
		m.apply(Command{Op: OpenSession})
	}
	most := MaxSessionBytes/(len(value)+AnswerBytes) + 1
	for i := range most {
		session := uint64(i%4 + 1)
		m.state.sessions.most.bytes, m.state.sessions.most.answers = 1<<30, 1<<30
		m.apply(Command{Op: Write, Key: "k", Value: value, Session: session, Sequence: uint64(i + 1)})
		require.LessOrEqual(t, m.state.sessions.bytes, MaxSessionBytes)
	}
	require.Equal(t, 3, m.state.Sessions(), "the one that was idle for longest is gone")
	require.Equal(t, SessionExpired, m.apply(Command{Op: Write, Key: "k", Session: uint64(most%4 + 1), Sequence: 1 << 40}).Code)
}

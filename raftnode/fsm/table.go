package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Table is where a state is kept that is not kept in memory: an ordered map from keys to values, on disk. For
// use by one goroutine. After an error of any method but Rows.Close it is finished.
type Table interface {
	// Get passes the value of a key to use, which must keep nothing of it, and tells whether there is one.
	Get(key []byte, use func(value []byte)) (found bool, err error)
	// Rows are what is committed now under the keys from one up to, without it, another, in their order. No later
	// Commit or Adopt changes them. A nil key is no bound.
	Rows(from, to []byte) (Rows, error)
	// Commit makes changes, all or none. They need not be durable when it returns: a crash may undo the latest
	// commits, but none without all that came after it. It keeps nothing of changes.
	Commit(changes []Change) error
	// Fresh begins an empty table beside this one, and drops one that was begun before and not adopted. It is lost
	// with the process unless it is adopted.
	Fresh() (Table, error)
	// Adopt is Commit of a table that Fresh gave, and makes that the one that the next process finds, in one
	// atomic change. What the table before it holds is dropped.
	Adopt(changes []Change) error
}

// Change sets a key to a value, or deletes it.
type Change struct {
	Key, Value []byte
	Delete     bool
}

// Rows are read one by one, again and again. For use by the goroutine of their table.
type Rows interface {
	// Next is the next row, valid until the next call; a nil key is the end.
	Next() (key, value []byte, err error)
	// Rewind goes back to the beginning.
	Rewind()
	Close() error
}

// ErrDamagedTable says that a table does not hold a state.
var ErrDamagedTable = errors.New("fsm: damaged table")

// The rows of a table. A cell's key follows its prefix, its row has the revision and then the value. There is one
// row with hash, applied index and time. A session's row has its ID, 8 bytes, after the prefix; each answer's
// has the sequence, as many, after that. As in a snapshot, numbers are varints where they have no width.
const (
	rowCell    = 'k'
	rowState   = 'm'
	rowSession = 's'
)

// stored is the part of a state that is in a table, with what was not committed yet.
type stored struct {
	table   Table
	cells   map[string]staged
	changes []Change // but for those of cells
	applied uint64   // as committed
	// sessions that were changed, and what the table has of them.
	sessions map[uint64]*unsaved
	err      error // the first of the table
}

// staged is a cell that was changed since the last commit.
type staged struct {
	cell
	deleted bool
}

// unsaved is what a session's rows lack.
type unsaved struct {
	forgotten uint64   // what the session had forgotten when its rows were written last
	answered  []uint64 // sequences since then
}

func newStored(t Table) *stored {
	return &stored{table: t, cells: make(map[string]staged), sessions: make(map[uint64]*unsaved)}
}

func (s *stored) fail(err error) {
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("fsm: the state's table: %w", err)
	}
}

func (s *stored) get(key string) (c cell, found bool) {
	if s.err != nil {
		return cell{}, false
	}
	if staged, changed := s.cells[key]; changed {
		return staged.cell, !staged.deleted
	}
	var damage error
	found, err := s.table.Get(cellKey(key), func(row []byte) { c, damage = decodeCell(row) })
	s.fail(errors.Join(err, damage))
	return c, found && s.err == nil
}

func (s *stored) set(key string, c cell) { s.cells[key] = staged{cell: c} }

func (s *stored) delete(key string) { s.cells[key] = staged{deleted: true} }

// touch comes before a session is changed.
func (s *stored) touch(id uint64, c *session) {
	if s.sessions[id] == nil {
		s.sessions[id] = &unsaved{forgotten: c.forgotten}
	}
}

// drop deletes the rows of a session that is no more.
func (s *stored) drop(id uint64, c *session) {
	s.touch(id, c)
	s.dropForgotten(id, c)
	for _, a := range c.answers {
		s.changes = append(s.changes, Change{Key: answerKey(id, a.sequence), Delete: true})
	}
	s.changes = append(s.changes, Change{Key: sessionKey(id), Delete: true})
	delete(s.sessions, id)
}

// mostBlind is how many answers' rows are deleted without a look at which there are.
const mostBlind = 64

// dropForgotten deletes the rows of answers that a session has forgotten since its rows were written.
func (s *stored) dropForgotten(id uint64, c *session) {
	had := s.sessions[id].forgotten
	if c.forgotten-had <= mostBlind {
		for sequence := had + 1; sequence <= c.forgotten && sequence != 0; sequence++ {
			s.changes = append(s.changes, Change{Key: answerKey(id, sequence), Delete: true})
		}
		return
	}
	rows, err := s.table.Rows(answerKey(id, had), append(answerKey(id, c.forgotten), 0))
	if err != nil {
		s.fail(err)
		return
	}
	for {
		key, _, err := rows.Next()
		if key == nil || err != nil {
			s.fail(errors.Join(err, rows.Close()))
			return
		}
		s.changes = append(s.changes, Change{Key: slices.Clone(key), Delete: true})
	}
}

// stage makes changes of all that is to be committed, but for the state's own row.
func (s *stored) stage(open *tree[uint64, *session]) []Change {
	for _, id := range slices.Sorted(maps.Keys(s.sessions)) {
		c, found := open.get(id)
		if !found {
			continue // it was dropped
		}
		s.dropForgotten(id, c)
		row := make([]byte, 0, 32)
		for _, n := range [...]uint64{c.ttl, c.last, c.used, c.forgotten} {
			row = binary.AppendUvarint(row, n)
		}
		s.changes = append(s.changes, Change{Key: sessionKey(id), Value: row})
		for _, sequence := range s.sessions[id].answered {
			i, kept := c.find(sequence)
			if !kept {
				continue
			}
			a := c.answers[i]
			row := append(make([]byte, 0, 16+len(a.value)), byte(a.code))
			row = binary.AppendUvarint(row, a.revision)
			s.changes = append(s.changes, Change{Key: answerKey(id, sequence), Value: append(row, a.value...)})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.cells)) {
		c := s.cells[key]
		if c.deleted {
			s.changes = append(s.changes, Change{Key: cellKey(key), Delete: true})
			continue
		}
		row := binary.AppendUvarint(make([]byte, 0, 10+len(c.value)), c.revision)
		s.changes = append(s.changes, Change{Key: cellKey(key), Value: append(row, c.value...)})
	}
	return s.changes
}

// committed forgets what is in the table now.
func (s *stored) committed() {
	clear(s.changes)
	clear(s.cells)
	clear(s.sessions)
	s.changes = s.changes[:0]
	// A map never gets smaller by itself.
	if cap(s.changes) > mostKept {
		s.changes, s.cells = nil, make(map[string]staged)
	}
}

// mostKept is how many changes there is room for between commits.
const mostKept = 4096

// Commit makes what was applied since the last one part of the table, all or nothing: cells, sessions, hash, time and
// applied index. A state in memory has nothing to do. After an error the state is finished.
func (s *KV) Commit() error {
	t := s.stored
	if t == nil || t.err == nil && s.applied == t.applied {
		return s.Err()
	}
	return s.commit(t.table.Commit)
}

// Adopt is Commit of a state that was restored into a fresh table, which takes the place of the one before it.
func (s *KV) Adopt() error {
	if s.stored == nil {
		return nil
	}
	return s.commit(s.stored.table.Adopt)
}

func (s *KV) commit(commit func([]Change) error) error {
	t := s.stored
	changes := append(t.stage(&s.sessions.open), s.row())
	t.changes = changes
	if t.err == nil {
		t.fail(commit(changes))
	}
	if t.err != nil {
		return t.err
	}
	t.committed()
	t.applied = s.applied
	return nil
}

// Err is the first error of the state's table, which finishes the state; always nil of one in memory.
func (s *KV) Err() error {
	if s.stored == nil {
		return nil
	}
	return s.stored.err
}

// row is the state's own.
func (s *KV) row() Change {
	row := binary.LittleEndian.AppendUint64(nil, s.hash)
	row = binary.AppendUvarint(row, s.applied)
	return Change{Key: []byte{rowState}, Value: binary.AppendUvarint(row, s.time)}
}

// Open is the state that a table holds, which may be that before the first entry. It reads all of it. Errors are
// ErrDamagedTable, and those of the table.
func Open(t Table) (*KV, error) {
	s := newStoredKV(t)
	if err := s.begin(); err != nil {
		return nil, err
	}
	return s, nil
}

// newStoredKV is the state before the first entry, in an empty table.
func newStoredKV(t Table) *KV {
	s := NewKV()
	s.stored = newStored(t)
	s.sessions.stored = s.stored
	return s
}

// begin takes in what the table holds.
func (s *KV) begin() error {
	if err := s.load(); err != nil {
		return err
	}
	s.stored.committed()
	s.stored.applied = s.applied
	return s.stored.err
}

func (s *KV) load() (err error) {
	var damage error
	found, err := s.stored.table.Get([]byte{rowState}, func(row []byte) { damage = s.loadState(row) })
	if err = errors.Join(err, damage); err != nil {
		return err
	}
	rows, err := s.stored.table.Rows(nil, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		key, row, err := rows.Next()
		if key == nil || err != nil {
			return err
		}
		in := reader{data: row}
		switch {
		case !found:
			in.refuse("there are rows, and no state that they are of")
		case key[0] == rowCell:
			s.loadCell(&in)
		case key[0] == rowSession && len(key) == 1+8:
			s.loadSession(binary.BigEndian.Uint64(key[1:]), &in)
		case key[0] == rowSession && len(key) == 1+8+8:
			s.loadAnswer(binary.BigEndian.Uint64(key[1:]), binary.BigEndian.Uint64(key[9:]), &in)
		case key[0] == rowState && len(key) == 1:
			in.data = nil
		default:
			in.refuse("it has an unknown key")
		}
		if in.short || in.fault == "" && len(in.data) > 0 {
			in.short, in.fault = false, "it has not the length that it says"
		}
		if in.fault != "" {
			return fmt.Errorf("%w: row %q: %s", ErrDamagedTable, key, in.fault)
		}
	}
}

func (s *KV) loadState(row []byte) error {
	in := reader{data: row}
	hash := in.bytes(8)
	s.applied, s.time = in.number(), in.number()
	if in.failed() || len(in.data) > 0 {
		return fmt.Errorf("%w: the state's own row has %d bytes that make no sense", ErrDamagedTable, len(row))
	}
	s.hash = binary.LittleEndian.Uint64(hash)
	return nil
}

func (s *KV) loadCell(in *reader) {
	revision := in.number()
	if revision == 0 || revision > s.applied {
		in.refuse("its revision is no index of an entry that was applied")
	}
	in.data = nil
}

func (s *KV) loadSession(id uint64, in *reader) {
	c := &session{ttl: in.number(), last: in.number(), used: in.number(), forgotten: in.number()}
	s.checkSession(id, c, in)
	if s.sessions.open.length >= s.sessions.most.sessions {
		in.refuse("there are too many sessions")
	}
	if !in.failed() {
		s.sessions.add(id, c)
	}
}

func (s *KV) loadAnswer(id, sequence uint64, in *reader) {
	c, found := s.sessions.open.get(id)
	if !found {
		in.refuse("an answer is of no session")
		return
	}
	a := answer{sequence: sequence}
	if code := in.bytes(1); !in.failed() {
		a.code = Code(code[0])
	}
	a.revision = in.number()
	value := in.data
	in.data = nil
	s.checkAnswer(c, a, len(value), in)
	if len(c.answers) >= s.sessions.most.answers {
		in.refuse("a session has too many answers")
	}
	if !in.failed() {
		a.value = string(value)
		s.sessions.keep(id, c, a)
	}
}

func decodeCell(row []byte) (cell, error) {
	in := reader{data: row}
	revision := in.number()
	if in.failed() {
		return cell{}, fmt.Errorf("%w: a cell has no revision", ErrDamagedTable)
	}
	return cell{string(in.data), revision}, nil
}

func cellKey(key string) []byte {
	return append(append(make([]byte, 0, 1+len(key)), rowCell), key...)
}

func sessionKey(id uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 1+8+8), rowSession), id)
}

func answerKey(id, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(sessionKey(id), sequence)
}

package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// A snapshot's content: magic and version; hash (8 bytes); applied index, time, number of keys and of
// sessions; each key, in order, with value and revision; each session, by ID, with its answers; and a
// CRC-32C of all that (4 bytes). Numbers are varints, texts are behind their lengths, what has a
// width is little-endian.
const (
	magic   = "coup kv"
	version = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDamagedSnapshot says that what was given to a Restore is no snapshot of a state.
var ErrDamagedSnapshot = errors.New("fsm: damaged snapshot")

// Snapshot is a state as it was at one index, while the state goes on. For use by one goroutine at a time, and of a state
// in a table by that of the table.
type Snapshot struct {
	hash, applied, time uint64
	cells               cursor[string, cell] // of a state in memory
	rows                Rows                 // the cells of one in a table; else nil
	sessions            cursor[uint64, *session]
	keys, open          int    // how many keys, as far as they were counted, and sessions
	counted             bool   // the header is encoded
	pending             []byte // encoded, and not handed out
	checksum            uint32 // of all that was encoded
	ended               bool   // all is encoded
	err                 error
}

// Snapshot is the state as it is now. It takes the same short time however large the state is: of one in memory the two
// share everything, and Apply copies what it changes; of one in a table all that was applied must be committed, and
// the snapshot be closed. Errors are those of the table.
func (s *KV) Snapshot() (*Snapshot, error) {
	open := s.sessions.open.freeze()
	shot := &Snapshot{hash: s.hash, applied: s.applied, time: s.time, sessions: open.walk(), open: open.length}
	if s.stored == nil {
		cells := s.cells.freeze()
		shot.cells, shot.keys = cells.walk(), cells.length
		shot.pending = make([]byte, 0, 128+48*min(cells.length+open.length, 64))
		shot.header()
		return shot, nil
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if s.stored.applied != s.applied {
		return nil, fmt.Errorf("fsm: a snapshot at entry %d, and only what was applied up to %d is committed", s.applied, s.stored.applied)
	}
	var err error
	shot.rows, err = s.stored.table.Rows([]byte{rowCell}, []byte{rowCell + 1})
	s.stored.fail(err)
	return shot, s.Err()
}

// Close lets go of the table, and can be called again. It has no meaning for a state in memory.
func (s *Snapshot) Close() error {
	if s.rows == nil {
		return nil
	}
	err := s.rows.Close()
	s.rows, s.ended = nil, true
	return err
}

// Count counts keys, which a snapshot begins with, until it has passed about so many bytes, and tells whether it has
// counted all. Those of a state in memory are. Next counts what is not counted.
func (s *Snapshot) Count(bytes int) (done bool, err error) {
	for passed := 0; !s.counted && s.err == nil; {
		if passed > bytes {
			return false, nil
		}
		key, row, err := s.rows.Next()
		switch {
		case err != nil:
			s.err = fmt.Errorf("fsm: the state's table: %w", err)
		case key == nil:
			s.rows.Rewind()
			s.header()
		default:
			passed += len(key) + len(row)
			s.keys++
		}
	}
	return s.err == nil, s.err
}

func (s *Snapshot) header() {
	s.counted = true
	s.pending = append(append(s.pending, magic...), version)
	s.pending = binary.LittleEndian.AppendUint64(s.pending, s.hash)
	for _, n := range []uint64{s.applied, s.time, uint64(s.keys), uint64(s.open)} {
		s.pending = binary.AppendUvarint(s.pending, n)
	}
	s.checksum = crc32.Update(0, castagnoli, s.pending)
}

// Applied is the index of the last entry in the snapshot.
func (s *Snapshot) Applied() uint64 { return s.applied }

// Next is the next piece of the snapshot's content, and whether it is the last. A piece has size bytes,
// the last at most that. Equal states have equal content. Errors are those of the table, and final.
func (s *Snapshot) Next(size int) (data []byte, done bool, err error) {
	if _, err := s.Count(math.MaxInt); err != nil {
		return nil, false, err
	}
	for len(s.pending) < size && !s.ended {
		s.encode()
	}
	if s.err != nil {
		return nil, false, s.err
	}
	n := min(size, len(s.pending))
	// What is appended later never touches what is handed out.
	data, s.pending = s.pending[:n:n], s.pending[n:]
	return data, s.ended && len(s.pending) == 0, nil
}

// encode appends one key, or one session, or the end.
func (s *Snapshot) encode() {
	begun := len(s.pending)
	if key, c, ok := s.nextCell(); ok {
		s.pending = appendText(appendText(s.pending, key), c.value)
		s.pending = binary.AppendUvarint(s.pending, c.revision)
	} else if id, c, ok := s.sessions.next(); ok {
		for _, n := range [...]uint64{id, c.ttl, c.last, c.used, c.forgotten, uint64(len(c.answers))} {
			s.pending = binary.AppendUvarint(s.pending, n)
		}
		for _, a := range c.answers {
			s.pending = binary.AppendUvarint(s.pending, a.sequence)
			s.pending = append(s.pending, byte(a.code))
			s.pending = binary.AppendUvarint(s.pending, a.revision)
			s.pending = appendText(s.pending, a.value)
		}
	} else {
		s.pending = binary.LittleEndian.AppendUint32(s.pending, s.checksum)
		s.ended = true
		return
	}
	s.checksum = crc32.Update(s.checksum, castagnoli, s.pending[begun:])
}

func (s *Snapshot) nextCell() (key string, c cell, ok bool) {
	if s.rows == nil {
		return s.cells.next()
	}
	k, row, err := s.rows.Next()
	if err == nil && k == nil {
		return "", cell{}, false
	}
	if err == nil {
		c, err = decodeCell(row)
	}
	if err != nil {
		s.err, s.ended = fmt.Errorf("fsm: the state's table: %w", err), true
		return "", cell{}, false
	}
	return string(k[1:]), c, true
}

// Restore rebuilds a state from a snapshot's content, given in pieces that may be cut anywhere. It
// refuses what is no state's content, and takes memory in proportion to what it was given, whatever
// that declares, or of a state in a table to one piece.
type Restore struct {
	state    *KV
	part     func(*Restore, *reader) // reads what comes next
	pending  []byte                  // the beginning of a part of which more is to come
	checksum uint32                  // of all that was read
	ended    bool
	err      error

	cells, sessions, answers uint64 // still to come; answers of the session that is being read
	begun                    bool   // there was a cell
	key                      string // of the last cell
	id                       uint64 // of the last session
	session                  *session
}

// NewRestore begins a restoration, into an empty table, or into memory when that is nil.
func NewRestore(t Table) *Restore {
	r := &Restore{state: NewKV(), part: (*Restore).header}
	if t != nil {
		r.state = newStoredKV(t)
	}
	return r
}

// Write takes the next piece of the content and keeps nothing of it. Errors are ErrDamagedSnapshot, and those of the
// table, and final.
func (r *Restore) Write(data []byte) error {
	if r.err != nil {
		return r.err
	}
	r.pending = append(r.pending, data...)
	rest := r.pending
	for len(rest) > 0 {
		in := reader{data: rest}
		r.part(r, &in)
		if in.fault != "" {
			r.state, r.pending = nil, nil
			r.err = fmt.Errorf("%w: %s", ErrDamagedSnapshot, in.fault)
			return r.err
		}
		if in.short {
			break
		}
		r.checksum = crc32.Update(r.checksum, castagnoli, rest[:len(rest)-len(in.data)])
		rest = in.data
	}
	r.pending = append(r.pending[:0], rest...)
	r.err = r.state.spill()
	return r.err
}

// spill makes what was restored so far rows of the table, which are nothing before the state is adopted.
func (s *KV) spill() error {
	t := s.stored
	if t == nil {
		return nil
	}
	changes := t.stage(&s.sessions.open)
	if t.err == nil && len(changes) > 0 {
		t.fail(t.table.Commit(changes))
	}
	t.changes = changes
	t.committed()
	return t.err
}

// Finish returns the state, once all of the content was given. One in a table takes the place of that before it by
// Adopt, and must not be used before. Errors are ErrDamagedSnapshot.
func (r *Restore) Finish() (*KV, error) {
	if r.err == nil && !r.ended {
		r.err = fmt.Errorf("%w: it is cut short", ErrDamagedSnapshot)
	}
	if r.err != nil {
		return nil, r.err
	}
	return r.state, nil
}

// expect sets what comes next.
func (r *Restore) expect() {
	switch {
	case r.cells > 0:
		r.part = (*Restore).cell
	case r.answers > 0:
		r.part = (*Restore).answer
	case r.sessions > 0:
		r.part = (*Restore).client
	default:
		r.part = (*Restore).trailer
	}
}

func (r *Restore) header(in *reader) {
	start := in.bytes(uint64(len(magic) + 1))
	switch {
	case in.failed():
		return
	case string(start[:len(magic)]) != magic:
		in.refuse("it does not begin as a snapshot does")
		return
	case start[len(magic)] != version:
		in.refuse(fmt.Sprintf("its version is %d, not %d", start[len(magic)], version))
		return
	}
	hash := in.bytes(8)
	applied, time, cells, sessions := in.number(), in.number(), in.number(), in.number()
	if sessions > uint64(r.state.sessions.most.sessions) {
		in.refuse("it has too many sessions")
	}
	if in.failed() {
		return
	}
	r.state.hash = binary.LittleEndian.Uint64(hash)
	r.state.applied, r.state.time = applied, time
	r.cells, r.sessions = cells, sessions
	r.expect()
}

func (r *Restore) cell(in *reader) {
	text, value, revision := in.text(), in.text(), in.number()
	if in.failed() {
		return
	}
	key := string(text)
	switch {
	case r.begun && key <= r.key:
		in.refuse("its keys are out of order")
	case revision == 0 || revision > r.state.applied:
		in.refuse("a key's revision is no entry's index")
	}
	if in.failed() {
		return
	}
	r.state.set(key, cell{string(value), revision})
	r.begun, r.key = true, key
	r.cells--
	r.expect()
}

func (r *Restore) client(in *reader) {
	id := in.number()
	s := &session{ttl: in.number(), last: in.number(), used: in.number(), forgotten: in.number()}
	answers := in.number()
	switch {
	case id <= r.id:
		in.refuse("its sessions are out of order")
	case answers > uint64(r.state.sessions.most.answers):
		in.refuse("a session has too many answers")
	}
	r.state.checkSession(id, s, in)
	if in.failed() {
		return
	}
	r.state.sessions.add(id, s)
	r.id, r.session, r.answers = id, s, answers
	r.sessions--
	r.expect()
}

func (r *Restore) answer(in *reader) {
	a := answer{sequence: in.number()}
	if code := in.bytes(1); !in.failed() {
		a.code = Code(code[0])
	}
	a.revision = in.number()
	value := in.text()
	r.state.checkAnswer(r.session, a, len(value), in)
	if in.failed() {
		return
	}
	a.value = string(value)
	r.state.sessions.keep(r.id, r.session, a)
	r.answers--
	r.expect()
}

// checkSession refuses a session that the state cannot have.
func (s *KV) checkSession(id uint64, c *session, in *reader) {
	switch {
	case c.used < id || c.used > s.applied:
		in.refuse("a session was not used at an entry's index")
	case c.last > s.time:
		in.refuse("a session was used in the future")
	case c.deadline() < s.time:
		in.refuse("a session has expired")
	case s.sessions.bytes+c.size() > s.sessions.most.total && s.sessions.open.length > 0:
		in.refuse("its sessions are too large")
	}
}

// checkAnswer refuses an answer, with a value of so many bytes, that the session cannot keep after those that it has.
func (s *KV) checkAnswer(c *session, a answer, value int, in *reader) {
	last := c.forgotten
	if n := len(c.answers); n > 0 {
		last = c.answers[n-1].sequence
	}
	switch {
	case a.sequence <= last:
		in.refuse("a session's answers are out of order")
	case a.code > Mismatch:
		in.refuse("an answer has an unknown code")
	case a.revision > s.applied:
		in.refuse("an answer's revision is no entry's index")
	case len(c.answers) > 0 && c.bytes+value > s.sessions.most.bytes:
		in.refuse("a session's answers are too large")
	case s.sessions.bytes+AnswerBytes+value > s.sessions.most.total && s.sessions.open.length > 1:
		in.refuse("its sessions are too large")
	}
}

func (r *Restore) trailer(in *reader) {
	sum := in.bytes(4)
	if in.failed() {
		return
	}
	if binary.LittleEndian.Uint32(sum) != r.checksum {
		in.refuse("its checksum is wrong")
	}
	r.ended, r.part = true, (*Restore).surplus
}

func (r *Restore) surplus(in *reader) { in.refuse("something follows its end") }

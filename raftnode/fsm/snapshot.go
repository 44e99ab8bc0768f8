package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
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

// Snapshot is a state as it was at one index. It may be read on another goroutine while the state goes
// on; for use by one goroutine at a time.
type Snapshot struct {
	applied  uint64
	cells    cursor[string, cell]
	sessions cursor[uint64, *session]
	pending  []byte // encoded, and not handed out
	checksum uint32 // of all that was encoded
	ended    bool   // all is encoded
}

// Snapshot is the state as it is now. It takes the same short time however large the state is: the two
// share everything, and Apply copies what it changes.
func (s *KV) Snapshot() *Snapshot {
	cells, open := s.cells.freeze(), s.sessions.open.freeze()
	shot := &Snapshot{
		applied: s.applied, cells: cells.walk(), sessions: open.walk(),
		pending: make([]byte, 0, 128+48*min(cells.length+open.length, 64)),
	}
	shot.pending = append(append(shot.pending, magic...), version)
	shot.pending = binary.LittleEndian.AppendUint64(shot.pending, s.hash)
	for _, n := range []uint64{s.applied, s.time, uint64(cells.length), uint64(open.length)} {
		shot.pending = binary.AppendUvarint(shot.pending, n)
	}
	shot.checksum = crc32.Update(0, castagnoli, shot.pending)
	return shot
}

// Applied is the index of the last entry in the snapshot.
func (s *Snapshot) Applied() uint64 { return s.applied }

// Next is the next piece of the snapshot's content, and whether it is the last. A piece has size bytes,
// the last at most that. Equal states have equal content.
func (s *Snapshot) Next(size int) (data []byte, done bool) {
	for len(s.pending) < size && !s.ended {
		s.encode()
	}
	n := min(size, len(s.pending))
	// What is appended later never touches what is handed out.
	data, s.pending = s.pending[:n:n], s.pending[n:]
	return data, s.ended && len(s.pending) == 0
}

// encode appends one key, or one session, or the end.
func (s *Snapshot) encode() {
	begun := len(s.pending)
	if key, c, ok := s.cells.next(); ok {
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

// Restore rebuilds a state from a snapshot's content, given in pieces that may be cut anywhere. It
// refuses what is no state's content, and takes memory in proportion to what it was given, whatever
// that declares.
type Restore struct {
	state    *KV
	part     func(*Restore, *reader) // reads what comes next
	pending  []byte                  // the beginning of a part of which more is to come
	checksum uint32                  // of all that was read
	ended    bool
	err      error

	cells, sessions, answers uint64 // still to come; answers of the session that is being read
	key                      string // of the last cell
	id                       uint64 // of the last session
	session                  *session
}

// NewRestore begins a restoration.
func NewRestore() *Restore { return &Restore{state: NewKV(), part: (*Restore).header} }

// Write takes the next piece of the content and keeps nothing of it. Errors are ErrDamagedSnapshot, and
// final.
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
	return nil
}

// Finish returns the state, once all of the content was given. Errors are ErrDamagedSnapshot.
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
	case r.state.cells.length > 0 && key <= r.key:
		in.refuse("its keys are out of order")
	case revision == 0 || revision > r.state.applied:
		in.refuse("a key's revision is no entry's index")
	}
	if in.failed() {
		return
	}
	r.state.cells.set(key, cell{string(value), revision})
	r.key = key
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
	case s.used < id || s.used > r.state.applied:
		in.refuse("a session was not used at an entry's index")
	case s.last > r.state.time:
		in.refuse("a session was used in the future")
	case s.deadline() < r.state.time:
		in.refuse("a session has expired")
	case answers > uint64(r.state.sessions.most.answers):
		in.refuse("a session has too many answers")
	}
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
	s, most := r.session, r.state.sessions.most
	last := s.forgotten
	if n := len(s.answers); n > 0 {
		last = s.answers[n-1].sequence
	}
	switch {
	case a.sequence <= last:
		in.refuse("a session's answers are out of order")
	case a.code > Mismatch:
		in.refuse("an answer has an unknown code")
	case a.revision > r.state.applied:
		in.refuse("an answer's revision is no entry's index")
	case len(s.answers) > 0 && s.bytes+len(value) > most.bytes:
		in.refuse("a session's answers are too large")
	}
	if in.failed() {
		return
	}
	a.value = string(value)
	s.keep(a, most)
	r.answers--
	r.expect()
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

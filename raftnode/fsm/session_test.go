package fsm

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Each rule of sessions: a log, and how its last entry must end. Every log begins with a session, 1, of
// a TTL of 100.
func TestSessionRules(t *testing.T) {
	write := func(sequence, acked uint64, value string) Command {
		return Command{Op: Write, Key: "k", Value: value, Session: 1, Sequence: sequence, Acked: acked}
	}
	clock := func(now uint64) Command { return Command{Op: Clock, Now: now} }
	for _, c := range []struct {
		name string
		log  []Command
		want Result
		held string // by the key k afterwards
	}{
		{"a command is executed", []Command{write(1, 0, "a")},
			Result{Value: "a", Revision: 2}, "a"},
		{"a retry is told the first answer", []Command{write(1, 0, "a"), write(2, 0, "b"), write(1, 0, "a")},
			Result{Value: "a", Revision: 2, Repeated: true}, "b"},
		{"a refusal is repeated too", []Command{
			{Op: Delete, Key: "k", Session: 1, Sequence: 1}, write(2, 0, "b"), {Op: Delete, Key: "k", Session: 1, Sequence: 1}},
			Result{Code: NotFound, Repeated: true}, "b"},
		{"a mismatch is repeated though it would now match", []Command{
			write(1, 0, "a"), {Op: CAS, Key: "k", Expect: "b", Value: "c", Session: 1, Sequence: 2}, write(3, 0, "b"),
			{Op: CAS, Key: "k", Expect: "b", Value: "c", Session: 1, Sequence: 2}},
			Result{Code: Mismatch, Value: "a", Revision: 2, Repeated: true}, "b"},
		{"sequences may come out of order", []Command{write(3, 0, "c"), write(1, 0, "a")},
			Result{Value: "a", Revision: 3}, "a"},
		{"an acknowledged answer is forgotten", []Command{write(1, 0, "a"), write(2, 1, "b"), write(1, 0, "a")},
			Result{Code: SequenceForgotten}, "b"},
		{"what is not acknowledged is kept", []Command{write(1, 0, "a"), write(2, 0, "b"), write(3, 1, "c"), write(2, 0, "b")},
			Result{Value: "b", Revision: 3, Repeated: true}, "c"},
		{"acknowledged before it came", []Command{write(5, 4, "e"), write(4, 0, "d")},
			Result{Code: SequenceForgotten}, "e"},
		{"acknowledged by itself", []Command{write(1, 1, "a")},
			Result{Code: SequenceForgotten}, ""},
		{"sequence 0", []Command{write(0, 0, "a")},
			Result{Code: SequenceForgotten}, ""},
		{"an acknowledgement is never taken back", []Command{write(5, 4, "e"), write(6, 0, "f"), write(4, 0, "d")},
			Result{Code: SequenceForgotten}, "f"},
		{"a session that never was", []Command{{Op: Write, Key: "k", Value: "a", Session: 2, Sequence: 1}},
			Result{Code: SessionExpired}, ""},
		{"a session that was closed", []Command{write(1, 0, "a"), {Op: CloseSession, Session: 1}, write(1, 0, "a")},
			Result{Code: SessionExpired}, "a"},
		{"closed twice", []Command{{Op: CloseSession, Session: 1}, {Op: CloseSession, Session: 1}},
			Result{Code: SessionExpired}, ""},
		{"on the last moment", []Command{clock(100), write(1, 0, "a")},
			Result{Value: "a", Revision: 3}, "a"},
		{"past the last moment", []Command{clock(101), write(1, 0, "a")},
			Result{Code: SessionExpired}, ""},
		{"a use gives it another life", []Command{clock(100), write(1, 0, "a"), clock(200), write(2, 0, "b")},
			Result{Value: "b", Revision: 5}, "b"},
		{"a retry is a use", []Command{write(1, 0, "a"), clock(100), write(1, 0, "a"), clock(200), write(2, 0, "b")},
			Result{Value: "b", Revision: 6}, "b"},
		{"time never falls", []Command{clock(90), clock(5), write(1, 0, "a"), clock(180), write(2, 0, "b"), clock(281), write(3, 0, "c")},
			Result{Code: SessionExpired}, "b"},
		{"a client that died and comes back much later", []Command{write(1, 0, "a"), clock(1 << 40), write(1, 0, "a")},
			Result{Code: SessionExpired}, "a"},
		{"no session, no memory", []Command{{Op: Write, Key: "k", Value: "a"}, {Op: Write, Key: "k", Value: "a"}},
			Result{Value: "a", Revision: 3}, "a"},
		{"another session", []Command{write(1, 0, "a"), {Op: OpenSession, TTL: 100}, {Op: Write, Key: "k", Value: "x", Session: 3, Sequence: 1}},
			Result{Value: "x", Revision: 4}, "x"},
		{"a session without end", []Command{
			{Op: OpenSession, TTL: 1<<64 - 1}, clock(1<<64 - 1), {Op: Write, Key: "k", Value: "x", Session: 2, Sequence: 1}},
			Result{Value: "x", Revision: 4}, "x"},
		{"an opening tells the ID", []Command{clock(7), {Op: OpenSession, TTL: 1}},
			Result{Session: 3}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			require.Equal(t, Result{Session: 1}, m.apply(Command{Op: OpenSession, TTL: 100}))
			var got Result
			for _, command := range c.log {
				got = m.apply(command)
			}
			require.Equal(t, c.want, got)
			require.Equal(t, c.held, get(t, m.state, "k").Value)
		})
	}
}

// The client lost the answer, not the command: however often it asks, and whatever others do meanwhile,
// a counter goes up by one.
func TestRetryAfterALostAnswer(t *testing.T) {
	m := newMachine(t)
	m.apply(Command{Op: OpenSession, TTL: 100})
	m.apply(Command{Op: Write, Key: "n", Value: "1"})
	increment := Command{Op: CAS, Key: "n", Expect: "1", Value: "2", Session: 1, Sequence: 1}
	first := m.apply(increment)
	require.Equal(t, Result{Value: "2", Revision: 3}, first)
	m.apply(Command{Op: Write, Key: "n", Value: "1"}) // another client sets it back
	for range 3 {
		again := m.apply(increment)
		require.True(t, again.Repeated)
		again.Repeated = false
		require.Equal(t, first, again)
		require.Equal(t, "1", get(t, m.state, "n").Value)
	}
}

// The memory for one session is bounded, by number and by size, and what is forgotten is refused and not
// done again.
func TestAnswersAreBounded(t *testing.T) {
	for _, c := range []struct {
		name        string
		size, count int
	}{{"number", 1, MaxAnswers}, {"size", MaxAnswerBytes / 4, 4}, {"one", MaxAnswerBytes + 1, 1}} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.apply(Command{Op: OpenSession})
			w := Command{Op: Write, Key: "k", Value: string(make([]byte, c.size)), Session: 1}
			for w.Sequence = range uint64(c.count) + 2 {
				w.Sequence++
				m.apply(w)
			}
			require.Equal(t, uint64(c.count)+2, w.Sequence)
			for sequence := range w.Sequence {
				w.Sequence = sequence + 1
				got := m.apply(w)
				require.Equal(t, sequence < 2, got.Code == SequenceForgotten, "sequence %d", w.Sequence)
				require.Equal(t, sequence >= 2, got.Repeated, "sequence %d", w.Sequence)
			}
		})
	}
}

// One session too many costs the one that was idle for longest, however old and however long its TTL.
func TestLeastRecentlyUsedSessionGoes(t *testing.T) {
	m := newMachine(t)
	for range MaxSessions {
		m.apply(Command{Op: OpenSession, TTL: m.state.Applied() % 7})
	}
	use := func(session, sequence uint64) Code {
		return m.apply(Command{Op: Write, Key: "k", Session: session, Sequence: sequence}).Code
	}
	for session := uint64(1); session <= 3; session++ {
		require.Equal(t, OK, use(session, 1))
	}
	for range 2 {
		m.apply(Command{Op: OpenSession})
		require.Equal(t, MaxSessions, m.state.Sessions())
	}
	for session, want := range []Code{OK, OK, OK, SessionExpired, SessionExpired, OK} {
		require.Equal(t, want, use(uint64(session)+1, 2), "session %d", session+1)
	}
}

// Sessions that are opened and closed must leave nothing behind, or a busy cluster runs out of memory.
func TestClosedSessionsLeaveNothing(t *testing.T) {
	m := newMachine(t)
	for range 10_000 {
		session := m.apply(Command{Op: OpenSession, TTL: 1 << 50}).Session
		m.apply(Command{Op: CloseSession, Session: session})
	}
	require.Zero(t, m.state.Sessions())
	require.Less(t, len(m.state.sessions.expiring)+len(m.state.sessions.idle), 200)
}

// model is the key-value state with sessions as the rules say it, without any care for cost.
type model struct {
	cells    map[string]cell
	sessions map[uint64]*modelSession
	time     uint64
	most     bounds
}

type modelSession struct {
	ttl, last, used, forgotten uint64
	answers                    map[uint64]Result
}

func (m *model) apply(index uint64, c Command) Result {
	switch c.Op {
	case OpenSession:
		m.sessions[index] = &modelSession{ttl: c.TTL, last: m.time, used: index, answers: map[uint64]Result{}}
		m.evict()
		return Result{Session: index}
	case CloseSession:
		if m.sessions[c.Session] == nil {
			return Result{Code: SessionExpired}
		}
		delete(m.sessions, c.Session)
		return Result{}
	case Clock:
		m.time = max(m.time, c.Now)
		for id, s := range m.sessions {
			if m.time-s.last > s.ttl {
				delete(m.sessions, id)
			}
		}
		return Result{}
	}
	if c.Session == 0 {
		return m.change(index, c)
	}
	s := m.sessions[c.Session]
	if s == nil {
		return Result{Code: SessionExpired}
	}
	s.last, s.used = m.time, index
	s.forgotten = max(s.forgotten, c.Acked)
	if c.Sequence <= s.forgotten {
		return Result{Code: SequenceForgotten}
	}
	if a, done := s.answers[c.Sequence]; done {
		a.Repeated = true
		return a
	}
	r := m.change(index, c)
	s.answers[c.Sequence] = r
	defer m.evict()
	for {
		var live []uint64
		bytes := 0
		for sequence, a := range s.answers {
			if sequence > s.forgotten {
				live = append(live, sequence)
				bytes += len(a.Value)
			}
		}
		if len(live) <= 1 || len(live) <= m.most.answers && bytes <= m.most.bytes {
			return r
		}
		s.forgotten = slices.Min(live)
	}
}

func (m *model) evict() {
	for {
		var oldest uint64
		size := 0
		for id, s := range m.sessions {
			if oldest == 0 || s.used < m.sessions[oldest].used {
				oldest = id
			}
			size += SessionBytes
			for sequence, a := range s.answers {
				if sequence > s.forgotten {
					size += AnswerBytes + len(a.Value)
				}
			}
		}
		if len(m.sessions) <= m.most.sessions && (size <= m.most.total || len(m.sessions) <= 1) {
			return
		}
		delete(m.sessions, oldest)
	}
}

func (m *model) change(index uint64, c Command) Result {
	old, found := m.cells[c.Key]
	switch {
	case c.Op == Write, c.Op == CAS && found && old.value == c.Expect:
		m.cells[c.Key] = cell{c.Value, index}
		return Result{Value: c.Value, Revision: index}
	case !found:
		return Result{Code: NotFound}
	case c.Op == Delete:
		delete(m.cells, c.Key)
		return Result{Revision: index}
	}
	return Result{Code: Mismatch, Value: old.value, Revision: old.revision}
}

// small are bounds that a short log comes to.
var small = bounds{sessions: 4, answers: 3, bytes: 12, total: 4*SessionBytes + 5*AnswerBytes + 14}

// logs draws logs in which sessions, sequences and times meet often.
func logs() *rapid.Generator[[]Command] {
	text := rapid.SampledFrom([]string{"", "a", "b", "c", "dddd"})
	return rapid.SliceOfN(rapid.OneOf(
		command(text, rapid.Uint64Range(0, 12)),
		command(text, rapid.Uint64Range(0, 12)).Filter(func(c Command) bool { return c.Op <= Delete && c.Session != 0 }),
	), 0, 80)
}

// The state machine with sessions against the model. Half-way it goes through a snapshot, which must
// change nothing of what follows: neither answers nor hash, nor who is evicted. So do one in a table, which is opened again
// and again, and loses what was not committed.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := logs().Draw(t, "log")
		restart := rapid.IntRange(0, len(log)).Draw(t, "restart")
		m, other := newMachine(t), newMachine(t)
		disk := &shelf{}
		tabled := &machine{t, opened(t, disk)}
		m.state.sessions.most, other.state.sessions.most = small, small
		want := &model{cells: map[string]cell{}, sessions: map[uint64]*modelSession{}, most: small}
		for i, c := range log {
			if i == restart {
				m.state = restored(t, m.state)
			}
			require.Equal(t, want.apply(uint64(i+1), c), m.apply(c), "entry %d: %+v", i+1, c)
			other.apply(c)
			require.Equal(t, other.state.Hash(), m.state.Hash())
			tabled.apply(c)
			switch rapid.IntRange(0, 7).Draw(t, "disk") {
			case 0, 1:
				require.NoError(t, tabled.state.Commit())
			case 2:
				tabled.state = opened(t, disk)
				for redo := tabled.state.Applied(); redo <= uint64(i); redo++ {
					tabled.apply(log[redo])
				}
			case 3:
				require.NoError(t, tabled.state.Commit())
				tabled.state = restoredInto(t, disk, tabled.state)
			}
			require.Equal(t, other.state.Hash(), tabled.state.Hash())
			require.Equal(t, get(t, other.state, c.Key), get(t, tabled.state, c.Key))
			require.Equal(t, want.time, m.state.Time())
			require.Equal(t, len(want.sessions), m.state.Sessions())
			require.Equal(t, len(want.cells), m.state.cells.length)
			held, found := want.cells[c.Key]
			got := get(t, m.state, c.Key)
			require.Equal(t, found, got.Code == OK)
			require.Equal(t, held, cell{got.Value, got.Revision})
		}
		require.Equal(t, content(t, other.state, 64), content(t, m.state, 64))
		require.NoError(t, tabled.state.Commit())
		require.Equal(t, content(t, other.state, 64), content(t, tabled.state, 64))
		require.Equal(t, content(t, other.state, 64), content(t, opened(t, disk), 64))
	})
}

func BenchmarkSessions(b *testing.B) {
	m := newMachine(b)
	for range MaxSessions {
		m.apply(Command{Op: OpenSession, TTL: 1000})
	}
	// Every session is used in every TTL, and time passes all the while.
	b.Run(fmt.Sprint("use and clock of ", MaxSessions), func(b *testing.B) {
		w := Command{Op: Delete, Key: "k"}
		for i := uint64(0); b.Loop(); i++ {
			w.Session, w.Sequence = i%MaxSessions+1, i/MaxSessions+1
			w.Acked = w.Sequence - 1
			m.apply(w)
			m.apply(Command{Op: Clock, Now: i / MaxSessions * 100})
		}
		if m.state.Sessions() != MaxSessions {
			b.Fatal("sessions expired")
		}
	})
}

package fsm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// content is a whole snapshot of a state, handed out in pieces of a size.
func content(t require.TestingT, s *KV, size int) []byte { return rest(t, snapshot(t, s), size) }

func snapshot(t require.TestingT, s *KV) *Snapshot {
	shot, err := s.Snapshot()
	require.NoError(t, err)
	return shot
}

// rest is what is left of a snapshot.
func rest(t require.TestingT, s *Snapshot, size int) []byte {
	var whole []byte
	for {
		data, done, err := s.Next(size)
		require.NoError(t, err)
		whole = append(whole, data...)
		if done {
			require.NoError(t, s.Close())
			return whole
		}
	}
}

// restore rebuilds a state under the small bounds.
func restore(pieces ...[]byte) (*KV, error) {
	r := NewRestore(nil)
	r.state.sessions.most = small
	for _, p := range pieces {
		if r.Write(p) != nil {
			break
		}
	}
	return r.Finish()
}

// restored is a state after it went through a snapshot.
func restored(t require.TestingT, s *KV) *KV {
	got, err := restore(content(t, s, 7))
	require.NoError(t, err)
	return got
}

// sample is a small state with something of everything in it.
func sample(t require.TestingT) *machine {
	m := newMachine(t)
	m.state.sessions.most = small
	m.apply(Command{Op: Clock, Now: 1000})
	m.apply(Command{Op: OpenSession, TTL: 300})
	m.apply(Command{Op: OpenSession, TTL: 1 << 40})
	m.apply(Command{Op: Write, Key: "", Value: "empty key"})
	m.apply(Command{Op: Write, Key: "gone", Value: "v"})
	require.NoError(t, m.state.Skip(6))
	m.apply(Command{Op: Delete, Key: "gone", Session: 2, Sequence: 1})
	m.apply(Command{Op: CAS, Key: "gone", Expect: "v", Value: "w", Session: 2, Sequence: 2})
	m.apply(Command{Op: Write, Key: "k", Value: "v", Session: 2, Sequence: 4, Acked: 1})
	m.apply(Command{Op: CAS, Key: "k", Expect: "x", Value: "w", Session: 3, Sequence: 9, Acked: 7})
	m.apply(Command{Op: Clock, Now: 1100})
	return m
}

func requireSame(t require.TestingT, want, got *KV) {
	require.Equal(t, want.Hash(), got.Hash())
	require.Equal(t, want.Applied(), got.Applied())
	require.Equal(t, want.Time(), got.Time())
	require.Equal(t, want.cells.length, got.cells.length)
	require.Equal(t, want.Sessions(), got.Sessions())
	require.Equal(t, content(t, want, 64), content(t, got, 64))
}

// A restored state answers as the original would, retries and deadlines included.
func TestSnapshotKeepsSessions(t *testing.T) {
	m := sample(t)
	got := &machine{t, restored(t, m.state)}
	requireSame(t, m.state, got.state)
	for _, c := range []Command{
		{Op: CAS, Key: "gone", Expect: "v", Value: "w", Session: 2, Sequence: 2},
		{Op: Write, Key: "k", Value: "v", Session: 2, Sequence: 1},
		{Op: Write, Key: "k", Value: "u", Session: 2, Sequence: 3},
		{Op: CAS, Key: "k", Expect: "x", Value: "w", Session: 3, Sequence: 9},
		{Op: Clock, Now: 1401},
		{Op: Write, Key: "k", Value: "u", Session: 2, Sequence: 5},
		{Op: Write, Key: "k", Value: "u", Session: 3, Sequence: 10},
	} {
		require.Equal(t, m.apply(c), got.apply(c), "%+v", c)
	}
	requireSame(t, m.state, got.state)
}

// Pieces carry no meaning: cut in two at each byte, or one by one.
func TestRestoreOfAnyPieces(t *testing.T) {
	m := sample(t)
	whole := content(t, m.state, 1<<20)
	for size := 1; size <= len(whole); size++ {
		require.Equal(t, whole, content(t, m.state, size), "pieces of %d bytes", size)
		got, err := restore(whole[:size], whole[size:])
		require.NoError(t, err, "cut at %d", size)
		requireSame(t, m.state, got)
	}
	var singles [][]byte
	for i := range whole {
		singles = append(singles, nil, whole[i:i+1])
	}
	got, err := restore(singles...)
	require.NoError(t, err)
	requireSame(t, m.state, got)
}

// Pieces have the size that was asked for, however large what they are cut from.
func TestPiecesHaveTheirSize(t *testing.T) {
	m := newMachine(t)
	m.apply(Command{Op: Write, Key: "large", Value: string(make([]byte, 1<<20))})
	for i := range 100 {
		m.apply(Command{Op: Write, Key: fmt.Sprint(i), Value: "v"})
	}
	s := snapshot(t, m.state)
	for done := false; !done; {
		var data []byte
		var err error
		data, done, err = s.Next(1000)
		require.NoError(t, err)
		require.True(t, len(data) == 1000 || done && len(data) > 0, "%d bytes", len(data))
	}
}

// What is applied after a snapshot was taken must not be in it, whatever it touches, and however much of
// the snapshot was handed out by then.
func TestSnapshotDoesNotSeeWhatFollows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		m.state.sessions.most = small
		for i := range rapid.IntRange(0, 500).Draw(t, "keys") {
			m.apply(Command{Op: Write, Key: fmt.Sprint(i * 7919 % 1000), Value: "v"})
		}
		for _, c := range logs().Draw(t, "before") {
			m.apply(c)
		}
		want := content(t, m.state, 64)
		s := snapshot(t, m.state)
		applied := m.state.Applied()
		var got []byte
		done := false
		for _, c := range logs().Draw(t, "after") {
			m.apply(c)
			m.apply(Command{Op: Delete, Key: fmt.Sprint(m.state.Applied() % 1000)})
			if !done && rapid.Bool().Draw(t, "piece") {
				var data []byte
				var err error
				data, done, err = s.Next(100)
				require.NoError(t, err)
				got = append(got, data...)
			}
		}
		if !done {
			got = append(got, rest(t, s, 100)...)
		}
		require.Equal(t, applied, s.Applied())
		require.Equal(t, want, got)
	})
}

// A snapshot may be written out by another goroutine; the race detector would say if the two shared what
// changes.
func TestSnapshotIsReadWhileTheStateGoesOn(t *testing.T) {
	m := newMachine(t)
	m.apply(Command{Op: OpenSession})
	write := func(round uint64) {
		for i := range uint64(2000) {
			m.apply(Command{Op: Write, Key: fmt.Sprint(i), Value: fmt.Sprint(round), Session: 1, Sequence: round*2000 + i + 1})
		}
	}
	write(0)
	want := content(t, m.state, 64)
	s := snapshot(t, m.state)
	got := make(chan []byte)
	go func() { got <- rest(t, s, 64) }()
	write(1)
	require.True(t, bytes.Equal(want, <-got))
}

// Any one damaged byte is found, and so are a lost and an added one.
func TestDamagedSnapshotIsRefused(t *testing.T) {
	whole := content(t, sample(t).state, 1<<20)
	for i := range whole {
		for _, flip := range []byte{1, 0x80, 0xff} {
			bad := bytes.Clone(whole)
			bad[i] ^= flip
			_, err := restore(bad)
			require.ErrorIs(t, err, ErrDamagedSnapshot, "byte %d ^ %x", i, flip)
		}
		_, err := restore(whole[:i])
		require.ErrorIs(t, err, ErrDamagedSnapshot, "cut to %d bytes", i)
	}
	for _, more := range [][][]byte{{whole, {0}}, {append(bytes.Clone(whole), 0)}, {whole, whole}} {
		_, err := restore(more...)
		require.ErrorIs(t, err, ErrDamagedSnapshot)
	}
}

// A Restore that failed stays failed.
func TestRestoreAfterAnError(t *testing.T) {
	r := NewRestore(nil)
	err := r.Write([]byte("no snapshot, but long enough"))
	require.ErrorIs(t, err, ErrDamagedSnapshot)
	require.Equal(t, err, r.Write(content(t, NewKV(), 64)))
	_, err = r.Finish()
	require.ErrorIs(t, err, ErrDamagedSnapshot)
}

// forged is a snapshot whose checksum is right, with a header and some numbers.
func forged(applied, time, cells, sessions uint64, body ...any) []byte {
	data := append([]byte(magic), version, 0, 0, 0, 0, 0, 0, 0, 0)
	for _, n := range []uint64{applied, time, cells, sessions} {
		data = binary.AppendUvarint(data, n)
	}
	for _, part := range body {
		switch part := part.(type) {
		case int:
			data = binary.AppendUvarint(data, uint64(part))
		case string:
			data = appendText(data, part)
		}
	}
	return binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
}

// What no state could be is refused even where the checksum is right: another version of the program, or
// a broken one, may have written it.
func TestImpossibleSnapshotIsRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		ok   bool
	}{
		{"nothing", forged(0, 0, 0, 0), true},
		{"two keys", forged(9, 0, 2, 0, "a", "v", 9, "b", "", 1), true},
		{"keys out of order", forged(9, 0, 2, 0, "b", "", 1, "a", "", 2), false},
		{"a key twice", forged(9, 0, 2, 0, "a", "", 1, "a", "", 2), false},
		{"a revision of 0", forged(9, 0, 1, 0, "a", "", 0), false},
		{"a revision of the future", forged(9, 0, 1, 0, "a", "", 10), false},
		{"a session", forged(9, 50, 0, 1, 3, 10, 40, 5, 0, 0), true},
		{"a session of the future", forged(9, 50, 0, 1, 3, 10, 51, 5, 0, 0), false},
		{"a session that has expired", forged(9, 51, 0, 1, 3, 10, 40, 5, 0, 0), false},
		{"a session used before it was opened", forged(9, 50, 0, 1, 3, 10, 40, 2, 0, 0), false},
		{"a session used at no entry", forged(9, 50, 0, 1, 3, 10, 40, 10, 0, 0), false},
		{"session 0", forged(9, 50, 0, 1, 0, 10, 40, 5, 0, 0), false},
		{"sessions out of order", forged(9, 50, 0, 2, 3, 10, 40, 5, 0, 0, 2, 10, 40, 6, 0, 0), false},
		{"too many sessions", forged(9, 0, 0, 5), false},
		{"answers", forged(9, 50, 0, 1, 3, 10, 40, 5, 1, 2, 2, int(OK), 4, "v", 7, int(NotFound), 0, ""), true},
		{"answers out of order", forged(9, 50, 0, 1, 3, 10, 40, 5, 1, 2, 2, 0, 4, "v", 2, 0, 4, "v"), false},
		{"an answer that is forgotten", forged(9, 50, 0, 1, 3, 10, 40, 5, 2, 1, 2, 0, 4, "v"), false},
		{"an answer of an unknown code", forged(9, 50, 0, 1, 3, 10, 40, 5, 1, 1, 2, int(SessionExpired), 4, "v"), false},
		{"an answer of the future", forged(9, 50, 0, 1, 3, 10, 40, 5, 1, 1, 2, 0, 10, "v"), false},
		{"too many answers", forged(9, 50, 0, 1, 3, 10, 40, 5, 0, 4, 1, 0, 4, "", 2, 0, 4, "", 3, 0, 4, "", 4, 0, 4, ""), false},
		{"too large answers", forged(9, 50, 0, 1, 3, 10, 40, 5, 0, 2, 1, 0, 4, "123456", 2, 0, 4, "1234567"), false},
		{"one large answer", forged(9, 50, 0, 1, 3, 10, 40, 5, 0, 1, 1, 0, 4, "1234567890123"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := restore(c.data)
			if !c.ok {
				require.ErrorIs(t, err, ErrDamagedSnapshot)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.data, content(t, s, 64))
		})
	}
}

// A length or a count that is a lie must not be believed before what it counts has come.
func TestRestoreBelievesNoLength(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, data := range [][]byte{
		forged(1<<60, 0, 1<<60, 0, 1<<60),
		forged(1<<60, 0, 1<<60, 4, "k", 1<<50),
		forged(9, 50, 0, 1, 3, 10, 40, 5, 1, 3, 2, 0, 4, 1<<50),
	} {
		_, err := restore(data)
		require.ErrorIs(t, err, ErrDamagedSnapshot)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

func FuzzRestore(f *testing.F) {
	for _, s := range []*KV{sample(f).state, NewKV()} {
		whole := content(f, s, 1<<20)
		f.Add(whole[:len(whole)-4])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// A fuzzer cannot guess a checksum.
		data = binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
		if s, err := restore(data); err == nil {
			require.Equal(t, data, content(t, s, 1<<20), "one state has one snapshot")
		}
	})
}

func BenchmarkSnapshot(b *testing.B) {
	for _, keys := range []int{10, 100_000} {
		m := newMachine(b)
		for i := range keys {
			m.apply(Command{Op: Write, Key: fmt.Sprintf("key-%d", i), Value: "value"})
		}
		b.Run(fmt.Sprintf("take/keys=%d", keys), func(b *testing.B) {
			for b.Loop() {
				snapshot(b, m.state)
			}
		})
		b.Run(fmt.Sprintf("whole/keys=%d", keys), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s := snapshot(b, m.state)
				for done := false; !done; {
					_, done, _ = s.Next(1 << 16)
				}
			}
		})
		whole := content(b, m.state, 1<<20)
		b.Run(fmt.Sprintf("restore/keys=%d", keys), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := NewRestore(nil)
				for rest := whole; len(rest) > 0; {
					n := min(1<<16, len(rest))
					if err := r.Write(rest[:n]); err != nil {
						b.Fatal(err)
					}
					rest = rest[n:]
				}
				if _, err := r.Finish(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

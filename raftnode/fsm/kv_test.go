package fsm

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// command draws any command, with nothing in the fields that its operation does not use.
func command(text *rapid.Generator[string], number *rapid.Generator[uint64]) *rapid.Generator[Command] {
	return rapid.Custom(func(t *rapid.T) Command {
		c := Command{Op: rapid.SampledFrom([]Op{Write, CAS, Delete, OpenSession, CloseSession, Clock}).Draw(t, "op")}
		switch c.Op {
		case OpenSession:
			c.TTL = number.Draw(t, "ttl")
			return c
		case CloseSession:
			c.Session = number.Draw(t, "session")
			return c
		case Clock:
			c.Now = number.Draw(t, "now")
			return c
		case CAS:
			c.Expect = text.Draw(t, "expect")
			fallthrough
		case Write:
			c.Value = text.Draw(t, "value")
		}
		c.Key = text.Draw(t, "key")
		if c.Session = number.Draw(t, "session"); c.Session != 0 {
			c.Sequence, c.Acked = number.Draw(t, "sequence"), number.Draw(t, "acked")
		}
		return c
	})
}

func TestCommandRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := command(rapid.String(), rapid.Uint64()).Draw(t, "command")
		got, err := Decode(c.Encode())
		require.NoError(t, err)
		require.Equal(t, c, got)
	})
}

// samples are commands of each kind.
var samples = []Command{
	{Op: Write, Key: "key", Value: "value"},
	{Op: CAS, Key: "key", Value: "value", Expect: "old"},
	{Op: Delete, Key: "key"},
	{Op: CAS, Key: "key", Value: "value", Expect: "old", Session: 1 << 20, Sequence: 300, Acked: 299},
	{Op: Delete, Key: "key", Session: 1, Sequence: 1},
	{Op: OpenSession, TTL: 60_000},
	{Op: CloseSession, Session: 300},
	{Op: Clock, Now: 1 << 40},
}

func TestDecodeRefusesDamage(t *testing.T) {
	for _, c := range samples {
		good := c.Encode()
		for n := range good {
			_, err := Decode(good[:n])
			require.ErrorIs(t, err, ErrDamaged, "%+v cut to %d bytes", c, n)
		}
		_, err := Decode(append(good, 0))
		require.ErrorIs(t, err, ErrDamaged, "%+v and a byte", c)
	}
	for name, data := range map[string][]byte{
		"operation 0":                  {0, 0, 0},
		"operation 9":                  {9, 0, 0, 0},
		"a clock in a session":         {byte(Clock) | inSession, 1},
		"a zero in two bytes":          {byte(Write), 0x80, 0, 0},
		"a session without a number":   {byte(Delete) | inSession, 0, 1, 0, 0},
		"a number of more than 64 bit": {byte(Clock), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	} {
		_, err := Decode(data)
		require.ErrorIs(t, err, ErrDamaged, name)
	}
}

// What no node could apply must not get into the log.
func TestEncodeRefusesUnknownOperations(t *testing.T) {
	require.Panics(t, func() { Command{}.Encode() })
}

func FuzzDecode(f *testing.F) {
	for _, c := range samples {
		f.Add(c.Encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := Decode(data); err == nil {
			require.Equal(t, data, c.Encode(), "one command has one encoding")
		}
	})
}

// machine applies commands to a state as a log would.
type machine struct {
	t     require.TestingT
	state *KV
}

func newMachine(t require.TestingT) *machine { return &machine{t, NewKV()} }

func (m *machine) apply(c Command) Result {
	r, err := m.state.Apply(m.state.Applied()+1, c.Encode())
	require.NoError(m.t, err)
	return r
}

// get is a key as it is now.
func get(t require.TestingT, s *KV, key string) Result {
	r, err := s.Get(key)
	require.NoError(t, err)
	return r
}

func TestCompareAndSet(t *testing.T) {
	m := newMachine(t)
	require.Equal(t, Result{Code: NotFound}, m.apply(Command{Op: CAS, Key: "k", Expect: "a", Value: "b"}))
	require.Equal(t, Result{Value: "a", Revision: 2}, m.apply(Command{Op: Write, Key: "k", Value: "a"}))
	require.Equal(t, Result{Code: Mismatch, Value: "a", Revision: 2}, m.apply(Command{Op: CAS, Key: "k", Expect: "x", Value: "b"}))
	require.Equal(t, Result{Value: "b", Revision: 4}, m.apply(Command{Op: CAS, Key: "k", Expect: "a", Value: "b"}))
	require.Equal(t, Result{Revision: 5}, m.apply(Command{Op: Delete, Key: "k"}))
	require.Equal(t, Result{Code: NotFound}, get(t, m.state, "k"))
	require.Equal(t, Result{Code: NotFound}, m.apply(Command{Op: Delete, Key: "k"}))
}

func TestEntriesAreTakenInOrderAndOnce(t *testing.T) {
	s := NewKV()
	write := Command{Op: Write, Key: "k", Value: "v"}.Encode()
	for _, index := range []uint64{0, 2} {
		_, err := s.Apply(index, write)
		require.Error(t, err, "entry %d first", index)
	}
	require.NoError(t, s.Skip(1))
	require.Error(t, s.Skip(1), "twice")
	_, err := s.Apply(1, write)
	require.Error(t, err, "twice")
	require.Zero(t, s.cells.length, "a refused entry changes nothing")
}

// Two nodes that did not apply the same must not have the same hash, and nodes that did must.
func TestHash(t *testing.T) {
	type entry struct {
		data []byte // nil for one that is skipped
	}
	command := func(c Command) entry { return entry{c.Encode()} }
	hash := func(entries ...entry) uint64 {
		s := NewKV()
		for i, e := range entries {
			if e.data == nil {
				require.NoError(t, s.Skip(uint64(i+1)))
				continue
			}
			_, err := s.Apply(uint64(i+1), e.data)
			require.NoError(t, err)
		}
		return s.Hash()
	}
	a, b := command(Command{Op: Write, Key: "k", Value: "a"}), command(Command{Op: Write, Key: "k", Value: "b"})
	long := command(Command{Op: Write, Key: "k", Value: "12345678"})
	longer := command(Command{Op: Write, Key: "k", Value: "12345678\x00"})
	logs := map[string][]entry{
		"nothing": nil, "a": {a}, "b": {b}, "skip": {{}}, "skip, a": {{}, a}, "a, skip": {a, {}}, "skip, skip": {{}, {}},
		"a, b": {a, b}, "b, a": {b, a}, "a, b, a": {a, b, a}, "b, b, a": {b, b, a}, "long": {long}, "longer": {longer},
	}
	seen := map[uint64]string{}
	for name, log := range logs {
		h := hash(log...)
		require.Equal(t, h, hash(log...), name)
		require.NotContains(t, seen, h, "%s and %s", name, seen[h])
		seen[h] = name
	}
	// The same entry with another outcome: a node whose state differs is found out.
	sound, broken := newMachine(t), newMachine(t)
	sound.apply(Command{Op: Write, Key: "k", Value: "a"})
	broken.apply(Command{Op: Write, Key: "k", Value: "a"})
	broken.state.cells.delete("k")
	sound.apply(Command{Op: Delete, Key: "k"})
	broken.apply(Command{Op: Delete, Key: "k"})
	require.NotEqual(t, sound.state.Hash(), broken.state.Hash())

	// So is one that executes a command again and comes to the same answer.
	sound, broken = newMachine(t), newMachine(t)
	write := Command{Op: Write, Key: "k", Value: "a", Session: 1, Sequence: 1}
	for _, m := range []*machine{sound, broken} {
		m.apply(Command{Op: OpenSession})
		m.apply(write)
	}
	broken.state.sessions.change(1).answers = nil
	require.True(t, sound.apply(write).Repeated)
	require.Equal(t, OK, broken.apply(write).Code)
	require.NotEqual(t, sound.state.Hash(), broken.state.Hash())
}

// An entry that was refused left no trace.
func TestHashOfARefusedEntry(t *testing.T) {
	m := newMachine(t)
	m.apply(Command{Op: Write, Key: "k", Value: "a"})
	before := m.state.Hash()
	_, err := m.state.Apply(2, []byte{9})
	require.ErrorIs(t, err, ErrDamaged)
	_, err = m.state.Apply(7, Command{Op: Delete, Key: "k"}.Encode())
	require.Error(t, err)
	require.Error(t, m.state.Skip(1))
	require.Equal(t, before, m.state.Hash())
}

// BenchmarkApply measures a write of 256 bytes to one of 100,000 keys, encoding included.
func BenchmarkApply(b *testing.B) {
	keys := make([]string, 100_000)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%d", i*7919%len(keys))
	}
	for _, c := range []struct {
		name    string
		session uint64
		every   uint64 // entries between snapshots, after which Apply copies what it changes; 0 for none
	}{{"plain", 0, 0}, {"session", 1, 0}, {"snapshots", 0, 1000}} {
		b.Run(c.name, func(b *testing.B) {
			m := newMachine(b)
			m.apply(Command{Op: OpenSession})
			w := Command{Op: Write, Value: string(make([]byte, 256)), Session: c.session}
			for _, w.Key = range keys {
				w.Sequence++
				w.Acked = max(w.Sequence, 8) - 8
				m.apply(w)
			}
			b.ReportAllocs()
			for b.Loop() {
				w.Key = keys[w.Sequence%uint64(len(keys))]
				w.Sequence++
				w.Acked = w.Sequence - 8
				m.apply(w)
				if c.every > 0 && w.Sequence%c.every == 0 {
					_, err := m.state.Snapshot()
					require.NoError(b, err)
				}
			}
		})
	}
}

func BenchmarkHash(b *testing.B) {
	for _, size := range []int{16, 64, 256} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			data := make([]byte, size)
			var hash uint64
			for b.Loop() {
				hash = mix(mixBytes(mix(hash, 1), data), 2)
			}
			if hash == 0 {
				b.Fatal("nothing was hashed")
			}
		})
	}
}

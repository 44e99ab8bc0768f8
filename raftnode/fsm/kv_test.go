package fsm

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawCommand(t *rapid.T) Command {
	word := rapid.SampledFrom([]string{"", "a", "b", "c"})
	return Command{
		Op:  rapid.SampledFrom([]Op{Write, CAS, Delete}).Draw(t, "op"),
		Key: word.Draw(t, "key"), Value: word.Draw(t, "value"), Expect: word.Draw(t, "expect"),
	}
}

func TestCommandRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Command{
			Op:  rapid.SampledFrom([]Op{Write, CAS, Delete}).Draw(t, "op"),
			Key: rapid.String().Draw(t, "key"), Value: rapid.String().Draw(t, "value"), Expect: rapid.String().Draw(t, "expect"),
		}
		got, err := Decode(c.Encode())
		require.NoError(t, err)
		require.Equal(t, c, got)
	})
}

func TestDecodeRefusesDamage(t *testing.T) {
	good := Command{Op: CAS, Key: "key", Value: "value", Expect: "old"}.Encode()
	for n := range good {
		_, err := Decode(good[:n])
		require.ErrorIs(t, err, ErrDamaged, "cut to %d bytes", n)
	}
	_, err := Decode(append(good, 0))
	require.ErrorIs(t, err, ErrDamaged)
	_, err = Decode([]byte{9, 0, 0, 0})
	require.ErrorIs(t, err, ErrDamaged)
	_, err = Decode([]byte{byte(Write), 0x80, 0, 0, 0})
	require.ErrorIs(t, err, ErrDamaged, "a zero in two bytes")
}

func FuzzDecode(f *testing.F) {
	f.Add(Command{Op: CAS, Key: "key", Value: "value", Expect: "old"}.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := Decode(data); err == nil {
			require.Equal(t, data, c.Encode(), "one command has one encoding")
		}
	})
}

func TestCompareAndSet(t *testing.T) {
	s := NewKV()
	apply := func(c Command) Result {
		r, err := s.Apply(s.Applied()+1, c.Encode())
		require.NoError(t, err)
		return r
	}
	require.Equal(t, Result{Code: NotFound}, apply(Command{Op: CAS, Key: "k", Expect: "a", Value: "b"}))
	require.Equal(t, Result{Code: OK, Value: "a", Revision: 2}, apply(Command{Op: Write, Key: "k", Value: "a"}))
	require.Equal(t, Result{Code: Mismatch, Value: "a", Revision: 2}, apply(Command{Op: CAS, Key: "k", Expect: "x", Value: "b"}))
	require.Equal(t, Result{Code: OK, Value: "b", Revision: 4}, apply(Command{Op: CAS, Key: "k", Expect: "a", Value: "b"}))
	require.Equal(t, Result{Code: OK, Revision: 5}, apply(Command{Op: Delete, Key: "k"}))
	require.Equal(t, Result{Code: NotFound}, s.Get("k"))
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
	require.Zero(t, s.Len(), "a refused entry changes nothing")
}

// The state machine against the plainest model there is: a list of all that happened, searched
// backwards.
func TestAgainstModel(t *testing.T) {
	type event struct {
		key, value string
		present    bool
		revision   uint64
	}
	rapid.Check(t, func(t *rapid.T) {
		s := NewKV()
		var past []event
		find := func(key string) event {
			for i := len(past) - 1; i >= 0; i-- {
				if past[i].key == key {
					return past[i]
				}
			}
			return event{}
		}
		for range rapid.IntRange(0, 30).Draw(t, "commands") {
			c := drawCommand(t)
			index := s.Applied() + 1
			got, err := s.Apply(index, c.Encode())
			require.NoError(t, err)
			now := find(c.Key)
			switch {
			case c.Op == Write, c.Op == CAS && now.present && now.value == c.Expect:
				require.Equal(t, OK, got.Code)
				past = append(past, event{c.Key, c.Value, true, index})
			case c.Op == Delete && now.present:
				require.Equal(t, OK, got.Code)
				past = append(past, event{key: c.Key})
			case now.present:
				require.Equal(t, Mismatch, got.Code)
			default:
				require.Equal(t, NotFound, got.Code)
			}
			after, held := find(c.Key), s.Get(c.Key)
			require.Equal(t, after.present, held.Code == OK)
			require.Equal(t, after.value, held.Value)
			require.Equal(t, after.revision, held.Revision)
		}
	})
}

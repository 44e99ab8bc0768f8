package bus

import (
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft"
)

// Messages move in the order that the owner chooses, or not at all. It would catch a bus that
// delivers on its own, which no simulation could repeat.
func TestMemoryObeysItsOwner(t *testing.T) {
	b := NewMemory(requestTimeout)
	var got []uint64
	b.Register("b", func(m raft.Message) { got = append(got, m.ReadRound) })
	var h heard
	for round := range uint64(3) {
		b.Send("a", "b", raft.Message{Type: raft.MsgHeartbeat, Term: 1, ReadRound: round}, h.onResponse)
	}
	require.Empty(t, got)
	b.Duplicate(2)
	b.Drop(1)
	b.Deliver(1)
	require.Equal(t, []uint64{2}, got)
	require.Equal(t, 2, b.DeliverAll())
	require.Equal(t, []uint64{2, 0, 2}, got)
	b.Advance(requestTimeout - 1)
	require.Zero(t, h.calls())
	b.Advance(1)
	require.Equal(t, []error{ErrTimeout, ErrTimeout, ErrTimeout}, h.errors)
}

package wire

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/allocation"
	"coup/raftnode/raft"
)

// fuzzed are bases of all kinds.
func fuzzed() []raft.Base {
	return []raft.Base{
		{},
		{Index: 7, Term: 2, Checksum: 9, Configuration: raft.Configuration{
			Voters: []raft.NodeID{"n1", "n2", "n3"}, Outgoing: []raft.NodeID{"n1", "n4"}, LearnersNext: []raft.NodeID{"n4"},
		}},
		{Index: 300, Term: 70, Configuration: raft.Configuration{
			Voters: []raft.NodeID{"n1"}, Learners: []raft.NodeID{"n2"}, Promote: []raft.NodeID{"n2"}, ReadOnly: []raft.NodeID{"r1"},
			Addresses: map[raft.NodeID]string{"n1": "10.0.0.11:4200/4100/4300", "n2": "b"},
		}},
	}
}

// roundTrip is what every decoder promises: it refuses with ErrMalformed, in memory that is bounded by what it was given,
// or what it gives can be encoded, and means the same when it is decoded again.
func roundTrip[T any](t *testing.T, data []byte, decode func([]byte) (T, error), encode func(T) ([]byte, error)) {
	var v T
	var err error
	took := allocation.Of(func() { v, err = decode(data) })
	require.LessOrEqual(t, took, uint64(100*len(data)+1<<20))
	if err != nil {
		require.ErrorIs(t, err, ErrMalformed)
		return
	}
	again, err := encode(v)
	require.NoError(t, err)
	w, err := decode(again)
	require.NoError(t, err)
	require.Equal(t, v, w)
}

// Would catch a damaged record of a store that crashes the node, or is taken for another.
func FuzzUnmarshalState(f *testing.F) {
	add := func(b []byte, err error) {
		require.NoError(f, err)
		f.Add(b)
	}
	add(MarshalHardState(raft.HardState{Term: 4, Vote: "n1", Joined: 9}))
	add(MarshalChunk(raft.Chunk{Number: 3, Data: []byte("data"), Checksum: 8}))
	for _, b := range fuzzed() {
		add(MarshalBase(b))
		if b.Index > 0 {
			add(MarshalSnapshot(raft.Snapshot{Base: b, Chunks: 3, ContentChecksum: 5}))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		roundTrip(t, data, UnmarshalHardState, MarshalHardState)
		roundTrip(t, data, UnmarshalChunk, MarshalChunk)
		roundTrip(t, data, UnmarshalBase, MarshalBase)
		roundTrip(t, data, UnmarshalSnapshot, MarshalSnapshot)
	})
}

// Would catch a configuration that an operator or a leader can bring into the log, and of which no snapshot can tell: every
// node would stop at its next one.
func FuzzConfigurationOfAnEntry(f *testing.F) {
	for _, b := range fuzzed() {
		f.Add(raft.EncodeConfiguration(b.Configuration))
	}
	f.Add([]byte(`{"voters":["n1","n1"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e := Entry{Index: 1, Term: 1, Type: EntryType_ENTRY_CONFIGURATION, Data: data}
		if _, err := entryFromProto(&e); err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		// As the core reads it.
		var c raft.Configuration
		if json.Unmarshal(data, &c) != nil || c.Validate() != nil {
			return
		}
		b, err := MarshalBase(raft.Base{Index: 1, Term: 1, Configuration: c})
		require.NoError(t, err)
		again, err := UnmarshalBase(b)
		require.NoError(t, err)
		require.True(t, c.Equal(again.Configuration))
	})
}

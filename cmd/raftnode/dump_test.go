package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft"
	"coup/raftnode/store"
)

// Would catch a dump that begins with entries that nothing explains: those before them are in a snapshot.
func TestDumpOfSnapshots(t *testing.T) {
	dir := t.TempDir()
	s, err := store.OpenPebble(dir, nil, nil)
	require.NoError(t, err)
	members := raft.Configuration{Voters: []raft.NodeID{"n1"}}
	require.NoError(t, s.Bootstrap(raft.Base{Configuration: members}))
	var entries []raft.Entry
	var checksum uint32
	for index := range uint64(3) {
		e := raft.Entry{Index: index + 1, Term: 1, Type: raft.EntryNoOp}
		e.Checksum = raft.NextChecksum(checksum, e)
		checksum = e.Checksum
		entries = append(entries, e)
	}
	require.NoError(t, s.Save(&raft.HardState{Term: 2, Joined: 1}, entries))
	content := raft.NextContentChecksum(0, []byte("state"))
	snapshot := raft.Snapshot{
		Base:   raft.Base{Index: 2, Term: 1, Checksum: entries[1].Checksum, Configuration: members},
		Chunks: 1, ContentChecksum: content,
	}
	chunk := raft.Chunk{Data: []byte("state"), Checksum: content}
	require.NoError(t, s.TakeChunk(chunk))
	require.NoError(t, s.Publish(snapshot))
	require.NoError(t, s.Compact(snapshot.Base))
	coming := raft.Snapshot{Base: raft.Base{Index: 9, Term: 2, Checksum: 5, Configuration: members}, Chunks: 7, ContentChecksum: 6}
	require.NoError(t, s.Gather(raft.Gathered{Snapshot: coming, Chunk: chunk}))
	require.NoError(t, s.Close())

	var out bytes.Buffer
	require.NoError(t, dump(&out, dir))
	lines := json.NewDecoder(&out)
	var state dumpedState
	require.NoError(t, lines.Decode(&state))
	require.Equal(t, dumpedState{
		Term: 2, Joined: 1, Base: dumpedBase(snapshot.Base), Last: 3,
		Snapshot: &dumpedSnapshot{dumpedBase(snapshot.Base), 1, content},
		Received: &dumpedReceived{dumpedSnapshot{dumpedBase(coming.Base), 7, 6}, 1, content},
	}, state)
	var entry dumpedEntry
	require.NoError(t, lines.Decode(&entry))
	require.Equal(t, dumpedEntry{Index: 3, Term: 1, Type: "no-op", Checksum: entries[2].Checksum}, entry)
	require.False(t, lines.More())
}

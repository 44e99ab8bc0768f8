package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft"
)

// snapshotAt makes a snapshot that covers the log up to e, of chunks with that content.
func snapshotAt(e raft.Entry, content ...string) (raft.Snapshot, []raft.Chunk) {
	var chunks []raft.Chunk
	var checksum uint32
	for i, data := range content {
		checksum = raft.NextContentChecksum(checksum, []byte(data))
		chunks = append(chunks, raft.Chunk{Number: uint64(i), Data: []byte(data), Checksum: checksum})
	}
	return raft.Snapshot{
		Base:   raft.Base{Index: e.Index, Term: e.Term, Checksum: e.Checksum, Configuration: members},
		Chunks: uint64(len(chunks)), ContentChecksum: checksum,
	}, chunks
}

func take(t *testing.T, s Store, chunks []raft.Chunk) {
	for _, c := range chunks {
		require.NoError(t, s.TakeChunk(c))
	}
}

func gather(t *testing.T, s Store, snapshot raft.Snapshot, chunks []raft.Chunk) {
	for _, c := range chunks {
		require.NoError(t, s.Gather(raft.Gathered{Snapshot: snapshot, Chunk: c}))
	}
}

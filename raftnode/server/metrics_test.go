package server

import (
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft"
	"coup/raftnode/store"
)

// Would catch a step that is timed as another, or does not reach the store.
func TestStoreIsMeasured(t *testing.T) {
	m := NewMetrics()
	s := m.Store(store.NewMemory())
	require.NoError(t, s.Bootstrap(raft.Base{}))
	e := raft.Entry{Index: 1, Term: 1, Type: raft.EntryNoOp}
	e.Checksum = raft.NextChecksum(0, e)
	require.NoError(t, s.Save(&raft.HardState{Term: 1}, []raft.Entry{e}))
	snapshot := raft.Snapshot{Base: raft.Base{Index: 1, Term: 1, Checksum: e.Checksum}, Chunks: 1}
	require.NoError(t, s.TakeChunk(raft.Chunk{}))
	require.NoError(t, s.Publish(snapshot))
	require.NoError(t, s.Compact(snapshot.Base))
	snapshot.Index = 2
	require.NoError(t, s.Gather(raft.Gathered{Snapshot: snapshot}))
	require.NoError(t, s.Install(snapshot, nil))
	state, err := s.Load()
	require.NoError(t, err)
	require.Equal(t, snapshot, state.Snapshot)

	families, err := m.registry.Gather()
	require.NoError(t, err)
	counts := map[string]uint64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			switch family.GetName() {
			case "raftnode_save_seconds":
				counts["save"] = metric.GetHistogram().GetSampleCount()
			case "raftnode_snapshot_seconds":
				counts[metric.GetLabel()[0].GetValue()] = metric.GetHistogram().GetSampleCount()
			}
		}
	}
	require.Equal(t, map[string]uint64{"save": 1, "take": 1, "publish": 1, "gather": 1, "install": 1, "compact": 1}, counts)
}

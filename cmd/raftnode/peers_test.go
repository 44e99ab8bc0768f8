package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft"
)

func TestParsePeers(t *testing.T) {
	own := ports{bus: 4200, http: 4100, gossip: 4300}
	for _, c := range []struct {
		list string
		want map[raft.NodeID]peer
	}{
		{"n1=10.0.0.11", map[raft.NodeID]peer{"n1": {"10.0.0.11", own}}},
		{"n1=a, n2=b:1 ,n3=c:1/2,n4=d:1/2/3", map[raft.NodeID]peer{
			"n1": {"a", own}, "n2": {"b", ports{1, 4100, 4300}}, "n3": {"c", ports{1, 2, 4300}}, "n4": {"d", ports{1, 2, 3}},
		}},
		{"n1=[::1],n2=[fe80::1]:7", map[raft.NodeID]peer{"n1": {"::1", own}, "n2": {"fe80::1", ports{7, 4100, 4300}}}},
	} {
		got, err := parsePeers(c.list, own)
		require.NoError(t, err, c.list)
		require.Equal(t, c.want, got)
	}
	p := peer{"::1", own}
	require.Equal(t, []string{"[::1]:4200", "[::1]:4100", "[::1]:4300"}, []string{p.busAddress(), p.httpAddress(), p.gossipAddress()})
}

// What would start a cluster of the wrong members must not start at all.
func TestMalformedPeersAreRefused(t *testing.T) {
	for _, list := range []string{
		"", "n1", "=a", "n1=", "n1=a,", "n1=a,n1=b", "n 1=a", "n1=a:0", "n1=a:65536", "n1=a:x", "n1=a:",
		"n1=a:1/2/3/4", "n1=a:1//3", "n1=:4200", "n1=a/b", "n1=::1", "n1=[::1", "n1=a=b c", "n1=a]", "n1=[a]]:1", "n1=a=b:1", "n1=a\tb", "n1=\xff",
	} {
		_, err := parsePeers(list, ports{1, 2, 3})
		require.Error(t, err, list)
	}
}

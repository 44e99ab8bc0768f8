package main

import (
	"net"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"coup/raftnode/allocation"
	"coup/raftnode/raft"
)

// Would catch a place that a node takes, writes into the configuration, and cannot read there any more.
func FuzzParsePeers(f *testing.F) {
	for _, list := range []string{"n1=10.0.0.11", "n1=a, n2=b:1 ,n3=c:1/2,n4=d:1/2/3", "n1=[::1],n2=[fe80::1]:7", "n1=a]", "n1=[a]"} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		peers, err := parsePeers(list, defaultPorts)
		if err != nil {
			return
		}
		for id, p := range peers {
			require.NoError(t, checkID(string(id)))
			again, err := parsePlace(p.String(), ports{1, 2, 3})
			require.NoError(t, err, p.String())
			require.Equal(t, p, again)
			host, _, err := net.SplitHostPort(p.busAddress())
			require.NoError(t, err)
			require.Equal(t, p.host, host)
		}
	})
}

// Would catch a file with a node's name that crashes the node, fills its memory, or is taken for its own.
func FuzzIdentity(f *testing.F) {
	f.Add([]byte("n1"), "n1")
	f.Add([]byte("n"), "n1")
	f.Add([]byte{}, "n1")
	f.Fuzz(func(t *testing.T, content []byte, id string) {
		disk := vfs.NewMem()
		out, err := disk.Create(identityFile, vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = out.Write(content)
		require.NoError(t, err)
		require.NoError(t, out.Close())
		took := allocation.Of(func() { err = claim(disk, "", raft.NodeID(id)) })
		require.LessOrEqual(t, took, uint64(1<<20))
		if string(content) == id || len(content) == 0 {
			require.NoError(t, err)
			require.NoError(t, claim(disk, "", raft.NodeID(id)))
		} else {
			require.Error(t, err)
		}
	})
}

package gossip

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft"
)

func TestAddressesSurviveTheirEncoding(t *testing.T) {
	for _, a := range []Addresses{{}, {Bus: "10.0.0.1:4200"}, {Client: "[::1]:4100"}, {Bus: "n1:1", Client: "n1:2"}} {
		b, err := a.encode()
		require.NoError(t, err)
		got, err := decodeAddresses(b)
		require.NoError(t, err)
		require.Equal(t, a, got)
	}
}

func TestMalformedAddressesAreRefused(t *testing.T) {
	good, err := Addresses{Bus: "a:1", Client: "a:2"}.encode()
	require.NoError(t, err)
	for name, b := range map[string][]byte{
		"empty":           nil,
		"another version": append([]byte{2}, good[1:]...),
		"cut in a string": good[:len(good)-1],
		"a string short":  good[:5],
		"something more":  append(append([]byte{}, good...), 0),
		"not UTF-8":       {version, 1, 0xff, 0},
	} {
		_, err := decodeAddresses(b)
		require.ErrorIs(t, err, errMalformed, name)
	}
	for _, a := range []Addresses{
		{Bus: strings.Repeat("x", 256)},                                   // one is too long
		{Bus: strings.Repeat("x", 255), Client: strings.Repeat("y", 255)}, // both together are
	} {
		_, err := a.encode()
		require.Error(t, err)
	}
}

// What was configured is never overridden by hearsay.
func TestConfiguredComesFirst(t *testing.T) {
	d := Directory{
		Configured: map[raft.NodeID]Addresses{"n1": {Bus: "configured:1", Client: "configured:2"}, "n3": {}},
		Discovered: func(id raft.NodeID) (Addresses, bool) {
			if id == "n4" {
				return Addresses{}, false
			}
			return Addresses{"heard:1", "heard:2"}, true
		},
	}
	for _, c := range []struct {
		id       raft.NodeID
		bus, url string
	}{
		{"n1", "configured:1", "http://configured:2"},
		{"n2", "heard:1", "http://heard:2"},
		{"n3", "", ""},
		{"n4", "", ""},
	} {
		bus, known := d.Address(c.id)
		require.Equal(t, c.bus, bus)
		require.Equal(t, c.bus != "", known)
		require.Equal(t, c.url, d.ClientURL(c.id))
	}
	_, known := Directory{}.Address("n1")
	require.False(t, known)
}

// freePort is one on which nobody listens now, neither by TCP nor by UDP.
func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	p, err := net.ListenPacket("udp", l.Addr().String())
	require.NoError(t, err)
	defer p.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func start(t *testing.T, id raft.NodeID, port int, seeds map[raft.NodeID]string) *Gossip {
	listen := fmt.Sprintf("127.0.0.1:%d", port)
	g, err := Start(Options{
		ID: id, Listen: listen, Advertise: listen, Seeds: seeds, RejoinInterval: 50 * time.Millisecond,
		Self: Addresses{Bus: string(id) + ":4200", Client: string(id) + ":4100"},
	})
	require.NoError(t, err)
	return g
}

// Nodes find each other through any one that they know, remember who has gone, and find one again
// that comes back: whoever starts first must not be alone for ever.
func TestNodesFindEachOther(t *testing.T) {
	ports := map[raft.NodeID]int{"n1": freePort(t), "n2": freePort(t), "n3": freePort(t)}
	knownToAll := map[raft.NodeID]string{"n1": fmt.Sprintf("127.0.0.1:%d", ports["n1"])}
	n2 := start(t, "n2", ports["n2"], knownToAll) // its seed is not there yet
	defer n2.Close()
	n1 := start(t, "n1", ports["n1"], knownToAll)
	n3 := start(t, "n3", ports["n3"], knownToAll)
	defer n3.Close()
	all := []raft.NodeID{"n1", "n2", "n3"}
	eventually := func(what func() bool) {
		t.Helper()
		require.Eventually(t, what, 30*time.Second, 10*time.Millisecond)
	}
	for _, g := range []*Gossip{n1, n2, n3} {
		eventually(func() bool { return len(g.Alive()) == len(all) })
		for _, id := range all {
			address, known := g.Address(id)
			require.True(t, known)
			require.Equal(t, string(id)+":4200", address)
		}
	}
	require.NoError(t, n1.Close())
	eventually(func() bool { return len(n2.Alive()) == 2 && len(n3.Alive()) == 2 })
	a, known := n2.Lookup("n1")
	require.True(t, known, "the address of a node that left is kept")
	require.Equal(t, Addresses{Bus: "n1:4200", Client: "n1:4100"}, a)
	n1 = start(t, "n1", ports["n1"], knownToAll)
	defer n1.Close()
	eventually(func() bool { return len(n1.Alive()) == 3 && len(n2.Alive()) == 3 && len(n3.Alive()) == 3 })
}

func TestStartRefuses(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	for name, o := range map[string]Options{
		"a busy port":                {ID: "n1", Listen: busy.Addr().String(), Advertise: "127.0.0.1:1"},
		"an address without a port":  {ID: "n1", Listen: "127.0.0.1", Advertise: "127.0.0.1:1"},
		"a port that is no number":   {ID: "n1", Listen: "127.0.0.1:http", Advertise: "127.0.0.1:1"},
		"nothing to advertise":       {ID: "n1", Listen: "127.0.0.1:0"},
		"addresses that are too big": {ID: "n1", Listen: "127.0.0.1:0", Advertise: "127.0.0.1:1", Self: Addresses{Bus: strings.Repeat("x", 300)}},
	} {
		_, err := Start(o)
		require.Error(t, err, name)
	}
}

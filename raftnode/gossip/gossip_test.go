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

// hearsay is what gossip knows: who has addresses, and who of them seems dead.
type hearsay struct {
	said map[raft.NodeID]Addresses
	dead raft.NodeID
}

func (h hearsay) Lookup(id raft.NodeID) (Addresses, bool) { a, ok := h.said[id]; return a, ok }

func (h hearsay) Alive() (alive []raft.NodeID) {
	for id := range h.said {
		if id != h.dead {
			alive = append(alive, id)
		}
	}
	return alive
}

// What the configuration says is tried first, and hearsay next: a node that has moved must be found all the same.
func TestConfigurationComesFirst(t *testing.T) {
	d := NewDirectory(
		map[raft.NodeID]Addresses{"n1": {"started:1", "started:2"}, "n3": {"started:1", "started:2"}, "n5": {"started:1", "started:2"}},
		hearsay{map[raft.NodeID]Addresses{"n1": {"heard:1", "heard:2"}, "n2": {"heard:1", "heard:2"}, "n5": {"heard:1", "heard:2"}}, "n5"})
	d.Configure(map[raft.NodeID]Addresses{"n1": {"configured:1", "configured:2"}, "n3": {}, "n4": {}, "n5": {"configured:1", "configured:2"}})
	for _, c := range []struct {
		id  raft.NodeID
		bus []string
		url string
	}{
		{"n1", []string{"configured:1", "heard:1", "started:1"}, "http://heard:2"},
		{"n2", []string{"heard:1"}, "http://heard:2"},
		{"n3", []string{"started:1"}, "http://started:2"},
		{"n4", nil, ""},
		{"n5", []string{"configured:1", "heard:1", "started:1"}, "http://configured:2"},
		{"n6", nil, ""},
	} {
		require.Equal(t, c.bus, d.Addresses(c.id), c.id)
		require.Equal(t, c.url, d.ClientURL(c.id), c.id)
	}
	require.Equal(t, []raft.NodeID{"n1", "n2", "n3", "n4", "n5"}, d.Known())
	require.Equal(t, []raft.NodeID{"n5"}, d.Configure(map[raft.NodeID]Addresses{"n1": {}, "n2": {}, "n3": {}, "n4": {}}))
	d.Configure(nil)
	require.Equal(t, []string{"heard:1", "started:1"}, d.Addresses("n1"))
	require.Equal(t, []string{"http://heard:2", "http://started:2"}, d.ClientURLs("n1"))
	require.Empty(t, NewDirectory(nil, nil).Addresses("n1"))
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

func start(t *testing.T, id raft.NodeID, port int, seeds map[raft.NodeID][]string, key ...byte) *Gossip {
	listen := fmt.Sprintf("127.0.0.1:%d", port)
	g, err := Start(Options{
		ID: id, Listen: listen, Advertise: listen, Key: key,
		Seeds: func() map[raft.NodeID][]string { return seeds }, RejoinInterval: 50 * time.Millisecond,
		Self: Addresses{Bus: string(id) + ":4200", Client: string(id) + ":4100"},
	})
	require.NoError(t, err)
	return g
}

// Nodes find each other through any one that they know, remember who has gone, and find one again
// that comes back: whoever starts first must not be alone for ever.
func TestNodesFindEachOther(t *testing.T) {
	ports := map[raft.NodeID]int{"n1": freePort(t), "n2": freePort(t), "n3": freePort(t)}
	knownToAll := map[raft.NodeID][]string{"n1": {fmt.Sprintf("127.0.0.1:%d", ports["n1"])}}
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
			a, known := g.Lookup(id)
			require.True(t, known)
			require.Equal(t, string(id)+":4200", a.Bus)
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

// Only who has the key is heard and understood. Catches a key that is taken and not used.
func TestStrangersAreNotHeard(t *testing.T) {
	key := []byte("sixteen bytes 16")
	ports := map[raft.NodeID]int{"n1": freePort(t), "n2": freePort(t), "n3": freePort(t)}
	seeds := map[raft.NodeID][]string{"n1": {fmt.Sprintf("127.0.0.1:%d", ports["n1"])}}
	n1 := start(t, "n1", ports["n1"], seeds, key...)
	defer n1.Close()
	stranger := start(t, "n3", ports["n3"], seeds)
	defer stranger.Close()
	n2 := start(t, "n2", ports["n2"], seeds, key...)
	defer n2.Close()
	require.Eventually(t, func() bool { return len(n1.Alive()) == 2 && len(n2.Alive()) == 2 }, 30*time.Second, 10*time.Millisecond)
	require.Equal(t, []raft.NodeID{"n1", "n2"}, n1.Alive())
	require.Equal(t, []raft.NodeID{"n3"}, stranger.Alive())
}

// A node comes back at another address, and is found there, also when nobody has missed it yet.
func TestNodeThatMovedIsFound(t *testing.T) {
	t.Run("after a farewell", func(t *testing.T) { moves(t, (*Gossip).Close) })
	t.Run("at once", func(t *testing.T) {
		moves(t, func(g *Gossip) error { close(g.stop); <-g.done; return g.list.Shutdown() })
	})
}

func moves(t *testing.T, end func(*Gossip) error) {
	from, to, n1Port := freePort(t), freePort(t), freePort(t)
	seeds := map[raft.NodeID][]string{"n1": {fmt.Sprintf("127.0.0.1:%d", n1Port)}}
	n1 := start(t, "n1", n1Port, seeds)
	defer n1.Close()
	n2 := start(t, "n2", from, seeds)
	require.Eventually(t, func() bool { return len(n1.Alive()) == 2 }, 30*time.Second, 10*time.Millisecond)
	require.NoError(t, end(n2))
	moved, err := Start(Options{
		ID: "n2", Listen: fmt.Sprintf("127.0.0.1:%d", to), Advertise: fmt.Sprintf("127.0.0.1:%d", to),
		Seeds: func() map[raft.NodeID][]string { return seeds }, RejoinInterval: 50 * time.Millisecond,
		Self: Addresses{Bus: "elsewhere:4200"},
	})
	require.NoError(t, err)
	defer moved.Close()
	require.Eventually(t, func() bool {
		a, _ := n1.Lookup("n2")
		return a.Bus == "elsewhere:4200"
	}, 5*time.Second, 10*time.Millisecond)
}

func TestStartRefuses(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	for name, o := range map[string]Options{
		"a busy port":                {ID: "n1", Listen: busy.Addr().String(), Advertise: "127.0.0.1:1"},
		"an address without a port":  {ID: "n1", Listen: "127.0.0.1", Advertise: "127.0.0.1:1"},
		"a port that is no number":   {ID: "n1", Listen: "127.0.0.1:http", Advertise: "127.0.0.1:1"},
		"a key of an odd length":     {ID: "n1", Listen: "127.0.0.1:0", Advertise: "127.0.0.1:1", Key: []byte("short")},
		"nothing to advertise":       {ID: "n1", Listen: "127.0.0.1:0"},
		"addresses that are too big": {ID: "n1", Listen: "127.0.0.1:0", Advertise: "127.0.0.1:1", Self: Addresses{Bus: strings.Repeat("x", 300)}},
	} {
		_, err := Start(o)
		require.Error(t, err, name)
	}
}

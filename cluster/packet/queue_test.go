package packet

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"coup/cluster"
)

// fifo holds packets back as every kernel can.
func fifo(attrs netlink.QdiscAttrs, _ cluster.Degradation) netlink.Qdisc {
	return &netlink.GenericQdisc{QdiscAttrs: attrs, QdiscType: "pfifo"}
}

// Catches packets that do not take the way through the queue of their destination, or take it with another, and queues
// that are left behind. Netem itself is tried where the kernel has it, in package netns.
func TestQueuesAreOfOneDestination(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not inside a network namespace of its own")
	}
	q, err := openQueues()
	require.NoError(t, err)
	defer q.close()
	lo, err := q.handle.LinkByName("lo")
	require.NoError(t, err)
	require.NoError(t, q.handle.LinkSetUp(lo))
	q.queue = fifo
	peers := []netip.Addr{netip.MustParseAddr("127.0.0.7"), netip.MustParseAddr("127.0.0.8")}
	delay := cluster.Degradation{Kind: cluster.Delay}
	if err := q.add(peers, delay); err != nil {
		t.Skip("this kernel has no sch_htb or cls_u32: ", err)
	}
	require.ErrorContains(t, q.add(peers[:1], delay), "suffers delay already")
	require.ErrorContains(t, q.remove(peers, cluster.Reorder), "not there")

	passed := func() (packets []uint32) {
		classes, err := q.handle.ClassList(lo, netlink.MakeHandle(root, 0))
		require.NoError(t, err)
		require.Len(t, classes, 2)
		for _, c := range classes {
			packets = append(packets, c.Attrs().Statistics.Basic.Packets)
		}
		return packets
	}
	say := func(to string, times int) {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		require.NoError(t, err)
		defer conn.Close()
		for range times {
			_, err := conn.WriteTo([]byte("x"), &net.UDPAddr{IP: net.ParseIP(to), Port: 9})
			require.NoError(t, err)
		}
	}
	say("127.0.0.7", 3)
	say("127.0.0.9", 5)
	require.ElementsMatch(t, []uint32{3, 0}, passed())

	require.NoError(t, q.remove(peers[:1], cluster.Delay))
	classes, err := q.handle.ClassList(lo, netlink.MakeHandle(root, 0))
	require.NoError(t, err)
	require.Len(t, classes, 1)
	require.NoError(t, q.remove(peers[1:], cluster.Delay))
	left, err := q.handle.QdiscList(lo)
	require.NoError(t, err)
	for _, queue := range left {
		require.Zero(t, queue.Attrs().Handle, queue.Type())
	}

	// A queue that somebody else made stays.
	theirs := &netlink.Tbf{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: lo.Attrs().Index, Handle: netlink.MakeHandle(7, 0), Parent: netlink.HANDLE_ROOT}, Rate: 1e9, Limit: 1e6, Buffer: 1e6}
	require.NoError(t, q.handle.QdiscAdd(theirs))
	defer func() { require.NoError(t, q.handle.QdiscDel(theirs)) }()
	require.ErrorContains(t, q.add(peers, delay), "somebody else made: tbf")
}

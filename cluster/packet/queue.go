package packet

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"coup/cluster"
)

// queues delay what leaves a network namespace for some addresses, by sch_netem: a class of its own for each, so that
// whatever goes elsewhere, to clients above all, goes at once. They touch no interface whose queue is not the kernel's
// default. Not safe for concurrent use.
type queues struct {
	handle *netlink.Handle
	leaves map[netip.Addr]leaf
	roots  map[int]int // by interface: classes in force
	next   uint16      // the number of the next class
	// queue makes what holds packets back.
	queue func(netlink.QdiscAttrs, cluster.Degradation) netlink.Qdisc
}

// leaf is an address that is delayed.
type leaf struct {
	kind  cluster.Disturbance
	link  int
	class uint16
}

// root is the handle of the queue that we put on an interface.
const root = 0xc0

// openQueues opens the queues of the calling thread's network namespace.
func openQueues() (*queues, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &queues{handle: handle, leaves: map[netip.Addr]leaf{}, roots: map[int]int{}, queue: netem}, nil
}

func (q *queues) close() { q.handle.Close() }

// netem is what delays and reorders.
func netem(attrs netlink.QdiscAttrs, d cluster.Degradation) netlink.Qdisc {
	of := netlink.NetemQdiscAttrs{Limit: 10_000}
	switch d.Kind {
	case cluster.Delay:
		of.Latency = uint32(d.Delay / time.Microsecond)
		of.Jitter = uint32(cluster.Jitter(d.Delay) / time.Microsecond)
	case cluster.Reorder:
		// Netem sends the share at once, and all others later.
		of.Latency = uint32(d.Delay / time.Microsecond)
		of.ReorderProb = float32(100 * d.Share)
		of.Gap = 1
	}
	return netlink.NewNetem(attrs, of)
}

// add delays what goes to the peers: all of them or, with an error, none.
func (q *queues) add(peers []netip.Addr, d cluster.Degradation) error {
	for i, a := range peers {
		if err := q.addOne(a, d); err != nil {
			return errors.Join(fmt.Errorf("%s to %s: %w", d.Kind, a, err), q.remove(peers[:i], d.Kind))
		}
	}
	return nil
}

func (q *queues) addOne(a netip.Addr, d cluster.Degradation) (err error) {
	if l, ok := q.leaves[a]; ok {
		return fmt.Errorf("it suffers %s already", l.kind)
	}
	device, err := q.device(a)
	if err != nil {
		return err
	}
	link := device.Attrs().Index
	if q.roots[link] == 0 {
		if err := q.plant(device); err != nil {
			return err
		}
	}
	q.roots[link]++
	q.next++
	l := leaf{d.Kind, link, q.next}
	q.leaves[a] = l
	defer func() {
		if err != nil {
			err = errors.Join(err, q.removeOne(a))
		}
	}()
	class := netlink.MakeHandle(root, l.class)
	fast := netlink.HtbClassAttrs{Rate: 10_000_000_000, Ceil: 10_000_000_000}
	if err := q.handle.ClassAdd(netlink.NewHtbClass(netlink.ClassAttrs{LinkIndex: link, Parent: netlink.MakeHandle(root, 0), Handle: class}, fast)); err != nil {
		return fmt.Errorf("make a class: %w", err)
	}
	if err := q.handle.QdiscAdd(q.queue(netlink.QdiscAttrs{LinkIndex: link, Parent: class, Handle: netlink.MakeHandle(root+l.class, 0)}, d)); err != nil {
		return fmt.Errorf("make a queue: %w", err)
	}
	four := a.As4()
	to := uint32(four[0])<<24 | uint32(four[1])<<16 | uint32(four[2])<<8 | uint32(four[3])
	if err := q.handle.FilterAdd(&netlink.U32{
		FilterAttrs: filterOf(l),
		Sel: &netlink.TcU32Sel{
			Flags: nl.TC_U32_TERMINAL, Nkeys: 1,
			Keys: []netlink.TcU32Key{{Mask: 0xffffffff, Val: to, Off: 16}}, // ip dst
		},
		ClassId: class,
	}); err != nil {
		return fmt.Errorf("make a filter: %w", err)
	}
	return nil
}

// device is the interface by which packets go to an address.
func (q *queues) device(a netip.Addr) (netlink.Link, error) {
	routes, err := q.handle.RouteGet(a.AsSlice())
	if err == nil && len(routes) == 0 {
		err = unix.ENETUNREACH
	}
	if err != nil {
		return nil, fmt.Errorf("find the way to %s: %w", a, err)
	}
	device, err := q.handle.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return nil, fmt.Errorf("find the interface to %s: %w", a, err)
	}
	return device, nil
}

func filterOf(l leaf) netlink.FilterAttrs {
	return netlink.FilterAttrs{LinkIndex: l.link, Parent: netlink.MakeHandle(root, 0), Priority: l.class, Protocol: unix.ETH_P_IP}
}

// plant gives an interface a queue with classes. What falls into none goes at once.
func (q *queues) plant(dev netlink.Link) error {
	found, err := q.handle.QdiscList(dev)
	if err != nil {
		return fmt.Errorf("list the queues: %w", err)
	}
	for _, f := range found {
		if f.Attrs().Handle != 0 && f.Attrs().Parent == netlink.HANDLE_ROOT {
			return fmt.Errorf("%s has a queue that somebody else made: %s", dev.Attrs().Name, f.Type())
		}
	}
	if err := q.handle.QdiscAdd(netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: dev.Attrs().Index, Handle: netlink.MakeHandle(root, 0), Parent: netlink.HANDLE_ROOT})); err != nil {
		return fmt.Errorf("give %s a queue: %w", dev.Attrs().Name, err)
	}
	return nil
}

// remove ends the delay of the peers.
func (q *queues) remove(peers []netip.Addr, kind cluster.Disturbance) error {
	for _, a := range peers {
		if l, ok := q.leaves[a]; !ok || l.kind != kind {
			return fmt.Errorf("end %s of %s: it is not there", kind, a)
		}
	}
	var failures []error
	for _, a := range peers {
		failures = append(failures, q.removeOne(a))
	}
	return errors.Join(failures...)
}

// removeOne takes away what addOne made, or a part of it; with the last of an interface its root, and so all of it.
func (q *queues) removeOne(a netip.Addr) error {
	l := q.leaves[a]
	at := netlink.QdiscAttrs{LinkIndex: l.link}
	if q.roots[l.link] == 1 {
		at.Handle, at.Parent = netlink.MakeHandle(root, 0), netlink.HANDLE_ROOT
		if err := q.handle.QdiscDel(netlink.NewHtb(at)); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("take away the queue: %w", err)
		}
	} else {
		gone := func(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) }
		if err := q.handle.FilterDel(&netlink.U32{FilterAttrs: filterOf(l)}); err != nil && !gone(err) {
			return fmt.Errorf("take away the filter: %w", err)
		}
		class := netlink.ClassAttrs{LinkIndex: l.link, Parent: netlink.MakeHandle(root, 0), Handle: netlink.MakeHandle(root, l.class)}
		if err := q.handle.ClassDel(netlink.NewHtbClass(class, netlink.HtbClassAttrs{})); err != nil && !gone(err) {
			return fmt.Errorf("take away the class: %w", err)
		}
	}
	q.roots[l.link]--
	delete(q.leaves, a)
	return nil
}

package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"coup/cluster/packet"
)

// bridgeName is the bridge in the run's own network namespace, where the clients are.
const bridgeName = "coup0"

var (
	bridgeAddress = netip.MustParsePrefix("10.77.0.1/24")
	// A bridge without an address of its own takes that of a port, and changes it with the ports.
	bridgeHardware = net.HardwareAddr{0x02, 0x63, 0x6f, 0x75, 0x70, 0x01}
)

// addressOf is where the node with that number is, n1 being number 1.
func addressOf(number int) netip.Addr {
	a := bridgeAddress.Addr().As4()
	a[3] = byte(10 + number)
	return netip.AddrFrom4(a)
}

// network is a bridge and the network namespaces that hang off it.
type network struct {
	bridge *netlink.Bridge
	ports  []*port // node 1 first
}

// port is one node's place in the network.
type port struct {
	*namespace
	address netip.Addr
	link    string // the near end of its veth pair
	agent   *packet.Agent
}

// newNetwork makes the bridge and that many ports. A network that is made in part is returned along
// with the error, to be closed.
func newNetwork(ports int) (*network, error) {
	n := &network{bridge: &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName, HardwareAddr: bridgeHardware}}}
	if err := netlink.LinkAdd(n.bridge); err != nil {
		return n, fmt.Errorf("make the bridge: %w", err)
	}
	if err := bringUp(n.bridge, bridgeAddress); err != nil {
		return n, err
	}
	for range ports {
		if _, err := n.add(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// add makes one port more. One that is made in part is closed along with the others.
func (n *network) add() (*port, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	number := len(n.ports) + 1
	p := &port{namespace: ns, address: addressOf(number), link: fmt.Sprintf("coup-n%d", number)}
	n.ports = append(n.ports, p)
	return p, p.plug(n.bridge)
}

func (p *port) plug(bridge *netlink.Bridge) error {
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: p.link, MasterIndex: bridge.Index},
		PeerName:      "eth0",
		PeerNamespace: netlink.NsFd(p.file.Fd()),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("make the veth pair %s: %w", p.link, err)
	}
	if err := netlink.LinkSetUp(pair); err != nil {
		return fmt.Errorf("set %s up: %w", p.link, err)
	}
	return p.do(func() error {
		far, err := netlink.LinkByName("eth0")
		if err != nil {
			return fmt.Errorf("find the far end of %s: %w", p.link, err)
		}
		if err := bringUp(far, netip.PrefixFrom(p.address, bridgeAddress.Bits())); err != nil {
			return err
		}
		p.agent, err = packet.New()
		return err
	})
}

func bringUp(link netlink.Link, address netip.Prefix) error {
	ip := &net.IPNet{IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), 32)}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ip}); err != nil {
		return fmt.Errorf("give %s the address %s: %w", link.Attrs().Name, address, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", link.Attrs().Name, err)
	}
	return nil
}

// close takes the network away. Safe to repeat.
func (n *network) close() error {
	var failures []error
	for _, p := range n.ports {
		if p.agent != nil {
			failures = append(failures, p.agent.Close())
		}
		failures = append(failures, remove(p.link), p.close())
	}
	n.ports = nil
	return errors.Join(append(failures, remove(bridgeName))...)
}

// remove deletes a link, if it is there.
func remove(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

package docker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	engine "github.com/ory/dockertest/v3/docker"
)

// subnets are how many places are tried for a run's network.
const subnets = 64

// createNetwork makes a bridge network on a private /24 that neither the engine nor this machine
// uses.
func createNetwork(c *engine.Client, name string, labels map[string]string) (*engine.Network, netip.Prefix, error) {
	var refusals []error
	for i := range subnets {
		subnet := candidate(i)
		if usedHere(subnet) {
			continue
		}
		network, err := c.CreateNetwork(engine.CreateNetworkOptions{
			Name: name, Driver: "bridge", Labels: labels, CheckDuplicate: true,
			IPAM: &engine.IPAMOptions{Driver: "default", Config: []engine.IPAMConfig{
				{Subnet: subnet.String(), Gateway: subnet.Addr().Next().String()},
			}},
		})
		if err == nil {
			return network, subnet, nil
		}
		if refused := (*engine.Error)(nil); !errors.As(err, &refused) || !strings.Contains(strings.ToLower(refused.Message), "overlap") {
			return nil, netip.Prefix{}, fmt.Errorf("docker: make the network %s: %w", name, err)
		}
		refusals = append(refusals, err)
	}
	return nil, netip.Prefix{}, fmt.Errorf("docker: no free subnet for the network %s among %d from %s on: %w", name, subnets, candidate(0), errors.Join(refusals...))
}

// candidate is the subnet to try at that attempt: 10.77.64.0/24 and those after it.
func candidate(attempt int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, byte(64 + attempt), 0}), 24)
}

// usedHere says whether an interface of this machine has an address in the subnet, or the subnet in
// its own.
func usedHere(subnet netip.Prefix) bool {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addresses {
		if used, err := netip.ParsePrefix(a.String()); err == nil && used.Masked().Overlaps(subnet) {
			return true
		}
	}
	return false
}

// addressOf is where the node with that number is, n1 being number 1.
func addressOf(subnet netip.Prefix, number int) netip.Addr {
	a := subnet.Addr().As4()
	a[3] = byte(10 + number)
	return netip.AddrFrom4(a)
}

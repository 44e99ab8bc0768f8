package packet

import (
	"context"
	"net/netip"

	"coup/cluster"
)

// Prospect is a network that nobody has made. It can be asked what links could suffer, and nothing else.
func Prospect(features func(context.Context) ([]cluster.Capability, error)) *Network {
	return NewNetwork(map[string]Member{"": {Address: netip.Addr{}, Endpoint: foreseen{features: features}}})
}

// foreseen is an Endpoint that is not there.
type foreseen struct {
	Endpoint
	features func(context.Context) ([]cluster.Capability, error)
}

// Features implements Endpoint.
func (f foreseen) Features(ctx context.Context) ([]cluster.Capability, error) { return f.features(ctx) }

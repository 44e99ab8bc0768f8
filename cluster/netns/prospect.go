package netns

import (
	"context"
	"fmt"
	"sync"

	"coup/cluster"
	"coup/cluster/packet"
	"coup/cluster/seam"
)

// Prospect is a cluster of that many nodes that nobody has started: it can be asked what it could do, as
// nemesis.Fault.Check does, and nothing else. What the kernel can is tried when it is first asked for.
func Prospect(ctx context.Context, nodes int) cluster.Cluster {
	c := &local{options: cluster.Options{Nodes: nodes}}
	for i := range nodes {
		c.nodes = append(c.nodes, &node{id: fmt.Sprintf("n%d", i+1), port: &port{}})
	}
	c.Control = seam.New(true, c.Nodes) // a run that needs seams starts its nodes with them
	tried := sync.OnceValues(func() ([]cluster.Capability, error) {
		if !Inside() {
			return tryInside(ctx)
		}
		return tryFeatures()
	})
	c.Network = packet.Prospect(func(context.Context) ([]cluster.Capability, error) { return tried() })
	return c
}

// tryFeatures tries what the kernel offers for packet faults, in a network namespace that is thrown away.
func tryFeatures() (found []cluster.Capability, err error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	defer ns.close()
	err = ns.do(func() error {
		found = packet.Features()
		return nil
	})
	return found, err
}

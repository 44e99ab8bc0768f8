package docker

import (
	"context"
	"fmt"
	"os"
	"sync"

	"coup/cluster"
	"coup/cluster/packet"
	"coup/cluster/seam"
)

// Prospect is a cluster of that many nodes that nobody has started: it can be asked what it could do, as
// nemesis.Fault.Check does, and nothing else. What the engine's kernel can is tried when it is first asked for, in a
// container that is thrown away.
func Prospect(ctx context.Context, nodes int) cluster.Cluster {
	c := &containers{options: cluster.Options{Nodes: nodes}}
	for i := range nodes {
		c.nodes = append(c.nodes, &node{id: fmt.Sprintf("n%d", i+1)})
	}
	c.Control = seam.New(true, c.Nodes) // a run that needs seams starts its nodes with them
	tried := sync.OnceValues(func() (found []cluster.Capability, err error) {
		client, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		err = withHelper(ctx, client, self, func(h *helper) error {
			found, err = h.agent.Features(ctx)
			return err
		})
		return found, err
	})
	c.Network = packet.Prospect(func(context.Context) ([]cluster.Capability, error) { return tried() })
	return c
}

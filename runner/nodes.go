package runner

import (
	"context"
	"strings"
	"time"

	"coup/cluster"
	"coup/raftnode/api"
	"coup/raftnode/client"
)

// nodes asks the nodes of a cluster. Safe for concurrent use.
type nodes struct {
	cluster cluster.Cluster
	client  *client.Client
	api     string // by which nodes are asked about registers
}

// newNodes reaches the nodes where the environment says they are, by the API of that name.
func newNodes(c cluster.Cluster, api string) (*nodes, error) {
	client, err := client.New(nil, client.Options{Timeout: -1, DialTimeout: observeTimeout})
	if err != nil {
		return nil, err
	}
	n := &nodes{cluster: c, client: client, api: api}
	for _, node := range c.Nodes() {
		if err := n.learn(node); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// Close drops the connections.
func (n *nodes) Close() { n.client.Close() }

// status asks a node, which may be new to the client: from then on clients reach it.
func (n *nodes) status(ctx context.Context, node cluster.Node) (api.Status, error) {
	if err := n.learn(node); err != nil {
		return api.Status{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	return n.client.Status(ctx, node.ID)
}

// learn tells the client where a node is; both APIs are at one port.
func (n *nodes) learn(node cluster.Node) error {
	return n.client.Learn(node.ID, n.api+strings.TrimPrefix(node.ClientURL, HTTP))
}

// closeBound is how long removing a cluster may take.
const closeBound = 60 * time.Second

// closeCluster removes all that a cluster is made of. No interrupt stops it.
func closeCluster(c cluster.Cluster) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeBound)
	defer cancel()
	return c.Close(ctx)
}

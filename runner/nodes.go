package runner

import (
	"context"
	"time"

	"coup/cluster"
	"coup/raftnode/api"
	"coup/raftnode/client"
)

// nodes asks the nodes of a cluster. Safe for concurrent use.
type nodes struct {
	cluster cluster.Cluster
	client  *client.Client
}

// newNodes reaches the nodes where the environment says they are.
func newNodes(c cluster.Cluster) (*nodes, error) {
	client, err := client.New(clientURLs(c), client.Options{Timeout: -1, DialTimeout: observeTimeout})
	if err != nil {
		return nil, err
	}
	return &nodes{cluster: c, client: client}, nil
}

// Close drops the connections.
func (n *nodes) Close() { n.client.Close() }

// status asks a node, which may be new to the client: from then on clients reach it.
func (n *nodes) status(ctx context.Context, node cluster.Node) (api.Status, error) {
	if err := n.client.Learn(node.ID, node.ClientURL); err != nil {
		return api.Status{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	return n.client.Status(ctx, node.ID)
}

func clientURLs(c cluster.Cluster) map[string]string {
	urls := map[string]string{}
	for _, node := range c.Nodes() {
		urls[node.ID] = node.ClientURL
	}
	return urls
}

// closeBound is how long removing a cluster may take.
const closeBound = 60 * time.Second

// closeCluster removes all that a cluster is made of. No interrupt stops it.
func closeCluster(c cluster.Cluster) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeBound)
	defer cancel()
	return c.Close(ctx)
}

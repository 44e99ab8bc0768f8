// Package docker runs a cluster as containers FROM scratch, through dockertest. Beside each node's
// container a helper container owns the network namespace, so that a node which is killed and
// started again keeps its address, its published ports and the packet rules. The node's image knows
// nothing of the suite, and no container is privileged: the helper has NET_ADMIN, the node nothing.
package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ory/dockertest/v3"
	engine "github.com/ory/dockertest/v3/docker"

	"coup/cluster"
)

// Environment starts clusters in Docker. The zero value is ready to use.
type Environment struct {
	// Agent is the path of a static binary that runs packet.Serve on port 4901 when called as
	// "<binary> packet-agent"; empty means this executable.
	Agent string
}

// Start is Environment{}.Start.
func Start(ctx context.Context, o cluster.Options) (cluster.Cluster, error) {
	return Environment{}.Start(ctx, o)
}

// dial reaches the engine that the environment variables name, or the one of this machine.
func dial(ctx context.Context) (*engine.Client, error) {
	pool, err := dockertest.NewPool("")
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	if err := pool.Client.PingWithContext(ctx); err != nil {
		return nil, fmt.Errorf("docker: no engine answers at %s: %w", pool.Client.Endpoint(), err)
	}
	return pool.Client, nil
}

// await runs a call that takes no context, and leaves it to itself when ctx ends first.
func await(ctx context.Context, call func() error) error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gone says that the engine does not know what was asked for, or is removing it already.
func gone(err error) bool {
	var noContainer *engine.NoSuchContainer
	var noNetwork *engine.NoSuchNetwork
	return errors.As(err, &noContainer) || errors.As(err, &noNetwork) || errors.Is(err, engine.ErrNoSuchImage) ||
		err != nil && strings.Contains(err.Error(), "is already in progress")
}

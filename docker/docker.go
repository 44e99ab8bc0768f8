// Package docker runs a cluster as containers FROM scratch, through dockertest. Beside each node's
// container a helper container owns the network namespace, so that a node which is killed and
// started again keeps its address, its published ports and the packet rules.
package docker

import (
	"context"
	"errors"

	"coup/cluster"
)

var errNoEngine = errors.New("no Docker engine")

// Environment starts clusters in Docker. The zero value is ready to use.
type Environment struct {
	// Agent is the path of a static binary that runs packet.Serve when called as
	// "<binary> packet-agent"; empty means this executable.
	Agent string
}

// Start builds the images that are missing, makes the network and the containers, and returns when
// all processes run; they may not answer yet.
func (e Environment) Start(ctx context.Context, o cluster.Options) (cluster.Cluster, error) {
	return nil, errNoEngine
}

// Start is Environment{}.Start.
func Start(ctx context.Context, o cluster.Options) (cluster.Cluster, error) {
	return Environment{}.Start(ctx, o)
}

// Available tells why the environment cannot be used on this machine; nil when it can.
func Available(ctx context.Context) error { return errNoEngine }

// Capabilities tries what the environment needs.
func Capabilities(ctx context.Context) []cluster.Capability { return nil }

// CleanOptions widen what Clean removes.
type CleanOptions struct {
	Force  bool // also what belongs to runs that are alive, or started on another machine
	Images bool // also the images that Start built, unless they are in use
}

// Clean removes what runs left behind whose owner is dead, and returns what it removed.
func Clean(ctx context.Context, o CleanOptions) ([]string, error) { return nil, errNoEngine }

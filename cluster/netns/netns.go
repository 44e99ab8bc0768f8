// Package netns runs a cluster as plain processes, each in a network namespace of its own, joined
// by a bridge, all inside namespaces that the run makes for itself. It needs Linux with user
// namespaces, or root, and nothing installed.
package netns

import (
	"context"
	"errors"

	"coup/cluster"
)

// ErrOutside says that Start was called in a process that Enter did not make.
var ErrOutside = errors.New("netns: not inside the run's namespaces")

// Init must be the first thing that main (and TestMain) does. It returns at once, unless this
// process is one that this package re-executed: then it first finishes the set-up of its
// namespaces, or, in a process made only to try something, tries it and exits.
func Init() {}

// Inside says whether this process is pid 1 of namespaces that Enter made.
func Inside() bool { return false }

// Enter runs this very command line again in new namespaces, with the same standard streams and
// terminal, forwards SIGINT and SIGTERM to it, and returns its exit code. Everything in there dies
// with this process, however it ends.
func Enter() (code int, err error) { return 0, ErrOutside }

// Start makes the bridge and the nodes' namespaces and returns when all processes run; they may
// not answer yet. It must be called inside (see Enter).
func Start(ctx context.Context, o cluster.Options) (cluster.Cluster, error) { return nil, ErrOutside }

// Available tells why the environment cannot be used on this machine; nil when it can.
func Available(ctx context.Context) error { return ErrOutside }

// Capabilities tries in a throw-away process what the environment needs.
func Capabilities(ctx context.Context) []cluster.Capability { return nil }

// Clean removes what runs left behind whose owner is dead, and returns what it removed.
func Clean(ctx context.Context) ([]string, error) { return nil, nil }

// Package packet drops packets in a network namespace and sees from outside whether they are
// dropped. It talks to the kernel through netlink alone and is the same code in every environment:
// netns calls an Agent in its own process, docker reaches one over HTTP in a helper container.
package packet

import (
	"context"
	"errors"
)

// Serve runs an Agent for the network namespace of this process behind an HTTP control server on
// address, e.g. ":4901", until ctx is done.
func Serve(ctx context.Context, address string) error { return errors.New("packet: not available") }

// Command agent stands in for the suite's binary in tests: it serves the packet agent.
package main

import (
	"context"
	"fmt"
	"os"

	"coup/cluster/packet"
)

func main() {
	if err := packet.Serve(context.Background(), ":4901"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Command raftnode is a node of a replicated key-value store.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"coup/raftnode/client"
	"coup/raftnode/raft"
)

// The exit codes.
const (
	exitFailure   = 1 // the node could not start, or had to stop; or an order was refused, and nothing was done
	exitUsage     = 2 // the command line was wrong; nothing was done
	exitUnknown   = 3 // an order's effect is unknown
	exitReignOver = 4 // a leader ended its reign and itself, as --at-max-reign=exit says: start it again
)

// gcPercent is how much garbage may be there, in per cent of what is in use, before it is collected, unless GOGC says
// something else. It keeps a node small, at the price of a per cent or so of its processor time: docs/performance.md.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := execute(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// failure is an error that is not about the command line.
type failure struct{ error }

func (e failure) Unwrap() error { return e.error }

// execute runs a command line and returns the exit code.
func execute(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "raftnode:", err)
	var failed failure
	var order *client.Error
	switch {
	case !errors.As(err, &failed):
		return exitUsage
	case errors.Is(err, raft.ErrReignOver):
		return exitReignOver
	case errors.As(err, &order) && !order.Definite:
		return exitUnknown
	}
	return exitFailure
}

func newRoot() *cobra.Command {
	var f flags
	root := &cobra.Command{
		Use:   "raftnode --id ID --peers ID=HOST,... --data DIR [--bootstrap | --join]",
		Short: "A node of a replicated key-value store",
		Long: `raftnode is one node of a key-value store that is replicated by Raft.

The first members of a new cluster are all started with the same --peers, which names each of them,
and --bootstrap. None begins before all are there:

  raftnode --id n1 --peers n1=10.0.0.11,n2=10.0.0.12,n3=10.0.0.13 --data /var/lib/raftnode --bootstrap

A further node is started with --join, waits to be made a member, and is added at any node:

  raftnode --id n4 --peers n1=10.0.0.11,n2=10.0.0.12 --advertise 10.0.0.14 --data /var/lib/raftnode --join
  raftnode add n4=10.0.0.14 --at 10.0.0.11:4100

Once there is something in --data both flags have no effect: what is stored wins over the command
line, and where they differ is logged and told by GET /raft/status.

A peer is ID=HOST[:BUS[/HTTP[/GOSSIP]]]. A port that is not given is this node's own, so that
three nodes on one machine are

  n1=127.0.0.1:4201/4101/4301,n2=127.0.0.1:4202/4102/4302,n3=127.0.0.1:4203/4103/4303

Exit codes: 0 stopped by SIGTERM or SIGINT, or done; 1 failed, or refused and nothing was done;
2 wrong usage; 3 an order's effect is unknown; 4 the reign is over (--at-max-reign=exit): start again.`,
		Args:              cobra.NoArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.settings()
			if err != nil {
				return err
			}
			if err := run(cmd.Context(), s); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	f.register(root.Flags())
	root.AddCommand(newVersion(), newDump())
	root.AddCommand(newOrders()...)
	return root
}

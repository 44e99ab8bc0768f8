// Command raftnode is a node of a replicated key-value store.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	exitFailure = 1 // the node could not start, or had to stop
	exitUsage   = 2 // the command line was wrong; nothing was done
)

func main() {
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
	if errors.As(err, &failed) {
		return exitFailure
	}
	return exitUsage
}

func newRoot() *cobra.Command {
	var f flags
	root := &cobra.Command{
		Use:   "raftnode --id ID --peers ID=HOST,... --data DIR",
		Short: "A node of a replicated key-value store",
		Long: `raftnode is one node of a key-value store that is replicated by Raft.

All nodes of a cluster are started with the same --peers, which names every first member, this
one included:

  raftnode --id n1 --peers n1=10.0.0.11,n2=10.0.0.12,n3=10.0.0.13 --data /var/lib/raftnode

A peer is ID=HOST[:BUS[/HTTP[/GOSSIP]]]. A port that is not given is this node's own, so that
three nodes on one machine are

  n1=127.0.0.1:4201/4101/4301,n2=127.0.0.1:4202/4102/4302,n3=127.0.0.1:4203/4103/4303

Exit codes: 0 stopped by SIGTERM or SIGINT, 1 failed, 2 wrong usage.`,
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
	return root
}

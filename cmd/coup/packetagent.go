package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"coup/cluster/packet"
)

// newPacketAgent makes the command that helper containers run beside each node.
func newPacketAgent() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:    "packet-agent",
		Short:  "Drop and probe packets in this network namespace, as asked over HTTP",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return packet.Serve(ctx, listen)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", ":4901", "address of the control server")
	return cmd
}

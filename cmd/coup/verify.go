package main

import (
	"time"

	"github.com/spf13/cobra"

	"coup/runner"
)

// verifyDuration is long enough for each of verify's faults to come once.
const verifyDuration = 65 * time.Second

func newVerify() *cobra.Command {
	f := runFlags{options: runner.Defaults(), faults: faultFlags{list: verifyFaults}}
	f.options.Name = "verify"
	f.options.Duration = verifyDuration
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "A short run of everything: start here",
		Long: `Verify a cluster of 5 nodes for about a minute: kill, isolate, pause and cut off its leader, split
it, kill all of it, and check that every operation still makes sense.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.bindCommon(cmd.Flags())
	return cmd
}

// verifyFaults are the faults of `coup verify`.
const verifyFaults = "kill-leader,isolate-leader,split,one-way,pause-leader,kill-all"

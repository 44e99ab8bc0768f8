package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"coup/version"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintf(cmd.OutOrStdout(), "coup %s %s %s/%s\n", version.Self(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

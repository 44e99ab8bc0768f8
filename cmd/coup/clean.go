package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"coup/cluster/netns"
	"coup/docker"
)

func newClean() *cobra.Command {
	var o docker.CleanOptions
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove what killed runs left behind",
		Long: `Remove the containers, networks and processes that runs left behind which were killed before they
could clean up. What belongs to a run that is alive stays, unless --force is given.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			removed, failed := netns.Clean(cmd.Context())
			if err := docker.Available(cmd.Context()); err == nil {
				more, err := docker.Clean(cmd.Context(), o)
				removed, failed = append(removed, more...), errors.Join(failed, err)
			} else {
				fmt.Fprintf(cmd.OutOrStdout(), "docker: skipped, %v\n", err)
			}
			for _, what := range removed {
				fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", what)
			}
			if failed != nil {
				return fmt.Errorf("not everything could be removed: %s", strings.ReplaceAll(failed.Error(), "\n", "; "))
			}
			if len(removed) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "nothing was left behind")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&o.Force, "force", false, "also what belongs to runs that are alive, or were started on another machine")
	cmd.Flags().BoolVar(&o.Images, "images", false, "also the images that runs built")
	return cmd
}

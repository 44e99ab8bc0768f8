package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"coup/cluster"
	"coup/cluster/netns"
	"coup/docker"
)

func newDoctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Tell what this machine can run, and what it lacks",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t := newTerminal(os.Stdout)
			t.out = cmd.OutOrStdout()
			usable := diagnose(t, "docker", docker.Capabilities(cmd.Context()))
			usable = diagnose(t, "netns", netns.Capabilities(cmd.Context())) || usable
			t.Printf("%s: %s\n  %s in this very process, under virtual time; needs nothing\n",
				t.paint(bold, "sim"), t.paint(green, "usable"), t.paint(green, "✓"))
			if path, err := nodeBinary(""); err != nil {
				t.Printf("raftnode\n  %s %v\n", t.paint(red, "✗"), err)
			} else {
				t.Printf("raftnode\n  %s %s\n", t.paint(green, "✓"), path)
			}
			if !usable {
				return fmt.Errorf("neither docker nor netns can be used here: follow one of the remedies above, or use --env sim")
			}
			return nil
		},
	}
}

// diagnose prints what an environment needs and whether it is there. It tells whether all of it is.
func diagnose(t *terminal, name string, capabilities []cluster.Capability) bool {
	usable := len(capabilities) > 0
	for _, c := range capabilities {
		usable = usable && (c.OK || c.Optional)
	}
	state := t.paint(green, "usable")
	if !usable {
		state = t.paint(red, "not usable")
	}
	t.Printf("%s: %s\n", t.paint(bold, name), state)
	for _, c := range capabilities {
		mark := t.paint(green, "✓")
		switch {
		case !c.OK && c.Optional:
			mark = t.paint(dim, "-")
		case !c.OK:
			mark = t.paint(red, "✗")
		}
		t.Printf("  %s %-24s %s\n", mark, c.Name, c.Detail)
		if c.Remedy != "" {
			t.Printf("    %-24s %s\n", "", t.paint(yellow, "remedy: "+c.Remedy))
		}
	}
	return usable
}

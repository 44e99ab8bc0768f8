package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"coup/cluster"
	"coup/cluster/netns"
	"coup/docker"
	"coup/nemesis"
	"coup/sim"
)

// faultInfo is what `coup faults` says of a fault.
type faultInfo struct {
	Name        string                   `json:"name"`
	Groups      []string                 `json:"groups"`
	Does        string                   `json:"does"`
	Needs       string                   `json:"needs,omitempty"`
	Proof       string                   `json:"proof,omitempty"`
	Takes       string                   `json:"takes,omitempty"`   // what its value is
	Default     string                   `json:"default,omitempty"` // its value when none is given
	KeepsQuorum bool                     `json:"keeps_quorum"`
	In          map[string]faultPossible `json:"in"` // by environment
}

// faultPossible tells whether a fault can be had in an environment on this machine, and else why not.
type faultPossible struct {
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

// grammar is how faults are chosen.
const grammar = `--faults takes a list with commas between:

  split             a fault, by its name
  network           a group: all of it that can be had
  -slow             leave out
  loss=10%          a fault with a value: a share (10% or 0.1), a rate (100/s), a time (50ms)
  split:3           a weight from 1 to 9: it comes three times while others come once
  none              no fault at all

What is said of a fault by its name goes before what is said of its group. A group leaves out what cannot be had,
and says so; a fault that is asked for by its name must be possible. --faults-file takes the same from TOML:

  faults = ["network", "-slow"]
  [fault.loss]
  value = "10%"
  weight = 3
`

func newFaults() *cobra.Command {
	var name string
	var nodes int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "faults",
		Short: "List the faults: what each does, needs and proves, and whether this machine can",
		Long: `List the faults: what each does, what it needs, how it is proven, and whether it can be had on this machine.

` + grammar,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			environments := []string{"docker", "netns", simulated}
			switch {
			case name == "docker" || name == "netns" || name == simulated:
				environments = []string{name}
			case name != "":
				return &usageError{fmt.Errorf("--env: there is no environment %q: use docker, netns or sim", name)}
			}
			if nodes < 1 || nodes > 25 {
				return &usageError{fmt.Errorf("--nodes: %d is no size of a cluster: it must be from 1 to 25", nodes)}
			}
			infos := describeFaults(cmd.Context(), environments, nodes)
			t := newTerminal(os.Stdout)
			t.out = cmd.OutOrStdout()
			if asJSON {
				encoder := json.NewEncoder(t.out)
				encoder.SetIndent("", "  ")
				encoder.SetEscapeHTML(false)
				return encoder.Encode(infos)
			}
			t.faults(infos, environments)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&name, "env", "", "of one environment only: docker, netns or sim")
	flags.IntVar(&nodes, "nodes", 5, "on a cluster of that many")
	flags.BoolVar(&asJSON, "json", false, "print JSON, and nothing else")
	return cmd
}

// describeFaults asks each environment for each fault.
func describeFaults(ctx context.Context, environments []string, nodes int) []faultInfo {
	prospects, missing := map[string]cluster.Cluster{}, map[string]error{}
	for _, name := range environments {
		switch name {
		case "docker":
			prospects[name], missing[name] = docker.Prospect(ctx, nodes), docker.Available(ctx)
		case "netns":
			prospects[name], missing[name] = netns.Prospect(ctx, nodes), netns.Available(ctx)
		default:
			prospects[name] = sim.Prospect(nodes)
		}
	}
	var infos []faultInfo
	for _, f := range nemesis.Every() {
		info := faultInfo{
			Name: f.Name(), Groups: nemesis.GroupsOf(f), Does: f.Summary(), KeepsQuorum: f.KeepsQuorum(), In: map[string]faultPossible{},
		}
		if e, ok := f.(nemesis.Explained); ok {
			info.Needs, info.Proof = e.Needs(), e.Proof()
		}
		if a, ok := f.(nemesis.Adjustable); ok {
			info.Takes, info.Default = a.Parameter(), a.Setting()
		}
		for _, name := range environments {
			err := missing[name]
			if err == nil {
				err = f.Check(prospects[name])
			}
			info.In[name] = faultPossible{OK: err == nil}
			if err != nil {
				info.In[name] = faultPossible{Reason: err.Error()}
			}
		}
		infos = append(infos, info)
	}
	return infos
}

// faults prints what is known of faults.
func (t *terminal) faults(infos []faultInfo, environments []string) {
	line := func(name, text string) {
		if text != "" {
			t.Printf("  %s %s\n", t.paint(dim, fmt.Sprintf("%-7s", name)), t.hanging(text, 10))
		}
	}
	groups := map[string][]string{}
	var order []string
	for _, f := range infos {
		name := f.Name
		if f.Default != "" {
			name += "=" + f.Default
		}
		t.Printf("%s  %s\n", t.paint(bold, name), t.hanging(f.Does, len(name)+2))
		line("takes", f.Takes)
		line("needs", f.Needs)
		line("proof", f.Proof)
		var marks []string
		for _, environment := range environments {
			if f.In[environment].OK {
				marks = append(marks, t.paint(green, "✓ ")+environment)
			} else {
				marks = append(marks, t.paint(red, "✗ ")+environment)
			}
		}
		line("here", strings.Join(marks, "  "))
		for _, environment := range environments {
			line("", f.In[environment].Reason)
		}
		for _, g := range f.Groups {
			if groups[g] == nil {
				order = append(order, g)
			}
			groups[g] = append(groups[g], f.Name)
		}
	}
	t.Printf("\n%s\n", t.paint(bold, "groups"))
	for _, g := range order {
		if g != everyFault {
			t.Printf("  %-9s %s\n", g, t.hanging(strings.Join(groups[g], ", "), 12))
		}
	}
	t.Printf("  %-9s %s\n", everyFault, t.hanging("all but disk and clock, which only real nodes under test have, and in sim what goes wrong all along: "+strings.Join(sim.Troubles(), ", "), 12))
	t.Printf("\n%s", grammar)
}

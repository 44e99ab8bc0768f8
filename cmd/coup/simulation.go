package main

import (
	"errors"
	"slices"
	"strings"

	"coup/runner"
	"coup/sim"
)

// world is a simulated cluster as a run wants it.
type world struct{ *sim.World }

// newWorld makes the world of a run.
func newWorld(o runner.Options) (world, error) {
	w, err := sim.New(sim.Options{Seed: o.Seed, Nodes: o.Nodes, OpTimeout: o.OpTimeout, Trouble: o.Trouble})
	return world{w}, err
}

// Failure implements runner.Simulation.
func (w world) Failure() *runner.Failure {
	var failure *sim.Failure
	if !errors.As(w.Err(), &failure) {
		return nil
	}
	return &runner.Failure{Check: failure.Check, Text: failure.Text, At: failure.At}
}

var _ runner.Simulation = world{}

// splitTroubles takes the simulator's own troubles out of what --faults lists. What is left, package
// nemesis knows. "all" means all of both, and named tells what was asked for by its own name.
func splitTroubles(list string) (faults string, troubles, named []string) {
	var left []string
	for _, word := range strings.Split(list, ",") {
		word = strings.TrimSpace(word)
		switch {
		case slices.Contains(sim.Troubles(), word):
			troubles, named = append(troubles, word), append(named, word)
			continue
		case word == "all":
			troubles = append(troubles, sim.Troubles()...)
		}
		left = append(left, word)
	}
	if len(left) == 0 {
		left = []string{"none"}
	}
	slices.Sort(troubles)
	return strings.Join(left, ","), slices.Compact(troubles), named
}

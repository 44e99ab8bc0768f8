package main

import (
	"fmt"
	"slices"
	"strings"

	"coup/nemesis"
	"coup/sim"
)

// checkStore refuses what no simulated node can keep its log in.
func checkStore(name string) error {
	if name != "" && name != sim.StoreMemory && name != sim.StorePebble {
		return fmt.Errorf("--store: %q: it must be %s or %s", name, sim.StoreMemory, sim.StorePebble)
	}
	return nil
}

// simulable refuses the faults that the simulator has not.
func simulable(faults []nemesis.Fault) error {
	for _, fault := range faults {
		for _, real := range nemesis.Real() {
			if real.Name() == fault.Name() {
				return fmt.Errorf("--faults: %s needs real nodes: use --env docker or netns. In sim, membership stands for administrators who change members all along", fault.Name())
			}
		}
	}
	return nil
}

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

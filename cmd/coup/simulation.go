package main

import (
	"slices"
	"strings"

	"coup/sim"
)

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

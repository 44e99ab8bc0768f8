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

// refuseSeamed refuses faults of real disks and clocks, of which there are none in the simulator.
func refuseSeamed(faults []nemesis.Fault) error {
	for _, fault := range faults {
		if nemesis.NeedsSeams(fault) {
			return fmt.Errorf("--faults: %s breaks a real node: use --env docker or netns; in --env sim there are the troubles disk and clocks", fault.Name())
		}
	}
	return nil
}

// splitTroubles takes the simulator's own troubles out of what --faults lists. What is left, package
// nemesis knows. "all" means all of both, and named tells what was asked for by its own name. A word that both know, as
// "disk", is the simulator's in the simulator, and the nemesis's elsewhere.
func splitTroubles(list string, inSim bool) (faults string, troubles, named []string) {
	var left []string
	for _, word := range strings.Split(list, ",") {
		word = strings.TrimSpace(word)
		switch {
		case slices.Contains(sim.Troubles(), word) && (inSim || !nemesis.IsGroup(word)):
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

package main

import (
	"fmt"

	"coup/sim"
)

// checkStore refuses what no simulated node can keep its log in.
func checkStore(name string) error {
	if name != "" && name != sim.StoreMemory && name != sim.StorePebble {
		return fmt.Errorf("--store: %q: it must be %s or %s", name, sim.StoreMemory, sim.StorePebble)
	}
	return nil
}

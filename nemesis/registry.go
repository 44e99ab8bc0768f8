package nemesis

import "errors"

// All are the faults that there are, in the order in which they are listed to people.
func All() []Fault { return nil }

// Parse reads what --faults takes: names and groups, separated by commas. The groups are "all",
// "none", "leader" (faults that aim at the leader), "kill" and "partition". The order is All's and
// each fault comes once.
func Parse(list string) ([]Fault, error) { return nil, errors.New("no such fault") }

package cluster

import "time"

// Death is the end of a node's process that nobody asked for.
type Death struct {
	Node string    `json:"node"`
	At   time.Time `json:"at"`
	Exit string    `json:"exit"`          // "exit status 2", "signal: segmentation fault", ...
	Log  []string  `json:"log,omitempty"` // the last lines that it wrote
}

// Watcher reports the deaths that neither a fault nor Close caused. A cluster that has it keeps
// them until it is closed, and may be asked at any time.
type Watcher interface {
	Unexpected() []Death
}

// Package nemesis breaks clusters on purpose: one file a fault, each with how it is installed, how
// it is healed, and how both are proven from outside. It knows environments only through the
// capabilities of package cluster.
package nemesis

import (
	"context"
	"time"

	"coup/cluster"
	"coup/raftnode/raft"
	"coup/raftnode/seams"
)

// Fault is one way of breaking a cluster.
type Fault interface {
	// Name is what --faults takes, e.g. "kill-leader".
	Name() string
	// Summary is one line for people: what it does.
	Summary() string
	// KeepsQuorum says that a connected, healthy majority remains while it is in force, so that
	// operations must go on succeeding.
	KeepsQuorum() bool
	// Check tells whether it can be used on this cluster; the error names what is missing and what
	// would provide it.
	Check(c cluster.Cluster) error
	// Install breaks something and proves it. What it returns knows how to heal. When it fails
	// half-way it still returns an Installed that heals the half, along with the error.
	Install(ctx context.Context, c cluster.Cluster, view View, rng Rand) (Installed, Outcome)
}

// Explained is a Fault that says more of itself than its summary, in a few words each.
type Explained interface {
	Fault
	Needs() string // of cluster and environment
	Proof() string // that it is in force, and then that it is gone
}

// Installed is a fault in force.
type Installed interface {
	// Heal undoes exactly what was installed, and proves it. Safe to repeat.
	Heal(ctx context.Context) Outcome
}

// Restless is an Installed that goes on acting while it is in force. Whoever installed it calls Act
// when the time has come, and Heal only when no Act is under way.
type Restless interface {
	Installed
	// Rest is how long to wait before the next Act, from the end of Install or of the last Act;
	// negative when nothing more is to come.
	Rest() time.Duration
	// Act does what comes next. What goes wrong in it, Heal tells.
	Act(ctx context.Context)
}

// Rand is the run's random source, as math/rand/v2 has it.
type Rand interface {
	IntN(n int) int
	Shuffle(n int, swap func(i, j int))
}

// View is what the nodes say now, asked afresh.
type View interface {
	// Leaders are the nodes that call themselves leader now; during a partition there may be two,
	// highest term last.
	Leaders(ctx context.Context) []string
}

// Result is how an attempt ended.
type Result string

// The results of installing and of healing.
const (
	ResultInstalled     Result = "installed"     // in force, and proven
	ResultSkipped       Result = "skipped"       // nothing was done, for Reason
	ResultIndeterminate Result = "indeterminate" // something was done, but the proof failed
	ResultHealed        Result = "healed"        // gone, and proven
	ResultNotHealed     Result = "not-healed"    // still there, or unproven: the run is void
)

// Outcome is what happened, with the evidence.
type Outcome struct {
	Result       Result                          `json:"result"`
	Reason       string                          `json:"reason,omitempty"`
	Targets      []string                        `json:"targets,omitempty"`
	Links        []cluster.Link                  `json:"links,omitempty"`
	Probes       []cluster.Probe                 `json:"probes,omitempty"`       // what the links did afterwards
	Degradation  *cluster.Degradation            `json:"degradation,omitempty"`  // what the links suffer
	Measurements []cluster.Measurement           `json:"measurements,omitempty"` // what the links did afterwards, where they are not cut but bad
	Processes    map[string]cluster.ProcessState `json:"processes,omitempty"`    // how processes stood afterwards
	Seams        map[string]seams.Report         `json:"seams,omitempty"`        // what nodes said of their disks and clocks afterwards
	Crashes      int                             `json:"crashes,omitempty"`      // on healing: how often a process was killed meanwhile
	Members      *raft.Configuration             `json:"members,omitempty"`      // that a majority goes by, afterwards
	Changes      int                             `json:"changes,omitempty"`      // on healing: how often members, or what is cut, changed meanwhile
}

// Phase is the half of a fault's life that an event records.
type Phase string

// The phases.
const (
	Install Phase = "install"
	Heal    Phase = "heal"
)

// Event is one line of faults.jsonl.
type Event struct {
	ID    int           `json:"id"` // pairs a heal with its install
	Fault string        `json:"fault"`
	Seed  *uint64       `json:"seed,omitempty"` // from which, and from ID, the targets were drawn
	Phase Phase         `json:"phase"`
	Start time.Duration `json:"start"` // when it was begun, since the run began
	End   time.Duration `json:"end"`   // when it was proven
	Outcome
}

// Package checker judges what a run recorded. Each checker looks at one thing, in a file of its own;
// Check runs them all and concludes with a verdict. It knows histories, and faults by when and how
// they were in force, but neither the code that makes them nor any environment.
package checker

import (
	"fmt"
	"math"
	"time"

	"coup/history"
)

// Never is the time of what did not happen.
const Never time.Duration = math.MaxInt64

// Evidence is all that a run recorded. Times are since the run began.
type Evidence struct {
	Ops          []history.Op
	Faults       []Fault // in the order of their beginning
	Plan         []Plan  // one for each kind of fault that was planned
	Observations []Observation
	Timeline     Timeline
	// Stalls are when the suite's own process got no processor, as a busy machine has it: what clients saw then says little of
	// the nodes.
	Stalls []Span
	// Findings are what the run itself noticed and no file tells: a node that died by itself, an interrupt.
	Findings []Reason
	// Problems are failures of the suite itself, as sentences: what was recorded is not to be trusted.
	Problems []string
	// Damage are the parts that a killed run left behind cut short, as sentences.
	Damage []string
}

// Timeline says when the phases of a run began. Zero stands for a phase that was never reached.
type Timeline struct {
	Load  time.Duration `json:"load"`  // the workload, warming up before the first fault
	Quiet time.Duration `json:"quiet"` // everything healed, the workload over
	Final time.Duration `json:"final"` // final reads
	End   time.Duration `json:"end"`
}

// Plan is what was planned of one kind of fault.
type Plan struct {
	Fault       string `json:"fault"`
	Count       int    `json:"count"`        // how many times it was to be installed
	KeepsQuorum bool   `json:"keeps_quorum"` // operations must go on succeeding while it is in force
}

// Attempt is how installing a fault ended.
type Attempt string

// The attempts.
const (
	Installed     Attempt = "installed"     // in force, and proven
	Skipped       Attempt = "skipped"       // nothing was done
	Indeterminate Attempt = "indeterminate" // something was done, but not proven
)

// Healing is how a fault went.
type Healing string

// The healings.
const (
	Healed    Healing = "healed"     // gone, and proven
	NotHealed Healing = "not-healed" // still there, or unproven
	Unhealed  Healing = "unhealed"   // nobody tried: the run was cut short
)

// Fault is one fault, from the attempt to install it to the proof that it is gone.
type Fault struct {
	ID      int
	Name    string
	Targets []string
	Attempt Attempt
	Healing Healing // Unhealed, too, where nothing was done
	Reason  string  // why it was skipped, is indeterminate or did not heal

	Begun   time.Duration // installing began
	From    time.Duration // it was proven in force
	To      time.Duration // healing began; Never when it did not
	Cleared time.Duration // it was proven gone; Never when it was not
}

// Observation is what a node said of itself, or that it said nothing.
type Observation struct {
	Asked time.Duration `json:"asked"` // when the node was asked, since the run began
	Time  time.Duration `json:"time"`  // when it had answered
	Node  string        `json:"node"`
	Error string        `json:"error,omitempty"` // why there was no answer; nothing below is set then

	Role    string  `json:"role,omitempty"` // "leader", "follower", "candidate" or "pre-candidate"
	Term    uint64  `json:"term,omitempty"`
	Leader  string  `json:"leader,omitempty"` // empty when the node knows none
	Vote    string  `json:"vote,omitempty"`   // whom it voted for in Term; empty for nobody
	Commit  uint64  `json:"commit,omitempty"`
	Applied uint64  `json:"applied,omitempty"`
	Reigns  []Reign `json:"reigns,omitempty"`
	// Wiped is how often its disk was emptied so far, after it was proven to be no member any more.
	// Before it joins anew it has forgotten all, as it may.
	Wiped int `json:"wiped,omitempty"`
}

// life names the node as long as it must remember.
func (o Observation) life() string {
	if o.Wiped == 0 {
		return o.Node
	}
	return fmt.Sprintf("%s, wiped %d times", o.Node, o.Wiped)
}

// Reign is a term that the node's process has led.
type Reign struct {
	Term uint64 `json:"term"`
	Over bool   `json:"over"`
}

package cluster

import (
	"context"
	"fmt"
	"time"
)

// Disturbance is one way in which a link can be bad without being cut.
type Disturbance string

// The disturbances.
const (
	Loss      Disturbance = "loss"      // a share of the packets is lost
	Duplicate Disturbance = "duplicate" // a share arrives twice
	Corrupt   Disturbance = "corrupt"   // a share is damaged on the way, so that its checksum is wrong and the receiver drops it
	Limit     Disturbance = "limit"     // what exceeds a rate is lost
	Delay     Disturbance = "delay"     // all take longer
	Reorder   Disturbance = "reorder"   // a share is overtaken by what was sent later
	Silence   Disturbance = "silence"   // connections that stand carry nothing any more, and new ones are refused
	Refuse    Disturbance = "refuse"    // connections that stand go on, and new ones are refused
)

// Degradation says how bad a link is: the fields that its kind needs, and no other.
type Degradation struct {
	Kind  Disturbance   `json:"kind"`
	Share float64       `json:"share,omitempty"`    // of the packets, above 0 and at most 1: Loss, Duplicate, Corrupt, Reorder
	Rate  int           `json:"rate,omitempty"`     // packets a second, at least 1: Limit
	Delay time.Duration `json:"delay_ns,omitempty"` // on average, in one direction: Delay, and by how much Reorder holds back
}

func (d Degradation) String() string {
	switch d.Kind {
	case Loss, Duplicate, Corrupt:
		return fmt.Sprintf("%s of %g%%", d.Kind, 100*d.Share)
	case Reorder:
		return fmt.Sprintf("%s of %g%% by %v", d.Kind, 100*d.Share, d.Delay)
	case Limit:
		return fmt.Sprintf("%s of %d packets a second", d.Kind, d.Rate)
	case Delay:
		return fmt.Sprintf("%s of %v", d.Kind, d.Delay)
	}
	return string(d.Kind)
}

// Burst is how many packets a limit of that rate lets pass at once.
func Burst(rate int) int { return max(1, rate/10) }

// Jitter is by how much a delay varies, either way.
func Jitter(delay time.Duration) time.Duration { return delay / 4 }

// Measurement is what was seen on a link by sending over it.
type Measurement struct {
	Link
	Sent     int           `json:"sent"`               // datagrams
	Received int           `json:"received"`           // of them, at least once
	Twice    int           `json:"twice,omitempty"`    // of them, more than once
	Late     int           `json:"late,omitempty"`     // of them, after one that was sent later
	Damaged  int           `json:"damaged,omitempty"`  // that the receiver's kernel dropped meanwhile for a wrong checksum
	Delay    time.Duration `json:"delay_ns,omitempty"` // from sending to receiving, the median
	Took     time.Duration `json:"took_ns"`            // from the first sending to the last

	Standing Passage `json:"standing,omitempty"` // a connection that stood before
	Fresh    Passage `json:"fresh,omitempty"`    // one that is dialled now
}

// Passage is how a connection fares.
type Passage string

// The passages.
const (
	Carries Passage = "carries"
	Silent  Passage = "silent"  // nothing is heard in time
	Refused Passage = "refused" // the other end, or something between, ends it
)

// Degrader can make directed links bad, by rules in the nodes' network namespaces. It touches no rule that it did not
// make. A link may suffer several disturbances, but each of them once: to ask for one again is an error, and so is
// repairing what is not there.
type Degrader interface {
	// Degrades tells why links cannot be disturbed in that way here, and what would provide it; nil where they can.
	Degrades(ctx context.Context, d Disturbance) error
	Degrade(ctx context.Context, links []Link, d Degradation) error
	Repair(ctx context.Context, links []Link, d Disturbance) error
	// Measure sends so many datagrams over each link, or for Silence and Refuse tries connections, and counts what
	// arrives. It is independent of the rules: it sees what the network does, not what was asked of it.
	Measure(ctx context.Context, links []Link, d Disturbance, datagrams int) ([]Measurement, error)
}

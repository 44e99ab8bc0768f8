package checker

import (
	"context"
	"runtime"
	"time"
)

// Options bound what checking may cost and say what a run must have shown. Zero values stand for the
// defaults.
type Options struct {
	Workers    int           // keys checked at once; default GOMAXPROCS
	KeyTimeout time.Duration // for one key; default 30 s
	Timeout    time.Duration // for all keys; default 5 min
	MaxMemory  int64         // bytes that the searches of all workers may remember; default 1 GiB
	Pages      string        // directory for the drawings of broken keys; empty for none

	MaxGap        time.Duration // without an ok operation while a quorum is healthy; default 20 s
	MinOps        int           // operations of each kind that a fault's windows must hold; default 5
	MinBefore     int           // ok operations wanted before the first fault; default 20
	AllowNoFaults bool          // a run in which no fault was planned may pass
	Troubled      bool          // things went wrong all along, so that no time but the end was owed any success
}

func (o Options) withDefaults() Options {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.KeyTimeout <= 0 {
		o.KeyTimeout = 30 * time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Minute
	}
	if o.MaxMemory <= 0 {
		o.MaxMemory = 1 << 30
	}
	if o.MaxGap <= 0 {
		o.MaxGap = 20 * time.Second
	}
	if o.MinOps <= 0 {
		o.MinOps = 5
	}
	if o.MinBefore <= 0 {
		o.MinBefore = 20
	}
	return o
}

// Check runs every checker on the evidence and concludes. A context that ends stops the search for
// linearizations; what was not searched is then unknown, and the verdict no better than inconclusive.
func Check(ctx context.Context, evidence Evidence, options Options) Report {
	findings := find(ctx, evidence, options)
	findings.Canary = Canary()
	return Conclude(evidence, findings, options)
}

// Judge is Check without the canary, for whoever judges many runs and calls Canary once.
func Judge(ctx context.Context, evidence Evidence, options Options) Report {
	return Conclude(evidence, find(ctx, evidence, options), options)
}

// Findings are what the checkers came to, each on its own.
type Findings struct {
	Canary          error // why the checkers are not to be trusted
	Linearizability LinearizabilityResult
	Leaders         Finding
	Votes           Finding
	Revisions       Finding
	Availability    Finding
	Coverage        Coverage
	Stats           Stats
}

func find(ctx context.Context, evidence Evidence, options Options) Findings {
	return Findings{
		Linearizability: Linearizability(ctx, evidence, options),
		Leaders:         Leaders(evidence),
		Votes:           Votes(evidence.Observations),
		Revisions:       Revisions(evidence.Ops),
		Availability:    Availability(evidence, options),
		Coverage:        Cover(evidence, options),
		Stats:           Summarise(evidence),
	}
}

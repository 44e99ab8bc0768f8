package checker

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"coup/history"
)

// Recipe is what the steps of a fixed schedule did to those who were served meanwhile. It is no part of the verdict.
type Recipe struct {
	Name            string        `json:"name"`
	ElectionTimeout time.Duration `json:"election_timeout_ns"`
	Steps           []Step        `json:"steps"`
}

// Step is one step of a recipe. It lasts from its beginning to that of the next, or to the end of the workload, so that what
// follows from it counts as well.
type Step struct {
	Name        string        `json:"name"`
	Took        time.Duration `json:"took_ns"`       // what was done for it, proofs included; 0 where it was never proven
	Unavailable Span          `json:"unavailable"`   // the longest time in which no operation completed ok, at any node
	OK          int           `json:"ok"`            // operations begun in it
	Stalled     time.Duration `json:"stalled_ns"`    // of Unavailable, the suite itself got no processor
	Invoked     int           `json:"invoked"`       // likewise, of any outcome
	P99Before   time.Duration `json:"p99_before_ns"` // of the ok operations from the beginning of the workload to the first step
	P99         time.Duration `json:"p99_ns"`        // of the ok operations begun in it
}

// Steps measures the steps of a recipe, each of which is a fault.
func Steps(evidence Evidence) []Step {
	load := loadPhase(evidence)
	steps := []Step{}
	var before time.Duration
	for i, f := range evidence.Faults {
		span := Span{From: f.Begun, To: load.To}
		if i+1 < len(evidence.Faults) {
			span.To = evidence.Faults[i+1].Begun
		}
		if i == 0 {
			before, _, _ = p99(evidence.Ops, Span{From: load.From, To: f.Begun})
		}
		step := Step{Name: f.Name, Unavailable: longestGap(evidence.Ops, span), P99Before: before}
		for _, s := range evidence.Stalls {
			step.Stalled += max(0, min(s.To, step.Unavailable.To)-max(s.From, step.Unavailable.From))
		}
		if f.Attempt == Installed && f.Healing == Healed {
			step.Took = f.From - f.Begun + f.Cleared - f.To
		}
		step.P99, step.OK, step.Invoked = p99(evidence.Ops, span)
		steps = append(steps, step)
	}
	return steps
}

// p99 is the latency below which 99 in 100 ok operations were that were begun in a span.
func p99(ops []history.Op, within Span) (latency time.Duration, ok, invoked int) {
	latencies := hdrhistogram.New(shortestLatency.Microseconds(), longestLatency.Microseconds(), latencyDigits)
	for _, op := range ops {
		if op.Invoke < within.From || op.Invoke >= within.To {
			continue
		}
		invoked++
		if op.Outcome == history.OK {
			ok++
			// In range, so the only error there is cannot come.
			_ = latencies.RecordValue(min(max(op.Return-op.Invoke, shortestLatency), longestLatency).Microseconds())
		}
	}
	return time.Duration(latencies.ValueAtQuantile(99)) * time.Microsecond, ok, invoked
}

// most is how long a step may leave clients without an answer: two election time-outs.
func (r Recipe) most() time.Duration { return 2 * r.ElectionTimeout }

// Within tells whether no step left clients unserved for longer than two election time-outs.
func (r Recipe) Within() bool {
	for _, s := range r.Steps {
		if s.Unavailable.Length() > r.most() {
			return false
		}
	}
	return true
}

// Bound says in a sentence what the steps are held to, and whether they keep to it.
func (r Recipe) Bound() string {
	word := "Each step keeps to it."
	if !r.Within() {
		word = "Not every step keeps to it."
	}
	return fmt.Sprintf("An election time-out is %v; no step should leave clients without an ok for more than two, %v. %s",
		r.ElectionTimeout, r.most(), word)
}

// Table shows the steps, the heading first.
func (r Recipe) Table() [][]string {
	rows := [][]string{{"step", "took", "longest without an ok", "of that the suite stood still", "within two election time-outs", "ok", "p99 before", "p99"}}
	for _, s := range r.Steps {
		within, took := "yes", "not done"
		if s.Unavailable.Length() > r.most() {
			within = "NO"
		}
		if s.Took > 0 {
			took = fmt.Sprintf("%.2fs", s.Took.Seconds())
		}
		rows = append(rows, []string{
			s.Name, took, millis(s.Unavailable.Length()), millis(s.Stalled), within, fmt.Sprintf("%d/%d", s.OK, s.Invoked), millis(s.P99Before), millis(s.P99),
		})
	}
	return rows
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1fms", d.Seconds()*1e3) }

package checker

import (
	"fmt"
	"slices"
	"time"

	"coup/history"
)

// Coverage tells what the workload did while faults were in force.
type Coverage struct {
	Rows  []CoverageRow `json:"rows"`  // one for each kind of fault, in the order of the plan
	Calm  CoverageRow   `json:"calm"`  // outside of every window
	Holes []string      `json:"holes"` // why the run proves less than it should, as sentences
}

// CoverageRow counts the operations inside the windows of one kind of fault: a window lasts from the
// proof that the fault is in force to the beginning of its healing.
type CoverageRow struct {
	Fault       string        `json:"fault,omitempty"`
	KeepsQuorum bool          `json:"keeps_quorum,omitempty"`
	Windows     int           `json:"windows"`
	InForce     time.Duration `json:"in_force_ns"`
	Read        Count         `json:"read"`
	Write       Count         `json:"write"`
	CAS         Count         `json:"cas"`
	OKAfter     int           `json:"ok_after"` // ok operations begun after a healing of it, before it came again
}

// Count is of operations begun inside a window; ok are those that also ended there, with success.
type Count struct {
	Invoked int `json:"invoked"`
	OK      int `json:"ok"`
}

// Of is the count of one kind of operation.
func (r *CoverageRow) Of(f history.F) *Count {
	switch f {
	case history.Read:
		return &r.Read
	case history.Write:
		return &r.Write
	}
	return &r.CAS
}

// window is a fault in force.
type window struct{ from, to, cleared, again time.Duration }

// Cover counts, and finds the holes: a fault that was planned and never proven installed, or not
// proven once; one that keeps a quorum, with fewer than MinOps ok operations of a kind in its
// windows; one that does not, with fewer invoked, or fewer ok of all kinds after it was healed.
func Cover(evidence Evidence, options Options) Coverage {
	options = options.withDefaults()
	end := loadPhase(evidence).To
	coverage := Coverage{Holes: []string{}, Rows: []CoverageRow{}}
	var all []window
	for _, plan := range evidence.Plan {
		row := CoverageRow{Fault: plan.Fault, KeepsQuorum: plan.KeepsQuorum}
		windows := windowsOf(plan.Fault, evidence.Faults, end)
		all = append(all, windows...)
		row.count(windows, evidence.Ops)
		coverage.Rows = append(coverage.Rows, row)
		coverage.Holes = append(coverage.Holes, holes(plan, row, evidence.Faults, options)...)
	}
	for _, op := range evidence.Ops {
		if op.Invoke < evidence.Timeline.Load || op.Invoke > end || slices.ContainsFunc(all, func(w window) bool {
			return op.Invoke <= w.cleared && op.Return >= w.from
		}) {
			continue
		}
		of := coverage.Calm.Of(op.F)
		of.Invoked++
		if op.Outcome == history.OK {
			of.OK++
		}
	}
	if len(evidence.Plan) == 0 {
		for _, f := range functions {
			if of := coverage.Calm.Of(f); of.OK < options.MinOps {
				coverage.Holes = append(coverage.Holes, fmt.Sprintf(
					"Only %d %s operations succeeded; %d are wanted.", of.OK, f, options.MinOps))
			}
		}
	}
	return coverage
}

// windowsOf are the windows of one kind of fault, in order. One that was never healed lasts to the end.
func windowsOf(name string, faults []Fault, end time.Duration) []window {
	var windows []window
	for _, f := range faults {
		if f.Name != name || f.Attempt != Installed {
			continue
		}
		if n := len(windows); n > 0 {
			windows[n-1].again = f.Begun
		}
		windows = append(windows, window{from: f.From, to: max(f.From, min(f.To, end)), cleared: f.Cleared, again: Never})
	}
	return windows
}

func (r *CoverageRow) count(windows []window, ops []history.Op) {
	r.Windows = len(windows)
	for _, w := range windows {
		r.InForce += w.to - w.from
	}
	for _, op := range ops {
		at := slices.IndexFunc(windows, func(w window) bool { return op.Invoke >= w.from && op.Invoke <= w.to })
		if at >= 0 {
			r.Of(op.F).Invoked++
			if op.Outcome == history.OK && op.Return <= windows[at].to {
				r.Of(op.F).OK++
			}
		}
		if op.Outcome == history.OK && slices.ContainsFunc(windows, func(w window) bool {
			return op.Invoke >= w.cleared && op.Invoke < w.again
		}) {
			r.OKAfter++
		}
	}
}

// Gaps are the holes in what several runs came to together, given the sum of their rows for one kind of fault.
func Gaps(plan Plan, row CoverageRow, options Options) []string {
	return holes(plan, row, nil, options.withDefaults())
}

// Add counts what was covered elsewhere, too.
func (r *CoverageRow) Add(o CoverageRow) {
	r.Windows += o.Windows
	r.InForce += o.InForce
	r.OKAfter += o.OKAfter
	for _, f := range functions {
		r.Of(f).Invoked += o.Of(f).Invoked
		r.Of(f).OK += o.Of(f).OK
	}
}

// holes tells in what the run did not prove the system under one kind of fault.
func holes(plan Plan, row CoverageRow, faults []Fault, options Options) []string {
	var found []string
	hole := func(format string, arguments ...any) { found = append(found, fmt.Sprintf(format, arguments...)) }
	for _, f := range faults {
		if f.Name == plan.Fault && f.Attempt == Indeterminate {
			hole("%s was not proven installed at %s: %s.", f.Name, clock(f.Begun), f.Reason)
		}
	}
	if plan.Count == 0 {
		hole("%s was asked for, but the run was too short to come to it.", plan.Fault)
		return found
	}
	if row.Windows == 0 {
		reason := "the run never came to it"
		for _, f := range faults {
			if f.Name == plan.Fault && f.Attempt == Skipped {
				reason = "it was skipped: " + f.Reason
			}
		}
		hole("%s was planned %d times and never installed; %s.", plan.Fault, plan.Count, reason)
		return found
	}
	for _, f := range functions {
		of := row.Of(f)
		switch {
		case plan.KeepsQuorum && of.OK < options.MinOps:
			hole("Only %d of %d %s operations succeeded while %s was in force; %d are wanted.",
				of.OK, of.Invoked, f, plan.Fault, options.MinOps)
		case !plan.KeepsQuorum && of.Invoked < options.MinOps:
			hole("Only %d %s operations were tried while %s was in force; %d are wanted.",
				of.Invoked, f, plan.Fault, options.MinOps)
		}
	}
	if !plan.KeepsQuorum && row.OKAfter < options.MinOps {
		hole("Only %d operations succeeded after %s was healed; %d are wanted.", row.OKAfter, plan.Fault, options.MinOps)
	}
	return found
}

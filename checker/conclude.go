package checker

import (
	"cmp"
	"fmt"
	"slices"

	"coup/history"
)

// Conclude weighs what the checkers found. It decides by these rules:
//
//   - violation: a key that is not linearizable, a broken invariant of leadership, or revisions that
//     contradict each other.
//   - harness: what the runner reports as a failure of the suite, a fault that did not heal, a canary
//     that was not caught, and a key that one checker proves broken and another proves linearizable.
//     Broken revisions on linearizable keys are no such disagreement: the node then lies about its
//     log, not about values, and that is a violation of its own.
//   - unavailable: no progress of a healthy quorum; only of a run that came to its end, since what
//     killed a run may have stopped its clients before.
//   - inconclusive: a key whose search ran out of its budget, a hole in the coverage, too little
//     before the first fault, and a run that was cut short.
func Conclude(evidence Evidence, findings Findings, options Options) Report {
	options = options.withDefaults()
	report := Report{
		Linearizability: findings.Linearizability,
		Faults:          countFaults(evidence),
		Coverage:        findings.Coverage,
		Stats:           findings.Stats,
		Reasons:         []Reason{},
	}
	conclude := func(name, summary string, reasons []Reason) {
		result := Result{Name: name, Verdict: Pass, Summary: summary}
		for _, r := range reasons {
			r.Checker = name
			result.Verdict = Worst(result.Verdict, r.Verdict)
			report.Reasons = append(report.Reasons, r)
		}
		report.Checkers = append(report.Checkers, result)
	}
	summary, reasons := concludeLinearizability(findings.Linearizability)
	conclude(NameLinearizability, summary, reasons)
	conclude(NameLeaders, findings.Leaders.Summary, sentences(Violation, findings.Leaders.Broken))
	conclude(NameVotes, findings.Votes.Summary, sentences(Violation, findings.Votes.Broken))
	conclude(NameRevisions, findings.Revisions.Summary, sentences(Violation, findings.Revisions.Broken))
	var unavailable []Reason
	if evidence.Timeline.End > 0 {
		unavailable = sentences(Unavailable, findings.Availability.Broken)
	}
	conclude(NameAvailability, findings.Availability.Summary, unavailable)
	summary, reasons = concludeCoverage(evidence, findings.Coverage, options)
	conclude(NameCoverage, summary, reasons)
	summary, reasons = concludeHarness(evidence, findings)
	conclude(NameHarness, summary, reasons)
	for _, found := range byChecker(evidence.Findings) {
		conclude(found[0].Checker, fmt.Sprintf("Noticed while it ran: %d.", len(found)), found)
	}

	slices.SortStableFunc(report.Reasons, func(a, b Reason) int { return cmp.Compare(a.Verdict.rank(), b.Verdict.rank()) })
	report.Verdict = Pass
	if len(report.Reasons) > 0 {
		report.Verdict = report.Reasons[0].Verdict
	}
	return report
}

// byChecker groups reasons by who found them, in the order of the first of each.
func byChecker(reasons []Reason) [][]Reason {
	var groups [][]Reason
	for _, r := range reasons {
		at := slices.IndexFunc(groups, func(group []Reason) bool { return group[0].Checker == r.Checker })
		if at < 0 {
			at = len(groups)
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], r)
	}
	return groups
}

// mostReasons is how many reasons of one kind are told one by one: a system that lost everything
// contradicts itself in every operation.
const mostReasons = 10

// sentences makes reasons of texts, the last of which says how many more there are.
func sentences(verdict Verdict, texts []string) []Reason {
	var reasons []Reason
	for _, text := range texts[:min(len(texts), mostReasons)] {
		reasons = append(reasons, Reason{Verdict: verdict, Text: text})
	}
	if more := len(texts) - mostReasons; more > 0 {
		reasons = append(reasons, Reason{Verdict: verdict, Text: fmt.Sprintf("And %d more of the kind.", more)})
	}
	return reasons
}

func concludeLinearizability(result LinearizabilityResult) (summary string, reasons []Reason) {
	var unknown, unexplained []string
	for _, key := range result.Suspect {
		switch {
		case key.Outcome == Unknown:
			unknown = append(unknown, fmt.Sprintf("Whether %s is linearizable is unknown: %s.", key.Key, key.Reason))
		case key.Contested:
		case len(key.Explanation) > 0:
			reasons = append(reasons, Reason{
				Verdict: Violation,
				Text:    fmt.Sprintf("%s is not linearizable. %s", key.Key, key.Explanation[0]),
				Details: key.Explanation[1:],
			})
		default:
			unexplained = append(unexplained, key.Key)
		}
	}
	if len(unexplained) > 0 {
		reasons = append(reasons, Reason{
			Verdict: Violation,
			Text:    fmt.Sprintf("%d keys more are not linearizable: %s.", len(unexplained), enumerate(unexplained, mostReasons)),
		})
	}
	reasons = append(reasons, sentences(Inconclusive, unknown)...)
	summary = fmt.Sprintf("%d of %d keys are linearizable, %d operations.", result.OK, result.Keys, result.Ops)
	return summary, reasons
}

func concludeCoverage(evidence Evidence, coverage Coverage, options Options) (summary string, reasons []Reason) {
	inconclusive := func(format string, arguments ...any) {
		reasons = append(reasons, Reason{Verdict: Inconclusive, Text: fmt.Sprintf(format, arguments...)})
	}
	switch timeline := evidence.Timeline; {
	case timeline.Load == 0:
		inconclusive("The run never came to its workload.")
	case timeline.End == 0:
		inconclusive("The run was cut short %s; what it recorded until %s was checked.", phaseOf(timeline), clock(lastHeard(evidence.Ops)))
	}
	for _, damage := range evidence.Damage {
		inconclusive("%s", damage)
	}
	if len(evidence.Plan) == 0 && !options.AllowNoFaults {
		inconclusive("No fault was planned, so nothing was proven under faults.")
	}
	if before, until := okBeforeFaults(evidence); before < options.MinBefore {
		inconclusive("Only %d operations succeeded before %s; %d are wanted.", before, until, options.MinBefore)
	}
	reasons = append(reasons, sentences(Inconclusive, coverage.Holes)...)
	installed := 0
	for _, row := range coverage.Rows {
		installed += row.Windows
	}
	summary = fmt.Sprintf("%d faults of %d kinds were proven in force; %d holes.", installed, len(coverage.Rows), len(coverage.Holes))
	return summary, reasons
}

func concludeHarness(evidence Evidence, findings Findings) (summary string, reasons []Reason) {
	broken := func(format string, arguments ...any) {
		reasons = append(reasons, Reason{Verdict: Harness, Text: fmt.Sprintf(format, arguments...)})
	}
	if findings.Canary != nil {
		broken("The checkers failed on a history whose verdict is known: %v.", findings.Canary)
	}
	for _, problem := range evidence.Problems {
		broken("%s", problem)
	}
	for _, f := range evidence.Faults {
		switch {
		case f.Healing == NotHealed:
			broken("%s, installed at %s, did not heal: %s.", f.Name, clock(f.Begun), f.Reason)
		case f.Healing == Unhealed && f.Attempt != Skipped && evidence.Timeline.End > 0:
			broken("%s, installed at %s, was never healed.", f.Name, clock(f.Begun))
		}
	}
	for _, key := range findings.Linearizability.Suspect {
		if key.Contested {
			broken("The checkers disagree on %s: the search finds no linearization, yet the order of revisions is one.", key.Key)
		}
	}
	summary = "The suite did what it should; the canary was caught."
	if len(reasons) > 0 {
		summary = fmt.Sprintf("The suite failed in %d ways.", len(reasons))
	}
	return summary, reasons
}

// okBeforeFaults counts the ok operations before the first fault, and names that moment.
func okBeforeFaults(evidence Evidence) (count int, until string) {
	end, until := loadPhase(evidence).To, "the workload ended"
	for _, f := range evidence.Faults {
		if f.Attempt != Skipped && f.Begun < end {
			end, until = f.Begun, "the first fault"
		}
	}
	for _, op := range evidence.Ops {
		if op.Outcome == history.OK && op.Return <= end {
			count++
		}
	}
	return count, until
}

func phaseOf(t Timeline) string {
	switch {
	case t.Final > 0:
		return "during the final reads"
	case t.Quiet > 0:
		return "after the workload"
	}
	return "during the workload"
}

// countFaults sums up the attempts at each kind of fault.
func countFaults(evidence Evidence) []FaultCount {
	counts := []FaultCount{}
	for _, plan := range evidence.Plan {
		count := FaultCount{Fault: plan.Fault, KeepsQuorum: plan.KeepsQuorum, Planned: plan.Count, Verdict: Pass}
		for _, f := range evidence.Faults {
			if f.Name == plan.Fault {
				count.add(f, evidence.Timeline.End > 0)
			}
		}
		if count.Installed == 0 || count.Indeterminate > 0 {
			count.Verdict = Worst(count.Verdict, Inconclusive)
		}
		counts = append(counts, count)
	}
	return counts
}

func (c *FaultCount) add(f Fault, finished bool) {
	switch f.Attempt {
	case Installed:
		c.Installed++
	case Skipped:
		c.Skipped++
	default:
		c.Indeterminate++
	}
	switch {
	case f.Healing == Healed:
		c.Healed++
	case f.Attempt == Skipped:
	case f.Healing == NotHealed || finished:
		c.NotHealed++
		c.Verdict = Harness
	}
	if f.Reason != "" {
		c.Reasons = append(c.Reasons, fmt.Sprintf("%s: %s", clock(f.Begun), f.Reason))
	}
}

package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"coup/history"
)

// Availability tells where a healthy quorum made no progress: MaxGap without an ok operation while
// some were asked and no fault that takes the quorum away was in force, a final read that never
// succeeded, or no success and no leader at all after everything was healed.
func Availability(evidence Evidence, options Options) Finding {
	options = options.withDefaults()
	var finding Finding
	accuse := func(format string, arguments ...any) {
		finding.Broken = append(finding.Broken, fmt.Sprintf(format, arguments...))
	}
	healthy := healthySpans(evidence)
	if options.Troubled {
		healthy = nil
	}
	for _, span := range healthy {
		gap, count := asked(evidence.Ops, longestGap(evidence.Ops, span))
		if count > 0 && gap.Length() >= options.MaxGap {
			accuse("No operation succeeded from %s to %s although a quorum was healthy; %d were asked.",
				clock(gap.From), clock(gap.To), count)
		}
	}
	if evidence.Timeline.Final > 0 {
		written, missing := finalReads(evidence)
		finding.Summary = fmt.Sprintf("%d of %d final reads succeeded.", written-len(missing), written)
		if len(missing) > 0 {
			accuse("%d of %d final reads never succeeded: %s.", len(missing), written, enumerate(missing, 5))
		}
	}
	if t := evidence.Timeline; t.Quiet > 0 && !okSince(evidence.Ops, t.Quiet) {
		answers, leaders := leadersSince(evidence.Observations, t.Quiet)
		switch _, count := asked(evidence.Ops, Span{From: t.Quiet, To: Never}); {
		case count > 0:
			accuse("After everything was healed at %s, none of %d operations succeeded.", clock(t.Quiet), count)
		case answers > 0 && leaders == 0 && t.End-t.Quiet >= options.MaxGap/2:
			accuse("From %s, when everything was healed, to %s no node led.", clock(t.Quiet), clock(t.End))
		}
	}
	if len(finding.Broken) > 0 || finding.Summary == "" {
		gap := longestGap(evidence.Ops, loadPhase(evidence))
		finding.Summary = strings.TrimSpace(fmt.Sprintf("%s The longest time without success was %.1f s.",
			finding.Summary, gap.Length().Seconds()))
	}
	return finding
}

// healthySpans are the parts of the workload phase in which no fault took the quorum away.
func healthySpans(evidence Evidence) []Span {
	load := loadPhase(evidence)
	keeps := make(map[string]bool)
	for _, plan := range evidence.Plan {
		keeps[plan.Fault] = plan.KeepsQuorum
	}
	spans := []Span{load}
	for _, f := range evidence.Faults {
		if f.Attempt == Skipped || keeps[f.Name] {
			continue
		}
		var left []Span
		for _, s := range spans {
			for _, part := range []Span{{s.From, min(s.To, f.Begun)}, {max(s.From, f.Cleared), s.To}} {
				if part.Length() > 0 {
					left = append(left, part)
				}
			}
		}
		spans = left
	}
	return spans
}

// asked counts the operations begun within a span, and cuts the time before the first of them off.
func asked(ops []history.Op, within Span) (Span, int) {
	left, count := Span{From: within.To, To: within.To}, 0
	for _, op := range ops {
		if op.Invoke >= within.From && op.Invoke < within.To {
			left.From = min(left.From, op.Invoke)
			count++
		}
	}
	return left, count
}

// finalReads counts the keys that were, or may have been, written, and names those that no read
// succeeded of in the final phase.
func finalReads(evidence Evidence) (written int, missing []string) {
	for _, key := range byKey(evidence.Ops) {
		if !slices.ContainsFunc(key.ops, func(op history.Op) bool {
			return op.F != history.Read && op.Outcome != history.Fail
		}) {
			continue
		}
		written++
		if !slices.ContainsFunc(key.ops, func(op history.Op) bool {
			return op.F == history.Read && op.Outcome == history.OK && op.Invoke >= evidence.Timeline.Final
		}) {
			missing = append(missing, key.key)
		}
	}
	return written, missing
}

func okSince(ops []history.Op, since time.Duration) bool {
	return slices.ContainsFunc(ops, func(op history.Op) bool {
		return op.Outcome == history.OK && op.Invoke >= since
	})
}

// leadersSince counts nodes' answers, and those that were a leader's.
func leadersSince(observations []Observation, since time.Duration) (answers, leaders int) {
	for _, o := range observations {
		if o.Asked < since || o.Error != "" {
			continue
		}
		answers++
		if o.Role == "leader" {
			leaders++
		}
	}
	return answers, leaders
}

// enumerate lists the first few names.
func enumerate(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

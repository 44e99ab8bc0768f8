package checker

import (
	"cmp"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"coup/history"
)

// functions are the kinds of operations, in the order in which tables show them.
var functions = []history.F{history.Read, history.Write, history.CAS}

// Stats are the figures of a run.
type Stats struct {
	Ops        []OpStats `json:"ops"`           // of each kind of operation that was invoked
	Invoked    int       `json:"invoked"`       // of all kinds
	OK         int       `json:"ok"`            // of all kinds
	Throughput float64   `json:"ok_per_second"` // over the workload phase
	// Gap is the longest time in the workload phase without an ok.
	Gap Span `json:"longest_gap_without_ok"`
}

// Span is a stretch of the run.
type Span struct {
	From time.Duration `json:"from_ns"`
	To   time.Duration `json:"to_ns"`
}

// Length is how long it is.
func (s Span) Length() time.Duration { return s.To - s.From }

// OpStats are the figures of one kind of operation. Latencies are of the ok ones; zero when there
// are none.
type OpStats struct {
	F       history.F     `json:"f"`
	Invoked int           `json:"invoked"`
	OK      int           `json:"ok"`
	Fail    int           `json:"fail"`
	Info    int           `json:"info"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
	Max     time.Duration `json:"max_ns"`
}

// Latencies are kept from a microsecond to ten minutes, to three digits.
const (
	longestLatency  = 10 * time.Minute
	latencyDigits   = 3
	shortestLatency = time.Microsecond
)

// Summarise makes the figures.
func Summarise(evidence Evidence) Stats {
	var stats Stats
	for _, f := range functions {
		of := OpStats{F: f}
		latencies := hdrhistogram.New(shortestLatency.Microseconds(), longestLatency.Microseconds(), latencyDigits)
		for _, op := range evidence.Ops {
			if op.F != f {
				continue
			}
			of.Invoked++
			switch op.Outcome {
			case history.OK:
				of.OK++
				took := min(max(op.Return-op.Invoke, shortestLatency), longestLatency)
				// In range, so the only error there is cannot come.
				_ = latencies.RecordValue(took.Microseconds())
			case history.Fail:
				of.Fail++
			default:
				of.Info++
			}
		}
		if of.Invoked == 0 {
			continue
		}
		of.P50 = time.Duration(latencies.ValueAtQuantile(50)) * time.Microsecond
		of.P99 = time.Duration(latencies.ValueAtQuantile(99)) * time.Microsecond
		of.Max = time.Duration(latencies.Max()) * time.Microsecond
		stats.Ops = append(stats.Ops, of)
		stats.Invoked += of.Invoked
		stats.OK += of.OK
	}
	load := loadPhase(evidence)
	inLoad := 0
	for _, op := range evidence.Ops {
		if op.Outcome == history.OK && op.Return >= load.From && op.Return <= load.To {
			inLoad++
		}
	}
	if seconds := load.Length().Seconds(); seconds > 0 {
		stats.Throughput = float64(inLoad) / seconds
	}
	stats.Gap = longestGap(evidence.Ops, load)
	return stats
}

// loadPhase is the workload phase, as far as it came.
func loadPhase(evidence Evidence) Span {
	load := Span{From: evidence.Timeline.Load, To: lastHeard(evidence.Ops)}
	if evidence.Timeline.Quiet > 0 {
		load.To = evidence.Timeline.Quiet
	}
	load.To = max(load.From, load.To)
	return load
}

// lastHeard is the time of the last event of the history.
func lastHeard(ops []history.Op) time.Duration {
	var last time.Duration
	for _, op := range ops {
		last = max(last, op.Invoke)
		if op.Return != history.Never {
			last = max(last, op.Return)
		}
	}
	return last
}

// longestGap is the longest stretch within a span in which no ok operation ended.
func longestGap(ops []history.Op, within Span) Span {
	var ends []time.Duration
	for _, op := range ops {
		if op.Outcome == history.OK && op.Return > within.From && op.Return < within.To {
			ends = append(ends, op.Return)
		}
	}
	slices.SortFunc(ends, cmp.Compare[time.Duration])
	longest := Span{From: within.From, To: within.From}
	previous := within.From
	for _, end := range append(ends, within.To) {
		if end-previous > longest.Length() {
			longest = Span{From: previous, To: end}
		}
		previous = end
	}
	return longest
}

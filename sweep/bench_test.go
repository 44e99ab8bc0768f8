package sweep

import (
	"testing"

	"coup/nemesis"
	"coup/sim"
)

// BenchmarkSweep is one run of a sweep, with all checks, on one core.
func BenchmarkSweep(b *testing.B) {
	o := Options{First: 1, Seeds: b.N, MinNodes: 3, MaxNodes: 7, Faults: nemesis.All(), Troubles: sim.Troubles(), Ops: 2000, Workers: 1, KeepGoing: true}
	r := Sweep(b.Context(), o, nil)
	b.ReportMetric(float64(r.Ops)/float64(r.Runs), "ops/run")
	b.ReportMetric(100*float64(r.Judging)/float64(r.Judging+r.Playing), "%judging")
}

package sweep

import (
	"context"

	"coup/sim"
)

// Record does the run of a seed and takes it down as lines of a scenario. The failure is nil when nothing failed.
func (o Options) Record(ctx context.Context, seed uint64) (script []string, failure *Failure) {
	var s sim.Script
	out := o.run(ctx, seed, &s)
	return s.Lines(), out.failure
}

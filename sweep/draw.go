package sweep

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"time"

	"coup/nemesis"
	"coup/runner"
	"coup/sim"
)

// Run is one run of a sweep, as its seed has it.
type Run struct {
	Options runner.Options
	Faults  []nemesis.Fault
}

// warmUp is how long a run goes on before the first fault.
const warmUp = time.Second

// mostFaults is how many kinds of fault a run may have: with more, none would come often enough for what takes several of
// its kind.
const mostFaults = 7

// Draw makes the run of a seed. Runs differ in all that may matter: how many nodes, which faults and
// troubles, how dense the load and how often something happens. No run is asked for everything, for
// what is always there hides what happens without it.
func (o Options) Draw(seed uint64) Run {
	h := fnv.New64a()
	_, _ = h.Write([]byte("sweep"))
	random := rand.New(rand.NewPCG(seed, h.Sum64()))
	r := runner.Defaults()
	r.Name, r.Environment, r.Seed, r.WarmUp = "sweep", "sim", seed, warmUp
	r.Store = o.Store
	r.Nodes = o.MinNodes + random.IntN(o.MaxNodes-o.MinNodes+1)
	r.Rate = pick(random, 50, 100, 200.0)
	r.Keys = pick(random, 1, 2, 4, 8)
	r.Concurrency = pick(random, 4, 8, 16)
	r.OpTimeout = pick(random, 500*time.Millisecond, 1500*time.Millisecond)
	r.Interval = pick(random, 1500*time.Millisecond, 2*time.Second, 4*time.Second)
	r.Duration = max(warmUp+2*r.Interval, (time.Duration(float64(o.Ops)/r.Rate*1e3) * time.Millisecond).Round(100*time.Millisecond))
	r.Trouble = []string{}
	for _, trouble := range o.Troubles {
		if random.IntN(4) > 0 {
			r.Trouble = append(r.Trouble, trouble)
		}
	}
	world := sim.Prospect(r.Nodes)
	var faults []nemesis.Fault
	drawn := 0
	for _, i := range random.Perm(len(o.Faults)) {
		if drawn == mostFaults || o.Faults[i].Check(world) != nil {
			continue
		}
		if drawn++; random.IntN(2) == 0 || len(faults) == 0 {
			faults = append(faults, o.Faults[i])
		}
	}
	// A run comes to each of its faults.
	for len(faults) > 0 && r.Validate(faults) != nil {
		faults = faults[:len(faults)-1]
	}
	faults = inOrder(faults)
	r.Faults = []string{}
	for _, f := range faults {
		r.Faults = append(r.Faults, nemesis.Spell(f))
	}
	run := Run{Options: r, Faults: faults}
	run.Options.Repeat = run.Command()
	return run
}

func pick[T any](random *rand.Rand, from ...T) T { return from[random.IntN(len(from))] }

// inOrder puts faults into the order in which nemesis.Parse would.
func inOrder(faults []nemesis.Fault) []nemesis.Fault {
	var ordered []nemesis.Fault
	for _, known := range nemesis.All() {
		for _, f := range faults {
			if f.Name() == known.Name() {
				ordered = append(ordered, f)
			}
		}
	}
	return ordered
}

// Command is the command line that does the very same run alone, and keeps it in a folder.
func (r Run) Command() string {
	o := r.Options
	faults := append(append([]string{}, o.Faults...), o.Trouble...)
	if len(faults) == 0 {
		faults = []string{"none"}
	}
	line := fmt.Sprintf("coup run --env sim --seed %d --nodes %d --duration %v --warm-up %v --rate %v --concurrency %d --keys %d --interval %v --op-timeout %v --faults %s",
		o.Seed, o.Nodes, o.Duration, o.WarmUp, o.Rate, o.Concurrency, o.Keys, o.Interval, o.OpTimeout, strings.Join(faults, ","))
	if o.Store != "" {
		line += " --store " + o.Store
	}
	return line
}

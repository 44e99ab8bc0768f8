// Package sweep does many short runs in the simulator, one seed after the other and as many at once as
// there are cores, until one fails. What it finds depends on the seeds alone, however many workers
// there are and however they take turns.
package sweep

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"coup/checker"
	"coup/nemesis"
	"coup/runner"
	"coup/sim"
)

// Options are what a sweep goes through.
type Options struct {
	First     uint64 // seed of the first run; they count up from it
	Seeds     int    // how many; 0 for as many as the budget allows
	MinNodes  int
	MaxNodes  int
	Faults    []nemesis.Fault       // each run takes some of them
	Troubles  []string              // likewise, of sim.Troubles
	Store     string                // what nodes keep their logs in: sim.StoreMemory or sim.StorePebble
	Ops       int                   // that a run asks for, about
	Workers   int                   // runs at a time; 0 for one a core
	Budget    time.Duration         // nothing is begun after it; 0 for no limit
	KeepGoing bool                  // count failures and go on, instead of stopping at the first
	Only      Check                 // what may fail a run; empty for everything
	Shape     func(seed uint64) Run // makes the run of a seed; nil for Draw
	Patience  time.Duration         // how long a run may take by the wall clock; 0 for what its operations need and far more
}

// Check is a group of checks.
type Check string

// The groups.
const (
	Invariants      Check = "invariants"      // what the simulator sees inside the nodes
	Linearizability Check = "linearizability" // what clients see
	Liveness        Check = "liveness"        // what a healthy cluster owes
)

// Checks are all groups.
func Checks() []Check { return []Check{Invariants, Linearizability, Liveness} }

// counts tells whether a reason not to pass counts: the group looks for it.
func (c Check) counts(r checker.Reason) bool {
	switch c {
	case Invariants:
		return r.Checker == runner.NameInvariants
	case Linearizability:
		return r.Checker == checker.NameLinearizability
	case Liveness:
		return r.Checker == runner.NameLiveness || r.Verdict == checker.Unavailable
	}
	return true
}

// Failure is a run that did not do what it should.
type Failure struct {
	Seed    uint64          `json:"seed"`
	Verdict checker.Verdict `json:"verdict"`
	Check   string          `json:"check"` // "I4", "L1", or the name of a checker
	Text    string          `json:"text"`
	Run     string          `json:"run"` // the command that does it again, alone
}

// keptFailures is how many failures are told one by one.
const keptFailures = 20

// Result is what a sweep has come to so far.
type Result struct {
	First     uint64         `json:"first"`
	Runs      int            `json:"runs"`
	Ops       int            `json:"operations"`
	OK        int            `json:"ok"`
	Simulated time.Duration  `json:"simulated_ns"`
	Took      time.Duration  `json:"took_ns"`
	Faults    int            `json:"faults"`   // proven installed
	Unknown   int            `json:"unknown"`  // runs in which the search for a linearization ran out of its budget
	Failed    int            `json:"failed"`   // runs
	Failures  []Failure      `json:"failures"` // by seed, the first few
	Checks    map[string]int `json:"checks"`   // how many runs each check failed
	Reached   sim.Reached    `json:"reached"`
	Hash      string         `json:"trace_hash"` // of all that happened in all runs
	// Playing and Judging are the time that all workers spent in the simulator, invariants included, and
	// with the checkers of histories.
	Playing time.Duration `json:"playing_ns"`
	Judging time.Duration `json:"judging_ns"`

	hash uint64
}

// outcome is what came of one run.
type outcome struct {
	seed        uint64
	ops, ok     int
	simulated   time.Duration
	faults      int
	unknown     bool
	failure     *Failure
	reached     sim.Reached
	hash        uint64
	play, judge time.Duration
	cut         bool // somebody interrupted: it counts for nothing
}

// Sweep goes through the seeds. When ctx ends, or the budget is used up, the result is that of the
// seeds before. progress is called after each run, in the order of their seeds, on one goroutine at a
// time.
func Sweep(ctx context.Context, o Options, progress func(Result)) Result {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	s := &sweep{Options: o, begun: time.Now(), progress: progress, waiting: map[uint64]outcome{}, next: o.First, counted: o.First}
	s.total = Result{First: o.First, Failures: []Failure{}, Checks: map[string]int{}, hash: 0x9e3779b97f4a7c15}
	var workers sync.WaitGroup
	for range o.Workers {
		workers.Go(func() {
			for {
				seed, more := s.take(ctx)
				if !more {
					return
				}
				s.done(s.watch(ctx, seed))
			}
		})
	}
	workers.Wait()
	return s.result()
}

// sweep is one under way.
type sweep struct {
	Options
	begun    time.Time
	progress func(Result)

	mu      sync.Mutex
	next    uint64 // seed to be taken
	counted uint64 // seed to be counted
	over    bool
	stuck   bool               // a run does not end, and none is begun any more
	waiting map[uint64]outcome // for those before them; at most one a worker
	total   Result
}

// take hands out the next seed.
func (s *sweep) take(ctx context.Context) (seed uint64, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over, s.stuck, ctx.Err() != nil,
		s.Seeds > 0 && s.next-s.First >= uint64(s.Seeds),
		s.Budget > 0 && time.Since(s.begun) >= s.Budget:
		return 0, false
	}
	s.next++
	return s.next - 1, true
}

// patience is how long a run may take that is asked for so many operations: hundreds of times what one does.
func (o Options) patience() time.Duration {
	if o.Patience > 0 {
		return o.Patience
	}
	p := 30*time.Second + time.Duration(o.Ops)*time.Millisecond
	if o.Store == sim.StorePebble {
		p *= 20
	}
	return p
}

// watch does the run of a seed. One that does not end is given up, though nothing can stop it: a node that computes
// for ever within one step lets no time pass, and no interrupt through. It is the sweep's last.
func (s *sweep) watch(ctx context.Context, seed uint64) outcome {
	ended := make(chan outcome, 1)
	go func() { ended <- s.run(ctx, seed, nil) }()
	patience := time.NewTimer(s.patience())
	defer patience.Stop()
	select {
	case out := <-ended:
		return out
	case <-patience.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuck = true
	return outcome{seed: seed, failure: &Failure{
		Seed: seed, Verdict: checker.Violation, Check: runner.NameProcesses, Run: s.shape(seed).Command(),
		Text: fmt.Sprintf("The run does not end: within %v by the wall clock a node has not finished its step.", s.patience()),
	}}
}

// shape is the run of a seed.
func (o Options) shape(seed uint64) Run {
	if o.Shape != nil {
		return o.Shape(seed)
	}
	return o.Draw(seed)
}

// done counts a run as soon as all before it are counted, so that the first failure is that of the
// lowest seed, and nothing after it counts.
func (s *sweep) done(o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[o.seed] = o
	for {
		o, here := s.waiting[s.counted]
		if !here || s.over {
			return
		}
		delete(s.waiting, s.counted)
		if o.cut {
			s.over = true
			return
		}
		s.counted++
		s.total.add(o)
		s.over = s.total.Failed > 0 && !s.KeepGoing
		if s.progress != nil {
			s.progress(s.result())
		}
	}
}

// result is what has been counted.
func (s *sweep) result() Result {
	r := s.total
	r.Took = time.Since(s.begun)
	r.Hash = fmt.Sprintf("%016x", r.hash)
	return r
}

func (r *Result) add(o outcome) {
	r.Runs++
	r.Ops += o.ops
	r.OK += o.ok
	r.Simulated += o.simulated
	r.Faults += o.faults
	r.Playing += o.play
	r.Judging += o.judge
	r.Reached = sum(r.Reached, o.reached)
	r.hash = (r.hash ^ o.hash) * 0xd6e8feb86659fd93
	r.hash ^= r.hash >> 32
	if o.unknown {
		r.Unknown++
	}
	if o.failure != nil {
		r.Failed++
		r.Checks[o.failure.Check]++
		if len(r.Failures) < keptFailures {
			r.Failures = append(r.Failures, *o.failure)
		}
	}
}

// run does the run of a seed. The script, if not nil, takes it down.
func (o Options) run(ctx context.Context, seed uint64, script *sim.Script) (out outcome) {
	run := o.shape(seed)
	out.seed = seed
	fail := func(verdict checker.Verdict, check, text string) {
		out.failure = &Failure{Seed: seed, Verdict: verdict, Check: check, Text: text, Run: run.Command()}
	}
	defer func() {
		if p := recover(); p != nil {
			verdict, check := blame(debug.Stack())
			fail(verdict, check, fmt.Sprintf("panic: %v", p))
		}
	}()
	world, err := newWorld(run.Options, o.Only == Linearizability || o.Only == Liveness, nil, script)
	if err != nil {
		fail(checker.Harness, checker.NameHarness, err.Error())
		return out
	}
	defer world.Close()
	trial := runner.Trial{Options: run.Options, Faults: run.Faults, World: world}
	begun := time.Now()
	evidence := trial.Play(ctx)
	played := time.Now()
	report := trial.Judge(ctx, evidence)
	out.play, out.judge = played.Sub(begun), time.Since(played)
	out.cut = ctx.Err() != nil
	out.ops, out.ok, out.simulated = report.Stats.Invoked, report.Stats.OK, world.Now()
	out.reached, out.hash = world.Reached(), world.TraceHash()
	for _, f := range report.Faults {
		out.faults += f.Installed
	}
	if reason, failed := o.foremost(report.Reasons); failed {
		fail(reason.Verdict, nameOf(reason, world), reason.Text)
	}
	out.unknown = slices.ContainsFunc(report.Reasons, func(r checker.Reason) bool {
		return r.Verdict == checker.Inconclusive && r.Checker == checker.NameLinearizability
	})
	return out
}

// foremost is the reason that says best what went wrong: of the strongest, what was seen inside the
// nodes before what follows from it. That too little was proven fails no run: a sweep is judged by
// what all its runs reached.
func (o Options) foremost(reasons []checker.Reason) (best checker.Reason, failed bool) {
	for _, r := range reasons {
		switch {
		case r.Verdict == checker.Inconclusive, !o.Only.counts(r):
		case !failed, r.Verdict == best.Verdict && inside(r) && !inside(best):
			best, failed = r, true
		}
	}
	return best, failed
}

// inside tells whether the simulator saw it, and no client had to.
func inside(r checker.Reason) bool {
	return r.Checker == runner.NameInvariants || r.Checker == runner.NameLiveness || r.Checker == runner.NameProcesses
}

// nameOf is the most exact name of the check that gave a reason.
func nameOf(r checker.Reason, w World) string {
	switch r.Checker {
	case runner.NameInvariants, runner.NameLiveness:
		if failure := w.Failure(); failure != nil {
			return failure.Check
		}
	}
	return r.Checker
}

// blame tells whose panic it was, by the innermost function of this module: the node's own is a
// violation of what it promised.
func blame(stack []byte) (checker.Verdict, string) {
	_, thrown, _ := strings.Cut(string(stack), "\npanic(")
	for line := range strings.Lines(thrown) {
		switch {
		case strings.HasPrefix(line, "coup/raftnode/"):
			return checker.Violation, runner.NameProcesses
		case strings.HasPrefix(line, "coup/"):
			return checker.Harness, checker.NameHarness
		}
	}
	return checker.Harness, checker.NameHarness
}

package runner

import (
	"fmt"
	"slices"
	"time"

	"coup/checker"
	"coup/cluster"
	"coup/history"
	"coup/nemesis"
	"coup/workload"
)

// The bounds of a run's phases.
const (
	leaderBound   = 30 * time.Second // from the start of the nodes to a leader that all follow
	quietBound    = 15 * time.Second // from the last healing to converged nodes
	finalBound    = 15 * time.Second // for the final reads
	floorShare    = 0.1              // of the operations that the warm-up asks for must take effect
	pollInterval  = 100 * time.Millisecond
	drainSlack    = time.Second // beyond the operation time-out, for what is in flight
	repairBound   = 90 * time.Second
	progressEvery = 100 * time.Millisecond
)

// recorder keeps what happens. After an error nothing more is recorded.
type recorder interface {
	History(*history.Event) error
	Fault(nemesis.Event) error
	Observation(checker.Observation) error
	// Timeline tells that a phase has begun, and writes out what is not written yet.
	Timeline(checker.Timeline) error
}

// loop is one run in one World. All of it happens on the goroutine that calls run.
type loop struct {
	world    World
	options  Options
	nodes    []string // that clients ask
	recorder recorder
	observer Observer

	monitor   *monitor
	nemesis   *saboteur
	generator workload.Generator // under way; nil for none
	counts    counts
	inFlight  int
	last      time.Duration // of the latest event recorded
	drawn     time.Duration // of the latest Progress
	left      time.Duration // when the workload ends; 0 outside of it
	polling   bool
	polled    time.Duration
	round     Round // the latest

	timeline    checker.Timeline
	deaths      []cluster.Death // that nobody asked for
	deathsSeen  int             // of all that the World has told of
	suicides    int             // leaders that ended themselves when their reign was over
	problems    []string        // failures of the suite itself
	unavailable []string        // progress that a healthy cluster owed, and did not make
	interrupted bool
	ended       bool // the World has
}

// newLoop makes a loop; observer is nil when nobody watches.
func newLoop(world World, o Options, nodes []string, faults []nemesis.Fault, r recorder, observer Observer) *loop {
	l := &loop{world: world, options: o, nodes: nodes, recorder: r, observer: observer, monitor: newMonitor()}
	if observer == nil {
		l.observer = unwatched{}
	}
	l.nemesis = newSaboteur(l, faults)
	return l
}

// run goes through all phases. What it found is in the loop's fields.
func (l *loop) run() {
	if l.awaitLeader() {
		written, unused := l.load()
		over := l.world.Now()
		if l.heal() {
			// A cluster that somebody interrupted owes no answer after that: it is not asked.
			l.timeline.Quiet = over
			l.phase()
			l.monitor.forget()
			if l.quiet() {
				l.timeline.Final = l.world.Now()
				l.phase()
				l.finalReads(written, unused)
			}
		}
	}
	l.drain()
	l.timeline.End = l.world.Now()
	l.phase()
}

// found is what the run itself says of the cluster, beside what it recorded.
func (l *loop) found() []checker.Reason {
	var found []checker.Reason
	for _, text := range l.unavailable {
		found = append(found, checker.Reason{Verdict: checker.Unavailable, Checker: NameRun, Text: text})
	}
	if s, ok := l.world.(Simulation); ok && s.Failure() != nil {
		return append(found, s.Failure().reason())
	}
	if l.interrupted || l.ended {
		found = append(found, checker.Reason{
			Verdict: checker.Inconclusive, Checker: NameRun, Text: fmt.Sprintf("Interrupted after %v.", l.timeline.End.Round(time.Second)),
		})
	}
	return found
}

// troubled says that things go wrong all along, and not only where the nemesis is at work.
func (l *loop) troubled() bool { return len(l.options.Trouble) > 0 }

// phase records how far the run has come.
func (l *loop) phase() {
	if err := l.recorder.Timeline(l.timeline); err != nil {
		l.problem("The phases could not be recorded: %v.", err)
	}
}

// interrupt has the run stop submitting, heal, and end. It is called from Wait.
func (l *loop) interrupt() { l.interrupted = true }

// broken says that nothing is gained by going on: somebody interrupted, the suite failed, or a node
// died by itself.
func (l *loop) broken() bool {
	return l.ended || l.interrupted || len(l.problems) > 0 || len(l.deaths) > 0
}

func (l *loop) problem(format string, args ...any) {
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

// step waits for what comes next, at most until the given time. It keeps an eye on the nodes.
func (l *loop) step(until time.Duration) {
	now := l.world.Now()
	if !l.polling && now >= l.polled+pollInterval {
		l.polling, l.polled = true, now
		l.world.Observe(l.observed)
	}
	if !l.polling {
		until = min(until, l.polled+pollInterval)
	}
	if now >= l.drawn+progressEvery {
		l.progress(now)
	}
	if !l.world.Wait(min(until, l.drawn+progressEvery)) {
		l.ended = true
	}
}

// progress tells how the run stands. One that nobody watches wakes up at the same times, so that it is
// the same run.
func (l *loop) progress(now time.Duration) {
	l.drawn = now
	if l.observer == (unwatched{}) {
		return
	}
	p := Progress{
		Now: now, OK: l.counts.ok, Fail: l.counts.fail, Info: l.counts.info, Rate: l.counts.rate(now),
		Fault: l.nemesis.inForce(),
	}
	if l.left > now {
		p.Left = l.left - now
	}
	p.Leader, p.Term = l.monitor.leader()
	l.observer.Progress(p)
}

// observed takes in what the nodes said.
func (l *loop) observed(round Round) {
	l.polling, l.round = false, round
	if round.Present != nil && !slices.Equal(round.Present, l.nodes) {
		l.nodes = round.Present
		if l.generator != nil {
			l.generator.Ask(l.nodes)
		}
	}
	news, reigns := l.monitor.saw(round.Nodes)
	for _, o := range news {
		if err := l.recorder.Observation(o); err != nil {
			l.problem("An observation could not be recorded: %v.", err)
		}
	}
	for _, reign := range reigns {
		l.observer.Leader(reign)
	}
	for _, death := range round.Deaths[l.deathsSeen:] {
		if byOwnHand(death, l.options) {
			l.suicides++
			l.observer.Note(l.world.Now(), fmt.Sprintf("%s ended its reign, and itself", death.Node))
			l.nemesis.fell(death.Node)
			continue
		}
		l.observer.Note(l.world.Now(), fmt.Sprintf("%s died by itself: %s", death.Node, death.Exit))
		l.deaths = append(l.deaths, death)
	}
	l.deathsSeen = len(round.Deaths)
}

// awaitLeader waits until all nodes follow one leader.
func (l *loop) awaitLeader() bool {
	begun := l.begin("wait for a leader")
	for bound := begun + leaderBound; !l.broken(); {
		if len(l.round.Nodes) > 0 && discord(l.round.Nodes) == "" {
			node, term := l.monitor.leader()
			l.done("wait for a leader", fmt.Sprintf("%s in term %d", node, term), begun)
			return true
		}
		if l.world.Now() >= bound && l.troubled() {
			l.done("wait for a leader", "none yet, amid all the trouble", begun)
			return true
		}
		if l.world.Now() >= bound {
			l.unavailable = append(l.unavailable, fmt.Sprintf("No leader within %v of the start: %s.", leaderBound, discord(l.round.Nodes)))
			break
		}
		l.step(min(bound, l.nemesis.act(l.world.Now())))
	}
	l.failed("wait for a leader", discord(l.round.Nodes), begun)
	return false
}

// load runs the workload: without faults at first, then under them. It returns the keys written, and
// a process that was never used.
func (l *loop) load() (written []string, unused int) {
	o := l.options
	begun := l.begin("warm up")
	l.timeline.Load = begun
	l.phase()
	l.left = begun + o.Duration
	g := workload.NewRegisters(workload.RegisterOptions{
		Seed: o.Seed, Nodes: l.nodes, Rate: o.Rate, Concurrency: o.Concurrency, Keys: o.Keys, KeyPrefix: o.KeyPrefix, Until: l.left,
	})
	l.drive(g, begun+o.WarmUp)
	if l.warm(begun) {
		l.nemesis.begin(begun)
		l.drive(g, l.left)
	}
	l.nemesis.finish()
	l.drain()
	l.left = 0
	return g.Written(), g.UnusedProcess()
}

// warm tells whether the warm-up showed a cluster that serves.
func (l *loop) warm(begun time.Duration) bool {
	if l.broken() {
		return false
	}
	text := fmt.Sprintf("%d operations took effect in %v, of %.0f asked for",
		l.counts.ok, l.options.WarmUp, l.options.Rate*l.options.WarmUp.Seconds())
	if !l.troubled() && float64(l.counts.ok) < max(1, floorShare*l.options.Rate*l.options.WarmUp.Seconds()) {
		l.unavailable = append(l.unavailable, "Without a fault, only "+text+".")
		l.failed("warm up", text, begun)
		return false
	}
	l.done("warm up", text, begun)
	return true
}

// drive asks a generator for operations, and the nemesis for faults, until the given time or until
// the generator is done.
func (l *loop) drive(g workload.Generator, until time.Duration) {
	l.generator = g
	defer func() { l.generator = nil }()
	for !l.broken() {
		now := l.world.Now()
		if now >= until || l.nemesis.done(now) {
			return
		}
		wake := min(until, l.nemesis.act(now))
		next := g.Next(now)
		switch next.Kind {
		case workload.Done:
			return
		case workload.Wait:
			l.step(min(wake, next.At))
		case workload.Invoke:
			l.submit(g, next.Op)
		}
	}
}

// submit records an operation's invocation, then starts it.
func (l *loop) submit(g workload.Generator, op workload.Op) {
	l.record(op.Invocation(l.world.Now()))
	l.inFlight++
	l.world.Submit(op, func(c Completion) {
		l.inFlight--
		if c.Broken != nil {
			l.problem("%v.", c.Broken)
		}
		l.record(c.Event)
		l.counts.add(c.Type, c.Time)
		g.Completed(c.Event)
	})
}

// record appends an event. Completions come in by the time at which they were noticed, so that an
// event may be a little older than the last one; it is then as new as that, which makes its
// operation longer and never shorter.
func (l *loop) record(e history.Event) {
	l.last = max(l.last, e.Time)
	e.Time = l.last
	if err := l.recorder.History(&e); err != nil {
		l.problem("An operation could not be recorded: %v.", err)
	}
}

// drain waits for the operations in flight. What does not end stays open in the history.
func (l *loop) drain() {
	bound := l.world.Now() + l.options.OpTimeout + drainSlack
	for l.inFlight > 0 && !l.ended && l.world.Now() < bound {
		l.step(bound)
	}
}

// heal undoes what is in force and starts nodes that are dead, whatever happened before: an interrupt
// does not stop it. It tells whether the run can go on to final reads.
func (l *loop) heal() bool {
	begun := l.begin("heal")
	bound := begun + repairBound
	l.nemesis.finish()
	for !l.ended && !l.nemesis.idle() {
		if l.world.Now() >= bound {
			l.problem("Healing did not end within %v.", repairBound)
			break
		}
		l.step(min(bound, l.nemesis.act(l.world.Now())))
	}
	// A World that settles by itself starts what is dead, too.
	if _, settles := l.world.(Simulation); !settles && !l.ended && len(l.deaths) == 0 && len(l.problems) == 0 {
		l.nemesis.repair(nil)
		for !l.ended && !l.nemesis.idle() && l.world.Now() < bound {
			l.step(bound)
		}
	}
	if l.ended || len(l.problems) > 0 {
		l.failed("heal", "", begun)
		return false
	}
	l.done("heal", "", begun)
	return !l.broken()
}

// quiet waits until the nodes agree and have applied the same.
func (l *loop) quiet() bool {
	if s, ok := l.world.(Simulation); ok {
		return l.settle(s)
	}
	begun := l.begin("wait for quiet")
	why := "no node was asked yet"
	for bound := begun + quietBound; !l.broken(); l.step(min(bound, l.nemesis.act(l.world.Now()))) {
		if asked := l.round.Nodes; len(asked) > 0 && asked[0].Asked >= begun {
			if why = unrest(asked); why == "" {
				l.done("wait for quiet", fmt.Sprintf("%d nodes applied %d", len(asked), asked[0].Applied), begun)
				return true
			}
		}
		if l.world.Now() >= bound {
			l.unavailable = append(l.unavailable, fmt.Sprintf("No quiet within %v of healing: %s.", quietBound, why))
			break
		}
	}
	l.failed("wait for quiet", why, begun)
	return false
}

// finalReads reads each key until a read of it succeeds.
func (l *loop) finalReads(keys []string, process int) {
	begun := l.begin("final reads")
	bound := begun + finalBound
	g := workload.NewFinalReads(workload.FinalReadOptions{
		Seed: l.options.Seed, Nodes: l.nodes, Keys: keys, FirstProcess: process,
		Concurrency: l.options.Concurrency, Until: bound,
	})
	l.drive(g, bound)
	l.drain()
	missing := g.Missing()
	if l.broken() || len(missing) > 0 {
		if !l.broken() {
			l.unavailable = append(l.unavailable, fmt.Sprintf("%d of %d keys could not be read within %v of quiet, among them %s.",
				len(missing), len(keys), finalBound, missing[0]))
		}
		l.failed("final reads", fmt.Sprintf("%d of %d keys", len(keys)-len(missing), len(keys)), begun)
		return
	}
	l.done("final reads", fmt.Sprintf("%d keys", len(keys)), begun)
}

func (l *loop) begin(step string) time.Duration {
	l.observer.Step(Step{Name: step, State: StepBegan})
	return l.world.Now()
}

func (l *loop) done(step, detail string, begun time.Duration) {
	l.observer.Step(Step{Name: step, Detail: detail, State: StepDone, Took: l.world.Now() - begun})
}

func (l *loop) failed(step, detail string, begun time.Duration) {
	l.observer.Step(Step{Name: step, Detail: detail, State: StepFailed, Took: l.world.Now() - begun})
}

package runner

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/checker"
	"coup/cluster"
	"coup/history"
	"coup/nemesis"
	"coup/workload"
)

// fakeWorld is a World under virtual time: a cluster that is one map, and faults that stop it.
type fakeWorld struct {
	now    time.Duration
	queue  moments
	seq    int
	ended  bool
	nodes  []string
	keys   map[string]history.Value
	broken bool // a fault is in force: nothing takes effect
	dead   map[string]bool
	lost   string // a node that never starts again
	deaths []cluster.Death

	slow       time.Duration    // an action takes longer by so much
	leaderless bool             // nobody ever leads
	mute       func(n int) bool // the n-th operation is never answered
	refuse     func(n int) bool // the n-th operation fails
	events     map[time.Duration]func()
	submitted  int
	restarted  []string
	asked      map[string][]time.Duration // when each node was sent an operation
	present    []string                   // of the rounds; nil for a world in which nobody comes or goes
}

type moment struct {
	at  time.Duration
	seq int
	do  func()
}

type moments []moment

func (m moments) Len() int { return len(m) }
func (m moments) Less(i, j int) bool {
	return m[i].at < m[j].at || m[i].at == m[j].at && m[i].seq < m[j].seq
}
func (m moments) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m *moments) Push(x any)   { *m = append(*m, x.(moment)) }
func (m *moments) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

func newFakeWorld() *fakeWorld {
	return &fakeWorld{nodes: []string{"n1", "n2", "n3"}, keys: map[string]history.Value{}, dead: map[string]bool{}}
}

func (w *fakeWorld) at(at time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, moment{at, w.seq, do})
}

func (w *fakeWorld) Now() time.Duration { return w.now }

func (w *fakeWorld) Wait(until time.Duration) bool {
	if w.ended {
		return false
	}
	if len(w.queue) == 0 || w.queue[0].at > until {
		w.now = max(w.now, until)
		return true
	}
	next := heap.Pop(&w.queue).(moment)
	w.now = max(w.now, next.at)
	next.do()
	return true
}

func (w *fakeWorld) Submit(op workload.Op, done func(Completion)) {
	w.submitted++
	n := w.submitted
	if w.asked == nil {
		w.asked = map[string][]time.Duration{}
	}
	w.asked[op.Node] = append(w.asked[op.Node], w.now)
	if w.mute != nil && w.mute(n) {
		return
	}
	took := time.Duration(1+n%7) * time.Millisecond
	w.at(w.now+took, func() {
		e := op.Invocation(w.now)
		switch held := w.keys[op.Key]; {
		case w.broken && op.F == history.Read, w.refuse != nil && w.refuse(n):
			e.Type, e.Error = history.Fail, "timeout: no leader"
		case w.broken:
			e.Type, e.Error = history.Info, "timeout: no answer"
		case op.F == history.Read:
			e.Type, e.Value = history.OK, held
		case op.F == history.Write:
			e.Type, w.keys[op.Key] = history.OK, op.Value
		default:
			change := op.Value.(history.Pair)
			if held != history.Value(history.Int(change[0])) {
				e.Type, e.Error = history.Fail, history.ErrorMismatch
				break
			}
			e.Type, w.keys[op.Key] = history.OK, history.Int(change[1])
		}
		done(Completion{Event: e})
	})
}

func (w *fakeWorld) Inject(act Action, done func(Injected)) {
	start := w.now
	w.at(w.now+20*time.Millisecond+w.slow, func() {
		err := func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("panic: %v", p)
				}
			}()
			return act(context.Background(), fakeCluster{w}, w)
		}()
		done(Injected{Start: start, End: w.now, Err: err})
	})
}

func (w *fakeWorld) Observe(done func(Round)) {
	asked := w.now
	w.at(w.now+time.Millisecond, func() {
		round := Round{Deaths: w.deaths, Present: w.present}
		for i, node := range w.nodes {
			o := checker.Observation{Asked: asked, Time: w.now, Node: node, Role: "follower", Term: 1, Leader: "n1", Commit: 7, Applied: 7}
			if i == 0 {
				o.Role = "leader"
			}
			if w.leaderless {
				o.Role, o.Leader = "candidate", ""
			}
			if w.dead[node] {
				o = checker.Observation{Asked: asked, Time: w.now, Node: node, Error: "unreachable"}
			}
			round.Nodes = append(round.Nodes, o)
		}
		done(round)
	})
}

func (w *fakeWorld) Leaders(context.Context) []string { return []string{"n1"} }

// fakeCluster is what faults are given.
type fakeCluster struct{ world *fakeWorld }

func (c fakeCluster) Environment() string { return "fake" }
func (c fakeCluster) Nodes() (all []cluster.Node) {
	for _, id := range c.world.nodes {
		all = append(all, cluster.Node{ID: id})
	}
	return all
}
func (c fakeCluster) Collect(context.Context, bool) error { return nil }
func (c fakeCluster) Close(context.Context) error         { return nil }

func (c fakeCluster) Kill(_ context.Context, node string) error {
	c.world.dead[node] = true
	return nil
}

func (c fakeCluster) Lost(node string) bool { return c.world.lost == node }

func (c fakeCluster) Restart(_ context.Context, node string) error {
	if c.Lost(node) {
		return errors.New("its disk is gone")
	}
	delete(c.world.dead, node)
	c.world.restarted = append(c.world.restarted, node)
	return nil
}

func (c fakeCluster) Process(_ context.Context, node string) (cluster.ProcessState, error) {
	if c.world.dead[node] {
		return cluster.ProcessState{State: "dead"}, nil
	}
	return cluster.ProcessState{State: "running", PID: 1}, nil
}

// fakeFault stops the whole fake cluster.
type fakeFault struct {
	name     string
	install  func(attempt int) nemesis.Outcome // nil: always installed
	heal     func(attempt int) nemesis.Outcome // nil: always healed
	world    *fakeWorld
	attempts int
	heals    int
	targets  []int // what it drew
}

func (f *fakeFault) Name() string                { return f.name }
func (f *fakeFault) Summary() string             { return "stops everything" }
func (f *fakeFault) KeepsQuorum() bool           { return false }
func (f *fakeFault) Check(cluster.Cluster) error { return nil }

func (f *fakeFault) Install(_ context.Context, _ cluster.Cluster, _ nemesis.View, rng nemesis.Rand) (nemesis.Installed, nemesis.Outcome) {
	f.attempts++
	f.targets = append(f.targets, rng.IntN(1<<30))
	outcome := nemesis.Outcome{Result: nemesis.ResultInstalled, Targets: []string{"n1"}}
	if f.install != nil {
		outcome = f.install(f.attempts)
	}
	if outcome.Result == nemesis.ResultSkipped {
		return nil, outcome
	}
	f.world.broken = true
	return f, outcome
}

func (f *fakeFault) Heal(context.Context) nemesis.Outcome {
	f.heals++
	outcome := nemesis.Outcome{Result: nemesis.ResultHealed}
	if f.heal != nil {
		outcome = f.heal(f.heals)
	}
	if outcome.Result == nemesis.ResultHealed {
		f.world.broken = false
	}
	return outcome
}

// Catches a busy machine on which a proof takes as long as the window: the fault would be healed before anything could
// be tried under it.
func TestASlowProofLeavesHalfOfTheWindow(t *testing.T) {
	w := newFakeWorld()
	w.slow = 4 * time.Second
	l, recorded := play(t, w, testOptions(), &fakeFault{name: "stop"})
	require.Empty(t, l.problems)
	require.NotEmpty(t, recorded.faults)
	for i := 0; i < len(recorded.faults)-1; i += 2 {
		install, heal := recorded.faults[i], recorded.faults[i+1]
		if heal.Start < l.options.Duration {
			require.Greater(t, heal.Start-install.End, 1700*time.Millisecond)
		}
	}
}

// restlessFault acts over and over while it is in force.
type restlessFault struct {
	fakeFault
	acts   []time.Duration
	panics bool
}

func (f *restlessFault) Install(ctx context.Context, c cluster.Cluster, v nemesis.View, rng nemesis.Rand) (nemesis.Installed, nemesis.Outcome) {
	in, outcome := f.fakeFault.Install(ctx, c, v, rng)
	if in == nil {
		return nil, outcome
	}
	return f, outcome
}

func (f *restlessFault) Rest() time.Duration {
	if len(f.acts)%3 == 2 {
		return -1
	}
	return 200 * time.Millisecond
}

func (f *restlessFault) Act(context.Context) {
	if f.panics {
		panic("out of rhythm")
	}
	f.acts = append(f.acts, f.world.now)
}

// tornTape cannot be written to.
type tornTape struct {
	tape
	fail error
}

func (t *tornTape) History(*history.Event) error { return t.fail }

func testOptions() Options {
	o := Defaults()
	o.Seed, o.Nodes, o.Duration = 7, 3, 40*time.Second
	return o
}

// play runs a loop in a world with one fault.
func play(t *testing.T, w *fakeWorld, o Options, fault *fakeFault) (*loop, *tape) {
	t.Helper()
	recorded := &tape{}
	var faults []nemesis.Fault
	if fault != nil {
		fault.world = w
		faults = append(faults, fault)
	}
	l := newLoop(w, o, w.nodes, faults, recorded, nil)
	for at, do := range w.events {
		w.at(at, do)
	}
	l.run()
	require.NoError(t, history.Validate(recorded.events), "the history is well-formed, however the run went")
	return l, recorded
}

// Catches a phase that is left out or out of order, a fault that is not healed, an operation that is
// lost, and final reads that miss a key.
func TestAWholeRun(t *testing.T) {
	w := newFakeWorld()
	l, recorded := play(t, w, testOptions(), &fakeFault{name: "stop"})

	require.Empty(t, l.problems)
	require.Empty(t, l.unavailable)
	require.Positive(t, l.timeline.Load)
	require.Greater(t, l.timeline.Quiet, l.timeline.Load)
	require.Greater(t, l.timeline.Final, l.timeline.Quiet)
	require.GreaterOrEqual(t, l.timeline.End, l.timeline.Final)

	require.NotEmpty(t, recorded.faults)
	require.Zero(t, len(recorded.faults)%2)
	for i := 0; i < len(recorded.faults); i += 2 {
		install, heal := recorded.faults[i], recorded.faults[i+1]
		require.Equal(t, nemesis.ResultInstalled, install.Result)
		require.Equal(t, nemesis.ResultHealed, heal.Result)
		require.Equal(t, install.ID, heal.ID)
		require.GreaterOrEqual(t, install.Start, l.timeline.Load+testOptions().WarmUp, "nothing breaks during the warm-up")
		require.Greater(t, heal.Start, install.End)
		require.Less(t, heal.End, l.timeline.Quiet)
	}
	ops, err := history.Ops(recorded.events)
	require.NoError(t, err)
	written, read := map[string]bool{}, map[string]bool{}
	for _, op := range ops {
		require.NotEqual(t, "", op.Outcome)
		if op.F == history.Write {
			written[op.Key] = true
		}
		if op.Invoke >= l.timeline.Final {
			require.Equal(t, history.Read, op.F)
			read[op.Key] = true
		}
	}
	require.Equal(t, written, read)
	require.InDelta(t, testOptions().Rate*testOptions().Duration.Seconds(), len(ops), 0.2*float64(len(ops)))
}

// Catches a draw that depends on anything but the seed.
func TestSameSeedSameRun(t *testing.T) {
	run := func(seed uint64) ([]history.Event, []nemesis.Event, []int) {
		o := testOptions()
		o.Seed = seed
		fault := &fakeFault{name: "stop"}
		_, recorded := play(t, newFakeWorld(), o, fault)
		return recorded.events, recorded.faults, fault.targets
	}
	events, faults, targets := run(1)
	again, faultsAgain, targetsAgain := run(1)
	require.Equal(t, events, again)
	require.Equal(t, faults, faultsAgain)
	require.Equal(t, targets, targetsAgain)
	other, otherFaults, otherTargets := run(2)
	require.NotEqual(t, events, other)
	require.NotEqual(t, faults, otherFaults)
	require.NotEqual(t, targets, otherTargets)
}

// Catches a schedule that moves when only the load changes.
func TestTheLoadDoesNotMoveTheFaults(t *testing.T) {
	run := func(rate float64) []int {
		o := testOptions()
		o.Rate = rate
		fault := &fakeFault{name: "stop"}
		play(t, newFakeWorld(), o, fault)
		return fault.targets
	}
	require.Equal(t, run(50), run(300))
}

// Catches a skipped fault that is given up at once, or recorded as often as it was tried.
func TestASkippedFaultIsTriedAgain(t *testing.T) {
	fault := &fakeFault{name: "stop", install: func(attempt int) nemesis.Outcome {
		if attempt == 1 {
			return nemesis.Outcome{Result: nemesis.ResultSkipped, Reason: "no leader"}
		}
		return nemesis.Outcome{Result: nemesis.ResultInstalled}
	}}
	l, recorded := play(t, newFakeWorld(), testOptions(), fault)
	require.Empty(t, l.problems)
	require.Equal(t, nemesis.ResultInstalled, recorded.faults[0].Result)
	require.Equal(t, fault.attempts, fault.heals+1)
}

// Catches a fault whose rhythm nobody keeps, and one that goes on after healing or after it said that
// nothing more is to come.
func TestARestlessFaultActsWhileItIsInForce(t *testing.T) {
	w := newFakeWorld()
	fault := &restlessFault{fakeFault: fakeFault{name: "restless", world: w}}
	recorded := &tape{}
	l := newLoop(w, testOptions(), w.nodes, []nemesis.Fault{fault}, recorded, nil)
	l.run()
	require.Empty(t, l.problems)
	require.Len(t, fault.acts, 2, "it wants no more after the second")
	install, heal := recorded.faults[0], recorded.faults[1]
	require.Greater(t, fault.acts[0], install.End+200*time.Millisecond-1)
	require.Greater(t, fault.acts[1], fault.acts[0]+200*time.Millisecond-1)
	require.Less(t, fault.acts[1], heal.Start)

	w = newFakeWorld()
	fault = &restlessFault{fakeFault: fakeFault{name: "restless", world: w}, panics: true}
	l = newLoop(w, testOptions(), w.nodes, []nemesis.Fault{fault}, &tape{}, nil)
	l.run()
	require.Len(t, l.problems, 1)
	require.Contains(t, l.problems[0], "out of rhythm")
	require.False(t, w.broken, "it is healed all the same")
}

// Catches a fault that could never be installed and leaves no trace.
func TestAFaultThatIsAlwaysSkippedIsRecorded(t *testing.T) {
	fault := &fakeFault{name: "stop", install: func(int) nemesis.Outcome {
		return nemesis.Outcome{Result: nemesis.ResultSkipped, Reason: "no leader"}
	}}
	l, recorded := play(t, newFakeWorld(), testOptions(), fault)
	require.Empty(t, l.problems)
	require.Len(t, recorded.faults, len(l.nemesis.plan))
	for _, e := range recorded.faults {
		require.Equal(t, nemesis.ResultSkipped, e.Result)
		require.Equal(t, "no leader", e.Reason)
	}
}

// Catches a nemesis that dies in silence, and a run that goes on without it.
func TestANemesisThatPanicsVoidsTheRun(t *testing.T) {
	fault := &fakeFault{name: "stop", install: func(int) nemesis.Outcome { panic("index out of range") }}
	l, recorded := play(t, newFakeWorld(), testOptions(), fault)
	require.Len(t, l.problems, 1)
	require.Contains(t, l.problems[0], "index out of range")
	require.Len(t, recorded.faults, 1)
	require.Zero(t, l.timeline.Final)
}

// Catches healing that is tried once only, and a run that goes on with a fault in force.
func TestHealing(t *testing.T) {
	t.Run("is repeated", func(t *testing.T) {
		fault := &fakeFault{name: "stop", heal: func(attempt int) nemesis.Outcome {
			if attempt%healAttempts != 0 {
				return nemesis.Outcome{Result: nemesis.ResultNotHealed, Reason: "n1>n2 still drops"}
			}
			return nemesis.Outcome{Result: nemesis.ResultHealed}
		}}
		l, _ := play(t, newFakeWorld(), testOptions(), fault)
		require.Empty(t, l.problems)
		require.Equal(t, healAttempts*fault.attempts, fault.heals)
	})
	t.Run("that fails voids the run", func(t *testing.T) {
		fault := &fakeFault{name: "stop", heal: func(int) nemesis.Outcome {
			return nemesis.Outcome{Result: nemesis.ResultNotHealed, Reason: "n1>n2 still drops"}
		}}
		l, recorded := play(t, newFakeWorld(), testOptions(), fault)
		require.Equal(t, []string{"stop could not be healed: n1>n2 still drops."}, l.problems)
		require.Equal(t, nemesis.ResultNotHealed, recorded.faults[1].Result)
		require.Len(t, recorded.faults, 2, "nothing more is broken")
		require.Equal(t, healAttempts, fault.heals)
		require.Zero(t, l.timeline.Final)
	})
}

// Catches an interrupt that leaves a fault in force, and one that makes the cluster owe answers.
func TestAnInterruptHeals(t *testing.T) {
	w := newFakeWorld()
	var l *loop
	fault := &fakeFault{name: "stop", world: w}
	recorded := &tape{}
	l = newLoop(w, testOptions(), w.nodes, []nemesis.Fault{fault}, recorded, nil)
	for at := time.Second; at < 40*time.Second; at += 100 * time.Millisecond {
		w.at(at, func() {
			if w.broken {
				l.interrupt()
			}
		})
	}
	l.run()
	require.Empty(t, l.problems)
	require.False(t, w.broken)
	require.Len(t, recorded.faults, 2)
	require.Equal(t, nemesis.ResultHealed, recorded.faults[1].Result)
	require.Zero(t, l.timeline.Quiet)
	require.Zero(t, l.timeline.Final)
}

// Catches a loop that spins or hangs when its World is gone.
func TestTheEndOfTheWorld(t *testing.T) {
	w := newFakeWorld()
	w.events = map[time.Duration]func(){5 * time.Second: func() { w.ended = true }}
	l, _ := play(t, w, testOptions(), &fakeFault{name: "stop"})
	require.True(t, l.ended)
	require.Zero(t, l.timeline.Quiet)
	require.Less(t, l.timeline.End, 6*time.Second)
}

// Catches a workload that is thrown at a cluster without a leader.
func TestNoLeader(t *testing.T) {
	w := newFakeWorld()
	w.leaderless = true
	l, recorded := play(t, w, testOptions(), &fakeFault{name: "stop"})
	require.Equal(t, []string{"No leader within 30s of the start: n1 knows no leader in term 1."}, l.unavailable)
	require.Empty(t, recorded.events)
	require.Empty(t, recorded.faults)
}

// Catches faults on a cluster that did not even serve without them.
func TestTheFloorOfTheWarmUp(t *testing.T) {
	w := newFakeWorld()
	w.refuse = func(n int) bool { return n > 5 }
	l, recorded := play(t, w, testOptions(), &fakeFault{name: "stop"})
	require.NotEmpty(t, l.unavailable)
	require.Contains(t, l.unavailable[0], "Without a fault, only 5 operations took effect in 3s, of 600 asked for.")
	require.Empty(t, recorded.faults)
}

// Catches a run that goes on when a node has died by itself, and one that starts that node again
// and so destroys the evidence.
func TestADeathEndsTheRun(t *testing.T) {
	w := newFakeWorld()
	w.events = map[time.Duration]func(){10 * time.Second: func() {
		w.dead["n2"] = true
		w.deaths = []cluster.Death{{Node: "n2", Exit: "exit status 2"}}
	}}
	l, recorded := play(t, w, testOptions(), &fakeFault{name: "stop"})
	require.Len(t, l.deaths, 1)
	require.Empty(t, w.restarted)
	require.False(t, w.broken)
	require.Less(t, l.timeline.End, 15*time.Second)
	require.Zero(t, l.timeline.Quiet)
	require.NotEmpty(t, recorded.events)
}

// Catches a node that stays dead after a fault that was given up half-way.
func TestDeadNodesAreStartedAgain(t *testing.T) {
	w := newFakeWorld()
	w.events = map[time.Duration]func(){10 * time.Second: func() { w.dead["n3"] = true }}
	l, _ := play(t, w, testOptions(), nil)
	require.Empty(t, l.problems)
	require.Equal(t, []string{"n3"}, w.restarted)
	require.Positive(t, l.timeline.Final)
}

// Catches a run that is void because of a node that must not start again.
func TestNodesThatAreLostStayDead(t *testing.T) {
	w := newFakeWorld()
	w.lost = "n2"
	w.events = map[time.Duration]func(){10 * time.Second: func() { w.dead["n2"], w.dead["n3"] = true, true }}
	l, _ := play(t, w, testOptions(), nil)
	require.Empty(t, l.problems)
	require.Equal(t, []string{"n3"}, w.restarted)
}

// Catches a loop that waits for ever for an answer, and one that makes up an end for the operation.
func TestAnOperationThatNeverEnds(t *testing.T) {
	w := newFakeWorld()
	w.mute = func(n int) bool { return n == 100 }
	l, recorded := play(t, w, testOptions(), nil)
	require.Positive(t, l.timeline.End)
	ops, err := history.Ops(recorded.events)
	require.NoError(t, err)
	require.Equal(t, history.Info, ops[99].Outcome)
	require.Equal(t, history.Never, ops[99].Return)
}

// Catches events that are lost in silence.
func TestARecorderThatFailsVoidsTheRun(t *testing.T) {
	w := newFakeWorld()
	recorded := &tornTape{fail: errors.New("no space left on device")}
	l := newLoop(w, testOptions(), w.nodes, nil, recorded, nil)
	l.run()
	require.NotEmpty(t, l.problems)
	require.Contains(t, l.problems[0], "no space left on device")
	require.Less(t, l.timeline.End, 10*time.Second)
}

// Catches completions noticed late that send the history's time back, and any that shorten an
// operation.
func TestTimeNeverGoesBack(t *testing.T) {
	recorded := &tape{}
	l := newLoop(newFakeWorld(), testOptions(), nil, nil, recorded, nil)
	l.record(history.Event{Time: 5, Type: history.Invoke, F: history.Read})
	l.record(history.Event{Time: 3, Process: 1, Type: history.OK, F: history.Read})
	l.record(history.Event{Time: 9, Process: 2, Type: history.Invoke, F: history.Read})
	require.EqualValues(t, 5, recorded.events[1].Time)
	require.EqualValues(t, 9, recorded.events[2].Time)
}

// Catches clients that go on asking a node that has left, and never ask one that has come.
func TestClientsAskWhoIsThere(t *testing.T) {
	w := newFakeWorld()
	w.present = w.nodes
	const left, came = 10 * time.Second, 20 * time.Second
	w.events = map[time.Duration]func(){
		left: func() { w.present = []string{"n1", "n2"} },
		came: func() { w.present = []string{"n1", "n2", "n3", "n4"} },
	}
	l, _ := play(t, w, testOptions(), nil)
	require.Empty(t, l.problems)
	const soon = 2 * pollInterval
	absent := func(node string, from, to time.Duration) {
		require.False(t, slices.ContainsFunc(w.asked[node], func(at time.Duration) bool { return at >= from && at < to }), node)
	}
	absent("n3", left+soon, came)
	absent("n4", 0, came)
	for _, node := range w.present {
		last := w.asked[node][len(w.asked[node])-1]
		require.Greater(t, last, came, node)
	}
	require.Equal(t, w.present, l.nodes)
}

// Catches a recipe whose steps overlap, do not wait for what was left to rest, are left out when one is refused at first, or go on
// after the last.
func TestARecipeGoesStepByStep(t *testing.T) {
	recipe, err := nemesis.FindRecipe("rolling-restart")
	require.NoError(t, err)
	w := newFakeWorld()
	o := testOptions()
	o.Recipe, o.Duration = recipe.Name, 5*time.Minute
	var faults []nemesis.Fault
	for i, step := range recipe.Steps {
		fault := &fakeFault{name: step.Name(), world: w}
		if i == 2 {
			fault.install = func(attempt int) nemesis.Outcome {
				if attempt < 4 {
					return nemesis.Outcome{Result: nemesis.ResultSkipped, Reason: "no leader"}
				}
				return nemesis.Outcome{Result: nemesis.ResultInstalled}
			}
		}
		faults = append(faults, fault)
	}
	require.NoError(t, o.Validate(faults))
	recorded := &tape{}
	l := newLoop(w, o, w.nodes, faults, recorded, nil)
	l.run()
	require.Empty(t, l.problems)
	require.Len(t, recorded.faults, 2*len(recipe.Steps))
	var rested time.Duration
	for i, step := range recipe.Steps {
		install, heal := recorded.faults[2*i], recorded.faults[2*i+1]
		require.Equal(t, []any{step.Name(), nemesis.Install, step.Name(), nemesis.Heal}, []any{install.Fault, install.Phase, heal.Fault, heal.Phase})
		require.Equal(t, nemesis.ResultInstalled, install.Result)
		require.GreaterOrEqual(t, install.Start, rested)
		require.InDelta(t, recipe.Hold.Seconds(), (heal.Start - install.End).Seconds(), 0.2)
		rested = heal.End + recipe.Rest
	}
	require.GreaterOrEqual(t, l.timeline.Quiet, rested)
	require.Less(t, l.timeline.End, time.Minute, "it ends when the recipe does")
	require.Positive(t, l.timeline.Final)
}

func TestElectionTimeout(t *testing.T) {
	require.Equal(t, 500*time.Millisecond, ElectionTimeout(nil))
	require.Equal(t, 600*time.Millisecond, ElectionTimeout([]string{"--snapshot-every=7", "--tick", "30ms", "--election-ticks=20"}))
}

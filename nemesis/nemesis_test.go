package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"coup/cluster"
)

// fake is a cluster in memory whose probes and process states tell the truth, and whose other methods
// can be made to lie: they claim success and do nothing.
type fake struct {
	nodes []cluster.Node

	mu      sync.Mutex
	cut     map[cluster.Link]bool
	process map[string]cluster.ProcessState
	pids    int
	bad     map[cluster.Link][]cluster.Degradation
	dice    *rand.Rand
	lies    []string // of "cut", "restore", "kill", "restart", "pause", "resume", "degrade", "repair"
	fails   []string // likewise: these return errors

	lost       string // a node that does not start again
	sequential bool
	others     int // calls that were not made on the goroutine that made the fake
	maker      string
}

// goroutine names the calling goroutine.
func goroutine() string {
	var b [64]byte
	name, _, _ := strings.Cut(string(b[:runtime.Stack(b[:], false)]), " [")
	return name
}

// callers tells on whose goroutines the fake was called.
func (f *fake) callers() []string {
	if f.others == 0 {
		return []string{"the test's"}
	}
	return []string{"the test's", fmt.Sprint(f.others, " others")}
}

func (f *fake) called() {
	if goroutine() != f.maker {
		f.others++
	}
}

func (f *fake) Sequential() bool { return f.sequential }

func newFake(nodes int) *fake {
	f := &fake{cut: map[cluster.Link]bool{}, process: map[string]cluster.ProcessState{}, maker: goroutine()}
	f.bad, f.dice = map[cluster.Link][]cluster.Degradation{}, random(99)
	for i := range nodes {
		id := fmt.Sprintf("n%d", i+1)
		f.nodes = append(f.nodes, cluster.Node{ID: id})
		f.pids++
		f.process[id] = cluster.ProcessState{State: "running", PID: f.pids}
	}
	return f
}

func (f *fake) Environment() string                 { return "fake" }
func (f *fake) Nodes() []cluster.Node               { return f.nodes }
func (f *fake) Collect(context.Context, bool) error { return nil }
func (f *fake) Close(context.Context) error         { return nil }

func (f *fake) do(what string, change func()) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.called()
	if slices.Contains(f.fails, what) {
		return errors.New(what + " failed")
	}
	if !slices.Contains(f.lies, what) {
		change()
	}
	return nil
}

func (f *fake) set(node, state string) func() {
	return func() {
		pid := f.process[node].PID
		if state == "running" && f.process[node].State == "dead" {
			f.pids++
			pid = f.pids
		}
		f.process[node] = cluster.ProcessState{State: state, PID: pid}
	}
}

func (f *fake) Kill(_ context.Context, node string) error { return f.do("kill", f.set(node, "dead")) }
func (f *fake) Lost(node string) bool                     { return f.lost == node }
func (f *fake) Restart(_ context.Context, node string) error {
	if f.Lost(node) {
		return errors.New("its disk is gone")
	}
	return f.do("restart", f.set(node, "running"))
}
func (f *fake) Pause(_ context.Context, node string) error {
	return f.do("pause", f.set(node, "paused"))
}
func (f *fake) Resume(_ context.Context, node string) error {
	return f.do("resume", f.set(node, "running"))
}

func (f *fake) Process(_ context.Context, node string) (cluster.ProcessState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.called()
	return f.process[node], nil
}

func (f *fake) Cut(_ context.Context, links []cluster.Link) error {
	return f.do("cut", func() {
		for _, l := range links {
			f.cut[l] = true
		}
	})
}

func (f *fake) Restore(_ context.Context, links []cluster.Link) error {
	return f.do("restore", func() {
		for _, l := range links {
			delete(f.cut, l)
		}
	})
}

func (f *fake) Probe(_ context.Context, links []cluster.Link) ([]cluster.Probe, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.called()
	var probes []cluster.Probe
	for _, l := range links {
		p := cluster.Probe{Link: l, Sent: 5, Received: 5}
		if f.cut[l] {
			p.Received = 0
		}
		probes = append(probes, p)
	}
	return probes, nil
}

func (f *fake) Degrades(context.Context, cluster.Disturbance) error { return nil }

func (f *fake) Degrade(_ context.Context, links []cluster.Link, d cluster.Degradation) error {
	return f.do("degrade", func() {
		for _, l := range links {
			f.bad[l] = append(f.bad[l], d)
		}
	})
}

func (f *fake) Repair(_ context.Context, links []cluster.Link, kind cluster.Disturbance) error {
	return f.do("repair", func() {
		for _, l := range links {
			f.bad[l] = slices.DeleteFunc(f.bad[l], func(d cluster.Degradation) bool { return d.Kind == kind })
			if len(f.bad[l]) == 0 {
				delete(f.bad, l)
			}
		}
	})
}

func (f *fake) Measure(_ context.Context, links []cluster.Link, _ cluster.Disturbance, datagrams int) (all []cluster.Measurement, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.called()
	for _, l := range links {
		m := cluster.Measurement{Link: l, Sent: datagrams, Took: time.Second, Standing: cluster.Carries, Fresh: cluster.Carries}
		passed := 0
		for range datagrams {
			lost := false
			for _, d := range f.bad[l] {
				hit := f.dice.Float64() < d.Share
				switch d.Kind {
				case cluster.Loss:
					lost = lost || hit
				case cluster.Corrupt:
					if lost = lost || hit; hit {
						m.Damaged++
					}
				case cluster.Duplicate:
					if hit {
						m.Twice++
					}
				case cluster.Reorder:
					if hit {
						m.Late++
					}
				case cluster.Limit:
					passed++
					lost = passed > cluster.Burst(d.Rate)+d.Rate
				}
			}
			if !lost {
				m.Received++
			}
		}
		for _, d := range f.bad[l] {
			switch d.Kind {
			case cluster.Delay:
				m.Delay = d.Delay
			case cluster.Silence:
				m.Standing, m.Fresh = cluster.Silent, cluster.Refused
			case cluster.Refuse:
				m.Fresh = cluster.Refused
			}
		}
		all = append(all, m)
	}
	return all, nil
}

type leaders []string

func (l leaders) Leaders(context.Context) []string { return l }

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func (f *fake) whole() bool {
	for _, p := range f.process {
		if p.State != "running" {
			return false
		}
	}
	return len(f.cut) == 0 && len(f.bad) == 0
}

func TestEveryFaultIsInstalledProvenAndHealed(t *testing.T) {
	for _, fault := range All() {
		for seed := range uint64(20) {
			t.Run(fmt.Sprintf("%s/%d", fault.Name(), seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFake(5)
					require.NoError(t, fault.Check(f))
					in, out := fault.Install(t.Context(), f, leaders{"n2"}, random(seed))
					require.Equal(t, ResultInstalled, out.Result, out.Reason)
					f.mu.Lock()
					require.False(t, f.whole())
					f.mu.Unlock()
					require.NotEmpty(t, out.Targets)

					cancelled, cancel := context.WithCancel(t.Context())
					cancel()
					healed := in.Heal(cancelled)
					require.Equal(t, ResultHealed, healed.Result, healed.Reason)
					require.True(t, f.whole())
					require.Equal(t, ResultHealed, in.Heal(t.Context()).Result, "healing twice")
				})
			})
		}
	}
}

// Catches a fault that is never healed because of a node that must not start again, and one that passes for healed
// though others stay dead.
func TestWhoIsLostIsNotWaitedFor(t *testing.T) {
	for _, fails := range [][]string{nil, {"restart"}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(3)
			in, out := killAll.Install(t.Context(), f, leaders{"n2"}, random(1))
			require.Equal(t, ResultInstalled, out.Result, out.Reason)
			f.lost, f.fails = "n1", fails
			healed := in.Heal(t.Context())
			require.Equal(t, fails == nil, healed.Result == ResultHealed, healed.Reason)
			require.Equal(t, "dead", f.process["n1"].State)
		})
	}
}

// What says that it worked, and did not, must not pass for a fault or for its healing.
func TestLiesAreFoundOut(t *testing.T) {
	for _, c := range []struct {
		lie, fault string
		install    Result
		heal       Result
	}{
		{"cut", "isolate-leader", ResultIndeterminate, ResultHealed},
		{"cut", "split", ResultIndeterminate, ResultHealed},
		{"cut", "one-way", ResultIndeterminate, ResultHealed},
		{"cut", "crash-bridge", ResultIndeterminate, ResultHealed},
		{"cut", "majorities-ring", ResultIndeterminate, ResultHealed},
		{"cut", "flapping", ResultIndeterminate, ResultHealed},
		{"cut", "swizzle", ResultIndeterminate, ResultHealed},
		{"restore", "flapping", ResultInstalled, ResultNotHealed},
		{"restore", "swizzle", ResultInstalled, ResultNotHealed},
		{"restore", "grudges", ResultInstalled, ResultNotHealed},
		{"degrade", "loss", ResultIndeterminate, ResultHealed},
		{"degrade", "duplicate", ResultIndeterminate, ResultHealed},
		{"degrade", "corrupt", ResultIndeterminate, ResultHealed},
		{"degrade", "rate", ResultIndeterminate, ResultHealed},
		{"degrade", "slow", ResultIndeterminate, ResultHealed},
		{"degrade", "delay", ResultIndeterminate, ResultHealed},
		{"degrade", "reorder", ResultIndeterminate, ResultHealed},
		{"degrade", "half-open", ResultIndeterminate, ResultHealed},
		{"repair", "loss", ResultInstalled, ResultNotHealed},
		{"repair", "duplicate", ResultInstalled, ResultNotHealed},
		{"repair", "corrupt", ResultInstalled, ResultNotHealed},
		{"repair", "rate", ResultInstalled, ResultNotHealed},
		{"repair", "slow", ResultInstalled, ResultNotHealed},
		{"repair", "delay", ResultInstalled, ResultNotHealed},
		{"repair", "reorder", ResultInstalled, ResultNotHealed},
		{"repair", "half-open", ResultInstalled, ResultNotHealed},
		{"restore", "split", ResultInstalled, ResultNotHealed},
		{"restore", "crash-bridge", ResultInstalled, ResultNotHealed},
		{"kill", "kill-leader", ResultIndeterminate, ResultNotHealed},
		{"kill", "kill-all", ResultIndeterminate, ResultNotHealed},
		{"restart", "kill-leader", ResultInstalled, ResultNotHealed},
		{"restart", "crash-bridge", ResultInstalled, ResultNotHealed},
		{"pause", "pause-leader", ResultIndeterminate, ResultHealed},
		{"resume", "pause-leader", ResultInstalled, ResultNotHealed},
	} {
		t.Run(c.lie+" "+c.fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, how := range []string{"lies", "fails"} {
					f := newFake(5)
					if how == "lies" {
						f.lies = []string{c.lie}
					} else {
						f.fails = []string{c.lie}
					}
					faults, err := Parse(c.fault)
					require.NoError(t, err)
					in, out := faults[0].Install(t.Context(), f, leaders{"n1"}, random(1))
					require.Equal(t, c.install, out.Result, how)
					out = in.Heal(t.Context())
					if how == "fails" && c.lie == "kill" {
						continue // nothing was killed, and all know it
					}
					require.Equal(t, c.heal, out.Result, how)
					if c.heal != ResultHealed {
						require.NotEmpty(t, out.Reason)
					}
				}
			})
		})
	}
}

func TestSkippedWithoutALeader(t *testing.T) {
	for _, fault := range All() {
		f := newFake(5)
		_, out := fault.Install(t.Context(), f, leaders{}, random(1))
		require.Equal(t, ResultSkipped, out.Result, fault.Name())
		require.NotEmpty(t, out.Reason)
		require.True(t, f.whole())
	}
}

func TestOfTwoLeadersTheLatestIsMeant(t *testing.T) {
	_, out := killLeader.Install(t.Context(), newFake(5), leaders{"n4", "n2"}, random(1))
	require.Equal(t, []string{"n2"}, out.Targets)
}

func TestPartitionsLeaveAMajority(t *testing.T) {
	for _, nodes := range []int{3, 4, 5, 7} {
		for seed := range uint64(50) {
			f := newFake(nodes)
			_, out := split.Install(t.Context(), f, leaders{"n1"}, random(seed))
			require.Len(t, out.Targets, (nodes-1)/2, "the minority of %d", nodes)
			require.Len(t, out.Links, 2*len(out.Targets)*(nodes-len(out.Targets)))
		}
	}
}

// Catches a cut that leaves the leader a majority in both directions: it would change nothing.
func TestOneWayTakesTheLeadersMajority(t *testing.T) {
	for _, nodes := range []int{3, 4, 5, 7} {
		directions, sizes := map[bool]bool{}, map[int]bool{}
		for seed := range uint64(50) {
			_, out := oneWay.Install(t.Context(), newFake(nodes), leaders{"n1"}, random(seed))
			outgoing := out.Links[0].From == "n1"
			for _, l := range out.Links {
				require.Equal(t, outgoing, l.From == "n1")
				require.Equal(t, !outgoing, l.To == "n1")
			}
			reached := nodes - len(out.Links)
			require.LessOrEqual(t, reached, nodes/2, "the leader and those not cut off")
			directions[outgoing], sizes[len(out.Links)] = true, true
		}
		require.Len(t, directions, 2)
		require.True(t, sizes[nodes-1])
		require.True(t, sizes[nodes-nodes/2])
	}
}

func TestSplitTakesTheLeaderToEitherSide(t *testing.T) {
	sides := map[bool]bool{}
	for seed := range uint64(30) {
		_, out := split.Install(t.Context(), newFake(5), leaders{"n1"}, random(seed))
		sides[slices.Contains(out.Targets, "n1")] = true
	}
	require.Len(t, sides, 2)
}

func TestTooFewNodes(t *testing.T) {
	for _, fault := range All() {
		err := fault.Check(newFake(1))
		if fault.Name() == "kill-all" {
			require.NoError(t, err)
			continue
		}
		require.Regexp(t, "at least [34] nodes", err, fault.Name())
	}
}

func TestParse(t *testing.T) {
	names := func(faults []Fault) (names []string) {
		for _, f := range faults {
			names = append(names, f.Name())
		}
		return names
	}
	for list, want := range map[string][]string{
		"split":                    {"split"},
		"pause-leader,kill-leader": {"kill-leader", "pause-leader"},
		"leader, kill-leader":      {"kill-leader", "isolate-leader", "pause-leader", "stop-leader", "remove-leader"},
		"none":                     nil,
		"all":                      names(append(All(), Real()...)),
	} {
		faults, err := Parse(list)
		require.NoError(t, err, list)
		require.Equal(t, want, names(faults), list)
	}
	for list, hint := range map[string]string{
		"kill-leder": `did you mean "kill-leader"?`,
		"":           `there is no fault ""`,
		"meteor":     "there are kill-leader",
	} {
		_, err := Parse(list)
		require.ErrorContains(t, err, hint)
	}
}

func TestPlan(t *testing.T) {
	timing := Timing{Start: 3 * time.Second, End: 3*time.Second + time.Duration(len(All())+1)*defaultInterval}
	for seed := range uint64(100) {
		plan := Plan(random(seed), All(), timing)
		require.GreaterOrEqual(t, len(plan), len(All()), "every kind at least once")
		seen := map[string]int{}
		last := timing.Start
		for i, p := range plan {
			require.Equal(t, i+1, p.ID)
			require.GreaterOrEqual(t, p.At, last, "no two overlap")
			require.Greater(t, p.HealAt, p.At+2*time.Second)
			last = p.HealAt
			seen[p.Fault]++
			if i == len(All())-1 {
				require.Len(t, seen, len(All()), "a deck holds every kind once")
			}
		}
		require.Less(t, last, timing.End)
		require.Equal(t, plan, Plan(random(seed), All(), timing), "the same seed, the same plan")
	}
	require.Empty(t, Plan(random(1), nil, timing))
}

func TestRetryLeavesHalfOfTheWindow(t *testing.T) {
	p := Planned{At: 10 * time.Second, HealAt: 14 * time.Second}
	_, ok := p.Retry(11 * time.Second)
	require.True(t, ok)
	_, ok = p.Retry(12 * time.Second)
	require.False(t, ok)
}

// Catches a bridge that is crashed but once, crashes that are not counted, rests out of bounds, and
// crashes that failed unnoticed.
func TestTheBridgeCrashesUntilItIsHealed(t *testing.T) {
	f := newFake(5)
	f.sequential = true
	in, out := crashBridge{}.Install(t.Context(), f, leaders{"n1"}, random(3))
	require.Equal(t, ResultInstalled, out.Result, out.Reason)
	require.NotContains(t, out.Targets, "n1")
	bridge := in.(Restless)
	var passed time.Duration
	for passed < 10*time.Second {
		rest := bridge.Rest()
		require.Greater(t, rest, 40*time.Millisecond)
		require.Less(t, rest, 1600*time.Millisecond)
		passed += rest
		bridge.Act(t.Context())
	}
	healed := in.Heal(t.Context())
	require.Equal(t, ResultHealed, healed.Result, healed.Reason)
	require.Greater(t, healed.Crashes, 3)
	require.Equal(t, len(f.nodes)+healed.Crashes, f.pids, "each crash is counted, and followed by a start")

	f = newFake(5)
	f.sequential = true
	in, out = crashBridge{}.Install(t.Context(), f, leaders{"n1"}, random(3))
	require.Equal(t, ResultInstalled, out.Result, out.Reason)
	f.fails = []string{"kill"}
	bridge = in.(Restless)
	for bridge.Rest() >= 0 {
		bridge.Act(t.Context())
	}
	require.Contains(t, in.Heal(t.Context()).Reason, "kill failed")
}

// Catches a goroutine, a timer or a wait where the cluster is under virtual time: there a bubble of
// synctest would see time pass, and concurrent calls would meet in the fake.
func TestUnderVirtualTimeNothingWaits(t *testing.T) {
	for _, fault := range All() {
		for _, lies := range [][]string{nil, {"cut"}, {"kill"}, {"pause"}, {"restore"}, {"restart"}, {"resume"}, {"degrade"}, {"repair"}} {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(5)
				f.sequential, f.lies = true, lies
				begun := time.Now()
				in, out := fault.Install(t.Context(), f, leaders{"n2"}, random(1))
				require.Contains(t, []Result{ResultInstalled, ResultIndeterminate}, out.Result)
				require.NotNil(t, in)
				in.Heal(t.Context())
				require.Zero(t, time.Since(begun), fault.Name())
				require.Equal(t, []string{"the test's"}, f.callers())
			})
		}
	}
}

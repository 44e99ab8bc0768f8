package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/checker"
	"coup/cluster"
	"coup/history"
	"coup/nemesis"
	"coup/runner"
	"coup/workload"
)

// game is a short run: a workload under faults, then Settle, then every key read.
type game struct {
	world    *World
	events   []history.Event
	inFlight int
	faults   int // installed
}

// rules shape a game.
type rules struct {
	Options
	ops     int     // how many, about
	rate    float64 // a second
	faults  []nemesis.Fault
	windows int // how many faults
}

func play(tb testing.TB, r rules) *game {
	tb.Helper()
	w, err := New(r.Options)
	require.NoError(tb, err)
	g := &game{world: w, events: make([]history.Event, 0, 3*r.ops)}
	span := time.Duration(float64(r.ops) / r.rate * float64(time.Second))
	g.within(2 * time.Second)
	begun := w.Now()
	var names []string
	for _, n := range w.Cluster().Nodes() {
		names = append(names, n.ID)
	}
	load := workload.NewRegisters(workload.RegisterOptions{Seed: r.Seed, Nodes: names, Rate: r.rate, Concurrency: 10, Keys: 5, Until: begun + span})
	random := rand.New(rand.NewPCG(r.Seed, 1))
	for i := range r.windows {
		slot := begun + span*time.Duration(i)/time.Duration(r.windows)
		g.drive(load, slot+span/time.Duration(4*r.windows))
		fault := r.faults[random.IntN(len(r.faults))]
		var installed nemesis.Installed
		g.do(func(ctx context.Context, c cluster.Cluster, view nemesis.View) error {
			var outcome nemesis.Outcome
			installed, outcome = fault.Install(ctx, c, view, random)
			if outcome.Result == nemesis.ResultInstalled {
				g.faults++
			}
			return nil
		})
		g.drive(load, slot+span*3/time.Duration(4*r.windows))
		if installed != nil {
			g.do(func(ctx context.Context, c cluster.Cluster, _ nemesis.View) error {
				if outcome := installed.Heal(ctx); outcome.Result != nemesis.ResultHealed {
					return fmt.Errorf("%s: %s", fault.Name(), outcome.Reason)
				}
				return nil
			})
		}
	}
	g.drive(load, begun+span)
	g.within(w.options.OpTimeout + time.Second)
	if w.Err() == nil {
		_ = w.Settle()
	}
	if w.Err() == nil {
		final := workload.NewFinalReads(workload.FinalReadOptions{Seed: r.Seed, Nodes: names, Keys: load.Written(), FirstProcess: load.UnusedProcess(), Concurrency: 10, Until: w.Now() + 15*time.Second})
		g.drive(final, w.Now()+15*time.Second)
		if missing := final.Missing(); len(missing) > 0 {
			w.fail("L2", "%d keys cannot be read", len(missing))
		}
	}
	return g
}

func (g *game) do(act runner.Action) {
	g.world.Inject(act, func(i runner.Injected) {
		if i.Err != nil {
			g.world.fail("harness", "%v", i.Err)
		}
	})
}

// within waits for a while, and lets end what is under way.
func (g *game) within(d time.Duration) {
	for until := g.world.Now() + d; g.world.Now() < until && g.world.Wait(until); {
	}
}

func (g *game) record(e history.Event) {
	e.Index = int64(len(g.events))
	g.events = append(g.events, e)
}

func (g *game) drive(load workload.Generator, until time.Duration) {
	w := g.world
	for w.Now() < until {
		next := load.Next(w.Now())
		switch next.Kind {
		case workload.Done:
			return
		case workload.Wait:
			if !w.Wait(min(until, next.At)) {
				return
			}
		case workload.Invoke:
			g.record(next.Op.Invocation(w.Now()))
			g.inFlight++
			w.Submit(next.Op, func(c runner.Completion) {
				g.inFlight--
				g.record(c.Event)
				load.Completed(c.Event)
			})
		}
	}
}

// judge tells what is wrong with a game: a failure, or a history that is not linearizable.
func (g *game) judge() error {
	if err := g.world.Err(); err != nil {
		return err
	}
	if err := history.Validate(g.events); err != nil {
		return err
	}
	ops, err := history.Ops(g.events)
	if err != nil {
		return err
	}
	for _, key := range checker.Linearizability(context.Background(), checker.Evidence{Ops: ops}, checker.Options{Workers: 1}).Suspect {
		return fmt.Errorf("key %s: %s: %v", key.Key, key.Outcome, key.Explanation)
	}
	return nil
}

func ordinary(seed uint64) rules {
	return rules{
		Options: Options{Seed: seed, Nodes: 5, Trouble: Troubles()},
		ops:     500, rate: 200, faults: nemesis.All(), windows: 5,
	}
}

// Catches whatever makes two runs of one seed differ: an unordered map, the machine's clock, a
// goroutine.
func TestOneSeedIsOneRun(t *testing.T) {
	hashes := map[uint64]bool{}
	for seed := range uint64(10) {
		first := play(t, ordinary(seed))
		second := play(t, ordinary(seed))
		require.Equal(t, first.world.TraceHash(), second.world.TraceHash(), "seed %d", seed)
		require.Equal(t, first.events, second.events)
		hashes[first.world.TraceHash()] = true
	}
	require.Len(t, hashes, 10, "different seeds do different things")
}

// Catches a world that breaks the cluster in a way that no machine does, or a node that does not
// stand what machines do.
func TestNothingIsFoundInGoodNodes(t *testing.T) {
	for seed := range uint64(300) {
		g := play(t, ordinary(seed))
		require.NoError(t, g.judge(), "seed %d", seed)
		t.Logf("%d: %d events, %d faults, %v, %+v", seed, len(g.events), g.faults, g.world.Now(), g.world.Reached())
	}
}

// BenchmarkRun is a whole run of 2,000 operations by 10 clients on 5 nodes, with 10 faults and every
// invariant checked after every step, but without the check of the history.
func BenchmarkRun(b *testing.B) {
	for i := range b.N {
		r := rules{
			Options: Options{Seed: uint64(i), Nodes: 5, Trouble: Troubles()},
			ops:     2000, rate: 200, faults: nemesis.All(), windows: 10,
		}
		require.NoError(b, play(b, r).world.Err())
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(2000*b.N), "µs/op")
}

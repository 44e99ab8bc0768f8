package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/checker"
	"coup/cluster"
	"coup/history"
	"coup/nemesis"
	"coup/raftnode/actionlog"
	"coup/raftnode/bus"
	"coup/raftnode/raft"
	"coup/raftnode/store"
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
		ops:     500, rate: 200, faults: faultsOn(5), windows: 5,
	}
}

// faultsOn are the faults that a simulated cluster of that many nodes can suffer.
func faultsOn(nodes int) []nemesis.Fault {
	return slices.DeleteFunc(nemesis.All(), func(f nemesis.Fault) bool { return f.Check(Prospect(nodes)) != nil })
}

// Catches a database that loses a write which was durable, or keeps one by halves, a state in it that is not what the log
// leads to, and whatever of it makes two runs of one seed differ.
func TestPebbleComesOutOfEveryCrash(t *testing.T) {
	crashes := 0
	for seed := range uint64(6) {
		r := ordinary(seed)
		r.ops = 200
		r.Store = StorePebble
		once := play(t, r)
		once.world.Close()
		require.NoError(t, once.judge(), "seed %d", seed)
		crashes += once.world.Reached().Crashes
		if seed < 2 {
			again := play(t, r)
			again.world.Close()
			require.Equal(t, once.world.TraceHash(), again.world.TraceHash())
		}
	}
	require.Greater(t, crashes, 20)
}

// Catches a database that is not looked at.
func TestADatabaseThatLosesAWriteIsFound(t *testing.T) {
	w, err := New(Options{Seed: 1, Nodes: 3, Store: StorePebble})
	require.NoError(t, err)
	defer w.Close()
	require.NoError(t, w.Settle())
	d := w.nodes[0].disk
	require.NoError(t, d.settle(d.durable()-1))
	d.journal[0].other = func(s store.Store) error {
		if m, ok := s.(*store.Memory); ok {
			return m.Save(nil, d.journal[0].entries)
		}
		return nil
	}
	require.NoError(t, w.Cluster().(cluster.Killer).Kill(t.Context(), "n1"))
	require.ErrorContains(t, w.Err(), "after a power failure")
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
		traced := ordinary(seed)
		traced.Actions = func(actionlog.Action) {}
		require.Equal(t, first.world.TraceHash(), play(t, traced).world.TraceHash(), "traced")
		hashes[first.world.TraceHash()] = true
	}
	require.Len(t, hashes, 10, "different seeds do different things")
}

// Catches a world that breaks the cluster in a way that no machine does, a node that does not stand what
// machines do, and a trouble that never comes.
func TestGoodNodesStandAllTroubles(t *testing.T) {
	var total Reached
	counts := reflect.ValueOf(&total).Elem()
	for seed := range uint64(200) {
		g := play(t, ordinary(seed))
		require.NoError(t, g.judge(), "seed %d", seed)
		reached := reflect.ValueOf(g.world.Reached())
		for i := range counts.NumField() {
			counts.Field(i).SetInt(counts.Field(i).Int() + reached.Field(i).Int())
		}
	}
	for i := range counts.NumField() {
		require.Positive(t, counts.Field(i).Int(), counts.Type().Field(i).Name)
	}
}

// Catches a trouble that comes although nobody asked for it.
func TestACalmWorldHasNoTrouble(t *testing.T) {
	r := ordinary(1)
	r.Trouble, r.windows = nil, 0
	g := play(t, r)
	require.NoError(t, g.judge())
	reached := g.world.Reached()
	require.Equal(t, Reached{
		Events: reached.Events, Messages: reached.Messages, Operations: reached.Operations, IndexReads: reached.IndexReads,
		Elections: 2, // the second is asked for by Settle
	}, reached)
	for _, e := range g.events {
		require.NotEqual(t, history.Info, e.Type)
	}
}

// A seed plays the same whoever asks for it: what one trouble draws must not move what another one draws.
func TestTroublesAreDrawnApart(t *testing.T) {
	one, err := newTrouble(Options{Seed: 4, Trouble: []string{"crashes"}})
	require.NoError(t, err)
	all, err := newTrouble(Options{Seed: 4, Trouble: Troubles()})
	require.NoError(t, err)
	require.Equal(t, all.crash, one.crash)
	require.Equal(t, all.crashInWrite, one.crashInWrite)
	require.Zero(t, one.loss|one.duplicate|one.hold|one.slow)

	_, err = New(Options{Nodes: 3, Trouble: []string{"rain"}})
	require.ErrorContains(t, err, "rain")
	_, err = New(Options{})
	require.Error(t, err)
}

// forgetful is a store without a vote.
type forgetful struct{ *disk }

func (s forgetful) Save(hs *raft.HardState, entries []raft.Entry) error {
	if hs != nil {
		hs = &raft.HardState{Term: hs.Term}
	}
	return s.disk.Save(hs, entries)
}

// lazy is a store that never syncs.
type lazy struct{ *disk }

func (s lazy) Save(hs *raft.HardState, entries []raft.Entry) error {
	x := write{entries: entries}
	if hs != nil {
		x.state, x.withState = *hs, true
	}
	return s.write(x, false)
}

// masked is a bus on which a node speaks as another.
type masked struct {
	bus.Bus
	as raft.NodeID
}

func (b masked) Respond(from, to raft.NodeID, m raft.Message) {
	if m.Type == raft.MsgAppendReply && to != b.as {
		from = b.as
	}
	b.Bus.Respond(from, to, m)
}

// yielding is a bus on which every vote is granted.
type yielding struct{ bus.Bus }

func (b yielding) Respond(from, to raft.NodeID, m raft.Message) {
	if m.Type == raft.MsgVoteReply || m.Type == raft.MsgPreVoteReply {
		m.Reject = false
	}
	b.Bus.Respond(from, to, m)
}

// Catches checks that are never made: what is planted must be found, by the law that it breaks.
func TestWhatIsPlantedIsFound(t *testing.T) {
	for _, c := range []struct {
		name   string
		plant  func(*node, store.Store, bus.Bus) (store.Store, bus.Bus)
		checks []string
	}{
		{"a vote that is not kept", func(n *node, s store.Store, b bus.Bus) (store.Store, bus.Bus) {
			return forgetful{n.disk}, b
		}, []string{"I11", "I7"}},
		{"a disk that is not synced", func(n *node, s store.Store, b bus.Bus) (store.Store, bus.Bus) {
			return lazy{n.disk}, b
		}, []string{"I11"}},
		{"acknowledgements in another's name", func(n *node, s store.Store, b bus.Bus) (store.Store, bus.Bus) {
			return s, masked{b, "n3"}
		}, []string{"I9", "I10"}},
		{"votes that were refused", func(n *node, s store.Store, b bus.Bus) (store.Store, bus.Bus) {
			return s, yielding{b}
		}, []string{"I1", "I4", "I7", "I11"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(50) {
				r := ordinary(seed)
				r.Trouble, r.plant = []string{"messages", "crashes"}, c.plant
				r.faults, _ = nemesis.Parse("process,leader") // others would have it fail in what it owes first
				var failure *Failure
				if errors.As(play(t, r).world.Err(), &failure) {
					require.Contains(t, c.checks, failure.Check, failure.Text)
					return
				}
			}
			require.Fail(t, "not found")
		})
	}
}

// Catches a disk whose content is never compared with what the node makes of it.
func TestADiskOfLastWeekIsFound(t *testing.T) {
	w, err := New(Options{Seed: 1, Nodes: 3})
	require.NoError(t, err)
	require.NoError(t, w.Settle())
	old := w.nodes[0].disk.Memory.Clone()
	require.NoError(t, w.Settle())
	nodes := w.Cluster().(cluster.Killer)
	require.NoError(t, nodes.Kill(t.Context(), "n1"))
	w.nodes[0].disk.Memory = old
	require.NoError(t, nodes.Restart(t.Context(), "n1"))
	var failure *Failure
	require.ErrorAs(t, w.Err(), &failure)
	require.Equal(t, "I6", failure.Check) // Settle has come to a later term meanwhile
	require.False(t, w.Wait(w.Now()+time.Second), "a world ends with its first failure")
}

// Catches a world that takes a disk that lies for a good one: a start that does not find it fails the run.
func TestADiskThatLiesMustNotStart(t *testing.T) {
	for _, flip := range []bool{true, false} {
		w, err := New(Options{Seed: 1, Nodes: 3})
		require.NoError(t, err)
		require.NoError(t, w.Settle())
		c := w.Cluster()
		nodes := c.(cluster.Killer)
		require.NoError(t, nodes.Kill(t.Context(), "n1"))
		n := w.nodes[0]
		if n.damaged = "entry 1"; flip {
			n.damaged = n.disk.damage(&w.trouble.dice)
		}
		require.Error(t, nodes.Restart(t.Context(), "n1"))
		require.Equal(t, flip, cluster.IsLost(c, "n1"))
		if !flip {
			var failure *Failure
			require.ErrorAs(t, w.Err(), &failure)
			require.Equal(t, "disk", failure.Check)
			continue
		}
		require.NoError(t, w.Err())
		require.Error(t, nodes.Restart(t.Context(), "n1"), "it is lost for good")
		require.NoError(t, w.Settle(), "the others go on")
		require.Equal(t, 1, w.Reached().FlippedBitsFound)
	}
}

// Catches stale reads that nobody compares with the log: of a value that the key never held then, of one that it no
// longer held, and of a state older than what was told before.
func TestStaleReadsAreHeldToTheLog(t *testing.T) {
	for what, spoil := range map[string]func(*node, []version){
		"":              func(*node, []version) {},
		"another value": func(_ *node, v []version) { v[len(v)-1].value += "0" },
		"a later entry": func(_ *node, v []version) { v[len(v)-1].index-- },
		"an older one":  func(n *node, _ []version) { n.stale = 1 << 40 },
	} {
		w, err := New(Options{Seed: 1, Nodes: 3})
		require.NoError(t, err)
		require.NoError(t, w.Settle())
		spoil(w.nodes[1], w.past.values[probeKey])
		w.readStale(w.nodes[1])
		require.Equal(t, what == "", w.Err() == nil, what)
		require.Positive(t, w.Reached().StaleReads)
	}
}

// Catches the loss of so many that the others cannot go on.
func TestAMajorityIsNeverLost(t *testing.T) {
	lost := 0
	for seed := range uint64(40) {
		w, err := New(Options{Seed: seed, Nodes: 3 + int(seed%3), Trouble: []string{"disk", "membership"}})
		require.NoError(t, err)
		for range 200 {
			w.Wait(w.Now() + 50*time.Millisecond)
			for _, n := range w.nodes {
				w.trouble.rot = time.Second
				w.spoil(n)
			}
			members, _ := w.configured()
			for _, voters := range [][]raft.NodeID{members.Voters, members.Outgoing} {
				gone := len(w.absent(voters))
				require.True(t, len(voters) == 0 || 2*gone < len(voters), "seed %d: %d of %v", seed, gone, voters)
				lost += gone
			}
		}
		require.NoError(t, w.Settle(), "seed %d", seed)
	}
	require.Positive(t, lost)
}

// Catches leases that are not judged: a leader whose clock goes slower than the bound says still trusts its lease
// when another one leads and has acknowledged more.
func TestALeaseByAClockBeyondTheBoundIsFound(t *testing.T) {
	for _, c := range []struct {
		slow time.Duration // ticks take that many times as long
		good bool
	}{{1, true}, {8, false}} {
		w, err := New(Options{Seed: 3, Nodes: 3, ElectionTicks: 20, HeartbeatTicks: 1})
		require.NoError(t, err)
		require.NoError(t, w.Settle())
		w.operators.lease = math.MaxUint64
		g := &game{world: w}
		ask := func(op workload.Op) (e history.Event) {
			op.Key = "k"
			w.Submit(op, func(c runner.Completion) { e = c.Event })
			g.within(100 * time.Millisecond)
			return e
		}
		old := w.leader()
		require.Equal(t, history.OK, ask(workload.Op{F: history.Write, Value: history.Int(1), Node: string(old.id)}).Type)
		old.rate *= c.slow
		g.within(time.Second) // ticks that were begun are over
		g.do(func(ctx context.Context, c cluster.Cluster, view nemesis.View) error {
			isolation, err := nemesis.Parse("isolate-leader")
			require.NoError(t, err)
			_, outcome := isolation[0].Install(ctx, c, view, rand.New(rand.NewPCG(1, 1)))
			require.Equal(t, nemesis.ResultInstalled, outcome.Result)
			return nil
		})
		g.within(5 * time.Second)
		other := w.nodes[(old.index+1)%3]
		written := ask(workload.Op{F: history.Write, Value: history.Int(2), Node: string(other.id)})
		require.Equal(t, history.OK, written.Type, written.Error)
		read := ask(workload.Op{F: history.Read, Node: string(old.id)})
		if c.good {
			require.NotEqual(t, history.OK, read.Type)
			require.NoError(t, w.Err())
			continue
		}
		var failure *Failure
		require.ErrorAs(t, w.Err(), &failure)
		require.Equal(t, "I16", failure.Check)
	}
}

// Catches liveness that is owed and not looked for: a leader that nobody follows, a write that nobody answers.
func TestWhatIsOwedAndMissing(t *testing.T) {
	for check, mute := range map[string]raft.MessageType{"L1": raft.MsgVote, "L2": raft.MsgAppend} {
		silence := func(n *node, s store.Store, b bus.Bus) (store.Store, bus.Bus) { return s, mutedBus{b, mute} }
		w, err := New(Options{Seed: 1, Nodes: 3, plant: silence})
		require.NoError(t, err)
		var failure *Failure
		require.ErrorAs(t, w.Settle(), &failure)
		require.Equal(t, check, failure.Check, failure.Text)
	}
}

// mutedBus loses one type of message.
type mutedBus struct {
	bus.Bus
	mute raft.MessageType
}

func (b mutedBus) Send(from, to raft.NodeID, m raft.Message, onResponse func(raft.Message, error)) bus.MessageID {
	if m.Type == b.mute {
		to = "nobody"
	}
	return b.Bus.Send(from, to, m, onResponse)
}

// BenchmarkRun is a whole run of 2,000 operations by 10 clients on 5 nodes, with 10 faults and every
// invariant checked after every step, but without the check of the history.
func BenchmarkRun(b *testing.B) {
	for i := range b.N {
		r := rules{
			Options: Options{Seed: uint64(i), Nodes: 5, Trouble: Troubles()},
			ops:     2000, rate: 200, faults: faultsOn(5), windows: 10,
		}
		require.NoError(b, play(b, r).world.Err())
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(2000*b.N), "µs/op")
}

package workload

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"coup/history"
)

// trial plays a generator against registers that answer after a random time and with a random fate.
type trial struct {
	random   *rand.Rand
	bad      int // percent of operations with an unknown outcome
	refused  int // percent that fail
	now      time.Duration
	held     map[string]history.Value
	inFlight []flight
	events   []history.Event
}

type flight struct {
	at time.Duration
	op Op
}

func newTrial(seed uint64, bad, refused int) *trial {
	return &trial{random: rand.New(rand.NewPCG(seed, 99)), bad: bad, refused: refused, held: make(map[string]history.Value)}
}

// play drives the generator until it is done or the time is up, and then lets everything complete.
func (t *trial) play(g Generator, until time.Duration) {
	for t.now < until {
		next := g.Next(t.now)
		switch next.Kind {
		case Done:
			until = t.now
		case Invoke:
			t.record(next.Op.Invocation(t.now))
			took := time.Duration(t.random.Int64N(int64(30 * time.Millisecond)))
			t.inFlight = append(t.inFlight, flight{t.now + took, next.Op})
		case Wait:
			wake := min(next.At, until)
			if !t.complete(g, wake) {
				t.now = wake
			}
		}
	}
	for t.complete(g, Never) {
	}
}

// complete ends the operation that is due first, if it is due by then.
func (t *trial) complete(g Generator, by time.Duration) bool {
	if len(t.inFlight) == 0 {
		return false
	}
	first := 0
	for i, f := range t.inFlight {
		if f.at < t.inFlight[first].at {
			first = i
		}
	}
	f := t.inFlight[first]
	if f.at > by {
		return false
	}
	t.inFlight = slices.Delete(t.inFlight, first, first+1)
	t.now = max(t.now, f.at)
	e := t.answer(f.op)
	t.record(e)
	g.Completed(e)
	return true
}

func (t *trial) answer(op Op) history.Event {
	e := op.Invocation(t.now)
	held := t.held[op.Key]
	switch roll := t.random.IntN(100); {
	case roll < t.bad:
		e.Type, e.Error = history.Info, "timeout: no answer"
	case roll < t.bad+t.refused:
		e.Type, e.Error = history.Fail, "not_leader: n2 leads"
	case op.F == history.Read:
		e.Type, e.Value = history.OK, held
	case op.F == history.Write:
		e.Type, t.held[op.Key] = history.OK, op.Value
	case held == history.Value(history.Int(op.Value.(history.Pair)[0])):
		e.Type, t.held[op.Key] = history.OK, history.Int(op.Value.(history.Pair)[1])
	default:
		e.Type, e.Error = history.Fail, history.ErrorMismatch
	}
	return e
}

func (t *trial) record(e history.Event) {
	e.Index = int64(len(t.events))
	t.events = append(t.events, e)
}

// written is the value that an operation writes; none when it reads.
func written(op history.Op) (history.Int, bool) {
	switch v := op.In.(type) {
	case history.Int:
		return v, true
	case history.Pair:
		return history.Int(v[1]), true
	}
	return 0, false
}

// Catches a generator whose histories are malformed, cannot be told apart by their values, are too
// dear to check, or ask more than they may.
func TestRegistersKeepTheirBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		options := RegisterOptions{
			Seed:        rapid.Uint64().Draw(t, "seed"),
			Nodes:       []string{"n1", "n2", "n3"}[:rapid.IntRange(1, 3).Draw(t, "nodes")],
			Rate:        rapid.Float64Range(50, 400).Draw(t, "rate"),
			Concurrency: rapid.IntRange(1, 20).Draw(t, "concurrency"),
			Keys:        rapid.IntRange(1, 6).Draw(t, "keys"),
			OpsPerKey:   rapid.IntRange(1, 60).Draw(t, "ops per key"),
			OpenPerKey:  rapid.IntRange(1, 4).Draw(t, "open per key"),
			Until:       2 * time.Second,
		}
		g := NewRegisters(options)
		trial := newTrial(options.Seed, rapid.IntRange(0, 60).Draw(t, "bad"), rapid.IntRange(0, 40).Draw(t, "refused"))
		trial.play(g, time.Minute)

		ops, err := history.Ops(trial.events) // one operation a process at a time, none after an info
		require.NoError(t, err)
		require.NotEmpty(t, ops)
		seen := make(map[string]bool)
		count, open := make(map[string]int), make(map[string]int)
		for _, op := range ops {
			require.Less(t, op.Invoke, options.Until)
			require.Contains(t, options.Nodes, op.Node)
			require.Less(t, op.Process, g.UnusedProcess())
			if value, writes := written(op); writes {
				id := fmt.Sprint(op.Key, "=", value)
				require.False(t, seen[id], "%s is written twice", id)
				seen[id] = true
				require.Contains(t, g.Written(), op.Key)
				if op.Outcome == history.Info {
					open[op.Key]++
				}
			}
			count[op.Key]++
			require.LessOrEqual(t, count[op.Key], options.OpsPerKey)
			require.LessOrEqual(t, open[op.Key], options.OpenPerKey)
		}
		inFlight := make(map[string]int) // changes of a key that are open or undecided, at any time
		busy := 0
		for _, e := range trial.events {
			change := e.F != history.Read
			if e.Type == history.Invoke {
				busy++
				if change {
					inFlight[e.Key]++
				}
			} else {
				busy--
				if change && e.Type != history.Info {
					inFlight[e.Key]--
				}
			}
			require.LessOrEqual(t, busy, options.Concurrency)
			require.LessOrEqual(t, inFlight[e.Key], options.OpenPerKey)
		}
	})
}

// Catches a draw from anywhere but the seed.
func TestRegistersAreAFunctionOfTheSeed(t *testing.T) {
	play := func(seed uint64) []history.Event {
		trial := newTrial(1, 5, 5)
		trial.play(NewRegisters(RegisterOptions{Seed: seed, Nodes: []string{"n1", "n2", "n3"}, Until: 10 * time.Second}), time.Minute)
		return trial.events
	}
	require.Equal(t, play(7), play(7))
	require.NotEqual(t, play(7), play(8))
}

// Catches a mix that checks little: a kind of operation that is missing, cas that hardly ever succeed
// or are never refused, a rate that is not what was asked for, a node that nobody asks.
func TestRegistersMix(t *testing.T) {
	trial := newTrial(3, 0, 0)
	trial.play(NewRegisters(RegisterOptions{Seed: 3, Nodes: []string{"n1", "n2", "n3"}, Rate: 200, Until: 50 * time.Second}), time.Minute)
	ops, err := history.Ops(trial.events)
	require.NoError(t, err)
	count, nodes, keys := make(map[string]int), make(map[string]int), make(map[string]bool)
	for _, op := range ops {
		count[string(op.F)+" "+string(op.Outcome)]++
		nodes[op.Node]++
		keys[op.Key] = true
	}
	require.InEpsilon(t, 10_000, len(ops), 0.1)
	require.Greater(t, count["read ok"], 3000)
	require.Greater(t, count["write ok"], 2000)
	require.Greater(t, count["cas ok"], 1500)
	require.Greater(t, count["cas fail"], 100)
	require.Greater(t, count["cas ok"], 2*count["cas fail"])
	require.Greater(t, len(keys), 40)
	for _, node := range []string{"n1", "n2", "n3"} {
		require.Greater(t, nodes[node], 2000)
	}
}

// Catches a generator that goes on when every client waits, or that makes up for a stall in a burst.
func TestRegistersWaitForClientsAndForTime(t *testing.T) {
	g := NewRegisters(RegisterOptions{Nodes: []string{"n1"}, Rate: 1000, Concurrency: 2, Until: time.Hour})
	var ops []Op
	now := time.Duration(0)
	for range 100 {
		next := g.Next(now)
		if next.Kind == Invoke {
			ops = append(ops, next.Op)
		}
		now += 10 * time.Millisecond
	}
	require.Len(t, ops, 2)
	require.Equal(t, Next{Kind: Wait, At: time.Hour}, g.Next(now))

	now += time.Minute
	burst := 0
	for range 100 {
		next := g.Next(now)
		if next.Kind != Invoke && burst > 0 {
			break
		}
		if next.Kind == Invoke {
			burst++
			ops = append(ops, next.Op)
		}
		done := ops[0].Invocation(now)
		done.Type = history.Fail
		g.Completed(done)
		ops = ops[1:]
	}
	require.Less(t, burst, 20)
	require.Equal(t, Next{Kind: Done}, g.Next(time.Hour))
}

// Catches final reads that stop too early, never stop, or do not tell what they could not read.
func TestFinalReads(t *testing.T) {
	keys := []string{"k1", "k2", "k3", "k4", "k5"}
	options := FinalReadOptions{Seed: 4, Nodes: []string{"n1", "n2", "n3"}, Keys: keys, FirstProcess: 77, Concurrency: 3, Until: 20 * time.Second}

	g := NewFinalReads(options)
	trial := newTrial(4, 30, 30)
	trial.play(g, time.Minute)
	require.Empty(t, g.Missing())
	require.Less(t, trial.now, options.Until)
	ops, err := history.Ops(trial.events)
	require.NoError(t, err)
	read := make(map[string]int)
	for _, op := range ops {
		require.Equal(t, history.Read, op.F)
		require.GreaterOrEqual(t, op.Process, 77)
		if op.Outcome == history.OK {
			read[op.Key]++
		}
	}
	require.Equal(t, map[string]int{"k1": 1, "k2": 1, "k3": 1, "k4": 1, "k5": 1}, read)

	g = NewFinalReads(options)
	trial = newTrial(4, 0, 100)
	trial.play(g, time.Minute)
	require.Equal(t, keys, g.Missing())
	require.Equal(t, Next{Kind: Done}, g.Next(options.Until))
	require.Less(t, len(trial.events), 2*len(keys)*200+1, "a key that cannot be read is asked for every 100 ms at most")
	asked := make(map[string]bool)
	for _, e := range trial.events {
		asked[e.Node] = true
	}
	require.Len(t, asked, 3, "another node is asked after a failure")

	g = NewFinalReads(FinalReadOptions{Nodes: []string{"n1"}})
	require.Equal(t, Next{Kind: Done}, g.Next(0))
}

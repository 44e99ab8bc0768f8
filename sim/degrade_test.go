package sim

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/cluster"
	"coup/nemesis"
)

// calmWorld is a world in which nothing goes wrong by itself.
func calmWorld(t *testing.T, nodes int) *World {
	t.Helper()
	w, err := New(Options{Seed: 5, Nodes: nodes})
	require.NoError(t, err)
	t.Cleanup(w.Close)
	w.Wait(2 * time.Second)
	return w
}

// Catches a disturbance that measures show and messages do not suffer, or the other way round, and one that stays when
// it was repaired.
func TestBadLinksAreBadForMessages(t *testing.T) {
	links := func(w *World) (all []cluster.Link) {
		for _, a := range w.Cluster().Nodes() {
			for _, b := range w.Cluster().Nodes() {
				if a != b {
					all = append(all, cluster.Link{From: a.ID, To: b.ID})
				}
			}
		}
		return all
	}
	second := func(w *World) (messages, lost, duplicated int) {
		before := w.Reached()
		w.Wait(w.Now() + 5*time.Second)
		after := w.Reached()
		return after.Messages - before.Messages, after.Lost - before.Lost, after.Duplicated - before.Duplicated
	}
	for _, c := range []struct {
		of    cluster.Degradation
		check func(t *testing.T, messages, lost, duplicated, whole int)
		seen  func(m cluster.Measurement) int
	}{
		{cluster.Degradation{Kind: cluster.Loss, Share: 0.2}, func(t *testing.T, messages, lost, _, _ int) {
			require.InDelta(t, 0.2, float64(lost)/float64(messages+lost), 0.08)
		}, func(m cluster.Measurement) int { return m.Sent - m.Received }},
		{cluster.Degradation{Kind: cluster.Corrupt, Share: 0.2}, func(t *testing.T, messages, lost, _, _ int) {
			require.InDelta(t, 0.2, float64(lost)/float64(messages+lost), 0.08)
		}, func(m cluster.Measurement) int { return m.Damaged }},
		{cluster.Degradation{Kind: cluster.Duplicate, Share: 0.5}, func(t *testing.T, messages, _, duplicated, whole int) {
			require.InDelta(t, 0.5, float64(duplicated)/float64(messages-duplicated), 0.1)
		}, func(m cluster.Measurement) int { return m.Twice }},
		{cluster.Degradation{Kind: cluster.Limit, Rate: 5}, func(t *testing.T, messages, lost, _, whole int) {
			require.Less(t, messages, 6*5*5+6)
			require.Positive(t, lost)
		}, func(m cluster.Measurement) int { return m.Sent - m.Received }},
		{cluster.Degradation{Kind: cluster.Delay, Delay: 400 * time.Millisecond}, func(t *testing.T, messages, lost, _, whole int) {
			require.Zero(t, lost)
			require.NotEqual(t, whole, messages)
		}, func(m cluster.Measurement) int { return int(m.Delay) }},
		{cluster.Degradation{Kind: cluster.Reorder, Share: 0.5, Delay: 20 * time.Millisecond}, func(t *testing.T, _, lost, _, _ int) {
			require.Zero(t, lost)
		}, func(m cluster.Measurement) int { return m.Late }},
	} {
		t.Run(string(c.of.Kind), func(t *testing.T) {
			w := calmWorld(t, 3)
			d, ctx := w.Cluster().(cluster.Degrader), context.Background()
			require.NoError(t, d.Degrades(ctx, c.of.Kind))
			whole, lost, duplicated := second(w)
			require.Zero(t, lost+duplicated)
			measured := func() int {
				m, err := d.Measure(ctx, links(w)[:1], c.of.Kind, 100)
				require.NoError(t, err)
				return c.seen(m[0])
			}
			require.Zero(t, measured())
			require.NoError(t, d.Degrade(ctx, links(w), c.of))
			require.Error(t, d.Degrade(ctx, links(w), c.of), "twice")
			require.Positive(t, measured())
			messages, lost, duplicated := second(w)
			c.check(t, messages, lost, duplicated, whole)
			require.NoError(t, d.Repair(ctx, links(w), c.of.Kind))
			require.Error(t, d.Repair(ctx, links(w), c.of.Kind), "twice")
			require.Zero(t, measured())
			w.Wait(w.Now() + time.Second)
			_, lost, duplicated = second(w)
			require.Zero(t, lost+duplicated)
			require.NoError(t, w.Settle())
		})
	}
}

// Catches a world that settles while links are still bad, measurements that change what happens, and a connection's
// disturbance that is claimed where there are none.
func TestMeasuringChangesNothing(t *testing.T) {
	var hashes []uint64
	for _, measures := range []int{0, 1, 7} {
		w := calmWorld(t, 3)
		d, ctx := w.Cluster().(cluster.Degrader), context.Background()
		links := []cluster.Link{{From: "n1", To: "n2"}}
		require.ErrorContains(t, d.Degrades(ctx, cluster.Silence), "use docker or netns")
		require.Error(t, d.Degrade(ctx, links, cluster.Degradation{Kind: cluster.Refuse}))
		require.Error(t, d.Degrade(ctx, []cluster.Link{{From: "n1", To: "n9"}}, cluster.Degradation{Kind: cluster.Loss, Share: 0.5}))
		require.NoError(t, d.Degrade(ctx, links, cluster.Degradation{Kind: cluster.Limit, Rate: 3}))
		for range measures {
			_, err := d.Measure(ctx, links, cluster.Limit, 50)
			require.NoError(t, err)
		}
		require.NoError(t, w.Settle())
		require.Empty(t, w.network.link(0, 1).bad.suffers)
		hashes = append(hashes, w.TraceHash())
	}
	require.Equal(t, hashes[0], hashes[1])
	require.Equal(t, hashes[0], hashes[2])
}

// Catches a fault that the simulator says it has, and that cannot be proven there, on any seed.
func TestEveryFaultIsProvenInTheSimulator(t *testing.T) {
	for _, nodes := range []int{3, 5} {
		for _, fault := range faultsOn(nodes) {
			for seed := range uint64(10) {
				w, err := New(Options{Seed: seed, Nodes: nodes})
				require.NoError(t, err)
				w.Wait(3 * time.Second)
				d := newDice(seed, "test")
				in, out := fault.Install(t.Context(), w.Cluster(), view{w}, source{&d})
				require.Equal(t, nemesis.ResultInstalled, out.Result, "%s: %s", fault.Name(), out.Reason)
				w.Wait(4 * time.Second)
				if restless, ok := in.(nemesis.Restless); ok {
					restless.Act(t.Context())
				}
				out = in.Heal(t.Context())
				require.Equal(t, nemesis.ResultHealed, out.Result, "%s: %s", fault.Name(), out.Reason)
				require.NoError(t, w.Settle(), fault.Name())
				w.Close()
			}
		}
	}
}

// source is dice as faults draw.
type source struct{ *dice }

func (s source) IntN(n int) int { return s.below(n) }

func (s source) Shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		swap(i, s.below(i+1))
	}
}

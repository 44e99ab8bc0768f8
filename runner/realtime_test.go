package runner

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/cluster"
	"coup/history"
	"coup/nemesis"
	"coup/raftnode/api"
	"coup/raftnode/raft"
	"coup/workload"
)

// clientFunc is a client that is one function.
type clientFunc func(ctx context.Context, op workload.Op) history.Event

func (f clientFunc) Do(ctx context.Context, op workload.Op) history.Event { return f(ctx, op) }

// liveCluster has two nodes, of which the second one never answers.
type liveCluster struct{ fakeCluster }

func (liveCluster) Nodes() []cluster.Node { return []cluster.Node{{ID: "n1"}, {ID: "n2"}} }

func (liveCluster) Unexpected() []cluster.Death { return []cluster.Death{{Node: "n2"}} }

func newTestWorld(t *testing.T, connect func() workload.Client) *realtime {
	t.Helper()
	w := newRealtime(t.Context(), liveCluster{}, 50*time.Millisecond, connect,
		func(ctx context.Context, node cluster.Node) (api.Status, error) {
			if node.ID == "n1" {
				return api.Status{ID: "n1", Role: "leader", Term: 3, Leader: "n1", Reigns: []api.Reign{{Term: 3}}}, nil
			}
			<-ctx.Done()
			return api.Status{}, ctx.Err()
		})
	t.Cleanup(w.Close)
	return w
}

// waitFor has the World go on until something has happened.
func waitFor(t *testing.T, w *realtime, happened func() bool) {
	t.Helper()
	bound := w.Now() + 10*time.Second
	for !happened() {
		require.True(t, w.Wait(bound))
		require.Less(t, w.Now(), bound)
	}
}

func answer(kind history.Type) clientFunc {
	return func(_ context.Context, op workload.Op) history.Event {
		e := op.Invocation(0)
		e.Type = kind
		return e
	}
}

// Catches a client that is shared between processes, or used again after an unknown outcome.
func TestEachProcessHasAClientOfItsOwn(t *testing.T) {
	var made atomic.Int32
	kinds := []history.Type{history.OK, history.Fail, history.Info}
	w := newTestWorld(t, func() workload.Client {
		made.Add(1)
		calls := 0
		return clientFunc(func(ctx context.Context, op workload.Op) history.Event {
			calls++
			return answer(kinds[calls-1])(ctx, op)
		})
	})
	for process := range 2 {
		for _, want := range kinds {
			var got *Completion
			asked := w.Now()
			w.Submit(workload.Op{Process: process, F: history.Read, Key: "k"}, func(c Completion) { got = &c })
			require.Nil(t, got, "done is called from Wait alone")
			waitFor(t, w, func() bool { return got != nil })
			require.Equal(t, want, got.Type)
			require.GreaterOrEqual(t, got.Time, asked)
			require.LessOrEqual(t, got.Time, w.Now())
		}
	}
	require.EqualValues(t, 2, made.Load())
	require.Empty(t, w.processes)
}

// Catches an operation without a bound, and a panic that takes the run, and its cleaning up, with it.
func TestAnOperationThatHangsOrPanics(t *testing.T) {
	w := newTestWorld(t, func() workload.Client {
		return clientFunc(func(ctx context.Context, op workload.Op) history.Event {
			if op.Key == "panic" {
				panic("nil map")
			}
			<-ctx.Done()
			return answer(history.Info)(ctx, op)
		})
	})
	done := map[string]Completion{}
	for process, key := range []string{"hang", "panic"} {
		w.Submit(workload.Op{Process: process, F: history.Write, Key: key, Value: history.Int(1)}, func(c Completion) { done[key] = c })
	}
	waitFor(t, w, func() bool { return len(done) == 2 })
	require.NoError(t, done["hang"].Broken)
	require.ErrorContains(t, done["panic"].Broken, "nil map")
	require.Equal(t, history.Info, done["panic"].Type, "it may have been sent")
	require.Equal(t, history.Value(history.Int(1)), done["panic"].Value)
}

// Catches a fault that holds clients up, faults that overlap, and a nemesis that dies in silence.
func TestInject(t *testing.T) {
	w := newTestWorld(t, func() workload.Client { return answer(history.OK) })
	release := make(chan struct{})
	var order []string
	w.Inject(func(context.Context, cluster.Cluster, nemesis.View) error {
		<-release
		return errors.New("half-way")
	}, func(i Injected) {
		order = append(order, i.Err.Error())
		require.GreaterOrEqual(t, i.End, i.Start)
	})
	w.Inject(func(context.Context, cluster.Cluster, nemesis.View) error { panic("boom") }, func(i Injected) {
		require.ErrorContains(t, i.Err, "panic: boom")
		order = append(order, "panic")
	})
	answered := false
	w.Submit(workload.Op{F: history.Read}, func(Completion) { answered = true })
	waitFor(t, w, func() bool { return answered })
	require.Empty(t, order)
	close(release)
	waitFor(t, w, func() bool { return len(order) == 2 })
	require.Equal(t, []string{"half-way", "panic"}, order)
}

// Catches a node that does not answer and so hides what the others say.
func TestObserve(t *testing.T) {
	w := newTestWorld(t, nil)
	var round *Round
	w.Observe(func(r Round) { round = &r })
	waitFor(t, w, func() bool { return round != nil })
	require.Len(t, round.Nodes, 2)
	require.Equal(t, "leader", round.Nodes[0].Role)
	require.NotEmpty(t, round.Nodes[0].Reigns)
	require.NotEmpty(t, round.Nodes[1].Error)
	require.Less(t, round.Nodes[0].Time, round.Nodes[1].Time, "each answer has its own time")
	require.Equal(t, []cluster.Death{{Node: "n2"}}, round.Deaths)
	require.Equal(t, []string{"n1"}, w.Leaders(t.Context()))
}

// Catches a second Ctrl-C that waits for a hanging fault, or a goroutine that outlives the run.
func TestTheEndOfARealWorld(t *testing.T) {
	hurried, hurry := context.WithCancel(t.Context())
	w := newRealtime(hurried, liveCluster{}, time.Hour, func() workload.Client {
		return clientFunc(func(ctx context.Context, op workload.Op) history.Event {
			<-ctx.Done()
			return answer(history.Info)(ctx, op)
		})
	}, func(ctx context.Context, _ cluster.Node) (api.Status, error) {
		<-ctx.Done()
		return api.Status{}, ctx.Err()
	})
	never := func() { t.Error("done was called after the end") }
	w.Submit(workload.Op{F: history.Read}, func(Completion) { never() })
	w.Inject(func(ctx context.Context, _ cluster.Cluster, _ nemesis.View) error {
		<-ctx.Done()
		return nil
	}, func(Injected) { never() })
	w.Observe(func(Round) { never() })
	hurry()
	require.False(t, w.Wait(w.Now()+time.Hour))
	w.Close()
	require.False(t, w.Wait(w.Now()+time.Hour))
}

// shiftingCluster is asked for its nodes again and again, and has others each time.
type shiftingCluster struct {
	fakeCluster
	now *[]cluster.Node
}

func (c shiftingCluster) Nodes() []cluster.Node { return *c.now }

// Catches an answer that is believed of a disk that was emptied meanwhile, or of a node that has left.
func TestAnswersOfWhoHasLeftCountForNothing(t *testing.T) {
	nodes := []cluster.Node{{ID: "n1"}, {ID: "n2", Wiped: 1}, {ID: "n3"}}
	w := newRealtime(t.Context(), shiftingCluster{now: &nodes}, time.Second, nil,
		func(_ context.Context, node cluster.Node) (api.Status, error) {
			return api.Status{ID: raft.NodeID(node.ID), Role: "follower", Term: 3, Leader: "n1"}, nil
		})
	t.Cleanup(w.Close)
	said := func() (all []string) {
		for _, o := range w.ask(t.Context()) {
			all = append(all, fmt.Sprintf("%s wiped %d", o.Node, o.Wiped))
		}
		return all
	}
	require.Equal(t, []string{"n1 wiped 0", "n2 wiped 1", "n3 wiped 0"}, said())
	w.status = func(_ context.Context, node cluster.Node) (api.Status, error) {
		if node.ID == "n1" {
			nodes = []cluster.Node{{ID: "n1"}, {ID: "n2", Wiped: 2}}
		}
		return api.Status{ID: raft.NodeID(node.ID), Role: "follower", Term: 3, Leader: "n1"}, nil
	}
	require.Equal(t, []string{"n1 wiped 0"}, said())
}

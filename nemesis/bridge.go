package nemesis

import (
	"context"
	"fmt"
	"time"

	"coup/cluster"
)

// crashBridge leaves one node as the only way between two halves, and crashes it again and again:
// each half can make a majority with it, so that whatever it forgets in a crash elects two leaders.
type crashBridge struct{}

func (crashBridge) Name() string { return "crash-bridge" }
func (crashBridge) Summary() string {
	return "cut the cluster into halves that only one node can reach, and crash that node over and over"
}
func (crashBridge) KeepsQuorum() bool { return false }

func (f crashBridge) Check(c cluster.Cluster) error {
	if n := len(c.Nodes()); n < 3 {
		return fmt.Errorf("%s needs at least 3 nodes: this cluster has %d", f.Name(), n)
	}
	if _, err := partitioner(c, f.Name()); err != nil {
		return err
	}
	_, err := killer(c, f.Name())
	return err
}

func (f crashBridge) Install(ctx context.Context, c cluster.Cluster, view View, rng Rand) (Installed, Outcome) {
	if err := f.Check(c); err != nil {
		return nil, Outcome{Result: ResultSkipped, Reason: err.Error()}
	}
	leader, reason := currentLeader(ctx, view)
	if leader == "" {
		return nil, Outcome{Result: ResultSkipped, Reason: reason}
	}
	others := shuffled(without(ids(c), leader), rng)
	bridge, rest := others[:1], append(others[1:], leader)
	half := len(rest) / 2
	cut, outcome := cutLinks(ctx, c, f.Name(), bridge, between(rest[:half], rest[half:]))
	b := &bridging{cut: cut}
	if outcome.Result != ResultInstalled {
		return b, outcome
	}
	processes, err := killer(c, f.Name())
	if err == nil {
		b.down, outcome.Processes, err = killNodes(ctx, processes, bridge)
	}
	if err != nil {
		outcome.Result, outcome.Reason = ResultIndeterminate, err.Error()
		return b, outcome
	}
	b.crash(context.WithoutCancel(ctx), processes, bridge[0], drawRhythm(rng))
	return b, outcome
}

// bridging is a crash-bridge in force. The crashes go on in a goroutine of their own until Heal.
type bridging struct {
	cut     Installed
	down    *dead // nil when the bridge was never killed
	stop    context.CancelFunc
	stopped chan struct{} // closed when the last crash is over
	crashes int           // to be read after stopped
	failure error         // likewise
}

// rhythm is how long a node is down and then up, again and again.
type rhythm []struct{ down, up time.Duration }

// drawRhythm draws before the crashes begin: rng is not for several goroutines.
func drawRhythm(rng Rand) rhythm {
	between := func(lo, hi time.Duration) time.Duration {
		return lo + time.Duration(rng.IntN(int((hi-lo)/time.Millisecond)))*time.Millisecond
	}
	r := make(rhythm, 64)
	for i := range r {
		r[i].down = between(50*time.Millisecond, 400*time.Millisecond)
		r[i].up = between(300*time.Millisecond, 1500*time.Millisecond)
	}
	return r
}

// crash brings the node back and kills it again, in that rhythm, until stop is called.
func (b *bridging) crash(ctx context.Context, processes cluster.Killer, node string, r rhythm) {
	ctx, b.stop = context.WithCancel(ctx)
	b.stopped, b.crashes = make(chan struct{}), 1
	// A crash that has begun is finished, in bounded time, though the loop should end.
	finish := func(do func(ctx context.Context) error) bool {
		ctx, cancel := healing(ctx)
		defer cancel()
		b.failure = do(ctx)
		return b.failure == nil
	}
	go func() {
		defer close(b.stopped)
		for i := 0; pause(ctx, r[i%len(r)].down); i++ {
			if !finish(func(ctx context.Context) error { return revive(ctx, processes, node) }) ||
				!pause(ctx, r[i%len(r)].up) ||
				!finish(func(ctx context.Context) error { return processes.Kill(ctx, node) }) {
				return
			}
			b.crashes++
		}
	}()
}

// Heal implements Installed.
func (b *bridging) Heal(ctx context.Context) Outcome {
	if b.stop != nil {
		b.stop()
		<-b.stopped
	}
	outcome := b.cut.Heal(ctx)
	if b.down == nil {
		return outcome
	}
	back := b.down.Heal(ctx)
	outcome.Processes = back.Processes
	for _, err := range []string{back.Reason, errorText(b.failure)} {
		if err != "" && outcome.Reason != "" {
			outcome.Reason += "; "
		}
		outcome.Reason += err
	}
	if back.Result != ResultHealed {
		outcome.Result = ResultNotHealed
	}
	outcome.Crashes = b.crashes
	return outcome
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

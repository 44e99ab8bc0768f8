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
func (crashBridge) Needs() string {
	return "at least 3 nodes, links that can be cut, and processes that can be killed"
}
func (crashBridge) Proof() string {
	return cutProof + "; the process is dead, and later runs with another pid"
}

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
	bridge, links := bridged(ids(c), leader, rng)
	cut, outcome := cutLinks(ctx, c, f.Name(), bridge, links)
	b := &bridging{cut: cut}
	if outcome.Result != ResultInstalled {
		return b, outcome
	}
	processes, err := killer(c, f.Name())
	if err == nil {
		b.down, outcome.Processes, err = killNodes(ctx, c, processes, bridge)
	}
	if err != nil {
		outcome.Result, outcome.Reason = ResultIndeterminate, err.Error()
		return b, outcome
	}
	b.processes, b.node, b.rhythm, b.crashes = processes, bridge[0], drawRhythm(rng), 1
	return b, outcome
}

// bridging is a crash-bridge in force.
type bridging struct {
	cut       Installed
	down      *dead // nil when the bridge was never killed
	processes cluster.Killer
	node      string
	rhythm    rhythm // empty unless all was installed
	turn      int    // in rhythm
	up        bool   // the node runs; it is down after Install
	crashes   int
	failure   error // of Act, after which there is no other
}

// rhythm is how long a node is down and then up, again and again.
type rhythm []struct{ down, up time.Duration }

func drawRhythm(rng Rand) rhythm {
	r := make(rhythm, 64)
	for i := range r {
		r[i].down = drawTime(rng, 50*time.Millisecond, 400*time.Millisecond)
		r[i].up = drawTime(rng, 300*time.Millisecond, 1500*time.Millisecond)
	}
	return r
}

// Rest implements Restless.
func (b *bridging) Rest() time.Duration {
	switch {
	case len(b.rhythm) == 0 || b.failure != nil:
		return -1
	case b.up:
		return b.rhythm[b.turn%len(b.rhythm)].up
	}
	return b.rhythm[b.turn%len(b.rhythm)].down
}

// Act implements Restless: it brings the node back, or kills it again. What has begun is finished, in
// bounded time, though the run should end.
func (b *bridging) Act(ctx context.Context) {
	ctx, cancel := b.down.healing(ctx)
	defer cancel()
	if !b.up {
		b.failure = revive(ctx, b.down.cluster, b.processes, b.node)
		b.up = b.failure == nil
		return
	}
	if b.failure = b.processes.Kill(ctx, b.node); b.failure == nil {
		b.up = false
		b.turn++
		b.crashes++
	}
}

// Heal implements Installed.
func (b *bridging) Heal(ctx context.Context) Outcome {
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

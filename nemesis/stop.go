package nemesis

import (
	"context"
	"fmt"
	"time"

	"coup/cluster"
)

// stop ends processes as an operator does, by SIGTERM, one after the other: each is started again, and has caught up,
// before the next is stopped.
type stop struct {
	name    string
	summary string
	// choose picks whom to stop, given the nodes and the leader.
	choose func(nodes []string, leader string, rng Rand) []string
}

var stopLeader = &stop{
	name:    "stop-leader",
	summary: "stop the leader gracefully, by SIGTERM; it starts again later",
	choose:  func(_ []string, leader string, _ Rand) []string { return []string{leader} },
}

var rollingRestart = &stop{
	name:    "rolling-restart",
	summary: "stop the nodes gracefully and start them again, one after the other, over and over",
	choose:  func(nodes []string, _ string, rng Rand) []string { return shuffled(nodes, rng) },
}

func (s *stop) Name() string      { return s.name }
func (s *stop) Summary() string   { return s.summary }
func (s *stop) KeepsQuorum() bool { return true }
func (s *stop) Needs() string {
	return "at least 3 nodes, and processes that can be stopped by SIGTERM"
}
func (s *stop) Proof() string {
	return "the process has ended with code 0, and later runs with another pid"
}

func (s *stop) Check(c cluster.Cluster) error {
	if n := len(c.Nodes()); n < 3 {
		return fmt.Errorf("%s needs at least 3 nodes, so that a majority remains: this cluster has %d", s.name, n)
	}
	_, err := stopper(c, s.name)
	return err
}

// graceful is what stopping and starting take.
type graceful interface {
	cluster.Stopper
	cluster.Killer
}

func stopper(c cluster.Cluster, fault string) (graceful, error) {
	processes, ok := c.(graceful)
	if !ok {
		return nil, fmt.Errorf("%s needs to stop processes by SIGTERM, which the %s environment cannot: use docker or netns", fault, c.Environment())
	}
	return processes, nil
}

func (s *stop) Install(ctx context.Context, c cluster.Cluster, view View, rng Rand) (Installed, Outcome) {
	processes, err := stopper(c, s.name)
	if err != nil {
		return nil, Outcome{Result: ResultSkipped, Reason: err.Error()}
	}
	leader, reason := currentLeader(ctx, view)
	if leader == "" {
		return nil, Outcome{Result: ResultSkipped, Reason: reason}
	}
	outcome := Outcome{Result: ResultInstalled, Targets: s.choose(ids(c), leader, rng)}
	r := &restarts{processes: processes, nodes: outcome.Targets, rhythm: drawRhythm(rng)}
	r.down, outcome.Processes, err = stopNode(ctx, c, processes, r.nodes[0])
	if err != nil {
		outcome.Result, outcome.Reason = ResultIndeterminate, err.Error()
		r.failure = err
	}
	return r, outcome
}

// stopNode stops a node and proves it.
func stopNode(ctx context.Context, c cluster.Cluster, processes graceful, id string) (*dead, map[string]cluster.ProcessState, error) {
	m, nodes := mannerOf(c), []string{id}
	before, err := m.states(ctx, processes, nodes)
	d := &dead{manner: m, cluster: c, processes: processes, targets: nodes, before: before}
	if err == nil {
		err = processes.Stop(ctx, id)
	}
	if err != nil {
		return d, nil, err
	}
	after, err := m.inState(ctx, processes, nodes, "dead")
	return d, after, err
}

// restarts is a stop in force. At most one node is down at a time.
type restarts struct {
	processes graceful
	nodes     []string // in the order in which they are stopped
	down      *dead    // the latest, which runs again when up is set
	up        bool
	turn      int // of nodes and rhythm
	rhythm    rhythm
	failure   error // of Act, after which there is no other
}

// Rest implements Restless: a single node is stopped once.
func (r *restarts) Rest() time.Duration {
	rest := r.rhythm[r.turn%len(r.rhythm)]
	switch {
	case len(r.nodes) == 1 || r.failure != nil:
		return -1
	case r.up:
		return rest.up
	}
	return rest.down
}

// Act implements Restless: it starts the node that is down, or stops the next.
func (r *restarts) Act(ctx context.Context) {
	ctx, cancel := r.down.healing(ctx)
	defer cancel()
	if !r.up {
		r.failure = r.start(ctx)
		r.up = r.failure == nil
		return
	}
	r.turn++
	r.up = false
	r.down, _, r.failure = stopNode(ctx, r.down.cluster, r.processes, r.nodes[r.turn%len(r.nodes)])
}

// start starts what is down, and waits until it has caught up.
func (r *restarts) start(ctx context.Context) error {
	if back := r.down.Heal(ctx); back.Result != ResultHealed {
		return fmt.Errorf("%v: %s", back.Targets, back.Reason)
	}
	o := orders{cluster: r.down.cluster}
	return o.caughtUp(ctx, r.down.targets)
}

// Heal implements Installed.
func (r *restarts) Heal(ctx context.Context) Outcome {
	outcome := r.down.Heal(ctx)
	if outcome.Result == ResultHealed {
		outcome.Targets, outcome.Reason = r.nodes, errorText(r.failure)
	}
	return outcome
}

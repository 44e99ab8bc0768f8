package nemesis

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"coup/cluster"
)

// kill ends processes by SIGKILL and starts them again when it is healed.
type kill struct {
	name        string
	summary     string
	keepsQuorum bool
	minimum     int // nodes that the cluster must have
	// choose picks whom to kill, given the nodes and the leader.
	choose func(nodes []string, leader string) []string
}

var killLeader = &kill{
	name:        "kill-leader",
	summary:     "SIGKILL the leader; it starts again later",
	keepsQuorum: true,
	minimum:     3,
	choose:      func(_ []string, leader string) []string { return []string{leader} },
}

var killAll = &kill{
	name:    "kill-all",
	summary: "SIGKILL every node at once, as when the power fails; all start again later",
	minimum: 1,
	choose:  func(nodes []string, _ string) []string { return nodes },
}

func (k *kill) Name() string      { return k.name }
func (k *kill) Summary() string   { return k.summary }
func (k *kill) KeepsQuorum() bool { return k.keepsQuorum }
func (k *kill) Needs() string {
	return fmt.Sprintf("at least %d nodes, and processes that can be killed", k.minimum)
}
func (k *kill) Proof() string { return "the processes are dead, and later run with other pids" }

func (k *kill) Check(c cluster.Cluster) error {
	if n := len(c.Nodes()); n < k.minimum {
		return fmt.Errorf("%s needs at least %d nodes, so that a majority remains: this cluster has %d", k.name, k.minimum, n)
	}
	_, err := killer(c, k.name)
	return err
}

func (k *kill) Install(ctx context.Context, c cluster.Cluster, view View, _ Rand) (Installed, Outcome) {
	processes, err := killer(c, k.name)
	if err != nil {
		return nil, Outcome{Result: ResultSkipped, Reason: err.Error()}
	}
	leader, reason := currentLeader(ctx, view)
	if leader == "" {
		return nil, Outcome{Result: ResultSkipped, Reason: reason}
	}
	outcome := Outcome{Result: ResultInstalled, Targets: k.choose(ids(c), leader)}
	var d *dead
	d, outcome.Processes, err = killNodes(ctx, c, processes, outcome.Targets)
	if err != nil {
		outcome.Result, outcome.Reason = ResultIndeterminate, err.Error()
	}
	return d, outcome
}

// killNodes kills nodes and proves it.
func killNodes(ctx context.Context, c cluster.Cluster, processes cluster.Killer, nodes []string) (*dead, map[string]cluster.ProcessState, error) {
	m := mannerOf(c)
	before, err := m.states(ctx, processes, nodes)
	d := &dead{manner: m, cluster: c, processes: processes, targets: nodes, before: before}
	if err == nil {
		err = m.each(nodes, func(id string) error {
			err := processes.Kill(ctx, id)
			if state, unknown := processes.Process(ctx, id); err != nil && unknown == nil && state.State == "dead" {
				return nil // it has ended itself meanwhile, and is as dead
			}
			return err
		})
	}
	if err != nil {
		return d, nil, err
	}
	after, err := m.inState(ctx, processes, nodes, "dead")
	return d, after, err
}

// dead are nodes that were killed.
type dead struct {
	manner
	cluster   cluster.Cluster
	processes cluster.Killer
	targets   []string
	before    map[string]cluster.ProcessState
}

// Heal implements Installed. The proof is that each node runs, under another pid than before; of one that is lost for
// good there is none.
func (d *dead) Heal(ctx context.Context) Outcome {
	ctx, cancel := d.healing(ctx)
	defer cancel()
	outcome := Outcome{Result: ResultHealed, Targets: d.targets}
	err := d.each(d.targets, func(id string) error { return revive(ctx, d.cluster, d.processes, id) })
	if err == nil {
		lost := func(id string) bool { return cluster.IsLost(d.cluster, id) }
		outcome.Processes, err = d.inState(ctx, d.processes, slices.DeleteFunc(slices.Clone(d.targets), lost), "running")
	}
	for id, now := range outcome.Processes {
		if before, known := d.before[id]; err == nil && known && before.State != "dead" && now.PID == before.PID {
			err = fmt.Errorf("%s still has pid %d: it was never killed", id, now.PID)
		}
	}
	if err != nil {
		outcome.Result, outcome.Reason = ResultNotHealed, err.Error()
	}
	return outcome
}

// revive starts a node unless it runs, or is lost for good, as may come out at its start.
func revive(ctx context.Context, c cluster.Cluster, processes cluster.Killer, id string) error {
	state, err := processes.Process(ctx, id)
	if err != nil || state.State != "dead" || cluster.IsLost(c, id) {
		return err
	}
	if err = processes.Restart(ctx, id); cluster.IsLost(c, id) {
		return nil
	}
	return err
}

func killer(c cluster.Cluster, fault string) (cluster.Killer, error) {
	processes, ok := c.(cluster.Killer)
	if !ok {
		return nil, fmt.Errorf("%s needs to kill processes, which the %s environment cannot: use docker, netns or sim", fault, c.Environment())
	}
	return processes, nil
}

// prober tells how processes stand.
type prober interface {
	Process(ctx context.Context, node string) (cluster.ProcessState, error)
}

func (m manner) states(ctx context.Context, p prober, nodes []string) (map[string]cluster.ProcessState, error) {
	var mu sync.Mutex
	all := make(map[string]cluster.ProcessState, len(nodes))
	err := m.each(nodes, func(id string) error {
		state, err := p.Process(ctx, id)
		mu.Lock()
		defer mu.Unlock()
		all[id] = state
		return err
	})
	return all, err
}

// inState waits, for a bounded time, until all nodes' processes are in the given state. What it
// returns is how they stood last.
func (m manner) inState(ctx context.Context, p prober, nodes []string, want string) (all map[string]cluster.ProcessState, err error) {
	err = m.prove(ctx, func(ctx context.Context) error {
		var failure error
		if all, failure = m.states(ctx, p, nodes); failure != nil {
			return failure
		}
		for _, id := range nodes {
			if all[id].State != want {
				return fmt.Errorf("%s should be %s, but is %s", id, want, all[id].State)
			}
		}
		return nil
	})
	return all, err
}

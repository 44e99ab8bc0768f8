package nemesis

import (
	"context"
	"fmt"

	"coup/cluster"
)

// pauseLeader freezes the leader's process: it says nothing, then goes on as if no time had passed.
type pauseLeader struct{}

func (pauseLeader) Name() string      { return "pause-leader" }
func (pauseLeader) Summary() string   { return "freeze the leader's process, then let it go on" }
func (pauseLeader) KeepsQuorum() bool { return true }
func (pauseLeader) Needs() string     { return "at least 3 nodes, and processes that can be frozen" }
func (pauseLeader) Proof() string     { return "the process is stopped, and later is not" }

func (f pauseLeader) Check(c cluster.Cluster) error {
	if n := len(c.Nodes()); n < 3 {
		return fmt.Errorf("%s needs at least 3 nodes, so that a majority remains: this cluster has %d", f.Name(), n)
	}
	if _, ok := c.(cluster.Pauser); !ok {
		return fmt.Errorf("%s needs to freeze processes, which the %s environment cannot: use docker, netns or sim", f.Name(), c.Environment())
	}
	return nil
}

func (f pauseLeader) Install(ctx context.Context, c cluster.Cluster, view View, _ Rand) (Installed, Outcome) {
	processes, ok := c.(cluster.Pauser)
	if !ok {
		return nil, Outcome{Result: ResultSkipped, Reason: f.Check(c).Error()}
	}
	leader, reason := currentLeader(ctx, view)
	if leader == "" {
		return nil, Outcome{Result: ResultSkipped, Reason: reason}
	}
	frozen := &frozen{manner: mannerOf(c), processes: processes, targets: []string{leader}}
	outcome := Outcome{Result: ResultInstalled, Targets: frozen.targets}
	err := processes.Pause(ctx, leader)
	if err == nil {
		outcome.Processes, err = frozen.inState(ctx, processes, frozen.targets, "paused")
	}
	if err == nil {
		return frozen, outcome
	}
	if state, failure := processes.Process(ctx, leader); failure == nil && state.State == "dead" {
		return nil, Outcome{Result: ResultSkipped, Reason: leader + " has died"}
	}
	outcome.Result, outcome.Reason = ResultIndeterminate, err.Error()
	return frozen, outcome
}

// frozen are nodes that are paused.
type frozen struct {
	manner
	processes cluster.Pauser
	targets   []string
}

// Heal implements Installed.
func (f *frozen) Heal(ctx context.Context) Outcome {
	ctx, cancel := f.healing(ctx)
	defer cancel()
	outcome := Outcome{Result: ResultHealed, Targets: f.targets}
	err := f.each(f.targets, func(id string) error {
		state, err := f.processes.Process(ctx, id)
		if err != nil || state.State != "paused" {
			return err
		}
		return f.processes.Resume(ctx, id)
	})
	if err == nil {
		outcome.Processes, err = f.notPaused(ctx)
	}
	if err != nil {
		outcome.Result, outcome.Reason = ResultNotHealed, err.Error()
	}
	return outcome
}

// notPaused proves that the nodes are not frozen any more. One that has died meanwhile is not: whoever
// watches over the nodes knows whether it may have.
func (f *frozen) notPaused(ctx context.Context) (all map[string]cluster.ProcessState, err error) {
	err = f.prove(ctx, func(ctx context.Context) error {
		var failure error
		if all, failure = f.states(ctx, f.processes, f.targets); failure != nil {
			return failure
		}
		for _, id := range f.targets {
			if all[id].State == "paused" {
				return fmt.Errorf("%s should not be paused any more", id)
			}
		}
		return nil
	})
	return all, err
}

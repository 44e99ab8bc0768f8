package sweep

import (
	"errors"

	"coup/raftnode/actionlog"
	"coup/runner"
	"coup/sim"
)

// World is a simulated cluster as a run wants it.
type World struct{ *sim.World }

// NewWorld makes the world of a run. In one that is unchecked no invariant is looked at. What happens is told to
// actions, unless that is nil.
func NewWorld(o runner.Options, unchecked bool, actions func(actionlog.Action)) (World, error) {
	return newWorld(o, unchecked, actions, nil)
}

func newWorld(o runner.Options, unchecked bool, actions func(actionlog.Action), script *sim.Script) (World, error) {
	w, err := sim.New(sim.Options{
		Seed: o.Seed, Nodes: o.Nodes, OpTimeout: o.OpTimeout, Trouble: o.Trouble, Store: o.Store, Unchecked: unchecked, Actions: actions, Script: script,
	})
	return World{w}, err
}

// Failure implements runner.Simulation.
func (w World) Failure() *runner.Failure {
	var failure *sim.Failure
	if !errors.As(w.Err(), &failure) {
		return nil
	}
	return &runner.Failure{Check: failure.Check, Text: failure.Text, At: failure.At}
}

var _ runner.Simulation = World{}

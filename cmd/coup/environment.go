package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"coup/cluster"
	"coup/cluster/netns"
	"coup/docker"
	"coup/sim"
)

// environment is where nodes can run.
type environment struct {
	name  string
	why   string                                                          // it was chosen, in a few words; empty when the command line named it
	start func(context.Context, cluster.Options) (cluster.Cluster, error) // nil of sim
}

// prospect is a cluster of that many nodes that nobody has started, to be asked what it could do.
func (e environment) prospect(ctx context.Context, nodes int) cluster.Cluster {
	switch e.name {
	case "netns":
		return netns.Prospect(ctx, nodes)
	case "docker":
		return docker.Prospect(ctx, nodes)
	}
	return sim.Prospect(nodes)
}

// simulated is the environment that is always there.
const simulated = "sim"

// reasonVariable hands the reason for choosing netns on to the same command inside the namespaces.
const reasonVariable = "COUP_ENVIRONMENT_REASON"

// chooseEnvironment finds the environment that --env names. An environment that cannot be used here
// is refused with the reason, and with what would help.
func chooseEnvironment(ctx context.Context, name string) (environment, error) {
	inNetns := environment{name: "netns", start: netns.Start}
	inDocker := environment{name: "docker", start: docker.Start}
	switch name {
	case "netns":
		if !netns.Inside() {
			if err := netns.Available(ctx); err != nil {
				return environment{}, fmt.Errorf("network namespaces cannot be used here: %w. `coup doctor` tells what is missing", err)
			}
		}
		return inNetns, nil
	case "docker":
		if err := docker.Available(ctx); err != nil {
			return environment{}, fmt.Errorf("docker cannot be used here: %w. `coup doctor` tells what is missing", err)
		}
		return inDocker, nil
	case simulated:
		return environment{name: simulated}, nil
	case "auto":
		if netns.Inside() {
			inNetns.why = os.Getenv(reasonVariable)
			return inNetns, nil
		}
		noDocker := docker.Available(ctx)
		if noDocker == nil {
			inDocker.why = "a Docker engine answers"
			return inDocker, nil
		}
		if err := netns.Available(ctx); err != nil {
			return environment{
				name: simulated,
				why:  fmt.Sprintf("docker cannot be used: %v; netns cannot: %v", noDocker, err),
			}, nil
		}
		inNetns.why = fmt.Sprintf("docker cannot be used: %v", noDocker)
		return inNetns, nil
	}
	return environment{}, &usageError{fmt.Errorf("--env: there is no environment %q: use docker, netns, sim or auto", name)}
}

// real refuses the simulator to a command that needs nodes of flesh and blood.
func (e environment) real(command string) error {
	switch {
	case e.name != simulated:
		return nil
	case e.why == "":
		return &usageError{fmt.Errorf("--env: %s needs real nodes: use docker, netns or auto", command)}
	}
	return fmt.Errorf("%s needs real nodes, and no environment for them can be used here: %s. `coup doctor` tells what is missing", command, e.why)
}

// enter runs this command again where the environment needs it, and then ends it by an exitCode. It
// returns nil where the command can go on.
func (e environment) enter() error {
	if e.name != "netns" || netns.Inside() {
		return nil
	}
	if err := os.Setenv(reasonVariable, e.why); err != nil {
		return err
	}
	code, err := netns.Enter()
	if err != nil {
		return errors.Join(errors.New("network namespaces could not be entered"), err)
	}
	return exitCode(code)
}

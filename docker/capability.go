package docker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	engine "github.com/ory/dockertest/v3/docker"

	"coup/cluster"
)

const (
	engineRemedy = "start Docker, or point DOCKER_HOST at an engine that this user may use"
	staticRemedy = "build coup with CGO_ENABLED=0"
)

// Available tells why the environment cannot be used on this machine; nil when it can. It makes
// nothing, so it knows less than Capabilities.
func Available(ctx context.Context) error {
	_, err := look(ctx)
	return err
}

// look reaches the engine and tells whether it could run what we would give it.
func look(ctx context.Context) (*engine.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, engineRemedy)
	}
	self, err := os.Executable()
	if err == nil {
		err = static(self)
	}
	return c, err
}

// Capabilities tries what the environment needs, with a container that it throws away.
func Capabilities(ctx context.Context) []cluster.Capability {
	report := func(name, detail, remedy string, err error) cluster.Capability {
		if err != nil {
			return cluster.Capability{Name: name, Detail: err.Error(), Remedy: remedy}
		}
		return cluster.Capability{Name: name, OK: true, Detail: detail}
	}
	c, err := dial(ctx)
	if err != nil {
		return []cluster.Capability{report("engine", "", engineRemedy, err)}
	}
	info, err := c.Info()
	if err != nil {
		return []cluster.Capability{report("engine", "", engineRemedy, err)}
	}
	if info.OSType != "linux" {
		err = fmt.Errorf("the engine runs %s containers", info.OSType)
	}
	self, failed := os.Executable()
	if failed == nil {
		failed = static(self)
	}
	found := []cluster.Capability{
		report("engine", fmt.Sprintf("%s at %s, storage %s", info.ServerVersion, c.Endpoint(), info.Driver), "use an engine for Linux containers", err),
		report("static binary", self, staticRemedy, failed),
	}
	if err == nil && failed == nil {
		features, tried := tryAgent(ctx, c, self)
		found = append(found, report("packet agent", "a container with NET_ADMIN alone drops packets",
			"a kernel with the module nf_tables, and an engine that grants NET_ADMIN", tried))
		found = append(found, features...)
	}
	return found
}

// tryAgent starts one helper, cuts and restores, and has it try what else the kernel can.
func tryAgent(ctx context.Context, c *engine.Client, binary string) (features []cluster.Capability, err error) {
	err = withHelper(ctx, c, binary, func(h *helper) error {
		nobody := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
		if err := h.agent.Cut(ctx, nobody); err != nil {
			return err
		}
		if err := h.agent.Restore(ctx, nobody); err != nil {
			return err
		}
		features, err = h.agent.Features(ctx)
		return err
	})
	return features, err
}

// trials tells those of one process apart.
var trials atomic.Int64

// withHelper does something with a helper that is thrown away.
func withHelper(ctx context.Context, c *engine.Client, binary string, do func(*helper) error) (err error) {
	tag, err := imageOfAgent(binary).ensure(ctx, c, func(string, ...any) {})
	if err != nil {
		return err
	}
	run := fmt.Sprintf("trial-%d-%d", os.Getpid(), trials.Add(1))
	labels, err := runLabels(run)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
		defer cancel()
		_, failed := remove(ctx, c, func(l map[string]string) bool { return l[labelRun] == run })
		err = errors.Join(err, failed)
	}()
	network, subnet, err := createNetwork(c, containerName(run), labels)
	if err != nil {
		return err
	}
	h, err := startHelper(ctx, c, containerName(run, "net"), tag, labels, network, addressOf(subnet, 1))
	if err != nil {
		return err
	}
	return do(h)
}

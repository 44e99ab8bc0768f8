package docker

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	engine "github.com/ory/dockertest/v3/docker"

	"coup/cluster/packet"
)

const (
	controlPort = engine.Port("4901/tcp") // of the packet agent
	clientPort  = engine.Port("4100/tcp") // of the node
	// startBound is how long a helper, or a new network, may take to be of use.
	startBound = 30 * time.Second
)

// helper is the container that owns a node's network namespace. It runs the packet agent.
type helper struct {
	container string
	agent     *packet.Client
	clientURL string // of the node
}

// startHelper starts a helper and returns when its agent answers.
func startHelper(ctx context.Context, c *engine.Client, name, image string, labels map[string]string, network *engine.Network, address netip.Addr) (*helper, error) {
	loopback := []engine.PortBinding{{HostIP: "127.0.0.1"}}
	container, err := c.CreateContainer(engine.CreateContainerOptions{
		Name: name,
		Config: &engine.Config{
			Image: image, Labels: labels, Hostname: name,
			ExposedPorts: map[engine.Port]struct{}{controlPort: {}, clientPort: {}},
		},
		HostConfig: &engine.HostConfig{
			NetworkMode:    network.Name,
			CapDrop:        []string{"ALL"},
			CapAdd:         []string{"NET_ADMIN"},
			SecurityOpt:    []string{"no-new-privileges"},
			ReadonlyRootfs: true,
			PortBindings:   map[engine.Port][]engine.PortBinding{controlPort: loopback, clientPort: loopback},
			LogConfig:      engine.LogConfig{Type: "json-file"},
		},
		NetworkingConfig: &engine.NetworkingConfig{EndpointsConfig: map[string]*engine.EndpointConfig{
			network.Name: {IPAMConfig: &engine.EndpointIPAMConfig{IPv4Address: address.String()}},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("docker: make %s: %w", name, err)
	}
	if err := c.StartContainer(container.ID, nil); err != nil {
		return nil, fmt.Errorf("docker: start %s: %w", name, err)
	}
	running, err := c.InspectContainerWithContext(container.ID, ctx)
	if err != nil {
		return nil, fmt.Errorf("docker: look at %s: %w", name, err)
	}
	published := func(port engine.Port) (string, error) {
		bound := running.NetworkSettings.Ports[port]
		if len(bound) == 0 {
			return "", fmt.Errorf("docker: port %s of %s is not published; it wrote: %s", port, name, lastLines(ctx, c, container.ID))
		}
		return "http://127.0.0.1:" + bound[0].HostPort, nil
	}
	control, err := published(controlPort)
	if err != nil {
		return nil, err
	}
	client, err := published(clientPort)
	if err != nil {
		return nil, err
	}
	h := &helper{
		container: container.ID,
		agent:     &packet.Client{URL: control, HTTP: &http.Client{Timeout: 10 * time.Second}},
		clientURL: client,
	}
	if err := h.await(ctx); err != nil {
		return nil, fmt.Errorf("docker: %s: %w; it wrote: %s", name, err, lastLines(ctx, c, container.ID))
	}
	return h, nil
}

// await returns when the agent answers.
func (h *helper) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := h.agent.List(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the packet agent does not answer: %w", err)
		}
	}
}

package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	engine "github.com/ory/dockertest/v3/docker"
	"golang.org/x/sync/errgroup"

	"coup/cluster"
	"coup/cluster/packet"
	"coup/cluster/seam"
)

// closeBound is how long taking everything away may take, whatever the caller's context says.
const closeBound = time.Minute

// containers is the cluster: a container and a helper for each node.
type containers struct {
	*packet.Network
	*seam.Control
	options cluster.Options
	client  *engine.Client
	labels  map[string]string
	nodes   map[string]*node
	order   []cluster.Node
	ended   context.Context // when Close begins
	end     context.CancelFunc

	mu         sync.Mutex
	unexpected []cluster.Death
}

var _ interface {
	cluster.Cluster
	cluster.Killer
	cluster.Pauser
	cluster.Partitioner
	cluster.Watcher
	cluster.Breaker
} = (*containers)(nil)

type node struct {
	cluster.Node
	container string
	helper    *helper

	mu   sync.Mutex
	life *life // the last
}

// Start builds the images that are missing, makes the network and the containers, and returns when
// all processes run; they may not answer yet.
func (e Environment) Start(ctx context.Context, o cluster.Options) (cluster.Cluster, error) {
	if o.Nodes < 1 || o.Nodes > 200 {
		return nil, fmt.Errorf("docker: %d nodes: want 1 to 200", o.Nodes)
	}
	client, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	labels, err := runLabels(o.Run)
	if err != nil {
		return nil, err
	}
	c := &containers{options: o, client: client, labels: labels, nodes: map[string]*node{}}
	c.Control = seam.New(o.Seams, func(id string) (string, bool) {
		n, ok := c.nodes[id]
		if !ok {
			return "", false
		}
		return n.ClientURL, true
	})
	c.ended, c.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := c.start(ctx, e); err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	return c, nil
}

func (c *containers) start(ctx context.Context, e Environment) error {
	agent := e.Agent
	if agent == "" {
		var err error
		if agent, err = os.Executable(); err != nil {
			return err
		}
	}
	agentImage, err := imageOfAgent(agent).ensure(ctx, c.client, c.progress)
	if err != nil {
		return err
	}
	nodeImage, err := imageOfNode(c.options.Binary).ensure(ctx, c.client, c.progress)
	if err != nil {
		return err
	}
	c.progress("making a network of %d nodes", c.options.Nodes)
	network, subnet, err := createNetwork(c.client, containerName(c.options.Run), c.labels)
	if err != nil {
		return err
	}
	if err := c.connect(ctx, agentImage, network, subnet); err != nil {
		return err
	}
	c.progress("starting %d nodes", c.options.Nodes)
	return c.each(func(n *node) error { return c.create(ctx, n, nodeImage) })
}

// connect starts the helpers and waits until packets pass between them.
func (c *containers) connect(ctx context.Context, image string, network *engine.Network, subnet netip.Prefix) error {
	for i := range c.options.Nodes {
		id := fmt.Sprintf("n%d", i+1)
		address := addressOf(subnet, i+1)
		c.nodes[id] = &node{Node: cluster.Node{ID: id, Address: address.String()}}
		c.order = append(c.order, c.nodes[id].Node)
	}
	err := c.each(func(n *node) (err error) {
		if err := ctx.Err(); err != nil {
			return err
		}
		n.helper, err = startHelper(ctx, c.client, containerName(c.options.Run, n.ID, "net"), image,
			c.label(n.ID), network, netip.MustParseAddr(n.Address))
		return err
	})
	if err != nil {
		return err
	}
	members := map[string]packet.Member{}
	for i, n := range c.order {
		n.ClientURL = c.nodes[n.ID].helper.clientURL
		c.order[i], c.nodes[n.ID].Node = n, n
		members[n.ID] = packet.Member{Address: netip.MustParseAddr(n.Address), Endpoint: c.nodes[n.ID].helper.agent}
	}
	c.Network = packet.NewNetwork(members)
	return c.Network.Settle(ctx, startBound)
}

// create makes the node's container and starts it.
func (c *containers) create(ctx context.Context, n *node, image string) error {
	// A call that the engine may finish after we left would make what nobody removes.
	if err := ctx.Err(); err != nil {
		return err
	}
	name := containerName(c.options.Run, n.ID)
	container, err := c.client.CreateContainer(engine.CreateContainerOptions{
		Name: name,
		Config: &engine.Config{
			Image: image, Labels: c.label(n.ID), Cmd: c.arguments(n.Node),
			Volumes: map[string]struct{}{dataDir: {}},
		},
		HostConfig: &engine.HostConfig{
			NetworkMode:    "container:" + n.helper.container,
			CapDrop:        []string{"ALL"},
			SecurityOpt:    []string{"no-new-privileges"},
			ReadonlyRootfs: true,
			LogConfig:      engine.LogConfig{Type: "json-file"},
		},
	})
	if err != nil {
		return fmt.Errorf("docker: make %s: %w", name, err)
	}
	n.container = container.ID
	return c.launch(n)
}

// dataDir is where a node keeps its data: an anonymous volume, removed with the container.
const dataDir = "/data"

// actionDir is where a node keeps its action log, on the same volume.
const actionDir = dataDir + "/actions"

func (c *containers) arguments(n cluster.Node) []string {
	var peers []string
	for _, p := range c.order {
		peers = append(peers, p.ID+"="+p.Address)
	}
	arguments := []string{
		"--id", n.ID,
		"--listen-http", ":4100",
		"--listen-bus", ":4200",
		"--listen-gossip", ":4300",
		"--advertise", n.Address,
		"--peers", strings.Join(peers, ","),
		"--bootstrap",
		"--data", dataDir,
		"--log-format", "json",
	}
	switch {
	case c.options.Seams:
		arguments = append(arguments, seam.Flag)
	case c.options.LoseUnsynced:
		arguments = append(arguments, "--unsafe-lose-unsynced")
	}
	if c.options.ActionLog {
		arguments = append(arguments, "--action-log", path.Join(actionDir, "actions.ndjson"))
	}
	return append(arguments, c.options.NodeArguments...)
}

// launch begins a new life of the node.
func (c *containers) launch(n *node) error {
	if err := c.client.StartContainer(n.container, nil); err != nil {
		return fmt.Errorf("docker: start %s: %w", n.ID, err)
	}
	n.life = watch(c.ended, c.client, n.container, func(exit string) {
		death := cluster.Death{Node: n.ID, At: time.Now(), Exit: exit, Log: lastLines(c.ended, c.client, n.container)}
		if c.Excused(death) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.unexpected = append(c.unexpected, death)
	})
	return nil
}

func (c *containers) progress(format string, a ...any) {
	if c.options.Progress != nil {
		c.options.Progress(fmt.Sprintf(format, a...))
	}
}

func (c *containers) label(node string) map[string]string {
	labels := map[string]string{labelNode: node}
	for k, v := range c.labels {
		labels[k] = v
	}
	return labels
}

// each does something to all nodes at once.
func (c *containers) each(do func(*node) error) error {
	var group errgroup.Group
	for _, n := range c.order {
		group.Go(func() error { return do(c.nodes[n.ID]) })
	}
	return group.Wait()
}

// containerName joins words into a name that the engine takes.
func containerName(words ...string) string {
	return "coup-" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' {
			return r
		}
		return '-'
	}, strings.Join(words, "-"))
}

// Environment implements cluster.Cluster.
func (c *containers) Environment() string { return "docker" }

// Nodes implements cluster.Cluster.
func (c *containers) Nodes() []cluster.Node { return slices.Clone(c.order) }

// Unexpected implements cluster.Watcher.
func (c *containers) Unexpected() []cluster.Death {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.unexpected)
}

// Kill implements cluster.Killer. A node that is dead already is an error.
func (c *containers) Kill(ctx context.Context, id string) error {
	return c.with(id, "kill", func(n *node) error {
		if n.life.over() {
			return os.ErrProcessDone
		}
		return n.life.kill(ctx, c.client, n.container)
	})
}

// Restart implements cluster.Killer. A node that lives is an error.
func (c *containers) Restart(_ context.Context, id string) error {
	return c.with(id, "restart", func(n *node) error {
		if !n.life.over() {
			return errors.New("it runs")
		}
		return c.launch(n)
	})
}

// Process implements cluster.Killer and cluster.Pauser.
func (c *containers) Process(ctx context.Context, id string) (s cluster.ProcessState, err error) {
	err = c.with(id, "look at", func(n *node) error {
		s, err = state(ctx, c.client, n.container)
		return err
	})
	return s, err
}

// Pause implements cluster.Pauser, by the engine's freezer.
func (c *containers) Pause(ctx context.Context, id string) error {
	return c.with(id, "pause", func(n *node) error {
		return await(ctx, func() error { return c.client.PauseContainer(n.container) })
	})
}

// Resume implements cluster.Pauser.
func (c *containers) Resume(ctx context.Context, id string) error {
	return c.with(id, "resume", func(n *node) error {
		return await(ctx, func() error { return c.client.UnpauseContainer(n.container) })
	})
}

func (c *containers) with(id, verb string, do func(*node) error) error {
	n, ok := c.nodes[id]
	if !ok {
		return fmt.Errorf("docker: %s %s: no such node", verb, id)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := do(n); err != nil {
		return fmt.Errorf("docker: %s %s: %w", verb, id, err)
	}
	return nil
}

// Collect implements cluster.Cluster. A node is frozen while its data is copied.
func (c *containers) Collect(ctx context.Context, data bool) error {
	failures := make([]error, len(c.order))
	var group sync.WaitGroup
	for i, n := range c.order {
		group.Go(func() {
			if err := c.collect(ctx, c.nodes[n.ID], data); err != nil {
				failures[i] = fmt.Errorf("docker: collect from %s: %w", n.ID, err)
			}
		})
	}
	group.Wait()
	return errors.Join(failures...)
}

func (c *containers) collect(ctx context.Context, n *node, data bool) error {
	folder := filepath.Join(c.options.Dir, "nodes", n.ID)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var log bytes.Buffer
	if err := readLog(ctx, c.client, n.container, "all", &log); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "node.log"), log.Bytes(), 0o644); err != nil {
		return err
	}
	if !data && !c.options.ActionLog {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now, err := state(ctx, c.client, n.container)
	if err != nil {
		return err
	}
	if now.State == "running" {
		if err := await(ctx, func() error { return c.client.PauseContainer(n.container) }); err != nil {
			return err
		}
		defer func() { _ = c.client.UnpauseContainer(n.container) }()
	}
	if c.options.ActionLog {
		if err := download(ctx, c.client, n.container, actionDir, folder); err != nil {
			return err
		}
	}
	if !data {
		return nil
	}
	return download(ctx, c.client, n.container, dataDir, filepath.Join(folder, "data"))
}

// Close implements cluster.Cluster.
func (c *containers) Close(ctx context.Context) error {
	c.end()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
	defer cancel()
	_, err := remove(ctx, c.client, func(labels map[string]string) bool {
		return labels[labelRun] == c.labels[labelRun] && labels[labelOwner] == c.labels[labelOwner]
	})
	return err
}

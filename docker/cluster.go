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

// maxNodes is how many nodes a cluster may ever have had.
const maxNodes = 200

// containers is the cluster: a container and a helper for each node.
type containers struct {
	*packet.Network
	*seam.Control
	options               cluster.Options
	client                *engine.Client
	labels                map[string]string
	nodeImage, agentImage string
	network               *engine.Network
	subnet                netip.Prefix
	ended                 context.Context // when Close begins
	end                   context.CancelFunc

	growing sync.Mutex

	mu         sync.Mutex // held for moments only, unlike that of a node
	nodes      []*node    // n1 first, those that were removed included
	unexpected []cluster.Death
}

var _ interface {
	cluster.Cluster
	cluster.Killer
	cluster.Stopper
	cluster.Grower
	cluster.Pauser
	cluster.Partitioner
	cluster.Watcher
	cluster.Breaker
} = (*containers)(nil)

type node struct {
	id      string
	address netip.Addr
	helper  *helper

	mu        sync.Mutex
	begins    []string // the arguments that say how it begins on an empty disk
	container string   // empty where there is none: its disk is empty then
	life      *life    // the last; nil before the first

	// The cluster's mutex guards these.
	wiped   int
	removed bool
}

// view is the node as others see it. The cluster's mutex must be held.
func (n *node) view() cluster.Node {
	v := cluster.Node{ID: n.id, Address: n.address.String(), Wiped: n.wiped}
	if n.helper != nil {
		v.ClientURL = n.helper.clientURL
	}
	return v
}

// Start builds the images that are missing, makes the network and the containers, and returns when
// all processes run; they may not answer yet.
func (e Environment) Start(ctx context.Context, o cluster.Options) (cluster.Cluster, error) {
	if o.Nodes < 1 || o.Nodes > maxNodes {
		return nil, fmt.Errorf("docker: %d nodes: want 1 to %d", o.Nodes, maxNodes)
	}
	client, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	labels, err := runLabels(o.Run)
	if err != nil {
		return nil, err
	}
	c := &containers{options: o, client: client, labels: labels}
	c.Control = seam.New(o.Seams, c.Nodes)
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
	var err error
	if c.agentImage, err = imageOfAgent(agent).ensure(ctx, c.client, c.progress); err != nil {
		return err
	}
	if c.nodeImage, err = imageOfNode(c.options.Binary).ensure(ctx, c.client, c.progress); err != nil {
		return err
	}
	c.progress("making a network of %d nodes", c.options.Nodes)
	if c.network, c.subnet, err = createNetwork(c.client, containerName(c.options.Run), c.labels); err != nil {
		return err
	}
	if err := c.connect(ctx); err != nil {
		return err
	}
	c.progress("starting %d nodes", c.options.Nodes)
	return c.each(func(n *node) error { return c.create(ctx, n) })
}

// connect starts the first nodes' helpers and waits until packets pass between them.
func (c *containers) connect(ctx context.Context) error {
	var peers []string
	for range c.options.Nodes {
		n := c.newNode(false)
		peers = append(peers, n.id+"="+n.address.String())
	}
	members := map[string]packet.Member{}
	var mu sync.Mutex
	err := c.each(func(n *node) error {
		n.begins = []string{"--bootstrap", "--peers", strings.Join(peers, ",")}
		if err := c.help(ctx, n); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		members[n.id] = n.member()
		return nil
	})
	if err != nil {
		return err
	}
	c.Network = packet.NewNetwork(members)
	return c.Network.Settle(ctx, startBound)
}

// newNode makes a node without any container, the next by number.
func (c *containers) newNode(removed bool) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	number := len(c.nodes) + 1
	n := &node{id: fmt.Sprintf("n%d", number), address: addressOf(c.subnet, number), removed: removed}
	c.nodes = append(c.nodes, n)
	return n
}

// help starts a node's helper.
func (c *containers) help(ctx context.Context, n *node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	h, err := startHelper(ctx, c.client, containerName(c.options.Run, n.id, "net"), c.agentImage, c.label(n.id), c.network, n.address)
	c.mu.Lock()
	defer c.mu.Unlock()
	n.helper = h
	return err
}

func (n *node) member() packet.Member {
	return packet.Member{Address: n.address, Endpoint: n.helper.agent}
}

// create makes the node's container and starts it.
func (c *containers) create(ctx context.Context, n *node) error {
	// A call that the engine may finish after we left would make what nobody removes.
	if err := ctx.Err(); err != nil {
		return err
	}
	name := containerName(c.options.Run, n.id)
	container, err := c.client.CreateContainer(engine.CreateContainerOptions{
		Name: name,
		Config: &engine.Config{
			Image: c.nodeImage, Labels: c.label(n.id), Cmd: c.arguments(n),
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

func (c *containers) arguments(n *node) []string {
	arguments := []string{
		"--id", n.id,
		"--listen-http", ":4100",
		"--listen-bus", ":4200",
		"--listen-gossip", ":4300",
		"--advertise", n.address.String(),
		"--data", dataDir,
		"--log-format", "json",
	}
	arguments = append(arguments, n.begins...)
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
		return fmt.Errorf("docker: start %s: %w", n.id, err)
	}
	n.life = watch(c.ended, c.client, n.container, func(exit string) {
		death := cluster.Death{Node: n.id, At: time.Now(), Exit: exit, Log: lastLines(c.ended, c.client, n.container)}
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

// all are the nodes, those that were removed included.
func (c *containers) all() []*node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// each does something to all nodes at once.
func (c *containers) each(do func(*node) error) error {
	var group errgroup.Group
	for _, n := range c.all() {
		group.Go(func() error { return do(n) })
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
func (c *containers) Nodes() []cluster.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	var present []cluster.Node
	for _, n := range c.nodes {
		if !n.removed {
			present = append(present, n.view())
		}
	}
	return present
}

// Add implements cluster.Grower.
func (c *containers) Add(ctx context.Context, name string) (cluster.Node, error) {
	c.growing.Lock()
	defer c.growing.Unlock()
	var peers []string
	for _, p := range c.Nodes() {
		peers = append(peers, p.ID+"="+p.Address)
	}
	n, err := c.vacant(name)
	if err == nil && n.helper == nil {
		err = c.help(ctx, n)
	}
	if err == nil {
		err = c.Network.Join(ctx, n.id, n.member(), startBound)
	}
	if err == nil {
		err = c.begin(ctx, n, []string{"--join", "--peers", strings.Join(peers, ",")})
	}
	if err != nil {
		if n != nil {
			c.Network.Leave(n.id)
		}
		return cluster.Node{}, fmt.Errorf("docker: add %s: %w", name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n.removed = false
	return n.view(), nil
}

// begin starts a node on what its disk holds, or on an empty one.
func (c *containers) begin(ctx context.Context, n *node, begins []string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.container != "" {
		return c.launch(n)
	}
	n.begins = begins
	return c.create(ctx, n)
}

// vacant is a node that was removed, or, when the name is empty, a new one.
func (c *containers) vacant(name string) (*node, error) {
	all := c.all()
	if name == "" {
		if len(all) == maxNodes {
			return nil, fmt.Errorf("there were %d nodes already", maxNodes)
		}
		return c.newNode(true), nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range all {
		if n.id == name && n.removed {
			return n, nil
		}
	}
	return nil, errors.New("no such node was removed")
}

// Remove implements cluster.Grower. A disk is emptied along with its container, whose log is collected before.
func (c *containers) Remove(ctx context.Context, id string, wipe bool) error {
	c.growing.Lock()
	defer c.growing.Unlock()
	return c.with(id, "remove", func(n *node) error {
		if !n.life.over() {
			return errors.New("it runs")
		}
		if wipe {
			if err := c.collect(ctx, n, false); err != nil {
				return err
			}
			if err := c.client.RemoveContainer(engine.RemoveContainerOptions{ID: n.container, RemoveVolumes: true, Context: ctx}); err != nil {
				return err
			}
			n.container = ""
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if wipe {
			n.wiped++
		}
		n.removed = true
		c.Network.Leave(id)
		return nil
	})
}

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

// Stop implements cluster.Stopper. A node that is dead already is an error.
func (c *containers) Stop(ctx context.Context, id string) error {
	return c.with(id, "stop", func(n *node) error {
		if n.life.over() {
			return os.ErrProcessDone
		}
		return n.life.stop(ctx, c.client, n.container)
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
	n, err := c.find(id)
	if err == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		err = do(n)
	}
	if err != nil {
		return fmt.Errorf("docker: %s %s: %w", verb, id, err)
	}
	return nil
}

func (c *containers) find(id string) (*node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.id == id && !n.removed {
			return n, nil
		}
	}
	return nil, errors.New("no such node")
}

// Collect implements cluster.Cluster. A node is frozen while its data is copied. What was removed is collected, too.
func (c *containers) Collect(ctx context.Context, data bool) error {
	all := c.all()
	failures := make([]error, len(all))
	var group sync.WaitGroup
	for i, n := range all {
		group.Go(func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.container == "" {
				return // it was collected when its disk was emptied
			}
			if err := c.collect(ctx, n, data); err != nil {
				failures[i] = fmt.Errorf("docker: collect from %s: %w", n.id, err)
			}
		})
	}
	group.Wait()
	return errors.Join(failures...)
}

// collect copies the log of a node's container, each of which has a file of its own, and what else is asked for.
// n.mu must be held.
func (c *containers) collect(ctx context.Context, n *node, data bool) error {
	folder := filepath.Join(c.options.Dir, "nodes", n.id)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var log bytes.Buffer
	if err := readLog(ctx, c.client, n.container, "all", &log); err != nil {
		return err
	}
	name := "node.log"
	c.mu.Lock()
	if n.wiped > 0 {
		name = fmt.Sprintf("node-%d.log", n.wiped+1)
	}
	c.mu.Unlock()
	if err := os.WriteFile(filepath.Join(folder, name), log.Bytes(), 0o644); err != nil {
		return err
	}
	if !data && !c.options.ActionLog {
		return nil
	}
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

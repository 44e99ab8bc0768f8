package netns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"coup/cluster"
	"coup/cluster/packet"
	"coup/cluster/seam"
)

// The ports of every node, on its own address.
const (
	clientPort = 4100
	busPort    = 4200
	gossipPort = 4300
)

// tempPrefix begins the name of every directory that this package makes outside the run's folder;
// the owner follows.
const tempPrefix = "coup-netns-"

// deathLines is how much of its log an unexpected death shows: enough for a stack trace.
const deathLines = 100

// settleBound is how long a new network may take to carry packets.
const settleBound = 15 * time.Second

// maxNodes is how many nodes a cluster may ever have had.
const maxNodes = 200

// local is the cluster: processes in network namespaces.
type local struct {
	*packet.Network
	*seam.Control
	options cluster.Options
	temp    string // holds the nodes' data

	growing sync.Mutex // of network, too
	network *network

	mu         sync.Mutex // held for moments only, unlike that of a node
	nodes      []*node    // n1 first, those that were removed included
	unexpected []cluster.Death
	closed     bool
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
} = (*local)(nil)

type node struct {
	id   string
	port *port
	data string
	log  string

	mu      sync.Mutex
	begins  []string // the arguments that say how it begins on an empty disk
	process *process // its last life; nil before the first

	// The cluster's mutex guards these.
	wiped   int
	removed bool
}

// view is the node as others see it. The cluster's mutex must be held.
func (n *node) view() cluster.Node {
	return cluster.Node{
		ID: n.id, ClientURL: fmt.Sprintf("http://%s:%d", n.port.address, clientPort), Address: n.port.address.String(), Wiped: n.wiped,
	}
}

// Start makes the bridge and the nodes' namespaces and returns when all processes run; they may
// not answer yet. It must be called inside (see Enter).
func Start(ctx context.Context, o cluster.Options) (cluster.Cluster, error) {
	if !Inside() {
		return nil, ErrOutside
	}
	if o.Nodes < 1 || o.Nodes > maxNodes {
		return nil, fmt.Errorf("netns: %d nodes: want 1 to %d", o.Nodes, maxNodes)
	}
	c := &local{options: o}
	c.Control = seam.New(o.Seams, c.Nodes)
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("netns: %w", err), c.Close(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (c *local) start(ctx context.Context) (err error) {
	if c.temp, err = os.MkdirTemp("", tempPrefix+owner.String()+"-"); err != nil {
		return err
	}
	c.progress("making a network of %d nodes", c.options.Nodes)
	if c.network, err = newNetwork(c.options.Nodes); err != nil {
		return err
	}
	members := map[string]packet.Member{}
	var peers []string
	for i, p := range c.network.ports {
		id := fmt.Sprintf("n%d", i+1)
		members[id] = packet.Member{Address: p.address, Endpoint: p.agent}
		peers = append(peers, id+"="+p.address.String())
	}
	c.Network = packet.NewNetwork(members)
	if err := c.Network.Settle(ctx, settleBound); err != nil {
		return err
	}
	for i, p := range c.network.ports {
		n, err := c.newNode(fmt.Sprintf("n%d", i+1), p, false)
		if err != nil {
			return err
		}
		n.begins = []string{"--bootstrap", "--peers", strings.Join(peers, ",")}
	}
	c.progress("starting %d nodes", c.options.Nodes)
	for _, n := range c.all() {
		n.mu.Lock()
		err := c.launch(n)
		n.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// all are the nodes, those that were removed included.
func (c *local) all() []*node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

func (c *local) progress(format string, a ...any) {
	if c.options.Progress != nil {
		c.options.Progress(fmt.Sprintf(format, a...))
	}
}

// newNode makes a node that does not run yet.
func (c *local) newNode(id string, p *port, removed bool) (*node, error) {
	folder := filepath.Join(c.options.Dir, "nodes", id)
	n := &node{id: id, port: p, data: filepath.Join(c.temp, id), log: filepath.Join(folder, "node.log"), removed: removed}
	if err := errors.Join(os.MkdirAll(folder, 0o755), os.MkdirAll(n.data, 0o755)); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = append(c.nodes, n)
	return n, nil
}

func (c *local) arguments(n *node) ([]string, error) {
	arguments := []string{
		"--id", n.id,
		"--listen-http", fmt.Sprintf(":%d", clientPort),
		"--listen-bus", fmt.Sprintf(":%d", busPort),
		"--listen-gossip", fmt.Sprintf(":%d", gossipPort),
		"--advertise", n.port.address.String(),
		"--data", n.data,
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
		actions, err := filepath.Abs(filepath.Join(filepath.Dir(n.log), "actions.ndjson"))
		if err != nil {
			return nil, err
		}
		arguments = append(arguments, "--action-log", actions)
	}
	return append(arguments, c.options.NodeArguments...), nil
}

// launch begins a new life of the node. n.mu must be held.
func (c *local) launch(n *node) error {
	arguments, err := c.arguments(n)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	binary, err := filepath.Abs(c.options.Binary)
	if err != nil {
		return err
	}
	cmd := exec.Command(binary, arguments...)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := startProcess(n.port.namespace, cmd, func(s *os.ProcessState) {
		death := cluster.Death{Node: n.id, At: time.Now(), Exit: s.String(), Log: lastLines(n.log, deathLines)}
		if c.Excused(death) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.unexpected = append(c.unexpected, death)
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", n.id, err)
	}
	n.process = p
	return nil
}

// Environment implements cluster.Cluster.
func (c *local) Environment() string { return "netns" }

// Nodes implements cluster.Cluster.
func (c *local) Nodes() []cluster.Node {
	var present []cluster.Node
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if !n.removed {
			present = append(present, n.view())
		}
	}
	return present
}

// Add implements cluster.Grower.
func (c *local) Add(ctx context.Context, name string) (cluster.Node, error) {
	c.growing.Lock()
	defer c.growing.Unlock()
	var peers []string
	for _, p := range c.Nodes() {
		peers = append(peers, p.ID+"="+p.Address)
	}
	n, err := c.vacant(name)
	if err != nil {
		return cluster.Node{}, fmt.Errorf("netns: add %s: %w", name, err)
	}
	if err := c.Network.Join(ctx, n.id, packet.Member{Address: n.port.address, Endpoint: n.port.agent}, settleBound); err != nil {
		c.Network.Leave(n.id)
		return cluster.Node{}, fmt.Errorf("netns: add %s: %w", n.id, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.begins = []string{"--join", "--peers", strings.Join(peers, ",")}
	if err := c.launch(n); err != nil {
		c.Network.Leave(n.id)
		return cluster.Node{}, fmt.Errorf("netns: add %s: %w", n.id, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n.removed = false
	return n.view(), nil
}

// vacant is a node that was removed, or, when the name is empty, a new one.
func (c *local) vacant(name string) (*node, error) {
	all := c.all()
	if name == "" {
		if len(all) == maxNodes {
			return nil, fmt.Errorf("there were %d nodes already", maxNodes)
		}
		p, err := c.network.add()
		if err != nil {
			return nil, err
		}
		return c.newNode(fmt.Sprintf("n%d", len(all)+1), p, true)
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

// Remove implements cluster.Grower.
func (c *local) Remove(_ context.Context, id string, wipe bool) error {
	c.growing.Lock()
	defer c.growing.Unlock()
	return c.with(id, "remove", func(n *node) error {
		if !n.process.dead() {
			return errors.New("it runs")
		}
		if wipe {
			if err := errors.Join(os.RemoveAll(n.data), os.MkdirAll(n.data, 0o755)); err != nil {
				return err
			}
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
func (c *local) Unexpected() []cluster.Death {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.unexpected)
}

// Kill implements cluster.Killer. A node that is dead already is an error.
func (c *local) Kill(ctx context.Context, id string) error {
	return c.with(id, "kill", func(n *node) error {
		if n.process.dead() {
			return os.ErrProcessDone
		}
		return n.process.kill(ctx)
	})
}

// Stop implements cluster.Stopper. A node that is dead already is an error.
func (c *local) Stop(ctx context.Context, id string) error {
	return c.with(id, "stop", func(n *node) error {
		if n.process.dead() {
			return os.ErrProcessDone
		}
		return n.process.stop(ctx)
	})
}

// Restart implements cluster.Killer. A node that lives is an error.
func (c *local) Restart(_ context.Context, id string) error {
	return c.with(id, "restart", func(n *node) error {
		if !n.process.dead() {
			return errors.New("it runs")
		}
		return c.launch(n)
	})
}

// Process implements cluster.Killer and cluster.Pauser.
func (c *local) Process(_ context.Context, id string) (s cluster.ProcessState, err error) {
	err = c.with(id, "look at", func(n *node) error {
		s, err = n.process.state()
		return err
	})
	return s, err
}

// Pause implements cluster.Pauser: SIGSTOP.
func (c *local) Pause(ctx context.Context, id string) error {
	return c.with(id, "pause", func(n *node) error { return n.process.freeze(ctx, true) })
}

// Resume implements cluster.Pauser: SIGCONT.
func (c *local) Resume(ctx context.Context, id string) error {
	return c.with(id, "resume", func(n *node) error { return n.process.freeze(ctx, false) })
}

func (c *local) with(id, verb string, f func(*node) error) error {
	n, err := c.find(id)
	if err == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		err = f(n)
	}
	if err != nil {
		return fmt.Errorf("netns: %s %s: %w", verb, id, err)
	}
	return nil
}

func (c *local) find(id string) (*node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.id == id && !n.removed {
			return n, nil
		}
	}
	return nil, errors.New("no such node")
}

// Collect implements cluster.Cluster. Logs are in the run's folder from the start. What was removed is collected, too.
func (c *local) Collect(_ context.Context, data bool) error {
	if !data {
		return nil
	}
	var failures []error
	for _, n := range c.all() {
		target := filepath.Join(c.options.Dir, "nodes", n.id, "data")
		if err := copyTree(target, n.data); err != nil {
			failures = append(failures, fmt.Errorf("netns: collect the data of %s: %w", n.id, err))
		}
	}
	return errors.Join(failures...)
}

// Close implements cluster.Cluster.
func (c *local) Close(ctx context.Context) error {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	var failures []error
	for _, n := range c.all() {
		n.mu.Lock()
		if n.process != nil && !n.process.dead() {
			failures = append(failures, n.process.kill(ctx))
		}
		n.mu.Unlock()
	}
	if c.network != nil {
		failures = append(failures, c.network.close())
	}
	if c.temp != "" {
		failures = append(failures, os.RemoveAll(c.temp))
	}
	return errors.Join(failures...)
}

// copyTree copies regular files. What vanishes meanwhile, as a live store's files do, is left out.
func copyTree(target, source string) error {
	return filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			relative, _ := filepath.Rel(source, path)
			to := filepath.Join(target, relative)
			switch {
			case d.IsDir():
				err = os.MkdirAll(to, 0o755)
			case d.Type().IsRegular():
				err = copyFile(to, path)
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

func copyFile(target, source string) (err error) {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(target)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	_, err = io.Copy(to, from)
	return err
}

// lastLines are the last lines of a file, as far as it can be read.
func lastLines(path string, count int) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	const enough = 64 << 10
	if info, err := f.Stat(); err == nil && info.Size() > enough {
		_, _ = f.Seek(-enough, io.SeekEnd)
	}
	text, _ := io.ReadAll(f)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[max(0, len(lines)-count):]
}

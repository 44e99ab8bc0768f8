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

// local is the cluster: processes in network namespaces.
type local struct {
	*packet.Network
	*seam.Control
	options cluster.Options
	network *network
	temp    string // holds the nodes' data
	nodes   map[string]*node
	order   []cluster.Node

	mu         sync.Mutex
	unexpected []cluster.Death
	closed     bool
}

var _ interface {
	cluster.Cluster
	cluster.Killer
	cluster.Pauser
	cluster.Partitioner
	cluster.Watcher
	cluster.Breaker
} = (*local)(nil)

type node struct {
	cluster.Node
	port      *port
	arguments []string
	data      string
	log       string

	mu      sync.Mutex
	process *process // its last life
}

// Start makes the bridge and the nodes' namespaces and returns when all processes run; they may
// not answer yet. It must be called inside (see Enter).
func Start(ctx context.Context, o cluster.Options) (cluster.Cluster, error) {
	if !Inside() {
		return nil, ErrOutside
	}
	if o.Nodes < 1 || o.Nodes > 200 {
		return nil, fmt.Errorf("netns: %d nodes: want 1 to 200", o.Nodes)
	}
	c := &local{options: o, nodes: map[string]*node{}}
	c.Control = seam.New(o.Seams, func(id string) (string, bool) {
		n, ok := c.nodes[id]
		if !ok {
			return "", false
		}
		return n.ClientURL, true
	})
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
		if err := c.addNode(fmt.Sprintf("n%d", i+1), p, strings.Join(peers, ",")); err != nil {
			return err
		}
	}
	c.progress("starting %d nodes", c.options.Nodes)
	for _, n := range c.order {
		if err := c.launch(c.nodes[n.ID]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (c *local) progress(format string, a ...any) {
	if c.options.Progress != nil {
		c.options.Progress(fmt.Sprintf(format, a...))
	}
}

func (c *local) addNode(id string, p *port, peers string) error {
	folder := filepath.Join(c.options.Dir, "nodes", id)
	n := &node{
		Node: cluster.Node{
			ID:        id,
			ClientURL: fmt.Sprintf("http://%s:%d", p.address, clientPort),
			Address:   p.address.String(),
		},
		port: p,
		data: filepath.Join(c.temp, id),
		log:  filepath.Join(folder, "node.log"),
	}
	n.arguments = []string{
		"--id", id,
		"--listen-http", fmt.Sprintf(":%d", clientPort),
		"--listen-bus", fmt.Sprintf(":%d", busPort),
		"--listen-gossip", fmt.Sprintf(":%d", gossipPort),
		"--advertise", n.Address,
		"--peers", peers,
		"--bootstrap",
		"--data", n.data,
		"--log-format", "json",
	}
	switch {
	case c.options.Seams:
		n.arguments = append(n.arguments, seam.Flag)
	case c.options.LoseUnsynced:
		n.arguments = append(n.arguments, "--unsafe-lose-unsynced")
	}
	if c.options.ActionLog {
		actions, err := filepath.Abs(filepath.Join(folder, "actions.ndjson"))
		if err != nil {
			return err
		}
		n.arguments = append(n.arguments, "--action-log", actions)
	}
	n.arguments = append(n.arguments, c.options.NodeArguments...)
	c.nodes[id] = n
	c.order = append(c.order, n.Node)
	return errors.Join(os.MkdirAll(folder, 0o755), os.MkdirAll(n.data, 0o755))
}

// launch begins a new life of the node.
func (c *local) launch(n *node) error {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	binary, err := filepath.Abs(c.options.Binary)
	if err != nil {
		return err
	}
	cmd := exec.Command(binary, n.arguments...)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := startProcess(n.port.namespace, cmd, func(s *os.ProcessState) {
		death := cluster.Death{Node: n.ID, At: time.Now(), Exit: s.String(), Log: lastLines(n.log, deathLines)}
		if c.Excused(death) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.unexpected = append(c.unexpected, death)
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", n.ID, err)
	}
	n.process = p
	return nil
}

// Environment implements cluster.Cluster.
func (c *local) Environment() string { return "netns" }

// Nodes implements cluster.Cluster.
func (c *local) Nodes() []cluster.Node { return slices.Clone(c.order) }

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
	n, ok := c.nodes[id]
	if !ok {
		return fmt.Errorf("netns: %s %s: no such node", verb, id)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := f(n); err != nil {
		return fmt.Errorf("netns: %s %s: %w", verb, id, err)
	}
	return nil
}

// Collect implements cluster.Cluster. Logs are in the run's folder from the start.
func (c *local) Collect(_ context.Context, data bool) error {
	if !data {
		return nil
	}
	var failures []error
	for _, n := range c.order {
		target := filepath.Join(c.options.Dir, "nodes", n.ID, "data")
		if err := copyTree(target, c.nodes[n.ID].data); err != nil {
			failures = append(failures, fmt.Errorf("netns: collect the data of %s: %w", n.ID, err))
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
	for _, n := range c.nodes {
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

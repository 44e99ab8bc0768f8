package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
)

// cluster is processes of one product, with a folder of their own.
type cluster struct {
	product product
	dir     string
	nodes   []*node
}

type node struct {
	address
	command *exec.Cmd     // nil while it is dead
	ended   chan struct{} // closed when command has ended
}

// start starts a cluster in a new folder below dir and waits until its nodes agree on a leader. It is
// called on the thread of main, with whose end the processes end.
func start(ctx context.Context, p product, nodes int, dir string) (c *cluster, err error) {
	c = &cluster{product: p}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if c.dir, err = os.MkdirTemp(dir, p.name()+"-"); err != nil {
		return nil, err
	}
	all, err := addresses(nodes, c.dir)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		c.nodes = append(c.nodes, &node{address: a})
	}
	for _, n := range c.nodes {
		if err := c.run(n); err != nil {
			return nil, err
		}
	}
	_, err = c.agreement(ctx)
	return c, err
}

// run starts a node, which appends to its log.
func (c *cluster) run(n *node) error {
	log, err := os.OpenFile(n.dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	var all []address
	for _, other := range c.nodes {
		all = append(all, other.address)
	}
	args := c.product.command(n.address, all)
	command := exec.Command(args[0], args[1:]...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return fmt.Errorf("start %s %s: %w", c.product.name(), n.name, err)
	}
	n.command, n.ended = command, make(chan struct{})
	go func() {
		defer close(n.ended)
		_ = command.Wait() // why it ended, its log says
	}()
	return nil
}

// kill ends a node by SIGKILL and waits until it is gone.
func (n *node) kill() error {
	if n.command == nil {
		return nil
	}
	err := n.command.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-n.ended
	n.command = nil
	return err
}

// close ends all nodes and removes the folder. It may be called of a cluster that did not start.
func (c *cluster) close() error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.kill())
	}
	if c.dir != "" {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	return errors.Join(errs...)
}

// agreement waits until all nodes follow one leader and have applied what it had when this was called,
// and returns the leader.
func (c *cluster) agreement(ctx context.Context) (*node, error) {
	ctx, cancel := context.WithTimeout(ctx, agreementBound)
	defer cancel()
	var mark *uint64 // what the first leader had applied
	for {
		leader, round, err := c.ask(ctx)
		if err == nil && mark == nil {
			has := round[leader].applied
			mark = &has
		}
		if err == nil {
			err = applied(round, *mark)
		}
		if err == nil {
			return leader, nil
		}
		if wait(ctx, pollInterval) != nil || c.lost() {
			return nil, errors.Join(fmt.Errorf("%d nodes of %s do not agree: %w", len(c.nodes), c.product.name(), err), c.lastWords())
		}
	}
}

// lost tells whether a node has ended by itself.
func (c *cluster) lost() bool {
	return slices.ContainsFunc(c.nodes, func(n *node) bool {
		select {
		case <-n.ended:
			return n.command != nil
		default:
			return false
		}
	})
}

func applied(round map[*node]standing, mark uint64) error {
	for n, s := range round {
		if s.applied < mark {
			return fmt.Errorf("%s has applied %d of %d entries", n.name, s.applied, mark)
		}
	}
	return nil
}

// ask is one round of asking all nodes. Without an error all of them follow leader.
func (c *cluster) ask(ctx context.Context) (leader *node, round map[*node]standing, err error) {
	round = make(map[*node]standing)
	for _, n := range c.nodes {
		if n.command == nil {
			continue
		}
		if round[n], err = c.standing(ctx, n); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", n.name, err)
		}
		if round[n].leader == round[n].self {
			leader = n
		}
	}
	for n, s := range round {
		if leader == nil || s.leader != round[leader].self {
			return nil, nil, fmt.Errorf("%s follows %q", n.name, s.leader)
		}
	}
	return leader, round, nil
}

// standing asks over a new connection, since an old one may be waiting before it tries again.
func (c *cluster) standing(ctx context.Context, n *node) (standing, error) {
	ctx, cancel := context.WithTimeout(ctx, askBound)
	defer cancel()
	connection, err := c.product.connect(n.address)
	if err != nil {
		return standing{}, err
	}
	s, err := connection.standing(ctx)
	return s, errors.Join(err, connection.close())
}

// lastWords is the end of each node's log.
func (c *cluster) lastWords() error {
	const most = 400
	var errs []error
	for _, n := range c.nodes {
		log, err := os.ReadFile(n.dir + ".log")
		if err != nil {
			return err
		}
		errs = append(errs, fmt.Errorf("%s ends with: %s", n.name, log[max(0, len(log)-most):]))
	}
	return errors.Join(errs...)
}

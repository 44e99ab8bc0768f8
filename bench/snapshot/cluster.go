package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"coup/raftnode/api"
	"coup/raftnode/client"
)

// cluster is raftnode processes on loopback, with a folder of their own.
type cluster struct {
	binary, dir string
	nodes       []*node
	client      *client.Client
}

type node struct {
	name              string
	http, bus, gossip int // ports
	command           *exec.Cmd
	ended             chan struct{}
}

func (n *node) place() string {
	return fmt.Sprintf("127.0.0.1:%d/%d/%d", n.bus, n.http, n.gossip)
}

// prepare finds ports for so many nodes.
func (c *cluster) prepare(count int) error {
	var kept []net.Listener
	defer func() {
		for _, l := range kept {
			l.Close()
		}
	}()
	urls := map[string]string{}
	for i := range count {
		n := &node{name: fmt.Sprintf("n%d", i+1)}
		for _, port := range []*int{&n.http, &n.bus, &n.gossip} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return fmt.Errorf("find a free port: %w", err)
			}
			kept = append(kept, l)
			*port = l.Addr().(*net.TCPAddr).Port
		}
		c.nodes = append(c.nodes, n)
		urls[n.name] = fmt.Sprintf("http://127.0.0.1:%d", n.http)
	}
	var err error
	c.client, err = client.New(urls, client.Options{Timeout: -1})
	return err
}

// start starts the first so many nodes as founders, or the next one to join them.
func (c *cluster) start(n *node, peers []*node, how string) error {
	log, err := os.Create(filepath.Join(c.dir, n.name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	var places []string
	for _, p := range append([]*node{n}, peers...) {
		places = append(places, p.name+"="+p.place())
	}
	command := exec.Command(c.binary, "--id", n.name, "--peers", strings.Join(places, ","), how, "--data", filepath.Join(c.dir, n.name),
		"--listen-http", loopback(n.http), "--listen-bus", loopback(n.bus), "--listen-gossip", loopback(n.gossip))
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	n.command, n.ended = command, make(chan struct{})
	go func() {
		defer close(n.ended)
		_ = command.Wait() // why it ended, its log says
	}()
	return nil
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// close ends all nodes.
func (c *cluster) close() error {
	var errs []error
	for _, n := range c.nodes {
		if n.command == nil {
			continue
		}
		if err := n.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
		<-n.ended
	}
	return errors.Join(errs...)
}

// lastWords is the end of each node's log.
func (c *cluster) lastWords() error {
	const most = 600
	var errs []error
	for _, n := range c.nodes {
		if log, err := os.ReadFile(filepath.Join(c.dir, n.name+".log")); err == nil {
			errs = append(errs, fmt.Errorf("%s ends with: %s", n.name, log[max(0, len(log)-most):]))
		}
	}
	return errors.Join(errs...)
}

// pollInterval is how often something is waited for.
const pollInterval = 50 * time.Millisecond

// until waits until a condition holds, for at most bound.
func (c *cluster) until(ctx context.Context, what string, bound time.Duration, holds func(ctx context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for {
		ok, err := holds(ctx)
		if ok {
			return nil
		}
		for _, n := range c.nodes {
			if n.command == nil {
				continue
			}
			select {
			case <-n.ended:
				return fmt.Errorf("%s has ended while waiting for %s", n.name, what)
			default:
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s for %v: %w", what, bound, errors.Join(ctx.Err(), err))
		case <-time.After(pollInterval):
		}
	}
}

// leader is whom the first three follow.
func (c *cluster) leader(ctx context.Context) (leader *node, err error) {
	err = c.until(ctx, "a leader", time.Minute, func(ctx context.Context) (bool, error) {
		leader = nil
		var name string
		for _, n := range c.nodes[:3] {
			s, err := c.status(ctx, n)
			if err != nil || s.Leader == "" || name != "" && name != string(s.Leader) {
				return false, err
			}
			name = string(s.Leader)
			if string(s.ID) == name {
				leader = n
			}
		}
		return leader != nil, nil
	})
	return leader, err
}

func (c *cluster) status(ctx context.Context, n *node) (api.Status, error) {
	bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return c.client.Status(bounded, n.name)
}

// resident is a node's memory, in bytes: now and, since forget was called last, at most.
func (n *node) resident() (now, most int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.command.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	field := func(name string) int64 {
		_, rest, found := bytes.Cut(text, []byte(name+":"))
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		kib, failed := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(line)), " kB"), 10, 64)
		if !found || failed != nil {
			err = fmt.Errorf("/proc/%d/status tells no %s", n.command.Process.Pid, name)
		}
		return kib << 10
	}
	return field("VmRSS"), field("VmHWM"), err
}

// forget has resident tell the most from now on.
func (n *node) forget() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", n.command.Process.Pid), []byte("5"), 0)
}

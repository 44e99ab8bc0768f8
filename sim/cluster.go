package sim

import (
	"context"
	"fmt"
	"slices"

	"coup/cluster"
	"coup/nemesis"
	"coup/raftnode/raft"
)

// nodes is a world as faults see it: they come and go while virtual time stands still.
type nodes struct{ world *World }

var (
	_ cluster.Cluster     = nodes{}
	_ cluster.Killer      = nodes{}
	_ cluster.Pauser      = nodes{}
	_ cluster.Partitioner = nodes{}
	_ cluster.Degrader    = nodes{}
	_ cluster.Watcher     = nodes{}
	_ cluster.Loser       = nodes{}
)

// Cluster is the world as faults see it. It implements cluster.Killer, Pauser, Partitioner,
// Degrader, Watcher and Loser. Its methods may be called from Inject's actions, and between two calls of Wait.
func (w *World) Cluster() cluster.Cluster { return nodes{w} }

// Environment implements cluster.Cluster.
func (c nodes) Environment() string { return "sim" }

// Sequential says that nothing of this cluster may be called concurrently, and that no real time
// need pass for anything to happen.
func (c nodes) Sequential() bool { return true }

// Nodes implements cluster.Cluster.
func (c nodes) Nodes() []cluster.Node {
	all := make([]cluster.Node, c.world.options.Nodes)
	for i := range all {
		all[i] = cluster.Node{ID: string(c.world.nodes[i].id)}
	}
	return all
}

// Collect implements cluster.Cluster. There are no files.
func (c nodes) Collect(context.Context, bool) error { return nil }

// Close implements cluster.Cluster.
func (c nodes) Close(context.Context) error {
	c.world.Close()
	return nil
}

func (c nodes) node(id string) (*node, error) {
	if i := c.world.find(raft.NodeID(id)); i >= 0 {
		return c.world.nodes[i], nil
	}
	return nil, fmt.Errorf("sim: there is no node %q", id)
}

// Kill implements cluster.Killer. The node does not start by itself any more.
func (c nodes) Kill(_ context.Context, id string) error {
	n, err := c.node(id)
	if err != nil {
		return err
	}
	n.killed = true
	c.world.crash(n)
	return nil
}

// Restart implements cluster.Killer.
func (c nodes) Restart(_ context.Context, id string) error {
	n, err := c.node(id)
	if err != nil {
		return err
	}
	n.killed = false
	if n.standing == standingStopped {
		n.standing = standingRemoved // it does no harm
	}
	return c.world.restart(n)
}

// Process implements cluster.Killer and cluster.Pauser. A process that stalls by itself runs, as far as
// the machine can tell.
func (c nodes) Process(_ context.Context, id string) (cluster.ProcessState, error) {
	n, err := c.node(id)
	switch {
	case err != nil:
		return cluster.ProcessState{}, err
	case !n.alive():
		return cluster.ProcessState{State: "dead"}, nil
	case n.frozen:
		return cluster.ProcessState{State: "paused", PID: n.pid}, nil
	}
	return cluster.ProcessState{State: "running", PID: n.pid}, nil
}

// Pause implements cluster.Pauser.
func (c nodes) Pause(_ context.Context, id string) error {
	n, err := c.node(id)
	switch {
	case err != nil:
		return err
	case !n.alive() || n.frozen:
		return fmt.Errorf("sim: %s is dead, or paused already", id)
	}
	c.world.pause(n, &n.frozen)
	return nil
}

// Resume implements cluster.Pauser.
func (c nodes) Resume(_ context.Context, id string) error {
	n, err := c.node(id)
	switch {
	case err != nil:
		return err
	case !n.alive() || !n.frozen:
		return fmt.Errorf("sim: %s is not paused", id)
	}
	c.world.resume(n, &n.frozen)
	return nil
}

func (c nodes) link(l cluster.Link) (*link, error) {
	from, to := c.world.find(raft.NodeID(l.From)), c.world.find(raft.NodeID(l.To))
	if from < 0 || to < 0 || from == to {
		return nil, fmt.Errorf("sim: there is no link %s", l)
	}
	return c.world.network.link(from, to), nil
}

// Cut implements cluster.Partitioner.
func (c nodes) Cut(_ context.Context, links []cluster.Link) error { return c.set(links, true) }

// Restore implements cluster.Partitioner.
func (c nodes) Restore(_ context.Context, links []cluster.Link) error { return c.set(links, false) }

func (c nodes) set(links []cluster.Link, cut bool) error {
	for i, l := range links {
		found, err := c.link(l)
		switch {
		case err != nil:
			return err
		case found.cut == cut || slices.Contains(links[:i], l):
			return fmt.Errorf("sim: %s: already so: cut=%t", l, cut)
		}
	}
	for _, l := range links {
		found, _ := c.link(l)
		found.cut = cut
		c.world.tellLink(c.world.find(raft.NodeID(l.From)), c.world.find(raft.NodeID(l.To)), cut, 0)
	}
	return nil
}

// probes is how many datagrams prove a link.
const probes = 3

// Probe implements cluster.Partitioner. Links that fail by themselves are no part of what it proves.
func (c nodes) Probe(_ context.Context, links []cluster.Link) ([]cluster.Probe, error) {
	all := make([]cluster.Probe, len(links))
	for i, l := range links {
		found, err := c.link(l)
		if err != nil {
			return nil, err
		}
		all[i] = cluster.Probe{Link: l, Sent: probes}
		if !found.cut {
			all[i].Received = probes
		}
	}
	return all, nil
}

// Lost implements cluster.Loser.
func (c nodes) Lost(id string) bool {
	n, err := c.node(id)
	return err == nil && n.lost
}

// Unexpected implements cluster.Watcher.
func (c nodes) Unexpected() []cluster.Death { return slices.Clone(c.world.deaths) }

// view is what the nodes say now.
type view struct{ world *World }

var _ nemesis.View = view{}

// Leaders implements nemesis.View.
func (v view) Leaders(context.Context) []string {
	type reign struct {
		name string
		term uint64
	}
	var found []reign
	for _, n := range v.world.nodes {
		if !n.alive() || n.frozen || n.stalled {
			continue
		}
		if s := n.replica.Status(); s.Role == raft.Leader {
			found = append(found, reign{string(n.id), s.Term})
		}
	}
	slices.SortStableFunc(found, func(a, b reign) int { return int(int64(a.term - b.term)) })
	names := make([]string, len(found))
	for i, r := range found {
		names[i] = r.name
	}
	return names
}

// Prospect is the cluster of a world of that many nodes that nobody has made: it can be asked what it could do, as
// nemesis.Fault.Check does, and nothing else.
func Prospect(count int) cluster.Cluster {
	w := &World{options: Options{Nodes: count}}
	for i := range count {
		w.nodes = append(w.nodes, &node{id: raft.NodeID(fmt.Sprint("n", i+1))})
	}
	return nodes{w}
}

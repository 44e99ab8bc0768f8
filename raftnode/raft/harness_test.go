package raft

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft/confchange"
)

// led is a network of which n1 leads, and all know it.
func led(t *testing.T, size int, c Config) *network {
	n := newNetwork(t, size, 1)
	n.config = c
	for _, id := range n.names {
		n.start(id)
	}
	n.crown("n1")
	return n
}

// blank starts an empty node that knows nobody.
func (n *network) blank(ids ...NodeID) {
	for _, id := range ids {
		if !slices.Contains(n.names, id) {
			n.names = append(n.names, id)
		}
		n.disks[id] = newDisk()
		n.start(id)
	}
}

func alter(list ...string) []confchange.Change {
	var changes []confchange.Change
	for i := 0; i < len(list); i += 2 {
		changes = append(changes, confchange.Change{Op: confchange.Op(list[i]), Node: NodeID(list[i+1])})
	}
	return changes
}

// ask has a leader log changes, and sends nothing yet.
func (n *network) ask(leader NodeID, list ...string) error {
	_, _, err := n.nodes[leader].ProposeChange(alter(list...))
	return err
}

// change has a leader make changes, and delivers everything.
func (n *network) change(leader NodeID, list ...string) {
	require.NoError(n.t, n.ask(leader, list...))
	n.process(leader, 0)
	n.drain()
}

// hold delivers everything but what the filter takes, which it returns.
func (n *network) hold(take func(Message) bool) (held []Message) {
	for len(n.flying) > 0 {
		m := n.flying[0]
		if take(m) {
			held, n.flying = append(held, m), n.flying[1:]
			continue
		}
		n.deliver(0, false)
		n.process(m.To, 0)
	}
	return held
}

// hand delivers what was held, and what comes of it.
func (n *network) hand(held []Message) {
	n.flying = append(n.flying, held...)
	n.drain()
}

// step hands one message to its receiver, which does what it must; what it sends stays in flight.
func (n *network) step(m Message) error {
	err := n.nodes[m.To].Step(m)
	n.process(m.To, 0)
	return err
}

// fill has a leader commit k commands.
func (n *network) fill(leader NodeID, k int) {
	for range k {
		n.propose(n.nodes[leader], "command")
	}
}

func isType(types ...MessageType) func(Message) bool {
	return func(m Message) bool { return slices.Contains(types, m.Type) }
}

func (n *network) configuration(id NodeID) Configuration { return n.nodes[id].Configuration() }

// crown settles until a node leads, whom no other forestalls.
func (n *network) crown(id NodeID) {
	for range 60 {
		for other, r := range n.nodes {
			if other != id {
				r.timeout = 1 << 30
			}
		}
		n.settle(1)
		if n.nodes[id].role == Leader {
			n.settle(2)
			return
		}
	}
	require.FailNow(n.t, "no leader", "%s was not elected", id)
}

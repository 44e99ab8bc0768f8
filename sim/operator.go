package sim

import (
	"slices"
	"time"

	"coup/raftnode/raft"
	"coup/raftnode/replica"
)

// operators give orders to nodes again and again, and set them up as they like: how long a leader may
// reign, when snapshots are taken, how clients read.
type operators struct {
	dice         dice
	every        time.Duration // between two orders, on average; 0 for none
	maxReign     int           // in ticks; 0 for no end
	atMaxReign   raft.AtMaxReign
	snapshots    replica.Snapshots
	promotionLag int  // as of raft.Config
	messageBytes int  // likewise
	lease        odds // of a read
	follower     odds // of a read that is not by lease
}

// order is what a node is told to do.
type order int32

const (
	orderTransfer order = iota
	orderStepDown
	orderSnapshot
	orders
)

func newOperators(o Options) operators {
	p := operators{dice: newDice(o.Seed, "operators")}
	d := &p.dice
	wanted := operators{
		every:      pick(d, 0, 500*time.Millisecond, 2*time.Second),
		maxReign:   pick(d, 0, 0, 60, 200),
		atMaxReign: pick(d, raft.Abdicate, raft.Abdicate, raft.Exit),
		snapshots: replica.Snapshots{
			Every:      pick[uint64](d, 0, 10, 50, 200),
			Keep:       pick[uint64](d, 0, 5, 50),
			Spare:      pick[uint64](d, 0, 5, 100),
			ChunkBytes: pick(d, 16, 128, 4096),
		},
		lease:    chances(pick(d, 0, 0.2, 0.9)),
		follower: chances(pick(d, 0, 0.2, 0.9)),
	}
	if !slices.Contains(o.Trouble, "operator") {
		return p
	}
	wanted.dice = p.dice
	return wanted
}

// reads draws how a client reads. All of these are linearizable.
func (p *operators) reads(d *dice) replica.Consistency {
	switch {
	case d.hit(p.lease):
		return replica.Lease
	case d.hit(p.follower):
		return replica.Follower
	}
	return replica.Linearizable
}

func (w *World) beginOperators() {
	if p := &w.operators; p.every > 0 {
		w.schedule(event{at: w.now + p.dice.between(0, 2*p.every), kind: evOperator})
	}
	if s := &w.session; s.every > 0 {
		s.begun = true
		w.schedule(event{at: w.now + s.every, kind: evSession})
	}
}

// operate gives an order to a node: mostly to the leader.
func (w *World) operate() {
	p := &w.operators
	if p.every == 0 {
		return
	}
	w.schedule(event{at: w.now + p.dice.between(0, 2*p.every), kind: evOperator})
	at := p.dice.below(len(w.nodes))
	if p.dice.below(4) > 0 {
		for _, n := range w.nodes {
			if n.alive() && n.replica.Core().Leads() {
				at = n.index
			}
		}
	}
	w.schedule(event{at: w.now + w.clients.latency(w), kind: evOrder, node: uint8(at), ref: int32(p.dice.below(int(orders)))})
}

// obey has a node carry an order out, or refuse it.
func (w *World) obey(n *node, o order) {
	var err error
	switch o {
	case orderTransfer:
		voters := n.replica.Core().Configuration().Voters
		to := pickNode(&w.operators.dice, voters)
		w.options.Script.orders(n, o, to)
		if err = n.replica.Transfer(to); err == nil {
			w.reached.Transfers++
		}
	case orderStepDown:
		w.options.Script.orders(n, o, "")
		if err = n.replica.StepDown(); err == nil {
			w.reached.StepDowns++
		}
	case orderSnapshot:
		w.options.Script.orders(n, o, "")
		err = n.replica.TakeSnapshot()
	}
	w.tellOrder(n, o, err)
}

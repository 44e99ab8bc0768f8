package sim

import (
	"time"

	"coup/raftnode/actionlog"
	"coup/raftnode/bus"
	"coup/raftnode/raft"
)

// network carries messages between nodes.
type network struct {
	dice          dice
	bad, measured dice // of links that are bad, and of what measures them
	links         [stride * stride]link
	letters       []letter
	free          int32 // first free letter, -1 for none

	requests []request
	unused   []int32
	lastID   uint64
	expiry   deadlines
}

// link is one direction between two nodes.
type link struct {
	cut  bool          // by Inject
	shut time.Duration // by itself, until then
	slow time.Duration // likewise: what is sent takes long
	last time.Duration // of the latest delivery, where messages stay in order
	bad  badness       // by Inject
}

// letter is a message on its way.
type letter struct {
	m        raft.Message
	from, to int
	life     uint32 // of the receiver when it was sent
	term     uint64 // likewise
	copies   int
	next     int32
}

// request is one that awaits its answer. Its ID is its slot and, above that, a number that is never
// used again.
type request struct {
	id         uint64 // 0 for none
	node       *node
	to         int
	answered   bool // the answer waits for the node
	onResponse func(raft.Message, error)
}

const (
	slotBits = 20
	slotMask = 1<<slotBits - 1
)

func newNetwork(seed uint64) network {
	return network{
		dice: newDice(seed, "network"), bad: newDice(seed, "bad links"), measured: newDice(seed, "measurements"), free: -1,
	}
}

// open tells whether a link carries now.
func (l *link) open(now time.Duration) bool { return !l.cut && l.shut <= now }

func (net *network) link(from, to int) *link { return &net.links[from*stride+to] }

// letter takes a message to be sent.
func (net *network) letter(m *raft.Message, from, to int) int32 {
	i := net.free
	if i < 0 {
		i = int32(len(net.letters))
		net.letters = append(net.letters, letter{})
	} else {
		net.free = net.letters[i].next
	}
	l := &net.letters[i]
	l.m, l.from, l.to, l.copies = *m, from, to, 1
	return i
}

// drop is the end of one copy of a letter.
func (net *network) drop(i int32) {
	l := &net.letters[i]
	if l.copies--; l.copies == 0 {
		l.m.Entries = nil
		l.m.Snapshot = nil
		l.next, net.free = net.free, i
	}
}

func (net *network) request(id uint64) *request {
	if slot := id & slotMask; slot < uint64(len(net.requests)) && net.requests[slot].id == id {
		return &net.requests[slot]
	}
	return nil
}

func (net *network) open(n *node, to int, onResponse func(raft.Message, error)) uint64 {
	var slot int32
	if k := len(net.unused); k > 0 {
		slot = net.unused[k-1]
		net.unused = net.unused[:k-1]
	} else {
		slot = int32(len(net.requests))
		net.requests = append(net.requests, request{})
	}
	net.lastID++
	id := net.lastID<<slotBits | uint64(slot)
	net.requests[slot] = request{id: id, node: n, to: to, onResponse: onResponse}
	return id
}

// close ends a request.
func (net *network) close(r *request) {
	net.unused = append(net.unused, int32(r.id&slotMask))
	*r = request{}
}

// forget ends all requests of a node that is dead.
func (net *network) forget(n *node) {
	for i := range net.requests {
		if r := &net.requests[i]; r.node == n {
			net.close(r)
		}
	}
}

// deadline is when the next request is given up.
func (net *network) deadline() time.Duration {
	d := &net.expiry
	for d.head < len(d.all) {
		if r := net.request(d.all[d.head].id); r != nil && !r.answered {
			return d.all[d.head].at
		}
		d.head++
	}
	return never
}

// expireRequest gives a request up.
func (w *World) expireRequest() {
	d := &w.network.expiry
	id := d.all[d.head].id
	d.head++
	r := w.network.request(id)
	r.answered = true
	w.options.Script.givesUp(r)
	w.trace.note(w.now, "timeout", r.node, id>>slotBits)
	w.arrive(r.node, work{kind: workTimeout, id: id})
}

// tellUnreachable tells the sender of a request that its receiver is not there.
func (w *World) tellUnreachable(id uint64) {
	if r := w.network.request(id); r != nil && !r.answered {
		r.answered = true
		w.options.Script.misses(r)
		w.trace.note(w.now, "unreachable", r.node, id>>slotBits)
		w.arrive(r.node, work{kind: workUnreachable, id: id})
	}
}

// port is a node's bus.
type port struct {
	world *World
	node  *node
}

var _ bus.Bus = port{}

// Send implements bus.Bus. The message leaves once all that was written before is durable.
func (p port) Send(from, to raft.NodeID, m raft.Message, onResponse func(raft.Message, error)) bus.MessageID {
	w := p.world
	m.From, m.To = from, to
	peer := w.find(to)
	m.ID = w.network.open(p.node, peer, onResponse)
	if (m.Type == raft.MsgHeartbeat || m.Type == raft.MsgAppend) && m.Term > p.node.led {
		p.node.led = m.Term
		w.reached.Elections++
	}
	p.node.say(out{kind: outRequest, ref: w.network.letter(&m, p.node.index, peer), id: m.ID})
	return m.ID
}

// Respond implements bus.Bus.
func (p port) Respond(from, to raft.NodeID, m raft.Message) {
	m.From, m.To = from, to
	if peer := p.world.find(to); peer >= 0 {
		p.node.say(out{kind: outReply, ref: p.world.network.letter(&m, p.node.index, peer)})
	}
}

// Cancel implements bus.Bus.
func (p port) Cancel(id bus.MessageID) {
	if r := p.world.network.request(id); r != nil {
		p.world.network.close(r)
	}
}

// post sends a letter.
func (w *World) post(i int32) {
	net := &w.network
	l := &net.letters[i]
	w.tellMessage(actionlog.Send, w.nodes[l.from], &l.m, "")
	if l.to < 0 {
		w.schedule(event{at: w.now + time.Millisecond, kind: evUnreachable, id: l.m.ID})
		net.drop(i)
		return
	}
	to := w.nodes[l.to]
	l.life, l.term = to.life, to.term
	w.options.Script.leaves(l)
	hold := w.stir(&l.m, l.from, l.to)
	if !net.link(l.from, l.to).open(w.now) {
		w.tellMessage(actionlog.Lose, nil, &l.m, "the link is cut")
		net.drop(i)
		return
	}
	if net.dice.hit(w.trouble.loss) {
		w.reached.Lost++
		w.tellMessage(actionlog.Lose, nil, &l.m, "dropped")
		net.drop(i)
		return
	}
	if w.byHand() {
		w.hand.fly(i)
		return
	}
	fate := w.fateOf(net.link(l.from, l.to))
	if fate.lost != "" {
		w.reached.Lost++
		w.tellMessage(actionlog.Lose, nil, &l.m, fate.lost)
		net.drop(i)
		return
	}
	if hold {
		w.eclipses.held = append(w.eclipses.held, i)
		return
	}
	w.carry(i, fate)
	if fate.twice || net.dice.hit(w.trouble.duplicate) {
		w.reached.Duplicated++
		w.tellMessage(actionlog.Duplicate, nil, &net.letters[i].m, "")
		net.letters[i].copies++
		w.carry(i, fate)
	}
}

// carry has one copy of a letter arrive later.
func (w *World) carry(i int32, fate fate) {
	net := &w.network
	at := w.now + fate.later + net.dice.between(w.trouble.latency/8, w.trouble.latency)
	switch link := net.link(net.letters[i].from, net.letters[i].to); {
	case link.slow > w.now:
		at += net.dice.between(50*time.Millisecond, 900*time.Millisecond)
	case net.dice.hit(w.trouble.tail):
		at += net.dice.long(5*time.Millisecond, 500*time.Millisecond)
	case net.dice.hit(w.trouble.hold):
		at += net.dice.long(500*time.Millisecond, 20*time.Second)
		w.reached.Held++
	case w.trouble.inOrder && !fate.late:
		at = max(at, link.last+1)
		link.last = at
	}
	w.schedule(event{at: at, kind: evDeliver, ref: i})
}

// deliver is the arrival of a letter.
func (w *World) deliver(i int32) {
	net := &w.network
	l := &net.letters[i]
	if !net.link(l.from, l.to).open(w.now) {
		w.tellMessage(actionlog.Lose, nil, &l.m, "the link is cut")
		net.drop(i)
		return
	}
	to := w.nodes[l.to]
	w.trace.message(w.now, &l.m)
	w.reached.Messages++
	if l.life != to.life {
		w.reached.LaterLife++
	}
	if !l.m.Type.IsReply() {
		if to.replica == nil {
			w.tellMessage(actionlog.Lose, nil, &l.m, "its receiver is down")
			w.schedule(event{at: w.now + net.dice.between(w.trouble.latency/8, w.trouble.latency), kind: evUnreachable, id: l.m.ID})
			net.drop(i)
			return
		}
		w.options.Script.arrives(to, l)
		w.arrive(to, work{kind: workMessage, ref: i})
		return
	}
	if r := net.request(l.m.ID); r != nil && r.node == to && !r.answered {
		r.answered = true
		w.options.Script.arrives(to, l)
		w.arrive(to, work{kind: workAnswer, ref: i, id: l.m.ID})
		return
	}
	w.tellMessage(actionlog.Lose, nil, &l.m, "nobody waits for it")
	net.drop(i)
}

// find is a node's place, or -1.
func (w *World) find(id raft.NodeID) int {
	for i, n := range w.nodes {
		if n.id == id {
			return i
		}
	}
	return -1
}

package sim

import (
	"context"
	"errors"
	"strconv"
	"time"

	"coup/history"
	"coup/raftnode/actionlog"
	"coup/raftnode/api"
	"coup/raftnode/client"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/replica"
	"coup/raftnode/server"
	"coup/runner"
	"coup/workload"
)

// clients are those of the run. Faults do not cut their path to the nodes; it takes time, and ends
// with the process that it leads to.
type clients struct {
	dice    dice
	calls   []call
	unused  []int32
	lastID  uint64
	expiry  deadlines
	replies []reply
	free    int32
}

// call is one operation under way.
type call struct {
	id    uint64 // 0 for none
	op    workload.Op
	done  func(runner.Completion)
	node  int  // asked last
	taken bool // the node has it
	hops  int
	floor uint64 // of a read: what it must at least see
	how   replica.Consistency
}

// reply is what a node tells a call: an answer, or else a refusal.
type reply struct {
	call    uint64
	status  int
	answer  *api.Answer
	refusal *api.Error
	next    int32
}

func newClients(seed uint64) clients { return clients{dice: newDice(seed, "clients"), free: -1} }

func (c *clients) latency(w *World) time.Duration {
	return c.dice.between(w.trouble.latency/8, w.trouble.latency)
}

func (c *clients) call(id uint64) *call {
	if slot := id & slotMask; slot < uint64(len(c.calls)) && c.calls[slot].id == id {
		return &c.calls[slot]
	}
	return nil
}

func (c *clients) deadline() time.Duration {
	d := &c.expiry
	for d.head < len(d.all) {
		if c.call(d.all[d.head].id) != nil {
			return d.all[d.head].at
		}
		d.head++
	}
	return never
}

// Submit implements runner.World.
func (w *World) Submit(op workload.Op, done func(runner.Completion)) {
	w.reached.Operations++
	w.submit(op, w.operators.reads(&w.clients.dice), done)
}

// submit has an operation begin, a read in a certain way.
func (w *World) submit(op workload.Op, how replica.Consistency, done func(runner.Completion)) {
	c := &w.clients
	var slot int32
	if k := len(c.unused); k > 0 {
		slot = c.unused[k-1]
		c.unused = c.unused[:k-1]
	} else {
		slot = int32(len(c.calls))
		c.calls = append(c.calls, call{})
	}
	c.lastID++
	id := c.lastID<<slotBits | uint64(slot)
	c.calls[slot] = call{id: id, op: op, done: done, node: w.reach(raft.NodeID(op.Node)), floor: w.check.BeginRead(), how: how}
	c.expiry.push(w.now+w.options.OpTimeout, id)
	w.send(&c.calls[slot])
}

// send has a client's request arrive at the node that is asked.
func (w *World) send(c *call) {
	c.taken = false
	if w.clients.dice.hit(w.trouble.loss) {
		return
	}
	w.schedule(event{at: w.now + w.clients.latency(w), kind: evRequest, id: c.id})
}

// reach finds the node that a client asks. Clients know the first nodes; when none of these is a member any
// more, somebody tells them of those that are.
func (w *World) reach(id raft.NodeID) int {
	members, _ := w.inForce()
	for _, n := range w.nodes[:w.options.Nodes] {
		if members.IsVoter(n.id) {
			return w.find(id)
		}
	}
	return w.find(members.Voters[w.find(id)%len(members.Voters)])
}

func (w *World) arriveRequest(id uint64) {
	c := w.clients.call(id)
	if c == nil {
		return
	}
	if lull := w.eclipses.lull; lull > w.now && c.effect() && c.op.Process >= 0 {
		w.schedule(event{at: lull + w.clients.latency(w), kind: evRequest, id: id})
		return
	}
	w.trace.mix(uint64(w.now) ^ id)
	n := w.nodes[c.node]
	if !n.alive() {
		w.schedule(event{at: w.now + w.clients.latency(w), kind: evRefused, id: id})
		return
	}
	c.taken = true
	w.options.Script.serves(n, c)
	w.arrive(n, work{kind: workCall, id: id})
}

// serve has a node handle a request.
func (w *World) serve(n *node, id uint64) {
	c := w.clients.call(id)
	if c == nil {
		return // its client has given up
	}
	if w.log != nil {
		w.tell(n, actionlog.Action{Kind: actionlog.Request, Client: clientName(c.op.Process), Text: asks(c.op)})
	}
	key, read := c.op.Key, c.op.F == history.Read
	done := func(r replica.Result, err error) {
		if read && err == nil {
			w.countRead(n, r.Lease)
		}
		status, answer, refusal := server.Outcome(n.id, key, read, r, err)
		n.say(out{kind: outAnswer, ref: w.clients.reply(reply{call: id, status: status, answer: answer, refusal: refusal})})
	}
	if command, changes := c.command(); changes {
		n.replica.Propose(command, done)
	} else {
		n.replica.Read(c.op.Key, c.how, done)
	}
}

// command is what the call asks for. A read is none.
func (c *call) command() (command fsm.Command, changes bool) {
	switch value := c.op.Value.(type) {
	case history.Int:
		return fsm.Command{Op: fsm.Write, Key: c.op.Key, Value: text(int64(value))}, true
	case history.Pair:
		return fsm.Command{Op: fsm.CAS, Key: c.op.Key, Expect: text(value[0]), Value: text(value[1])}, true
	}
	return fsm.Command{}, false
}

// countRead counts how reads are answered.
func (w *World) countRead(n *node, lease bool) {
	switch c := n.replica.Core(); {
	case lease:
		w.reached.LeaseReads++
	case c.Leads():
		w.reached.IndexReads++
	default:
		w.reached.FollowerReads++
	}
}

func text(v int64) string { return strconv.FormatInt(v, 10) }

// reply keeps what a node tells a call until it has arrived.
func (c *clients) reply(r reply) int32 {
	ref := c.free
	if ref < 0 {
		ref = int32(len(c.replies))
		c.replies = append(c.replies, r)
		return ref
	}
	c.free = c.replies[ref].next
	c.replies[ref] = r
	return ref
}

func (c *clients) drop(ref int32) {
	c.replies[ref].next, c.free = c.free, ref
}

// arriveAnswer ends a call, or moves it on to the leader.
func (w *World) arriveAnswer(ref int32) {
	r := w.clients.replies[ref]
	w.clients.drop(ref)
	c := w.clients.call(r.call)
	if c == nil || w.clients.dice.hit(w.trouble.loss) {
		return
	}
	w.trace.mix(uint64(w.now) ^ r.call)
	if r.answer != nil {
		w.trace.mix(r.answer.Index<<32 ^ r.answer.Revision)
		if c.effect() {
			w.check.Acknowledged(r.answer.Revision)
		} else {
			w.broken(w.check.AnswerRead(c.floor, r.answer.Index))
		}
		w.end(c, client.Answered(*r.answer, true), nil)
		return
	}
	refused := client.Refused(string(w.nodes[c.node].id), c.effect(), r.status, *r.refusal)
	if leader := w.find(raft.NodeID(refused.Elsewhere())); leader >= 0 && c.hops < client.DefaultRedirects {
		c.node = leader
		c.hops++
		w.send(c)
		return
	}
	if absent, ok := refused.Absent(); ok && !c.effect() {
		w.broken(w.check.AnswerRead(c.floor, absent.Index))
		w.end(c, absent, nil)
		return
	}
	w.end(c, client.Result{}, refused)
}

// effect tells whether the call would change something.
func (c *call) effect() bool { return c.op.F != history.Read }

// The errors of a client's connection.
var (
	errRefused = client.NotSent(errors.New("connection refused"))
	errReset   = errors.New("connection reset by peer")
)

// refused ends a call whose node was not there.
func (w *World) refused(id uint64) {
	if c := w.clients.call(id); c != nil {
		w.abandon(c, errRefused)
	}
}

// hangUp ends the calls that a dead node had.
func (w *World) hangUp(n *node) {
	for i := range w.clients.calls {
		if c := &w.clients.calls[i]; c.id != 0 && c.taken && c.node == n.index {
			w.schedule(event{at: w.now + w.clients.latency(w), kind: evLost, id: c.id})
		}
	}
}

func (w *World) lostConnection(id uint64) {
	if c := w.clients.call(id); c != nil && c.taken {
		w.abandon(c, errReset)
	}
}

func (w *World) expireCall() {
	d := &w.clients.expiry
	c := w.clients.call(d.all[d.head].id)
	d.head++
	w.abandon(c, context.DeadlineExceeded)
}

// abandon ends a call to which no whole answer came.
func (w *World) abandon(c *call, err error) {
	w.end(c, client.Result{}, client.Failed(string(w.nodes[c.node].id), c.effect(), err))
}

// end ends a call.
func (w *World) end(c *call, r client.Result, err error) {
	e := workload.Complete(c.op, r, err)
	e.Time = w.now
	done, asked := c.done, w.nodes[c.node]
	w.clients.unused = append(w.clients.unused, int32(c.id&slotMask))
	w.trace.mix(uint64(w.now) ^ uint64(e.Type[0])<<56 ^ c.id)
	*c = call{}
	w.told = w.told || e.Process != probing
	if w.log != nil {
		w.tell(asked, actionlog.Action{Kind: actionlog.Answer, Client: clientName(e.Process), Text: ends(e)})
	}
	done(runner.Completion{Event: e})
}

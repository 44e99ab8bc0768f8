package sim

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"coup/history"
	"coup/raftnode/api"
	"coup/raftnode/client"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/replica"
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
	results []result
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
}

// result is what a node told a client's request.
type result struct {
	call   uint64
	result replica.Result
	failed *api.Error
	next   int32
}

// maxRedirects is how often an operation moves on to the node that is said to lead.
const maxRedirects = 3

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
	c.calls[slot] = call{id: id, op: op, done: done, node: w.find(raft.NodeID(op.Node))}
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

func (w *World) arriveRequest(id uint64) {
	c := w.clients.call(id)
	if c == nil {
		return
	}
	w.trace.mix(uint64(w.now) ^ id)
	n := w.nodes[c.node]
	if !n.alive() {
		w.schedule(event{at: w.now + w.clients.latency(w), kind: evRefused, id: id})
		return
	}
	c.taken = true
	w.arrive(n, work{kind: workCall, id: id})
}

// serve has a node handle a request.
func (w *World) serve(n *node, id uint64) {
	c := w.clients.call(id)
	if c == nil {
		return // its client has given up
	}
	w.trace.line(w.now, "%s is asked %s %s %v", n.id, c.op.F, c.op.Key, c.op.Value)
	read := c.op.F == history.Read
	done := func(r replica.Result, err error) {
		ref := w.clients.result(id, r)
		if err != nil {
			w.clients.results[ref].failed = failed(err, read)
		}
		n.say(out{kind: outAnswer, ref: ref})
	}
	switch value := c.op.Value.(type) {
	case nil:
		n.replica.Read(c.op.Key, done)
	case history.Int:
		n.replica.Propose(fsm.Command{Op: fsm.Write, Key: c.op.Key, Value: text(int64(value))}, done)
	case history.Pair:
		n.replica.Propose(fsm.Command{Op: fsm.CAS, Key: c.op.Key, Expect: text(value[0]), Value: text(value[1])}, done)
	}
}

func text(v int64) string { return strconv.FormatInt(v, 10) }

// result takes what a node tells a call.
func (c *clients) result(id uint64, r replica.Result) int32 {
	ref := c.free
	if ref < 0 {
		ref = int32(len(c.results))
		c.results = append(c.results, result{})
	} else {
		c.free = c.results[ref].next
	}
	c.results[ref] = result{call: id, result: r}
	return ref
}

func (c *clients) drop(ref int32) {
	c.results[ref].next, c.free = c.free, ref
}

// arriveAnswer ends a call, or moves it on to the leader.
func (w *World) arriveAnswer(ref int32) {
	r := w.clients.results[ref]
	w.clients.drop(ref)
	c := w.clients.call(r.call)
	if c == nil || w.clients.dice.hit(w.trouble.loss) {
		return
	}
	w.trace.mix(uint64(w.now) ^ r.call ^ r.result.Index<<32)
	if r.failed == nil {
		w.complete(c, r.result)
		return
	}
	if leader := w.find(r.failed.Leader); r.failed.Type == api.NotLeader && leader >= 0 && leader != c.node && c.hops < maxRedirects {
		c.node = leader
		c.hops++
		w.send(c)
		return
	}
	w.abandon(c, r.failed.Type, r.failed.Message, r.failed.Definite)
}

// refused ends a call whose node was not there.
func (w *World) refused(id uint64) {
	if c := w.clients.call(id); c != nil {
		w.abandon(c, client.Unreachable, "connection refused", true)
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
		w.abandon(c, client.ConnectionLost, "connection reset by peer", false)
	}
}

func (w *World) expireCall() {
	d := &w.clients.expiry
	c := w.clients.call(d.all[d.head].id)
	d.head++
	w.abandon(c, api.Timeout, "no answer in time", false)
}

// complete ends a call with a node's answer.
func (w *World) complete(c *call, r replica.Result) {
	e := w.ending(c)
	e.Revision, e.Term = r.Revision, r.Term
	switch {
	case r.Code == fsm.OK, r.Code == fsm.NotFound && c.op.F == history.Read:
		e.Type, e.Node = history.OK, string(r.Node)
		if c.op.F == history.Read && r.Code == fsm.OK {
			held, err := strconv.ParseInt(r.Value, 10, 64)
			e.Value = history.Int(held)
			if err != nil {
				e.Value, e.Error = history.Int(-1), fmt.Sprintf("read %.80q", r.Value)
			}
		}
	default:
		e.Type, e.Node, e.Error = history.Fail, string(r.Node), history.ErrorMismatch+": "
		if r.Code == fsm.Mismatch {
			e.Error += "the key holds another value"
		} else {
			e.Error += "there is no such key"
		}
	}
	w.finish(c, e)
}

// abandon ends a call without an answer from the state machine. A read that failed did nothing; a
// change that is not definitely without effect is Info.
func (w *World) abandon(c *call, reason api.ErrorType, message string, definite bool) {
	e := w.ending(c)
	e.Type, e.Error = history.Info, fmt.Sprintf("%s: %s", reason, message)
	if definite || c.op.F == history.Read {
		e.Type = history.Fail
	}
	w.finish(c, e)
}

func (w *World) ending(c *call) history.Event {
	return history.Event{
		Time: w.now, Process: c.op.Process, F: c.op.F, Key: c.op.Key, Value: c.op.Value, Node: c.op.Node,
	}
}

func (w *World) finish(c *call, e history.Event) {
	done := c.done
	w.clients.unused = append(w.clients.unused, int32(c.id&slotMask))
	w.trace.mix(uint64(w.now) ^ uint64(e.Type[0])<<56 ^ c.id)
	*c = call{}
	w.told = true
	w.trace.line(w.now, "process %d ends %s %s: %s %v %s", e.Process, e.F, e.Key, e.Type, e.Value, e.Error)
	done(runner.Completion{Event: e})
}

// failed names an error of the replica, as a node's HTTP API does.
func failed(err error, read bool) *api.Error {
	var notLeader *raft.NotLeaderError
	switch {
	case errors.As(err, &notLeader):
		return &api.Error{Type: api.NotLeader, Message: err.Error(), Definite: true, Leader: notLeader.Leader, Term: notLeader.Term}
	case errors.Is(err, replica.ErrSuperseded):
		return &api.Error{Type: api.Superseded, Message: err.Error(), Definite: true}
	case errors.Is(err, raft.ErrOverloaded):
		return &api.Error{Type: api.Overloaded, Message: err.Error(), Definite: true}
	}
	return &api.Error{Type: api.Unavailable, Message: err.Error(), Definite: read}
}

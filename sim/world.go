// Package sim is the deterministic world: a whole cluster, its network, its disks and its clients in
// one goroutine under virtual time. It runs the same replica as the daemon. Everything random comes
// from one seed, and every message, tick, write and crash is an event of one queue, so that the same
// seed does the same thing, always; TraceHash tells.
package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"coup/cluster"
	"coup/raftnode/actionlog"
	"coup/raftnode/bus"
	"coup/raftnode/raft"
	"coup/raftnode/raft/invariant"
	"coup/raftnode/store"
	"coup/runner"
)

// Options are what a world is made of. The zero value of each but Seed and Nodes is its default.
type Options struct {
	Seed  uint64
	Nodes int // n1 to nN are the first voters; at least 1 and at most 25

	ElectionTicks  int           // default 10, as raftnode's
	HeartbeatTicks int           // default 2
	Tick           time.Duration // default 50 ms
	OpTimeout      time.Duration // of a client's operation; default 1.5 s

	// Trouble names what goes wrong by itself, beside what Inject is asked for; see Troubles. How often
	// each happens is drawn from the seed, never among what is drawn.
	Trouble []string
	// Store is StoreMemory, the default, or StorePebble: then a Pebble store is given all that each disk is
	// given, and must come out of every crash with the same. It is slow, and changes nothing of what happens.
	Store string
	// Unchecked says that no invariant is checked, so that only what clients see, and what Settle is
	// owed, can fail the world. It changes nothing of what happens.
	Unchecked bool
	// Actions is told all that happens; nil for none. It changes nothing of what happens.
	Actions func(actionlog.Action)

	// Script, if not nil, takes down what comes to the nodes. It changes nothing of what happens.
	Script *Script

	// plant takes the place of what a node's process is given: for tests that must find what is wrong with it.
	plant func(*node, store.Store, bus.Bus) (store.Store, bus.Bus)
	// hand, if not nil, drives the world, with settings.
	hand     *Hand
	settings *HandOptions
}

// The stores.
const (
	StoreMemory = "memory"
	StorePebble = "pebble"
)

// Bounds and defaults.
const (
	maxNodes         = 25
	stride           = 32 // of the table of links; room for nodes that join
	busTimeout       = time.Second
	defaultOpTimeout = 1500 * time.Millisecond
)

func (o Options) withDefaults() (Options, error) {
	for _, d := range []struct {
		field *int
		value int
	}{{&o.ElectionTicks, 10}, {&o.HeartbeatTicks, 2}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.Tick == 0 {
		o.Tick = 50 * time.Millisecond
	}
	if o.OpTimeout == 0 {
		o.OpTimeout = defaultOpTimeout
	}
	switch {
	case o.Nodes < 1 || o.Nodes > maxNodes:
		return o, fmt.Errorf("sim: %d nodes: there must be from 1 to %d", o.Nodes, maxNodes)
	case o.Store != "" && o.Store != StoreMemory && o.Store != StorePebble:
		return o, fmt.Errorf("sim: there is no store %q; there are %s and %s", o.Store, StoreMemory, StorePebble)
	case o.Tick < 0 || o.OpTimeout < 0:
		return o, errors.New("sim: a negative time")
	}
	return o, nil
}

// World is one cluster in virtual time. It implements runner.World. For use by one goroutine.
type World struct {
	options Options
	voters  []raft.NodeID
	now     time.Duration
	queue   queue
	trace   trace
	log     *actionlog.Log // nil where nobody wants one
	reached Reached
	check   *invariant.Checker
	failure *Failure
	closed  bool
	told    bool // a done was called since Wait began

	nodes    []*node
	pids     int
	deaths   []cluster.Death
	network  network
	clients  clients
	injected []injection // under way, oldest first
	rounds   []*round    // likewise
	trouble  trouble

	members   membership
	operators operators
	session   session
	past      past
	eclipses  eclipses
	seeds     dice // of replicas

	applied map[uint64]raft.Entry // what nodes have applied, for what is to be in their databases; nil in memory

	hand *Hand // drives the world, or did; nil when nobody ever has
}

var _ runner.World = (*World)(nil)

// New makes a world at time 0, its nodes started on empty disks.
func New(o Options) (*World, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	w := &World{options: o, trace: newTrace(), check: invariant.New(), seeds: newDice(o.Seed, "replicas")}
	if o.Store == StorePebble {
		w.applied = make(map[uint64]raft.Entry)
	}
	w.log = newLog(w)
	if w.trouble, err = newTrouble(o); err != nil {
		return nil, err
	}
	w.members, w.operators, w.session = newMembership(o), newOperators(o), newSession(o)
	w.past, w.eclipses = newPast(o), newEclipses(o)
	w.network = newNetwork(o.Seed)
	w.clients = newClients(o.Seed)
	if o.hand != nil {
		o.hand.take(w, o.settings)
	}
	for i := range o.Nodes {
		w.voters = append(w.voters, o.hand.name(i))
	}
	for _, id := range w.voters {
		w.addNode(id)
	}
	for _, n := range w.nodes {
		if w.failure == nil {
			_ = w.restart(n) // what it comes to is noted there
		}
	}
	if w.failure != nil {
		w.Close()
		return nil, w.failure
	}
	o.Script.begin(w)
	w.beginTrouble()
	w.beginMembership()
	w.beginOperators()
	w.beginStale()
	w.beginEclipses()
	return w, nil
}

// Close ends the world: Wait returns false from now on.
func (w *World) Close() {
	if w.closed {
		return
	}
	w.closed = true
	for _, n := range w.nodes {
		n.disk.close()
	}
}

// Now implements runner.World.
func (w *World) Now() time.Duration { return w.now }

// Err is the first broken invariant, or liveness that was owed and not given; a *Failure.
func (w *World) Err() error {
	if w.failure == nil {
		return nil
	}
	return w.failure
}

// TraceHash is equal for two worlds in which the same has happened.
func (w *World) TraceHash() uint64 { return w.trace.hash }

// Reached tells what has happened so far.
func (w *World) Reached() Reached { return w.reached }

// Wait implements runner.World. It returns false after a failure, too.
func (w *World) Wait(until time.Duration) bool {
	w.told = false
	for !w.told {
		if w.failure != nil || w.closed {
			return false
		}
		if !w.step(until) {
			w.now = max(w.now, until)
			return true
		}
	}
	return w.failure == nil
}

// step does the next event unless it is later than until.
func (w *World) step(until time.Duration) bool {
	next, request, call := w.queue.at(), w.network.deadline(), w.clients.deadline()
	if min(next, request, call) > until {
		return false
	}
	w.reached.Events++
	if request < next && request <= call {
		w.now = request
		w.expireRequest()
		return true
	}
	if call < next {
		w.now = call
		w.expireCall()
		return true
	}
	e := w.queue.pop()
	w.now = e.at
	w.do(e)
	return true
}

// do carries an event out.
func (w *World) do(e event) {
	switch e.kind {
	case evNothing:
	case evDeliver:
		w.deliver(e.ref)
	case evUnreachable:
		w.tellUnreachable(e.id)
	case evRequest:
		w.arriveRequest(e.id)
	case evAnswer:
		w.arriveAnswer(e.ref)
	case evRefused:
		w.refused(e.id)
	case evLost:
		w.lostConnection(e.id)
	case evInjected:
		w.tellInjected()
	case evObserve:
		w.observe(e.id)
	case evObserved:
		w.tellObserved(e.id)
	case evTrouble:
		w.happen(int(e.ref))
	case evRestart:
		w.restartByItself(w.nodes[e.node], e.id)
	case evAdmin:
		w.administrate(e.ref)
	case evAsk:
		w.arriveAsk(w.nodes[e.node], e.id)
	case evOperator:
		w.operate()
	case evOrder:
		if n := w.nodes[e.node]; n.alive() {
			w.arrive(n, work{kind: workOrder, ref: e.ref})
		}
	case evSession:
		w.runSession()
	case evSessionAsk:
		if n := w.nodes[e.node]; n.alive() {
			w.arrive(n, work{kind: workSession})
		}
	case evEclipse:
		w.approach()
	case evShade:
		w.eclipse()
	case evDarken:
		w.dark(e.id)
	case evProbe:
		w.probe()
	case evRejoin:
		w.rejoin()
	case evStale:
		w.askStale()
	case evStaleAsk:
		if n := w.nodes[e.node]; n.alive() {
			w.arrive(n, work{kind: workStale})
		}
	default:
		n := w.nodes[e.node]
		if n.life != uint32(e.id) {
			return
		}
		switch e.kind {
		case evTick:
			w.tick(n)
		case evFlush:
			w.flushed(n)
		case evCrash:
			w.crash(n)
		case evResume:
			w.resume(n, &n.stalled)
		}
	}
}

// injection is an action that was carried out and whose end is still to be told.
type injection struct {
	runner.Injected
	done func(runner.Injected)
}

// actionTime is how long an action seems to take.
const actionTime = time.Millisecond

// Inject implements runner.World. The action is carried out before Inject returns.
func (w *World) Inject(act runner.Action, done func(runner.Injected)) {
	i := injection{runner.Injected{Start: w.now}, done}
	i.Err = w.act(act)
	i.End = w.now + actionTime
	w.injected = append(w.injected, i)
	w.schedule(event{at: i.End, kind: evInjected})
}

func (w *World) act(act runner.Action) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return act(context.Background(), w.Cluster(), view{w})
}

func (w *World) tellInjected() {
	i := w.injected[0]
	w.injected = w.injected[1:]
	w.told = true
	i.done(i.Injected)
}

// schedule puts an event into the queue.
func (w *World) schedule(e event) { w.queue.push(e) }

// fail keeps the first failure.
func (w *World) fail(check, format string, args ...any) {
	if w.failure == nil {
		w.failure = &Failure{Check: check, Text: fmt.Sprintf(format, args...), At: w.now}
		w.tell(nil, actionlog.Action{Kind: actionlog.Violation, Text: check + ": " + w.failure.Text})
	}
}

// Failure is an invariant that does not hold, or liveness that was owed and not given.
type Failure struct {
	Check string        `json:"check"` // "I1" to "I16", "L1" to "L4", "stale" for a stale read, "disk", or "node" for one that died by itself
	Text  string        `json:"text"`
	At    time.Duration `json:"at"` // since the run began
}

func (f *Failure) Error() string { return fmt.Sprintf("%s: %s (at %v)", f.Check, f.Text, f.At) }

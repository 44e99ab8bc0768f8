package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"coup/raftnode/actionlog"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
	"coup/raftnode/replica"
)

// HandOptions are what a world driven by hand is made of. The zero value of each but Nodes is its default.
type HandOptions struct {
	Seed            uint64
	Nodes           int // the first voters, raft-0 and on
	ElectionTicks   int // default 10
	HeartbeatTicks  int // default 2
	PromotionLag    int // as of raft.Config
	LeaseDrift      int
	MaxMessageBytes int
	MaxLeaderTicks  int
	AtMaxReign      raft.AtMaxReign
	Snapshots       replica.Snapshots      // none by themselves by default
	Store           string                 // StoreMemory or StorePebble
	Actions         func(actionlog.Action) // as of Options
}

// Hand is a world in which nothing happens by itself: each of its methods is one thing that does, and what
// it leads to at the nodes has happened when it returns. Messages wait to be delivered, one by one or by Bus; a disk
// keeps what it is given at once, unless it was told otherwise. All invariants are checked all the time: Err
// tells. For use by one goroutine.
type Hand struct {
	*World
	flights []Flight // what is under way, oldest first
	ticks   int      // of all nodes
	sent    uint64

	released bool // the world goes on by itself

	// Sent, if not nil, is asked about each message when it leaves.
	Sent func(*raft.Message) Treatment

	calls []handCall // requests of clients that wait in a node's inbox, or their answers in what it says
}

// Flight is a message under way.
type Flight struct {
	Number  uint64 // in the order of leaving, from 1
	Message *raft.Message
	Held    bool // Bus leaves it alone

	letter int32
	due    int // the bus brings it from that tick on
}

// Treatment is what becomes of a message as it leaves.
type Treatment struct {
	Drop  bool
	Hold  bool
	Twice bool
	Delay int // in ticks
}

// Armed is what is to happen to a node at one of its next writes.
type Armed struct {
	Write  string // one of Writes
	Action WriteAction
}

// WriteAction is what happens about a write.
type WriteAction uint8

// What may happen about a write.
const (
	noAction     WriteAction = iota
	CrashBefore              // the node crashes, and the write is lost
	CrashAfter               // the write is durable, and the node crashes before it says anything of it
	FailWrite                // it fails; of what was written nothing is durable
	HangWrite                // it hangs: the node waits until Flush, and a crash loses it
	FailButWrite             // it fails, and is durable all the same
)

// Writes are the names of what a node writes, for Arm.
func Writes() []string {
	return []string{"write", "term", "vote", "log", "configuration", "chunk", "snapshot", "install", "truncation"}
}

var errCrash = errors.New("sim: crashes here")

// ByHand makes a world to be driven by hand, its nodes started on empty disks.
func ByHand(o HandOptions) (*Hand, error) {
	h := &Hand{}
	w, err := New(Options{
		Seed: o.Seed, Nodes: o.Nodes, ElectionTicks: o.ElectionTicks, HeartbeatTicks: o.HeartbeatTicks, Store: o.Store,
		Actions: o.Actions, hand: h, settings: &o,
	})
	if err != nil {
		return nil, err
	}
	return h, w.Err()
}

// take makes a world one that is driven by hand.
func (h *Hand) take(w *World, o *HandOptions) {
	h.World, w.hand = w, h
	w.trouble.latency, w.trouble.quick, w.trouble.slack = 0, 0, 0
	w.trouble.drift = o.LeaseDrift
	p := &w.operators
	p.maxReign, p.atMaxReign, p.snapshots, p.promotionLag = o.MaxLeaderTicks, o.AtMaxReign, o.Snapshots, o.PromotionLag
	p.messageBytes = o.MaxMessageBytes
	w.session.begun = true
}

// byHand tells whether nothing happens by itself.
func (w *World) byHand() bool { return w.hand != nil && !w.hand.released }

// name is what a node is called.
func (h *Hand) name(i int) raft.NodeID {
	if h == nil {
		return raft.NodeID(fmt.Sprintf("n%d", i+1))
	}
	return raft.NodeID(fmt.Sprintf("raft-%d", i))
}

// Len is how many nodes there are, dead or alive.
func (h *Hand) Len() int { return len(h.nodes) }

// Ticks is how often all nodes have ticked.
func (h *Hand) Ticks() int { return h.ticks }

// Find is a node's place, or -1.
func (h *Hand) Find(id raft.NodeID) int { return h.find(id) }

// Broken tells whether the world has ended by a failure.
func (h *Hand) Broken() bool { return h.failure != nil }

// passed lets happen what is due now.
func (h *Hand) passed() {
	for h.failure == nil && h.step(h.now) {
	}
}

// Time passes the time of one tick for what is not a node: requests that nobody answers are given up in the end.
func (h *Hand) Time() {
	h.ticks++
	h.now += h.options.Tick
	h.passed()
}

// Tick passes one unit of a node's time. A dead one does not notice.
func (h *Hand) Tick(i int) {
	if n := h.nodes[i]; n.alive() {
		h.tickNow(n)
		h.passed()
	}
}

// Bus brings all messages that are under way now, but for those that are held or not due, in the order in which they
// left, and tells whether there were any.
func (h *Hand) Bus() bool {
	var due []uint64
	for _, f := range h.flights {
		if !f.Held && f.due <= h.ticks {
			due = append(due, f.Number)
		}
	}
	for _, number := range due {
		if i := h.flight(number); i >= 0 && h.failure == nil {
			h.Deliver(number)
		}
	}
	return len(due) > 0
}

// Flights are the messages under way, oldest first. They are valid until the next call.
func (h *Hand) Flights() []Flight {
	for i := range h.flights {
		h.flights[i].Message = &h.network.letters[h.flights[i].letter].m
	}
	return h.flights
}

func (h *Hand) flight(number uint64) int {
	return slices.IndexFunc(h.flights, func(f Flight) bool { return f.Number == number })
}

// fly takes a message that leaves. Its sender and its receiver are there.
func (h *Hand) fly(letter int32) {
	var t Treatment
	if h.Sent != nil {
		t = h.Sent(&h.network.letters[letter].m)
	}
	if t.Drop {
		h.lose(letter)
		return
	}
	h.launch(Flight{letter: letter, Held: t.Hold, due: h.ticks + t.Delay})
	if t.Twice {
		h.double(Flight{letter: letter, Held: t.Hold, due: h.ticks + t.Delay})
	}
}

// lose has a message not arrive.
func (h *Hand) lose(letter int32) {
	m := &h.network.letters[letter].m
	h.reached.Lost++
	h.tellMessage(actionlog.Lose, h.nodes[h.network.letters[letter].to], m, "dropped")
	h.network.drop(letter)
}

// double puts one more copy of a message under way.
func (h *Hand) double(f Flight) {
	l := &h.network.letters[f.letter]
	h.reached.Duplicated++
	h.tellMessage(actionlog.Duplicate, h.nodes[l.to], &l.m, "")
	l.copies++
	h.launch(f)
}

func (h *Hand) launch(f Flight) {
	h.sent++
	f.Number = h.sent
	h.flights = append(h.flights, f)
}

// Deliver brings a message under way, held or not. On a link that is cut it is lost.
func (h *Hand) Deliver(number uint64) {
	if i := h.flight(number); i >= 0 {
		letter := h.flights[i].letter
		h.flights = slices.Delete(h.flights, i, i+1)
		h.deliver(letter)
		h.passed()
	}
}

// Drop loses a message under way.
func (h *Hand) Drop(number uint64) {
	if i := h.flight(number); i >= 0 {
		h.lose(h.flights[i].letter)
		h.flights = slices.Delete(h.flights, i, i+1)
	}
}

// Duplicate puts a second copy of a message under way, behind all others.
func (h *Hand) Duplicate(number uint64) {
	if i := h.flight(number); i >= 0 {
		h.double(h.flights[i])
	}
}

// Hold keeps a message under way from the bus, or no longer.
func (h *Hand) Hold(number uint64, held bool) {
	if i := h.flight(number); i >= 0 {
		h.flights[i].Held = held
	}
}

// GiveUp has a node's requests to another that await an answer time out.
func (h *Hand) GiveUp(from, to int) {
	for i := range h.network.requests {
		r := &h.network.requests[i]
		if r.id != 0 && r.node == h.nodes[from] && r.to == to && !r.answered {
			r.answered = true
			h.arrive(r.node, work{kind: workTimeout, id: r.id})
		}
	}
	h.passed()
}

// GiveUpOldest has the oldest of these alone time out, as time would have it.
func (h *Hand) GiveUpOldest(from, to int) {
	var oldest *request
	for i := range h.network.requests {
		r := &h.network.requests[i]
		if r.id != 0 && r.node == h.nodes[from] && r.to == to && !r.answered && (oldest == nil || r.id < oldest.id) {
			oldest = r
		}
	}
	if oldest != nil {
		oldest.answered = true
		h.arrive(oldest.node, work{kind: workTimeout, id: oldest.id})
		h.passed()
	}
}

// Cut says whether the link from one node to another loses everything.
func (h *Hand) Cut(from, to int, cut bool) {
	if l := h.network.link(from, to); l.cut != cut {
		l.cut = cut
		h.tellLink(from, to, cut, 0)
	}
}

// IsCut tells whether a link loses everything.
func (h *Hand) IsCut(from, to int) bool { return h.network.link(from, to).cut }

// Crash ends a process. Of the writes that hang, the first kept stay. It does nothing to a dead one.
func (h *Hand) Crash(i, kept int) {
	n := h.nodes[i]
	n.disk.kept = kept
	h.crash(n)
	n.disk.kept = 0
	h.passed()
}

// Start starts a dead node's process. Errors: it runs, its disk holds what is corrupt, or it is lost.
func (h *Hand) Start(i int) error {
	n := h.nodes[i]
	n.disk.full = false
	err := h.restart(n)
	h.passed()
	return err
}

// Join starts one more node, on a blank disk, that is told of no members; a read-only one of whom it asks.
func (h *Hand) Join(readOnly bool, upstreams []raft.NodeID) error {
	if len(h.nodes) >= maxNodes {
		return fmt.Errorf("there are %d nodes, and no more can be", len(h.nodes))
	}
	n := h.addNode(h.name(len(h.nodes)))
	n.joins, n.readOnly, n.upstreams = true, readOnly, upstreams
	err := h.restart(n)
	h.passed()
	return err
}

// Wipe gives a dead node a blank disk. It joins when it starts again: it is told of no members.
func (h *Hand) Wipe(i int) error {
	n := h.nodes[i]
	if n.alive() {
		return fmt.Errorf("%s runs", n.id)
	}
	h.wipe(n)
	return h.Err()
}

// Pause stops a process, which goes on with all that has come, when it is resumed.
func (h *Hand) Pause(i int) error {
	n := h.nodes[i]
	if !n.alive() || n.frozen {
		return fmt.Errorf("%s is dead, or paused already", n.id)
	}
	h.pause(n, &n.frozen)
	return nil
}

// Resume has a paused process go on.
func (h *Hand) Resume(i int) error {
	n := h.nodes[i]
	if !n.alive() || !n.frozen {
		return fmt.Errorf("%s is not paused", n.id)
	}
	h.resume(n, &n.frozen)
	h.passed()
	return nil
}

// Arm has something happen at a node's next write of a kind.
func (h *Hand) Arm(i int, a Armed) { h.nodes[i].armed = append(h.nodes[i].armed, a) }

// Remark puts a note into the action log, of no node.
func (h *Hand) Remark(text string) { h.remark(nil, "%s", text) }

// Request puts into the action log that a client asks a node for something.
func (h *Hand) Request(client string, node int, what string) {
	h.tell(h.nodes[node], actionlog.Action{Kind: actionlog.Request, Client: client, Text: what})
}

// Answer puts into the action log what a client was told.
func (h *Hand) Answer(client string, node int, what string) {
	h.tell(h.nodes[node], actionlog.Action{Kind: actionlog.Answer, Client: client, Text: what})
}

// Fill says whether a node's disk is full.
func (h *Hand) Fill(i int, full bool) { h.nodes[i].disk.full = full }

// Flush ends the hanging of a node's disk: all that was written is durable.
func (h *Hand) Flush(i int) {
	n := h.nodes[i]
	n.disk.sync()
	n.disk.hangs = false
	n.cursor, n.busy = h.now, h.now
	if n.alive() && n.waits {
		h.schedule(event{at: h.now, kind: evFlush, node: uint8(n.index), id: uint64(n.life)})
	}
	h.passed()
}

// Damage flips a bit of what a dead node's disk holds, and says of what; of nothing where there is nothing.
func (h *Hand) Damage(i int) (what string, err error) {
	n := h.nodes[i]
	if n.alive() {
		return "", fmt.Errorf("%s runs", n.id)
	}
	n.damaged = n.disk.damage(&h.trouble.dice)
	return n.damaged, nil
}

// Release ends the driving by hand: what is under way arrives, clocks run, and the world goes on by itself, as
// Settle needs it.
func (h *Hand) Release() {
	w := h.World
	if h.released {
		return
	}
	h.released = true
	w.trouble.latency, w.trouble.quick = 2*time.Millisecond, time.Millisecond
	for _, f := range h.flights {
		w.carry(f.letter, fate{})
	}
	h.flights = nil
	for _, n := range w.nodes {
		n.armed = nil
		h.Flush(n.index)
		if n.alive() {
			w.schedule(event{at: w.now + w.trouble.dice.between(0, n.rate), kind: evTick, node: uint8(n.index), id: uint64(n.life)})
		}
	}
}

// handCall is a client's request at a node, or what the node tells of it.
type handCall func(n *node)

// ask has a node's process take a client's request, now or when it runs on.
func (h *Hand) ask(i int, f handCall) error {
	n := h.nodes[i]
	if !n.alive() {
		return ErrDown
	}
	h.calls = append(h.calls, f)
	h.arrive(n, work{kind: workHand, ref: int32(len(h.calls) - 1)})
	h.passed()
	return nil
}

// ErrDown refuses a request to a process that does not run.
var ErrDown = errors.New("the node is down")

// tellClient has a node answer a client once it may.
func (h *Hand) tellClient(n *node, f func()) {
	h.calls = append(h.calls, func(*node) { f() })
	n.say(out{kind: outTold, ref: int32(len(h.calls) - 1)})
}

// Propose sends a command to a node. done is called when the answer leaves the node, which may be never.
// Errors: ErrDown.
func (h *Hand) Propose(i int, c fsm.Command, done func(replica.Result, error)) error {
	return h.ask(i, func(n *node) {
		n.replica.Propose(c, func(r replica.Result, err error) {
			h.tellClient(n, func() {
				if err == nil {
					h.check.Acknowledged(r.Revision)
				}
				done(r, err)
			})
		})
	})
}

// Read sends a read to a node; see Propose.
func (h *Hand) Read(i int, key string, how replica.Consistency, done func(replica.Result, error)) error {
	floor := h.check.BeginRead()
	return h.ask(i, func(n *node) {
		n.replica.Read(key, how, func(r replica.Result, err error) {
			h.tellClient(n, func() {
				if err == nil {
					h.broken(h.check.AnswerRead(floor, r.Index))
				}
				done(r, err)
			})
		})
	})
}

// Stale reads what a node has applied; see Propose.
func (h *Hand) Stale(i int, key string, done func(replica.Result, error)) error {
	return h.ask(i, func(n *node) {
		r, err := n.replica.Stale(key)
		h.tellClient(n, func() {
			if err == nil {
				h.judgeStale(n, key, r)
			}
			done(r, err)
		})
	})
}

// Change asks a node for a change of members; see Propose.
func (h *Hand) Change(i int, changes []confchange.Change, done func(replica.Result, error)) error {
	h.reached.Changes++
	return h.ask(i, func(n *node) {
		n.replica.Change(changes, func(r replica.Result, err error) { h.tellClient(n, func() { done(r, err) }) })
	})
}

// Order gives a node's replica an order, whose error is told as of Propose.
func (h *Hand) Order(i int, order func(*replica.Replica) error, done func(error)) error {
	return h.ask(i, func(n *node) {
		err := order(n.replica)
		h.tellClient(n, func() { done(err) })
	})
}

// Look is what can be seen of a node.
type Look struct {
	ID        raft.NodeID
	Alive     bool
	Paused    bool
	Hangs     bool             // it waits for its disk
	Replica   *replica.Replica // nil when it is dead; to look at
	Processes int              // so far
	Full      bool             // its disk
	ReadOnly  bool
	Died      error // why its last process ended by itself; nil when it did not
	Durable   Durable
}

// Durable is what a node's disk holds for certain.
type Durable struct {
	raft.HardState
	Base, Last uint64
}

// Look looks at a node.
func (h *Hand) Look(i int) Look {
	n := h.nodes[i]
	p := platter{n.disk}
	return Look{
		ID: n.id, Alive: n.alive(), Paused: n.frozen, Hangs: n.waits, Replica: n.replica, Processes: n.processes, Full: n.disk.full, ReadOnly: n.readOnly,
		Died: n.died, Durable: Durable{HardState: n.disk.show().state, Base: p.BaseIndex(), Last: p.LastIndex()},
	}
}

// Entry is an entry of a node's log as its process sees it, or its disk when it is dead.
func (h *Hand) Entry(i int, index uint64) (e raft.Entry, found bool) {
	entries, err := h.nodes[i].disk.Entries(index, index+1, 0)
	if err != nil || len(entries) == 0 {
		return raft.Entry{}, false
	}
	return entries[0], true
}

// Configure changes how nodes that start from now on are set up.
func (h *Hand) Configure(change func(*HandOptions)) {
	p := &h.operators
	o := HandOptions{
		PromotionLag: p.promotionLag, LeaseDrift: h.trouble.drift, MaxLeaderTicks: p.maxReign, AtMaxReign: p.atMaxReign, Snapshots: p.snapshots,
	}
	change(&o)
	p.promotionLag, h.trouble.drift, p.maxReign, p.atMaxReign, p.snapshots = o.PromotionLag, o.LeaseDrift, o.MaxLeaderTicks, o.AtMaxReign, o.Snapshots
}

// Members are the configuration that counts: that of the latest leader.
func (h *Hand) Members() raft.Configuration {
	c, _ := h.inForce()
	c.Voters = slices.Clone(c.Voters)
	return c
}

// hung is longer than any scenario.
const hung = 1 << 50 * time.Nanosecond

// atWrite is what was armed for a write, and now is no more.
func (h *Hand) atWrite(n *node, x *write) WriteAction {
	for i, a := range n.armed {
		if x.is(a.Write, n) {
			n.armed = slices.Delete(n.armed, i, i+1)
			return a.Action
		}
	}
	return noAction
}

// is tells whether a write is of a kind; see Writes.
func (x *write) is(kind string, n *node) bool {
	known := &n.disk.written
	switch kind {
	case "write":
		return true
	case "term":
		return x.withState && x.state.Term != known.Term
	case "vote":
		return x.withState && x.state.Vote != "" && (x.state.Vote != known.Vote || x.state.Term != known.Term)
	case "log":
		return len(x.entries) > 0
	case "configuration":
		return slices.ContainsFunc(x.entries, func(e raft.Entry) bool { return e.Type == raft.EntryConfiguration })
	}
	return x.name == kind
}

package sim

import (
	"errors"
	"fmt"
	"time"

	"coup/cluster"
	"coup/raftnode/actionlog"
	"coup/raftnode/bus"
	"coup/raftnode/raft"
	"coup/raftnode/replica"
	"coup/raftnode/store"
)

// node is one node's machine: its disk, and the process while it lives.
type node struct {
	world     *World
	id        raft.NodeID
	index     int
	disk      *disk
	replica   *replica.Replica // nil while it is dead
	life      uint32           // counts processes
	processes int              // so far
	died      error            // why the last process ended by itself
	armed     []Armed          // by Hand
	pid       int
	wiped     int // how often its disk was emptied

	state     uint64   // hash of what its state machine holds
	inquiries []uint64 // rounds that came in the turn under way; answered after it

	frozen  bool   // asked for by Inject
	stalled bool   // by itself
	killed  bool   // by Inject: it does not start by itself
	damaged string // what of its disk holds a flipped bit that no start has come to yet
	lost    bool   // for good, with its disk

	standing  standing
	asked     int           // requests that may yet add it
	removedAt time.Duration // when it was first proven to be no member; never for one that is not
	joins     bool          // it is told of no members
	readOnly  bool
	upstreams []raft.NodeID // of a read-only peer

	rate time.Duration // of its ticks, by the true time

	// cursor is when the disk will have done what it was asked for in this turn of the process.
	cursor  time.Duration
	writes  int                // in this turn
	busy    time.Duration      // until then the process waits for its disk
	waits   bool               // for its disk, or to be told that it is done
	said    []out              // in this turn
	early   int                // of said, may leave before the turn's writes are durable
	deeds   []deed             // of the state machine, in this turn
	awaited []actionlog.Action // of this turn, true once its writes are durable
	inbox   []work             // for when the process runs on
	missed  int                // ticks
	doom    doom

	last       uint64 // index of the log's last entry, as written last
	term       uint64 // as of its latest message
	configured uint64 // index of the configuration that it went by when it was judged last
	stale      uint64 // index of the latest stale read that this process answered
	led        uint64 // latest term in which it spoke as the leader
}

// out is what a process says.
type out struct {
	id   uint64
	ref  int32
	kind outKind
}

type outKind uint8

const (
	outRequest outKind = iota // ref is a letter, id its request
	outReply                  // ref is a letter
	outAnswer                 // ref is a reply
	outTold                   // ref is a call of Hand
)

// work is what waits for a process.
type work struct {
	id   uint64
	ref  int32
	kind workKind
}

type workKind uint8

const (
	workMessage     workKind = iota // ref is a letter
	workAnswer                      // ref is a letter, id the request
	workTimeout                     // id is a request
	workUnreachable                 // id is a request
	workCall                        // id is a call
	workStatus                      // id is a round
	workAsk                         // id is an ask
	workOrder                       // ref is an order
	workSession
	workStale
	workTransfer // ref is a node
	workHand     // ref is a call of Hand
)

// maxMissedTicks bounds how many ticks a process gets at once when it was stopped for long.
const maxMissedTicks = 200

func (w *World) addNode(id raft.NodeID) *node {
	n := &node{world: w, id: id, index: len(w.nodes), removedAt: never}
	n.disk = newDisk(w, n)
	n.rate = w.trouble.tickRate(w.options.Tick)
	w.nodes = append(w.nodes, n)
	return n
}

// start starts a process on what the disk holds.
func (w *World) start(n *node) error {
	n.life++
	n.processes++
	w.pids++
	n.pid = w.pids
	n.begin()
	n.inbox, n.missed, n.doom, n.stale = n.inbox[:0], 0, doomNone, 0
	n.killed, n.frozen, n.stalled = false, false, false
	state, err := n.disk.Load()
	if err != nil {
		return err
	}
	if n.damaged != "" {
		w.fail("disk", "%s starts although %s on its disk has a flipped bit", n.id, n.damaged)
		return w.failure
	}
	n.last, n.term, n.died = state.Last, state.HardState.Term, nil
	n.disk.written = state.HardState
	voters := w.voters
	if n.joins {
		voters = nil
	}
	var disk store.Store = n.disk
	var peers bus.Bus = port{w, n}
	if plant := w.options.plant; plant != nil {
		disk, peers = plant(n, disk, peers)
	}
	table, err := n.disk.state()
	if err != nil {
		return err
	}
	n.replica, err = replica.New(replica.Config{
		ID: n.id, Voters: voters, Upstreams: n.upstreams, Store: disk, State: table, Bus: peers, Seed: w.seeds.next(), Observer: witness{n}, Actions: n.actions(),
		ElectionTicks: w.options.ElectionTicks, HeartbeatTicks: w.options.HeartbeatTicks, Tick: w.options.Tick,
		LeaseDrift: w.trouble.drift, MaxLeaderTicks: w.operators.maxReign, AtMaxReign: w.operators.atMaxReign,
		Snapshots: w.operators.snapshots, PromotionLag: w.operators.promotionLag, MaxMessageBytes: w.operators.messageBytes,
	})
	if err != nil {
		n.replica = nil
		return err
	}
	n.busy = n.cursor
	w.trace.note(w.now, "starts", n, uint64(n.life))
	w.judgeStart(n)
	if w.byHand() {
		n.waits = n.busy > w.now
		return nil
	}
	phase := w.trouble.dice.between(0, n.rate)
	w.schedule(event{at: w.now + phase, kind: evTick, node: uint8(n.index), id: uint64(n.life)})
	if n.waits = n.busy > w.now; n.waits {
		w.schedule(event{at: n.busy, kind: evFlush, node: uint8(n.index), id: uint64(n.life)})
	}
	return nil
}

// begin begins a turn of the process.
func (n *node) begin() {
	n.cursor, n.writes = n.world.now, 0
	n.said, n.early, n.deeds = n.said[:0], 0, n.deeds[:0]
}

func (n *node) alive() bool { return n.replica != nil }

// idle tells whether the process takes work now.
func (n *node) idle() bool { return !n.frozen && !n.stalled && !n.waits }

func (w *World) tick(n *node) {
	w.schedule(event{at: w.now + n.rate, kind: evTick, node: uint8(n.index), id: uint64(n.life)})
	w.tickNow(n)
}

func (w *World) tickNow(n *node) {
	w.trace.mix(uint64(w.now) ^ uint64(n.index))
	if !n.idle() {
		w.options.Script.ticks(n)
		n.missed = min(n.missed+1, maxMissedTicks)
		return
	}
	script := w.options.Script
	script.ticks(n)
	role, term := n.replica.Core().Role(), n.replica.Core().Term()
	n.begin()
	n.replica.Tick()
	w.process(n)
	script.ticked(n, role, term)
}

// arrive gives work to a process that lives, at once or for when it runs on.
func (w *World) arrive(n *node, x work) {
	if !n.idle() {
		n.inbox = append(n.inbox, x)
		return
	}
	if n.missed > 0 || len(n.inbox) > 0 {
		n.inbox = append(n.inbox, x)
		w.wake(n)
		return
	}
	n.begin()
	w.take(n, x)
	w.process(n)
}

// take hands work to the replica.
func (w *World) take(n *node, x work) {
	net := &w.network
	switch x.kind {
	case workMessage:
		l := &net.letters[x.ref]
		m := l.m
		if n.term > l.term {
			w.reached.LaterTerm++
		}
		net.drop(x.ref)
		n.replica.Receive(m)
		n.term = max(n.term, m.Term)
	case workAnswer:
		m := net.letters[x.ref].m
		net.drop(x.ref)
		w.respond(x.id, m, nil)
		n.term = max(n.term, m.Term)
	case workTimeout:
		w.respond(x.id, raft.Message{}, bus.ErrTimeout)
	case workUnreachable:
		w.respond(x.id, raft.Message{}, bus.ErrUnreachable)
	case workCall:
		w.serve(n, x.id)
	case workStatus:
		n.inquiries = append(n.inquiries, x.id)
	case workAsk:
		w.change(n, x.id)
	case workOrder:
		w.obey(n, order(x.ref))
	case workSession:
		w.serveSession(n)
	case workStale:
		w.readStale(n)
	case workTransfer:
		if n.replica.Transfer(w.nodes[x.ref].id) == nil {
			w.reached.Transfers++
		}
	case workHand:
		w.hand.calls[x.ref](n)
	}
}

// respond ends a request, unless it was cancelled.
func (w *World) respond(id uint64, m raft.Message, err error) {
	r := w.network.request(id)
	if r == nil {
		if err == nil {
			w.tellMessage(actionlog.Lose, nil, &m, "nobody waits for it")
		}
		return
	}
	onResponse := r.onResponse
	w.network.close(r)
	onResponse(m, err)
}

// say takes what a process says. It leaves when all that was written before it is durable.
func (n *node) say(o out) { n.said = append(n.said, o) }

// process ends a turn of the process: the replica does what is outstanding. What it says leaves when its
// writes are durable; until then it takes no more work.
func (w *World) process(n *node) {
	err := n.replica.Process()
	n.busy = n.cursor
	if errors.Is(err, errCrash) {
		w.leave(n, n.early)
		w.crash(n)
		return
	}
	if n.writes == 0 {
		n.early = len(n.said)
	} else if err == nil && !w.byHand() {
		n.doom = w.trouble.doom(w, n)
		if n.doom == doomAtOnce {
			w.crash(n)
			return
		}
	}
	if err != nil {
		w.leave(n, n.early)
		w.die(n, err)
		return
	}
	if n.busy <= w.now {
		n.tellAwaited()
		w.judge(n)
		w.leave(n, len(n.said))
		w.tellStatuses(n)
		return
	}
	n.waits = true
	w.options.Script.waits(n)
	w.leave(n, n.early)
	life := uint64(n.life)
	if n.doom == doomBeforeSync {
		at := w.now + 1 + time.Duration(w.trouble.dice.below(int(n.busy-w.now)))
		w.schedule(event{at: at, kind: evCrash, node: uint8(n.index), id: life})
	}
	w.schedule(event{at: n.busy, kind: evFlush, node: uint8(n.index), id: life})
}

// leave lets the first few of what was said go.
func (w *World) leave(n *node, count int) {
	for _, o := range n.said[:count] {
		switch o.kind {
		case outRequest:
			w.network.expiry.push(w.now+busTimeout, o.id)
			w.judgeSent(n, o.ref)
			w.post(o.ref)
		case outReply:
			w.judgeSent(n, o.ref)
			w.post(o.ref)
		case outAnswer:
			w.schedule(event{at: w.now + w.clients.latency(w), kind: evAnswer, ref: o.ref})
		case outTold:
			w.hand.calls[o.ref](n)
		}
	}
	n.said, n.early = n.said[:copy(n.said, n.said[count:])], 0
}

// flushed goes on once the writes of the last turn are durable. A process that is paused says nothing.
func (w *World) flushed(n *node) {
	if n.frozen || n.stalled || n.busy > w.now {
		return
	}
	n.tellAwaited()
	switch n.doom {
	case doomBetweenMessages:
		w.options.Script.flushes(n)
		w.leave(n, w.trouble.dice.below(len(n.said)+1))
		fallthrough
	case doomBeforeMessages:
		w.reached.CrashesBeforeSent++
		w.crash(n)
		return
	}
	w.options.Script.flushes(n)
	n.waits = false
	w.judge(n)
	w.leave(n, len(n.said))
	w.tellStatuses(n)
	w.wake(n)
}

// wake gives a process all that has come while it could not run: time first.
func (w *World) wake(n *node) {
	if !n.idle() || n.missed == 0 && len(n.inbox) == 0 {
		return
	}
	n.begin()
	for ; n.missed > 0; n.missed-- {
		n.replica.Tick()
	}
	for _, x := range n.inbox {
		w.take(n, x)
	}
	n.inbox = n.inbox[:0]
	w.process(n)
}

// pause stops a process, for one of two reasons.
func (w *World) pause(n *node, why *bool) {
	*why = true
	w.options.Script.pauses(n)
	w.reached.Pauses++
	w.trace.note(w.now, "pauses", n, 0)
	w.tell(n, actionlog.Action{Kind: actionlog.Pause})
}

func (w *World) resume(n *node, why *bool) {
	*why = false
	w.options.Script.resumes(n)
	w.trace.note(w.now, "goes on", n, uint64(n.missed))
	w.tell(n, actionlog.Action{Kind: actionlog.Resume})
	w.schedule(event{at: w.now, kind: evFlush, node: uint8(n.index), id: uint64(n.life)})
}

// crash ends a process at once, and what it has not made durable with it.
func (w *World) crash(n *node) {
	if !n.alive() {
		return
	}
	w.reached.Crashes++
	if c := n.replica.Core(); c.Leads() && c.Configuration().Joint() {
		w.reached.LeadersKilledInJoint++
	}
	if n.busy > w.now {
		w.reached.CrashesInWrite++
	}
	w.options.Script.crashes(n)
	w.trace.note(w.now, "crashes", n, uint64(len(n.said)))
	w.tell(n, actionlog.Action{Kind: actionlog.Crash, Text: n.crashes()})
	w.bury(n)
	w.trouble.revive(w, n)
}

// crashes tells what a process was about when it crashes, where it was about its writes.
func (n *node) crashes() string {
	return [...]string{
		doomNone: "", doomAtOnce: "before its write, all unsaid", doomBeforeSync: "before its write was durable",
		doomBeforeMessages: "its write durable, the rest unsaid", doomBetweenMessages: "its write durable, some of the rest unsaid",
	}[n.doom]
}

// bury is all that becomes of a process, however it ends.
func (w *World) bury(n *node) {
	n.life++ // what is scheduled for the process is void
	w.check.Stop(n.id)
	n.replica = nil
	n.frozen, n.stalled, n.waits, n.doom, n.missed = false, false, false, doomNone, 0
	net := &w.network
	for _, o := range n.said {
		switch o.kind {
		case outAnswer:
			w.clients.drop(o.ref)
		case outRequest, outReply:
			net.drop(o.ref)
		}
	}
	n.awaited = n.awaited[:0]
	n.begin()
	for _, x := range n.inbox {
		if x.kind == workMessage || x.kind == workAnswer {
			w.tellMessage(actionlog.Lose, nil, &net.letters[x.ref].m, "its receiver ended before it was taken up")
			net.drop(x.ref)
		}
		if x.kind == workStatus {
			w.silence(n, x.id)
		}
	}
	n.inbox = n.inbox[:0]
	for _, id := range n.inquiries {
		w.silence(n, id)
	}
	n.inquiries = n.inquiries[:0]
	net.forget(n)
	w.hangUp(n)
	if err := n.disk.crash(&w.trouble.dice); err != nil {
		w.fail("node", "%v", err)
	}
}

// die ends a process that cannot go on. Only a disk that fails is a reason, and the end of its reign where that
// was asked for.
func (w *World) die(n *node, err error) {
	w.options.Script.dies(n, err)
	w.trace.note(w.now, "dies", n, 0)
	n.died = err
	w.tell(n, actionlog.Action{Kind: actionlog.Stop, Text: err.Error()})
	expected := errors.Is(err, errSync) || errors.Is(err, errFull) || errors.Is(err, raft.ErrReignOver)
	if errors.Is(err, raft.ErrReignOver) {
		w.reached.Exits++
	}
	w.bury(n)
	if expected {
		w.trouble.revive(w, n)
		return
	}
	w.deaths = append(w.deaths, cluster.Death{Node: string(n.id), At: time.Unix(0, 0).Add(w.now).UTC(), Exit: err.Error()})
	w.fail("node", "%s stopped by itself: %v", n.id, err)
}

// restart starts a dead node's process.
func (w *World) restart(n *node) error {
	if n.lost || n.standing == standingStopped {
		return fmt.Errorf("sim: %s is lost for good", n.id)
	}
	if n.alive() {
		return fmt.Errorf("sim: %s runs already", n.id)
	}
	again := n.life > 0
	w.options.Script.starts(n)
	err := w.start(n)
	w.options.Script.started(n, err)
	var corrupt *store.CorruptionError
	switch {
	case err == nil:
		if again {
			w.reached.Restarts++
		}
	case errors.Is(err, errFull), errors.Is(err, errSync), errors.Is(err, errCrash):
		w.bury(n)
		w.trouble.revive(w, n)
	case errors.As(err, &corrupt) && n.damaged != "":
		w.reached.FlippedBitsFound++
		n.lost, n.damaged = true, ""
	default:
		w.fail("node", "%s does not start again: %v", n.id, err)
	}
	return err
}

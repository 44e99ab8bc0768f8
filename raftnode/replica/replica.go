// Package replica joins core, log store and state machine into one single-threaded machine: what
// happened goes in, effects come out through the bus and through callbacks. It reads no clock, starts
// no goroutine and does no I/O but through what it is given, so that the simulator and the daemon
// run the same code.
package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"coup/raftnode/actionlog"
	"coup/raftnode/bus"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
	"coup/raftnode/raft/quorum"
	"coup/raftnode/store"
)

// Config is what a replica is made of. Only ID, Store and Bus have no default.
type Config struct {
	ID raft.NodeID
	// Voters are the first members, for an empty store; otherwise the store wins. None: the node joins a
	// cluster, and waits until that has made it a member.
	Voters []raft.NodeID
	// Upstreams are whom a read-only peer that joins asks. Empty for any other node.
	Upstreams []raft.NodeID
	Store     store.Store
	// State is the table of the state, of which the store must be as careful as of the log: a crash never leaves it ahead of
	// the log, nor behind what the log begins with. Nil keeps the state in memory, to be made anew by each start from the
	// latest snapshot and what is committed after that.
	State    fsm.Table
	Bus      bus.Bus
	Seed     uint64
	Logger   *slog.Logger // nil for none
	Observer Observer     // nil for none
	// Members is told the configuration that the node begins with, and each that takes its place, committed or
	// not. It must not call the replica. Nil for none.
	Members func(raft.Configuration)
	// Actions is told all that the node does, as it happens, with neither number nor time; nil for none. It must not call
	// the replica, nor keep it waiting.
	Actions func(actionlog.Action)

	// See raft.Config; zero is its default.
	ElectionTicks   int
	HeartbeatTicks  int
	MaxMessageBytes int
	PromotionLag    int
	LeaseDrift      int
	MaxLeaderTicks  int
	AtMaxReign      raft.AtMaxReign

	Tick      time.Duration // how long a tick is, for the log's time; default 50 ms
	Snapshots Snapshots
}

// Snapshots says when a node takes snapshots and truncates its log.
type Snapshots struct {
	// Every is how many entries are applied from one snapshot to the next. Zero: they are taken only on
	// request.
	Every uint64
	// Keep is how many applied entries truncation always leaves, for peers that are a little behind.
	Keep uint64
	// Spare is how many entries a leader leaves at most for peers that it hears and that are further behind.
	// Default Every.
	Spare uint64
	// Amortized has a snapshot wait, too, until as many bytes of commands were applied as the last one has: so that
	// writing snapshots takes no more than writing the log does, however large the state is.
	Amortized bool
	// ChunkBytes is about how large a chunk of a snapshot is. Default 256 KiB.
	ChunkBytes int
	// RestoreBytes is about how much of an installed snapshot is restored between two batches of other work, into a
	// State. Default 1 MiB. One in memory is restored at once.
	RestoreBytes int
}

// Observer is told what becomes of the state. It is for checkers; its methods must not call the replica.
type Observer interface {
	// Applied tells that an entry was applied, with what came of it and the hash of the state then.
	Applied(e raft.Entry, r fsm.Result, hash uint64)
	// Restored tells that the state is now that of the log up to b, made from a snapshot or found at the start.
	Restored(b raft.Base, hash uint64)
}

// Result answers a client's request.
type Result struct {
	fsm.Result
	Index uint64 // the state's applied index when it was answered
	Term  uint64 // this node's term then
	Node  raft.NodeID
	Lease bool // of a read: the leader's lease answered it
}

// ErrSuperseded refuses a command whose entry was overwritten by another leader's: it had no effect
// and never will.
var ErrSuperseded = errors.New("replica: entry superseded by another leader's")

// ErrFateUnknown says that a snapshot took the place of the log while a command was in it: whether it was
// applied is not known here.
var ErrFateUnknown = errors.New("replica: a snapshot took the place of the entry; whether it was applied is unknown")

// ErrSnapshotting refuses to take a snapshot while one is being taken, or when nothing was applied since the last.
var ErrSnapshotting = errors.New("replica: a snapshot is being taken, or the last one is still current")

// ErrMembersUnknown refuses to take a snapshot on a node that joined and has not applied its first configuration
// yet: who were members before that is nowhere in its log.
var ErrMembersUnknown = errors.New("replica: a node that joins takes no snapshot before it has applied a configuration")

// Consistency is how fresh a read must be.
type Consistency uint8

// The consistencies.
const (
	Linearizable Consistency = iota // only on the leader, confirmed by a quorum
	Lease                           // only on the leader, by its lease; else like Linearizable
	Follower                        // on any member, which asks the leader up to where it must have applied
)

// Status is what a node says of itself.
type Status struct {
	raft.Status
	// ConfigurationIndex is that of the entry of Configuration: it is committed when that is at most Commit.
	ConfigurationIndex uint64
	StateHash          uint64  // of the state at Applied: equal on all nodes
	Reigns             []Reign // the latest terms that this process led, oldest first, at most 64
}

// Reign is a term in which this process was the leader.
type Reign struct {
	Term uint64 `json:"term"`
	Over bool   `json:"over"`
}

// Replica is one node without its I/O. For use by one goroutine.
type Replica struct {
	id       raft.NodeID
	core     *raft.Raft
	store    store.Store
	state    *fsm.KV
	table    fsm.Table // of the state; nil for one in memory
	bus      bus.Bus
	log      *slog.Logger
	observer Observer
	record   *recorder

	proposals map[uint64]*proposal // by index of their entry
	leaving   []*proposal          // changes of members whose joint configuration is committed
	asked     map[uint64]query     // by read ID, until the core answers
	nextRead  uint64
	confirmed []query // until the state machine has come to their index
	flights   flights
	members   uint64 // index of the configuration that the bus knows
	known     raft.Configuration
	tell      func(raft.Configuration) // nil for none

	snapshots  Snapshots
	taking     *taking
	restoring  *restoring
	applied    uint64 // bytes of commands since the last snapshot was begun
	truncating bool   // an operator wants it

	tick      uint64 // length of a tick in milliseconds
	sinceTime uint64 // ticks since the log's time was last proposed

	role   raft.Role
	leader raft.NodeID
	term   uint64
	reigns []Reign
}

// proposal is an entry that somebody waits for. Entries of several terms may have had the same index.
type proposal struct {
	term uint64
	done func(Result, error)
	next *proposal
}

type query struct {
	key   string
	index uint64
	lease bool
	done  func(Result, error)
}

// New starts a replica from what its store holds: the state in its table, or that of the latest snapshot if that is
// later, or none. The rest is applied as the log proves to be committed.
func New(c Config) (*Replica, error) {
	if c.Tick == 0 {
		c.Tick = 50 * time.Millisecond
	}
	if c.Snapshots.Spare == 0 {
		c.Snapshots.Spare = c.Snapshots.Every
	}
	if c.Snapshots.ChunkBytes == 0 {
		c.Snapshots.ChunkBytes = 256 << 10
	}
	if c.Snapshots.RestoreBytes == 0 {
		c.Snapshots.RestoreBytes = 1 << 20
	}
	state, err := c.Store.Load()
	if err != nil {
		return nil, fmt.Errorf("replica: loading the store: %w", err)
	}
	log := c.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	fresh := state.HardState == raft.HardState{} && state.Last == 0 && len(state.Base.Configuration.Voters) == 0
	if fresh {
		base := raft.Base{Configuration: raft.Configuration{Voters: quorum.NewMajority(c.Voters...)}}
		if err := c.Store.Bootstrap(base); err != nil && !errors.Is(err, store.ErrNotEmpty) {
			return nil, fmt.Errorf("replica: beginning the log: %w", err)
		}
	}
	kv := fsm.NewKV()
	if c.State != nil {
		if kv, err = fsm.Open(c.State); err != nil {
			return nil, fmt.Errorf("replica: opening the state: %w", err)
		}
	}
	core, err := raft.New(raft.Config{
		ID: c.ID, Storage: c.Store, Applied: kv.Applied(), RestoresInSteps: c.State != nil, Seed: c.Seed,
		ElectionTicks: c.ElectionTicks, HeartbeatTicks: c.HeartbeatTicks, MaxMessageBytes: c.MaxMessageBytes, PromotionLag: c.PromotionLag,
		LeaseDrift: c.LeaseDrift, MaxLeaderTicks: c.MaxLeaderTicks, AtMaxReign: c.AtMaxReign, Upstreams: c.Upstreams,
	})
	if err != nil {
		return nil, err
	}
	r := &Replica{
		id: c.ID, core: core, store: c.Store, state: kv, table: c.State, bus: c.Bus, log: log, observer: c.Observer,
		proposals: make(map[uint64]*proposal), asked: make(map[uint64]query),
		snapshots: c.Snapshots, tick: uint64(c.Tick.Milliseconds()),
		members: core.ConfigurationIndex(), known: core.Configuration(), tell: c.Members,
	}
	if r.tell != nil {
		r.tell(r.known)
	}
	if err := r.resume(state.Snapshot); err != nil {
		return nil, err
	}
	r.record = begin(c, core, state)
	log.Info("replica starts", "new", fresh, "term", state.HardState.Term, "vote", state.HardState.Vote,
		"snapshot", state.Snapshot.Index, "applied", r.state.Applied(), "last", state.Last, "voters", core.Configuration().Voters)
	return r, nil
}

// resume has the state be at least that of a snapshot, the latest.
func (r *Replica) resume(s raft.Snapshot) error {
	applied := r.state.Applied()
	switch {
	case applied < s.Index:
		return r.restore(s)
	case applied > 0 && r.observer != nil:
		base, err := r.core.BaseAt(applied)
		if err != nil {
			return fmt.Errorf("replica: the state is at entry %d: %w", applied, err)
		}
		r.observer.Restored(base, r.state.Hash())
	}
	return nil
}

// Core is the replica's core, to look at and not to touch.
func (r *Replica) Core() *raft.Raft { return r.core }

// Tick passes one unit of time.
func (r *Replica) Tick() {
	r.core.Tick()
	r.record.noticed(nil, "time-out")
	if r.core.Leads() && r.restoring == nil && r.state.Sessions() > 0 {
		r.passTime()
	}
}

// timeEvery is how many ticks of a leader lie between two entries with the log's time.
const timeEvery = 20

// passTime has the leader tell by the log how much time has passed, so that all agree on which sessions
// are over. Time stands still while nobody leads.
func (r *Replica) passTime() {
	if r.sinceTime++; r.sinceTime < timeEvery {
		return
	}
	now := r.state.Time() + r.sinceTime*r.tick
	if _, _, err := r.core.Propose(fsm.Command{Op: fsm.Clock, Now: now}.Encode()); err == nil {
		r.sinceTime = 0
	}
}

// Receive takes a request from a peer. One that makes no sense is logged and dropped.
func (r *Replica) Receive(m raft.Message) {
	r.record.received(&m)
	if err := r.core.Step(m); err != nil {
		r.log.Warn("message dropped", "from", m.From, "type", m.Type, "error", err)
	}
	r.record.noticed(&m, "")
}

// Propose asks for a command to be applied. done is called once, at once with a refusal or by a later
// Process, and never if the fate of the command stays unknown: the caller has its own time-out.
// Errors: *raft.NotLeaderError, raft.ErrOverloaded, raft.ErrTransferring, ErrSuperseded, by all of
// which it had no effect; ErrFateUnknown, by which it may have had.
func (r *Replica) Propose(c fsm.Command, done func(Result, error)) {
	r.await(r.record.command(c, done), func() (uint64, uint64, error) { return r.core.Propose(c.Encode()) })
}

// Change asks for a change of members, all or nothing. done is called as of Propose, once the final configuration
// is committed. Errors, beside those of Propose: raft.ErrNotReady, *raft.ChangeInFlightError,
// *raft.LaggingError, *confchange.RefusedError, by all of which nothing was done.
func (r *Replica) Change(changes []confchange.Change, done func(Result, error)) {
	r.await(r.record.change(changes, done), func() (uint64, uint64, error) { return r.core.ProposeChange(changes) })
}

// maxWaiting bounds the entries that somebody waits for, and likewise the reads: of some the fate may stay unknown
// for long, and whoever asked has long since given up.
const maxWaiting = 1 << 16

func (r *Replica) await(done func(Result, error), propose func() (index, term uint64, err error)) {
	if len(r.proposals) >= maxWaiting {
		done(Result{}, raft.ErrOverloaded)
		return
	}
	index, term, err := propose()
	if err != nil {
		done(Result{}, err)
		return
	}
	r.proposals[index] = &proposal{term, done, r.proposals[index]}
}

// Transfer hands leadership over; see raft.Raft.Transfer.
func (r *Replica) Transfer(to raft.NodeID) error { return r.core.Transfer(to) }

// HandOver begins to hand leadership to whoever is best fit for it, as raft.Raft.HandOver does.
func (r *Replica) HandOver() error { return r.core.HandOver() }

// StepDown ends this node's leadership. Errors: *raft.NotLeaderError.
func (r *Replica) StepDown() error { return r.core.StepDown() }

// Read asks for a key's value. done is called once, at once with a refusal or by a later Process.
// Errors: *raft.NotLeaderError, raft.ErrOverloaded.
func (r *Replica) Read(key string, how Consistency, done func(Result, error)) {
	if len(r.asked)+len(r.confirmed) >= maxWaiting {
		done(Result{}, raft.ErrOverloaded)
		return
	}
	ask := r.core.ReadIndex
	switch how {
	case Lease:
		ask = r.core.LeaseRead
	case Follower:
		ask = r.core.FollowerReadIndex
	}
	done = r.record.query(key, done)
	r.nextRead++
	if err := ask(r.nextRead); err != nil {
		done(Result{}, err)
		return
	}
	r.asked[r.nextRead] = query{key: key, done: done}
}

// Stale tells a key's value as far as this node has applied the log, which may be long ago; Index says how far.
// An error is of the state's table: the node must stop, as the next Process says.
func (r *Replica) Stale(key string) (Result, error) {
	found, err := r.state.Get(key)
	if err != nil {
		return Result{}, fmt.Errorf("replica: reading the state: %w", err)
	}
	return r.result(found), nil
}

func (r *Replica) result(res fsm.Result) Result {
	return Result{Result: res, Index: r.state.Applied(), Term: r.core.Term(), Node: r.id}
}

// Process does all that is outstanding: makes durable, sends, applies, answers. After an error the
// node must stop at once; nothing that relied on what failed has left it.
func (r *Replica) Process() error {
	if err := r.state.Err(); err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	for {
		ready, err := r.core.Ready()
		if err != nil {
			return err
		}
		r.record.noticed(nil, "")
		r.noteRole()
		r.noteMembers()
		if ready.Empty() {
			if r.restoring == nil {
				return r.keepSnapshots()
			}
			if err := r.restoreMore(); err != nil || r.restoring != nil {
				return err
			}
			if err := r.answerReads(nil); err != nil {
				return err
			}
			continue
		}
		if err := r.do(&ready); err != nil {
			return err
		}
		r.core.Advance()
	}
}

func (r *Replica) do(ready *raft.Ready) error {
	r.send(ready.Early)
	for _, g := range ready.Gathered {
		if err := r.store.Gather(g); err != nil {
			return fmt.Errorf("replica: keeping a chunk of a snapshot: %w", err)
		}
	}
	hs := ready.HardState
	if ready.Install != nil {
		if err := r.install(*ready.Install, hs); err != nil {
			return err
		}
		hs = nil
	}
	if hs != nil || len(ready.Entries) > 0 {
		if err := r.store.Save(hs, ready.Entries); err != nil {
			return fmt.Errorf("replica: saving term, vote or log: %w", err)
		}
	}
	r.record.kept(ready)
	r.send(ready.Messages)
	r.record.applies(ready.Committed)
	for _, e := range ready.Committed {
		if err := r.apply(e); err != nil {
			return err
		}
	}
	if err := r.state.Commit(); err != nil {
		return fmt.Errorf("replica: committing the state at %d: %w", r.state.Applied(), err)
	}
	return r.answerReads(ready.Reads)
}

func (r *Replica) send(messages []raft.Message) {
	for _, m := range messages {
		if m.Type.IsReply() {
			r.bus.Respond(m.From, m.To, m)
			r.record.sent(&m)
			continue
		}
		m.ID = r.bus.Send(m.From, m.To, m, func(answer raft.Message, err error) {
			if err != nil {
				r.record.unanswered(&m, err)
				r.core.Unreachable(m)
				return
			}
			r.Receive(answer)
		})
		r.record.sent(&m)
		r.flights.add(m.ID, m.To)
	}
}

// flights are the requests sent last, for whatever of them may still be on its way.
type flights struct {
	recent [512]flight
	next   int
}

type flight struct {
	id bus.MessageID
	to raft.NodeID
}

func (f *flights) add(id bus.MessageID, to raft.NodeID) {
	f.recent[f.next] = flight{id, to}
	f.next = (f.next + 1) % len(f.recent)
}

// noteMembers cancels what is on its way to nodes that the configuration has dropped: an answer would
// be to a member that is no more.
func (r *Replica) noteMembers() {
	index := r.core.ConfigurationIndex()
	if index == r.members {
		return
	}
	r.members = index
	before := r.known
	r.known = r.core.Configuration()
	if r.known.Equal(before) {
		return // a truncated log begins with it
	}
	r.log.Info("configuration", "index", index, "configuration", r.known)
	if r.tell != nil {
		r.tell(r.known)
	}
	for _, id := range before.Members() {
		if r.known.Contains(id) {
			continue
		}
		for _, f := range r.flights.recent {
			if f.to == id {
				r.bus.Cancel(f.id)
			}
		}
	}
}

func (r *Replica) apply(e raft.Entry) error {
	var result fsm.Result
	var err error
	if e.Type == raft.EntryCommand {
		result, err = r.state.Apply(e.Index, e.Data)
		r.applied += uint64(len(e.Data))
	} else {
		err = r.state.Skip(e.Index)
	}
	if err != nil {
		return fmt.Errorf("replica: applying entry %d: %w", e.Index, err)
	}
	if r.observer != nil {
		r.observer.Applied(e, result, r.state.Hash())
	}
	joint := false
	if e.Type == raft.EntryConfiguration {
		joint = r.changed(e)
	}
	p := r.proposals[e.Index]
	if p == nil {
		return nil
	}
	delete(r.proposals, e.Index)
	for ; p != nil; p = p.next {
		switch {
		case p.term != e.Term:
			p.done(Result{}, ErrSuperseded)
		case joint:
			r.leaving = append(r.leaving, &proposal{term: p.term, done: p.done})
		default:
			p.done(r.result(result), nil)
		}
	}
	return nil
}

// changed takes in a committed configuration, and tells whether it is joint. One that is not ends the
// change before it.
func (r *Replica) changed(e raft.Entry) (joint bool) {
	base, err := r.core.BaseAt(e.Index)
	if err == nil && base.Configuration.Joint() {
		return true
	}
	ended := r.leaving
	r.leaving = nil
	for _, p := range ended {
		p.done(r.result(fsm.Result{}), nil)
	}
	return false
}

func (r *Replica) answerReads(answers []raft.ReadState) error {
	for _, a := range answers {
		q := r.asked[a.ID]
		delete(r.asked, a.ID)
		if a.Err != nil {
			q.done(Result{}, a.Err)
			continue
		}
		q.index, q.lease = a.Index, a.Lease
		r.confirmed = append(r.confirmed, q)
	}
	// Indexes do not always rise along the queue: a follower's questions may be answered out of order.
	waiting := r.confirmed[:0]
	for _, q := range r.confirmed {
		if q.index > r.state.Applied() {
			waiting = append(waiting, q)
			continue
		}
		result, err := r.Stale(q.key)
		if err != nil {
			return err
		}
		result.Lease = q.lease
		r.record.read(q)
		q.done(result, nil)
	}
	clear(r.confirmed[len(waiting):])
	r.confirmed = waiting
	return nil
}

// keptReigns bounds what Status tells of the past.
const keptReigns = 64

// noteRole logs who leads, and remembers this node's own reigns.
func (r *Replica) noteRole() {
	role, leader, term := r.core.Role(), r.core.Leader(), r.core.Term()
	if role == r.role && leader == r.leader && term == r.term {
		return
	}
	reigned, reigns := r.role == raft.Leader, role == raft.Leader
	if reigned && (!reigns || term != r.term) {
		r.reigns[len(r.reigns)-1].Over = true
		r.log.Info("no longer leader", "of_term", r.term, "term", term)
	}
	if reigns && (!reigned || term != r.term) {
		r.reigns = append(r.reigns, Reign{Term: term})
		if len(r.reigns) > keptReigns {
			r.reigns = r.reigns[1:]
		}
		r.sinceTime = 0
		r.log.Info("became leader", "term", term)
	}
	if !reigns && leader != "" {
		r.log.Info("follows", "leader", leader, "term", term)
	}
	r.role, r.leader, r.term = role, leader, term
}

// Status describes the node.
func (r *Replica) Status() Status {
	s := Status{
		Status: r.core.Status(), ConfigurationIndex: r.core.ConfigurationIndex(),
		StateHash: r.state.Hash(), Reigns: slices.Clone(r.reigns),
	}
	s.Applied = r.state.Applied() // the core counts a snapshot that is being restored
	return s
}

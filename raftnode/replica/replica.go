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

	"coup/raftnode/bus"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/raft/quorum"
	"coup/raftnode/store"
)

// Config is what a replica is made of.
type Config struct {
	ID             raft.NodeID
	Voters         []raft.NodeID // the first members, for an empty store; otherwise the store wins
	Store          store.Store
	Bus            bus.Bus
	Seed           uint64
	ElectionTicks  int // a follower campaigns after [ElectionTicks, 2*ElectionTicks) ticks of silence
	HeartbeatTicks int
	Logger         *slog.Logger // nil for none
}

// Result answers a client's request.
type Result struct {
	fsm.Result
	Index uint64 // the state's applied index when it was answered
	Term  uint64 // this node's term then
	Node  raft.NodeID
}

// ErrSuperseded refuses a command whose entry was overwritten by another leader's: it had no effect
// and never will.
var ErrSuperseded = errors.New("replica: entry superseded by another leader's")

// Status is what a node says of itself.
type Status struct {
	raft.Status
	Reigns []Reign // the latest terms that this process led, oldest first, at most 64
}

// Reign is a term in which this process was the leader.
type Reign struct {
	Term uint64 `json:"term"`
	Over bool   `json:"over"`
}

// Replica is one node without its I/O. For use by one goroutine.
type Replica struct {
	id    raft.NodeID
	core  *raft.Raft
	store store.Store
	state *fsm.KV
	bus   bus.Bus
	log   *slog.Logger

	proposals map[uint64][]proposal // by index of their entry
	asked     map[uint64]query      // by read ID, until the core answers
	nextRead  uint64
	confirmed []query // until the state machine has come to their index

	role   raft.Role
	leader raft.NodeID
	term   uint64
	reigns []Reign
}

type proposal struct {
	term uint64
	done func(Result, error)
}

type query struct {
	key   string
	index uint64
	done  func(Result, error)
}

// New starts a replica from what its store holds. The state machine begins empty and is rebuilt as
// the log proves to be committed.
func New(c Config) (*Replica, error) {
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
		if len(c.Voters) == 0 {
			return nil, errors.New("replica: the store is empty and no first members are given")
		}
		base := raft.Base{Configuration: raft.Configuration{Voters: quorum.NewMajority(c.Voters...)}}
		if err := c.Store.Bootstrap(base); err != nil {
			return nil, fmt.Errorf("replica: beginning the log: %w", err)
		}
	}
	core, err := raft.New(raft.Config{
		ID: c.ID, Storage: c.Store, Seed: c.Seed,
		ElectionTicks: c.ElectionTicks, HeartbeatTicks: c.HeartbeatTicks,
	})
	if err != nil {
		return nil, err
	}
	log.Info("replica starts", "new", fresh, "term", state.HardState.Term, "vote", state.HardState.Vote,
		"last", state.Last, "voters", core.Configuration().Voters)
	return &Replica{
		id: c.ID, core: core, store: c.Store, state: fsm.NewKV(), bus: c.Bus, log: log,
		proposals: make(map[uint64][]proposal), asked: make(map[uint64]query),
	}, nil
}

// Tick passes one unit of time.
func (r *Replica) Tick() { r.core.Tick() }

// Receive takes a request from a peer. One that makes no sense is logged and dropped.
func (r *Replica) Receive(m raft.Message) {
	if err := r.core.Step(m); err != nil {
		r.log.Warn("message dropped", "from", m.From, "type", m.Type, "error", err)
	}
}

// Propose asks for a command to be applied. done is called once, at once with a refusal or by a later
// Process, and never if the fate of the command stays unknown: the caller has its own time-out.
// Errors: *raft.NotLeaderError, raft.ErrOverloaded, ErrSuperseded; all mean that it had no effect.
func (r *Replica) Propose(c fsm.Command, done func(Result, error)) {
	index, term, err := r.core.Propose(c.Encode())
	if err != nil {
		done(Result{}, err)
		return
	}
	r.proposals[index] = append(r.proposals[index], proposal{term, done})
}

// Read asks for a key's value, linearizably. done is called once, at once with a refusal or by a
// later Process. Errors: *raft.NotLeaderError.
func (r *Replica) Read(key string, done func(Result, error)) {
	r.nextRead++
	if err := r.core.ReadIndex(r.nextRead); err != nil {
		done(Result{}, err)
		return
	}
	r.asked[r.nextRead] = query{key: key, done: done}
}

// Stale tells a key's value as far as this node has applied the log, which may be long ago.
func (r *Replica) Stale(key string) Result { return r.result(r.state.Get(key)) }

func (r *Replica) result(res fsm.Result) Result {
	return Result{Result: res, Index: r.state.Applied(), Term: r.core.Term(), Node: r.id}
}

// Process does all that is outstanding: makes durable, sends, applies, answers. After an error the
// node must stop at once; nothing that relied on what failed has left it.
func (r *Replica) Process() error {
	for {
		ready, err := r.core.Ready()
		if err != nil {
			return err
		}
		r.noteRole()
		if ready.Empty() {
			return nil
		}
		r.send(ready.Early)
		if ready.HardState != nil || len(ready.Entries) > 0 {
			if err := r.store.Save(ready.HardState, ready.Entries); err != nil {
				return fmt.Errorf("replica: saving term, vote or log: %w", err)
			}
		}
		r.send(ready.Messages)
		for _, e := range ready.Committed {
			if err := r.apply(e); err != nil {
				return err
			}
		}
		r.answerReads(ready.Reads)
		r.core.Advance()
	}
}

func (r *Replica) send(messages []raft.Message) {
	for _, m := range messages {
		if m.Type.IsReply() {
			r.bus.Respond(m.From, m.To, m)
			continue
		}
		r.bus.Send(m.From, m.To, m, func(answer raft.Message, err error) {
			if err != nil {
				r.core.Unreachable(m)
				return
			}
			r.Receive(answer)
		})
	}
}

func (r *Replica) apply(e raft.Entry) error {
	var result fsm.Result
	var err error
	if e.Type == raft.EntryCommand {
		result, err = r.state.Apply(e.Index, e.Data)
	} else {
		err = r.state.Skip(e.Index)
	}
	if err != nil {
		return fmt.Errorf("replica: applying entry %d: %w", e.Index, err)
	}
	for _, p := range r.proposals[e.Index] {
		if p.term == e.Term {
			p.done(r.result(result), nil)
		} else {
			p.done(Result{}, ErrSuperseded)
		}
	}
	delete(r.proposals, e.Index)
	return nil
}

func (r *Replica) answerReads(answers []raft.ReadState) {
	for _, a := range answers {
		q := r.asked[a.ID]
		delete(r.asked, a.ID)
		if a.Err != nil {
			q.done(Result{}, a.Err)
			continue
		}
		q.index = a.Index
		r.confirmed = append(r.confirmed, q)
	}
	// Indexes rise along the queue.
	done := 0
	for done < len(r.confirmed) && r.confirmed[done].index <= r.state.Applied() {
		q := r.confirmed[done]
		q.done(r.Stale(q.key), nil)
		done++
	}
	r.confirmed = r.confirmed[done:]
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
		r.log.Info("became leader", "term", term)
	}
	if !reigns && leader != "" {
		r.log.Info("follows", "leader", leader, "term", term)
	}
	r.role, r.leader, r.term = role, leader, term
}

// Status describes the node.
func (r *Replica) Status() Status {
	return Status{Status: r.core.Status(), Reigns: slices.Clone(r.reigns)}
}

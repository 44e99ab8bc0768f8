package raft

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"coup/raftnode/raft/quorum"
)

// Config is what a core is made of. Only ID and Storage have no default.
type Config struct {
	ID      NodeID
	Storage Storage
	// Seed of all randomness. Nodes of one cluster should differ in it, or their elections tie.
	Seed uint64
	// ElectionTicks is how long silence from a leader lasts before a follower campaigns: a number
	// of ticks drawn anew each time from [ElectionTicks, 2*ElectionTicks). Default 10.
	ElectionTicks int
	// HeartbeatTicks is the leader's interval between heartbeats. Less than ElectionTicks. Default 1.
	HeartbeatTicks int
	// MaxMessageBytes bounds the entries' data in one append, except that one entry always fits.
	// Default 1 MiB.
	MaxMessageBytes int
	// MaxInFlight is the number of appends to one peer that may await their answer. Default 64.
	MaxInFlight int
	// MaxUncommittedBytes bounds the data of entries appended and not committed; beyond it commands
	// are refused with ErrOverloaded. Default 64 MiB.
	MaxUncommittedBytes int
}

func (c Config) withDefaults() (Config, error) {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.ElectionTicks, 10}, {&c.HeartbeatTicks, 1}, {&c.MaxMessageBytes, 1 << 20},
		{&c.MaxInFlight, 64}, {&c.MaxUncommittedBytes, 64 << 20},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
		if *d.field < 0 {
			return c, errors.New("raft: negative setting")
		}
	}
	switch {
	case c.ID == "":
		return c, errors.New("raft: no ID")
	case c.Storage == nil:
		return c, errors.New("raft: no storage")
	case c.HeartbeatTicks >= c.ElectionTicks:
		return c, fmt.Errorf("raft: %d heartbeat ticks are not less than %d election ticks", c.HeartbeatTicks, c.ElectionTicks)
	}
	return c, nil
}

// Raft is one node's core. For use by one goroutine.
type Raft struct {
	config Config
	random *rand.Rand
	log    log
	// configurations are those of the base and of the log's configuration entries, oldest first;
	// the last is in force, committed or not.
	configurations []configurationAt

	term   uint64
	vote   NodeID
	saved  HardState // what is durable of term and vote
	role   Role
	leader NodeID // of term; empty when unknown

	sinceHeard    int // ticks since the leader was heard, or since the campaign or quorum check began
	timeout       int // sinceHeard at which to campaign
	sinceBeat     int // leader: ticks since the last heartbeat
	votes         map[NodeID]bool
	peers         map[NodeID]*progress // leader: all members but itself
	uncommitted   int                  // leader: bytes of data beyond commit
	reads         []read               // leader: unanswered, in order of arrival
	readRound     uint64               // leader: latest round sent
	termCommitted bool                 // leader: an entry of its term is committed

	early    []Message
	messages []Message
	answers  []ReadState
	failure  error // sticky
	handed   *Ready
}

type configurationAt struct {
	index uint64
	Configuration
}

// New starts a core from what its storage holds.
func New(c Config) (*Raft, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	s, err := c.Storage.Load()
	if err != nil {
		return nil, fmt.Errorf("raft: loading the log: %w", err)
	}
	r := &Raft{
		config: c,
		random: rand.New(rand.NewPCG(c.Seed, 0x636f7570)),
		log:    newLog(c.Storage, s),
		term:   s.HardState.Term,
		vote:   s.HardState.Vote,
		saved:  s.HardState,
		configurations: []configurationAt{
			{s.Base.Index, s.Base.Configuration},
		},
	}
	if err := r.learnConfigurations(s.Configurations); err != nil {
		return nil, err
	}
	r.becomeFollower(r.term, "")
	return r, nil
}

// Configuration is the one in force: the latest in the log, committed or not.
func (r *Raft) Configuration() Configuration {
	return r.configurations[len(r.configurations)-1].Configuration
}

func (r *Raft) quorum() quorum.Joint { return r.Configuration().Quorum() }

func (r *Raft) learnConfigurations(entries []Entry) error {
	for _, e := range entries {
		if e.Type != EntryConfiguration {
			continue
		}
		var c Configuration
		if err := json.Unmarshal(e.Data, &c); err != nil {
			return fmt.Errorf("raft: configuration in entry %d: %w", e.Index, err)
		}
		r.configurations = append(r.configurations, configurationAt{e.Index, c})
	}
	return nil
}

// append adds entries to the log, replacing what it holds from the first one's index on.
func (r *Raft) append(entries ...Entry) error {
	if err := r.log.append(entries); err != nil {
		return err
	}
	r.configurations = slices.DeleteFunc(r.configurations, func(c configurationAt) bool {
		return c.index >= entries[0].Index && c.index > r.log.base.Index
	})
	return r.learnConfigurations(entries)
}

// fail stops the core: the next Ready returns err.
func (r *Raft) fail(err error) {
	if err != nil && r.failure == nil {
		r.failure = err
	}
}

// Tick passes one unit of time.
func (r *Raft) Tick() {
	r.sinceHeard++
	if r.role == Leader {
		r.tickLeader()
		return
	}
	if r.sinceHeard >= r.timeout && slices.Contains(r.quorum().Members(), r.config.ID) {
		r.campaign(PreCandidate)
	}
}

// Step takes one message from a peer. An error says that the message makes no sense and was ignored.
func (r *Raft) Step(m Message) error {
	if m.To != r.config.ID || m.From == "" || m.From == r.config.ID {
		return fmt.Errorf("raft: %s got a message from %q to %q", r.config.ID, m.From, m.To)
	}
	if m.Term < r.term {
		if !m.Type.IsReply() {
			r.reply(m, Message{Reject: true})
		}
		return nil
	}
	if m.Term > r.term && !r.staysInTerm(m) {
		r.becomeFollower(m.Term, "")
	}
	switch m.Type {
	case MsgPreVote, MsgVote:
		r.stepVoteRequest(m)
	case MsgPreVoteReply, MsgVoteReply:
		r.stepVoteReply(m)
	case MsgAppend:
		return r.stepAppend(m)
	case MsgAppendReply:
		return r.stepAppendReply(m)
	case MsgHeartbeat:
		return r.stepHeartbeat(m)
	case MsgHeartbeatReply:
		r.stepHeartbeatReply(m)
	default:
		return fmt.Errorf("raft: message of unknown type %d", m.Type)
	}
	return nil
}

// staysInTerm tells whether m, of a later term, leaves this node in its own: a pre-vote is only a
// question, and a node that hears its leader does not let a vote disturb it (thesis, 4.2.3).
func (r *Raft) staysInTerm(m Message) bool {
	switch m.Type {
	case MsgPreVote:
		return true
	case MsgPreVoteReply:
		return !m.Reject
	case MsgVote:
		return r.hearsLeader()
	}
	return false
}

// reply answers request m once everything so far is durable. Type, addresses, ID and read round are
// filled in, and the term unless it is set.
func (r *Raft) reply(m Message, answer Message) {
	answer.Type, answer.From, answer.To, answer.ID = m.Type+1, r.config.ID, m.From, m.ID
	answer.ReadRound = m.ReadRound
	if answer.Term == 0 {
		answer.Term = r.term
	}
	r.messages = append(r.messages, answer)
}

// Ready tells what must now be done; see the type. An error is final: the node must stop at once,
// and do nothing of what it was about to. With nothing to do, Empty is true of the result.
func (r *Raft) Ready() (Ready, error) {
	if r.role == Leader {
		r.beginReadRound()
		r.replicate()
	}
	if r.failure != nil {
		return Ready{}, r.failure
	}
	ready := Ready{
		Entries: r.log.unstable(), Early: r.early, Messages: r.messages, Reads: r.answers,
	}
	if hs := (HardState{r.term, r.vote}); hs != r.saved {
		ready.HardState = &hs
		// A term that is not durable is not spoken of.
		ready.Messages, ready.Early = append(ready.Early, ready.Messages...), nil
	}
	committed, err := r.log.slice(r.log.applied+1, r.log.commit+1, maxCommittedBytes)
	if err != nil {
		r.fail(err)
		return Ready{}, err
	}
	ready.Committed = committed
	r.early, r.messages, r.answers = nil, nil, nil
	r.handed = &ready
	return ready, nil
}

// maxCommittedBytes bounds what one Ready gives to the state machine.
const maxCommittedBytes = 4 << 20

// Empty tells that there is nothing to do.
func (rd Ready) Empty() bool {
	return rd.HardState == nil && len(rd.Entries) == 0 && len(rd.Early) == 0 && len(rd.Messages) == 0 &&
		len(rd.Committed) == 0 && len(rd.Reads) == 0
}

// Advance says that all of the last Ready has been done.
func (r *Raft) Advance() {
	done := r.handed
	if done == nil {
		panic("raft: Advance without Ready")
	}
	r.handed = nil
	if done.HardState != nil {
		r.saved = *done.HardState
	}
	if n := len(done.Entries); n > 0 {
		r.log.durable = done.Entries[n-1].Index
	}
	if n := len(done.Committed); n > 0 {
		r.log.applied = done.Committed[n-1].Index
	}
	r.log.trim()
	if r.role == Leader {
		r.advanceCommit()
	}
}

// Term is the node's current term.
func (r *Raft) Term() uint64 { return r.term }

// Role is what the node takes itself for.
func (r *Raft) Role() Role { return r.role }

// Leader is the leader of the node's term, as far as it knows; empty when unknown.
func (r *Raft) Leader() NodeID { return r.leader }

// Status describes the node.
func (r *Raft) Status() Status {
	s := Status{
		ID: r.config.ID, Role: r.role, Term: r.term, Vote: r.vote, Leader: r.leader,
		Commit: r.log.commit, Applied: r.log.applied, Configuration: r.Configuration(),
	}
	end, err := r.log.end()
	r.fail(err)
	s.LastIndex, s.LastTerm, s.LastChecksum = end.index, end.term, end.checksum
	if r.role == Leader {
		s.Progress = make(map[NodeID]PeerProgress, len(r.peers))
		for id, p := range r.peers {
			s.Progress[id] = p.status()
		}
	}
	return s
}

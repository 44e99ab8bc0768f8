package raft

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"coup/raftnode/raft/quorum"
)

// Config is what a core is made of. Only ID and Storage have no default.
type Config struct {
	ID      NodeID
	Storage Storage
	// Applied is up to where the driver's state holds the log, where that has outlived a restart: what was applied is
	// committed, and is not handed out again. It is at most the last entry of the log. What the latest snapshot covers counts as
	// applied in any case: a driver whose state is behind that restores it.
	Applied uint64
	// RestoresInSteps is of a driver that takes its time to restore a snapshot: once one is installed, and at the start
	// where Applied is behind the latest, nothing is handed out as committed before Restored.
	RestoresInSteps bool
	// Seed of all randomness. Nodes of one cluster should differ in it, or their elections tie.
	Seed uint64
	// ElectionTicks is how long silence from a leader lasts before a follower campaigns: a number
	// of ticks drawn anew each time from [ElectionTicks, 2*ElectionTicks). Default DefaultElectionTicks.
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
	// PromotionLag is how many entries a learner may be behind and still be promoted. Default 64.
	PromotionLag int
	// LeaseDrift allows lease reads: it is the percentage by which the rates of two nodes' clocks may
	// differ at most, from 1 to 50, and must be the same on all nodes. Zero allows none. A driver that allows
	// them must pass all time that has passed by Tick before it hands in anything else, also after
	// it was suspended.
	LeaseDrift int
	// MaxLeaderTicks ends every reign after that many ticks. Zero is never.
	MaxLeaderTicks int
	// AtMaxReign is what a leader does then. Default Abdicate.
	AtMaxReign AtMaxReign
	// Upstreams are whom a read-only peer asks while it knows of no configuration. For all other nodes it is empty.
	Upstreams []NodeID
}

// DefaultElectionTicks is Config.ElectionTicks where that is not given.
const DefaultElectionTicks = 10

// AtMaxReign is what a leader does that has led as long as it may.
type AtMaxReign uint8

// The ends of a reign.
const (
	Abdicate AtMaxReign = iota // hand leadership over, or step down where nobody can take it
	Exit                       // stop the node with ErrReignOver
)

func (c Config) withDefaults() (Config, error) {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.ElectionTicks, DefaultElectionTicks}, {&c.HeartbeatTicks, 1}, {&c.MaxMessageBytes, 1 << 20},
		{&c.MaxInFlight, 64}, {&c.MaxUncommittedBytes, 64 << 20}, {&c.PromotionLag, 64},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
		if *d.field < 0 {
			return c, errors.New("raft: negative setting")
		}
	}
	switch {
	case c.LeaseDrift < 0 || c.LeaseDrift > 50:
		return c, fmt.Errorf("raft: a lease drift of %d percent is not from 0 to 50", c.LeaseDrift)
	case c.MaxLeaderTicks < 0:
		return c, errors.New("raft: negative setting")
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
	joined uint64    // see HardState
	saved  HardState // what is durable of term, vote and joined
	role   Role
	leader NodeID // of term; empty when unknown

	now         uint64 // ticks since the start
	heardLeader uint64 // tick at which a leader, of whatever term, was heard last; 0 at the start
	sinceHeard  int    // ticks since the leader was heard, or since the campaign or quorum check began
	timeout     int    // sinceHeard at which to campaign
	sinceBeat   int    // leader: ticks since the last heartbeat
	votes       map[NodeID]bool
	peers       map[NodeID]*progress // leader: all that it replicates to but itself

	uncommitted   int    // leader: bytes of data beyond commit
	reads         []read // leader: unanswered, in order of arrival
	readRound     uint64 // leader: latest round sent
	termCommitted bool   // leader: an entry of its term is committed
	lease         lease
	asked         []asked // follower: reads that wait for the leader's word
	reign         int     // leader: ticks since its election
	transfer      transfer

	holdsBack    bool     // what is committed is not handed out: the driver is restoring a snapshot
	snapshot     Snapshot // the latest
	received     Received // from the leader or the upstream
	receivedFrom NodeID
	feed         feed // of a read-only peer

	gathered []Gathered
	install  *Snapshot
	early    []Message
	messages []Message
	answers  []ReadState
	failure  error // sticky
	handed   handed
}

// configurationAt is a configuration and what is asked of it all the time.
type configurationAt struct {
	index uint64 // of its entry, or of the base
	Configuration
	quorum     quorum.Joint
	replicated []NodeID // sorted
}

func at(index uint64, c Configuration) configurationAt {
	return configurationAt{index, c, c.Quorum(), c.Replicated()}
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
	if c.Applied > s.Last {
		return nil, fmt.Errorf("raft: entries up to %d were applied, and the log ends at %d", c.Applied, s.Last)
	}
	r := &Raft{
		config:         c,
		random:         rand.New(rand.NewPCG(c.Seed, 0x636f7570)),
		log:            newLog(c.Storage, s, c.Applied),
		term:           s.HardState.Term,
		vote:           s.HardState.Vote,
		saved:          s.HardState,
		joined:         s.HardState.Joined,
		configurations: []configurationAt{at(s.Base.Index, s.Base.Configuration)},
		snapshot:       s.Snapshot,
		received:       s.Received,
	}
	if err := r.learnConfigurations(s.Configurations); err != nil {
		return nil, err
	}
	r.becomeFollower(r.term, "")
	r.holdsBack = c.RestoresInSteps && c.Applied < s.Snapshot.Index
	return r, nil
}

// Configuration is the one in force: the latest in the log, committed or not.
func (r *Raft) Configuration() Configuration { return r.inForce().Configuration }

func (r *Raft) inForce() *configurationAt { return &r.configurations[len(r.configurations)-1] }

func (r *Raft) quorum() quorum.Joint { return r.inForce().quorum }

// learnConfigurations puts in force what the entries say: a configuration counts from its append on
// (thesis, 4.1).
func (r *Raft) learnConfigurations(entries []Entry) error {
	for i := range entries {
		e := &entries[i]
		if e.Type != EntryConfiguration {
			continue
		}
		c, err := decodeConfiguration(e)
		if err != nil {
			return err
		}
		r.configurations = append(r.configurations, at(e.Index, c))
		r.updatePeers(e.Index)
	}
	return nil
}

// append adds entries to the log, replacing what it holds from the first one's index on.
func (r *Raft) append(entries ...Entry) error {
	if err := r.log.append(entries); err != nil {
		return err
	}
	// What is truncated is in force no more. The base's configuration always stays.
	for n := len(r.configurations); n > 1 && r.configurations[n-1].index >= entries[0].Index; n-- {
		r.configurations = r.configurations[:n-1]
	}
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
	r.now++
	r.sinceHeard++
	switch {
	case r.role == Leader:
		r.tickLeader()
	case r.fed():
		r.tickFed()
	case r.sinceHeard >= r.timeout && r.mayCampaign():
		r.campaign(PreCandidate, false)
	}
}

// Step takes one message from a peer. An error says that the message makes no sense and was ignored.
func (r *Raft) Step(m Message) error {
	if m.To != r.config.ID || m.From == "" || m.From == r.config.ID {
		return fmt.Errorf("raft: %s got a message from %q to %q", r.config.ID, m.From, m.To)
	}
	switch m.Type {
	case MsgFetch:
		// What is committed is so in any term.
		return r.stepFetch(m)
	case MsgFetchReply:
		if m.Term > r.term {
			r.becomeFollower(m.Term, "")
		}
		return r.stepFetchReply(m)
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
	case MsgSnapshot:
		return r.stepSnapshot(m)
	case MsgSnapshotReply:
		r.stepSnapshotReply(m)
	case MsgTimeoutNow:
		r.stepTimeoutNow(m)
	case MsgTimeoutNowReply:
	case MsgReadIndex:
		r.stepReadIndex(m)
	case MsgReadIndexReply:
		r.stepReadIndexReply(m)
	default:
		return fmt.Errorf("raft: message of unknown type %d", m.Type)
	}
	return nil
}

// mayCampaign tells whether this node may ask for votes: it is a voter, or was one until a configuration
// that may yet not be committed. Its log may then be the only one that can win (thesis, 4.2.2). One that
// has no vote for want of memory has none for itself: the part of the log that it holds may still name
// the member that it was.
func (r *Raft) mayCampaign() bool {
	now, n := r.inForce(), len(r.configurations)
	if r.log.last() < r.joined {
		return false
	}
	return now.IsVoter(r.config.ID) ||
		now.index > r.log.commit && n > 1 && r.configurations[n-2].IsVoter(r.config.ID)
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
		return r.hearsLeader() && !m.Transfer
	}
	return false
}

// reply answers request m once everything so far is durable. Type, addresses, ID and read round are
// filled in, and the term unless it is set.
func (r *Raft) reply(m Message, answer Message) {
	answer.Type, answer.From, answer.To, answer.ID = m.Type+1, r.config.ID, m.From, m.ID
	answer.ReadRound, answer.Epoch = m.ReadRound, m.Epoch
	if answer.Term == 0 {
		answer.Term = r.term
	}
	r.messages = append(r.messages, answer)
}

// Ready tells what must now be done; see the type. An error is final: the node must stop at once,
// and do nothing of what it was about to. With nothing to do, Empty is true of the result.
func (r *Raft) Ready() (Ready, error) {
	if r.role == Leader {
		r.manageMembers()
	}
	if r.role == Leader {
		r.beginReadRound()
		r.replicate()
		r.finishTransfer()
	}
	if r.failure != nil {
		return Ready{}, r.failure
	}
	ready := Ready{
		Gathered: r.gathered, Install: r.install,
		Entries: r.log.unstable(), Early: r.early, Messages: r.messages, Reads: r.answers,
	}
	if hs := (HardState{r.term, r.vote, r.joined}); hs != r.saved {
		ready.HardState = &hs
		// A term that is not durable is not spoken of.
		ready.Messages, ready.Early = append(ready.Early, ready.Messages...), nil
	}
	r.holdsBack = r.holdsBack || r.config.RestoresInSteps && r.install != nil
	if !r.holdsBack {
		committed, err := r.log.slice(r.log.applied+1, r.log.commit+1, maxCommittedBytes)
		if err != nil {
			r.fail(err)
			return Ready{}, err
		}
		ready.Committed = committed
	}
	r.early, r.messages, r.answers = nil, nil, nil
	r.gathered, r.install = nil, nil
	r.handed = handed{state: ready.HardState, out: true}
	if n := len(ready.Entries); n > 0 {
		r.handed.durable = ready.Entries[n-1].Index
	}
	if n := len(ready.Committed); n > 0 {
		r.handed.applied = ready.Committed[n-1].Index
	}
	return ready, nil
}

// handed is what Advance must know of the last Ready.
type handed struct {
	out              bool // there is one
	state            *HardState
	durable, applied uint64 // 0 for no more than before
}

// maxCommittedBytes bounds what one Ready gives to the state machine.
const maxCommittedBytes = 1 << 20

// Empty tells that there is nothing to do.
func (rd Ready) Empty() bool {
	return rd.HardState == nil && rd.Install == nil && len(rd.Gathered) == 0 && len(rd.Entries) == 0 && len(rd.Early) == 0 && len(rd.Messages) == 0 &&
		len(rd.Committed) == 0 && len(rd.Reads) == 0
}

// Restored says that the state is that of the snapshot installed last; see Config.RestoresInSteps.
func (r *Raft) Restored() { r.holdsBack = false }

// Advance says that all of the last Ready has been done.
func (r *Raft) Advance() {
	done := r.handed
	if !done.out {
		panic("raft: Advance without Ready")
	}
	r.handed = handed{}
	if done.state != nil {
		r.saved = *done.state
	}
	if done.durable > 0 {
		r.log.durable = done.durable
	}
	if done.applied > 0 {
		r.log.applied = done.applied
	}
	r.log.trim()
	if r.role == Leader {
		r.advanceCommit()
	}
}

package invariant

import (
	"fmt"

	"coup/raftnode/raft/confchange"
	"coup/raftnode/raft/quorum"
)

// NodeID names a node.
type NodeID = quorum.NodeID

// Configuration is a set of members.
type Configuration = confchange.Configuration

// Mark is an entry without its content.
type Mark struct {
	Index, Term uint64
	Checksum    uint32 // cumulative
}

func (m Mark) String() string {
	return fmt.Sprintf("(%d, term %d, checksum %08x)", m.Index, m.Term, m.Checksum)
}

// Node is what is looked at of a running core. No method has a side effect.
type Node interface {
	Term() uint64
	Vote() NodeID // in Term; empty for nobody
	Leads() bool
	Commit() uint64
	Applied() uint64
	// LastIndex is that of the log's last entry, durable or not; BaseIndex when there is none.
	LastIndex() uint64
	// BaseIndex is what the log starts after.
	BaseIndex() uint64
	// Entry is what stands at an index in [BaseIndex, LastIndex]; found is false outside.
	Entry(index uint64) (term uint64, checksum uint32, found bool)
	// Configuration is the one in force.
	Configuration() Configuration
	// ConfigurationIndex is where the one in force stands in the log; at most BaseIndex when it is
	// that of the base.
	ConfigurationIndex() uint64
	// Configurations calls yield for each configuration entry of the log above after, oldest first.
	Configurations(after uint64, yield func(index uint64, c Configuration))
	// Peers calls yield for each peer that a leader sends its log to; nobody when it does not lead.
	Peers(yield func(id NodeID, match, next, epoch uint64))
}

// Disk is what is durable of a node now. After a crash it is asked on behalf of the node that was.
type Disk interface {
	Term() uint64
	Vote() NodeID
	LastIndex() uint64
	BaseIndex() uint64
	Entry(index uint64) (term uint64, checksum uint32, found bool) // as of Node
}

// Checker knows the history of one cluster: it begins with empty nodes, or with nodes of one base.
// Its memory grows with what was appended, and with nothing else. After a violation its answers mean
// nothing. For use by one goroutine.
type Checker struct {
	members map[NodeID]*member
	numbers []*member // in order of first start; variants name a member by its number
	lives   uint64

	leaders map[uint64]reign // of each term, ever
	latest  uint64           // the highest term that had a leader

	variants       []variant // by index: the first one seen there
	more           []variant // the others
	configurations []Configuration

	committed []commitment // by index, from 0
	decided   []decision   // ascending in both
	settled   []settlement // committed configurations, oldest first

	granted      map[grant]NodeID
	executed     map[command]execution
	acknowledged uint64

	// Of the call under way. The functions are made once, so that no call allocates them.
	gathered []gathered
	gather   func(index uint64, c Configuration)
	leader   *member
	visits   int
	round    uint64
	unfit    error
	visit    func(id NodeID, match, next, epoch uint64)
}

// reign is who led a term. A restart forgets leadership, so that another life of a node is another leader.
type reign struct {
	id   NodeID
	life uint64
}

// member is a name, with what is known of the node that has it.
type member struct {
	id     NodeID
	number int32
	life   uint64 // counts starts, of all nodes
	node   Node   // nil while it does not run
	disk   Disk   // nil until it first starts, and once it is wiped
	was    view   // as of the last look
	chain  []link // configurations in the log above its base, oldest first
	peers  []peer // while it leads
	state  state
	// durable is what was last seen on its disk.
	durable durable
	wiped   uint64 // the latest term that had a leader when the disk was lost; 0 for never
}

// view is what changes in a node, but for peers.
type view struct {
	term          uint64
	vote          NodeID
	leads         bool
	commit        uint64
	applied       uint64
	base          uint64
	end           Mark
	configuration uint64
}

// unknown is no index of a configuration: whatever a node that starts goes by is judged.
const unknown = ^uint64(0)

// New is a Checker for one run.
func New() *Checker {
	c := &Checker{
		members: make(map[NodeID]*member), leaders: make(map[uint64]reign),
		granted: make(map[grant]NodeID), executed: make(map[command]execution),
	}
	c.gather = func(index uint64, conf Configuration) { c.gathered = append(c.gathered, gathered{index, conf}) }
	c.visit = c.visitPeer
	c.Reset()
	return c
}

// Reset forgets everything but the memory that it was kept in.
func (c *Checker) Reset() {
	clear(c.members)
	clear(c.leaders)
	clear(c.granted)
	clear(c.executed)
	clear(c.numbers)
	clear(c.configurations)
	clear(c.settled)
	clear(c.gathered)
	c.numbers, c.lives, c.latest = c.numbers[:0], 0, 0
	c.variants, c.more, c.configurations = c.variants[:0], c.more[:0], c.configurations[:0]
	c.committed = append(c.committed[:0], commitment{known: true})
	c.decided, c.settled = c.decided[:0], c.settled[:0]
	c.acknowledged = 0
	c.gathered, c.leader, c.unfit = c.gathered[:0], nil, nil
}

// Leaders is the number of terms that a leader was seen in.
func (c *Checker) Leaders() int { return len(c.leaders) }

// Committed is the highest index that any node was seen to commit.
func (c *Checker) Committed() uint64 { return uint64(len(c.committed) - 1) }

func (c *Checker) member(id NodeID) *member {
	s := c.members[id]
	if s == nil {
		s = &member{id: id, number: int32(len(c.numbers))}
		c.members[id] = s
		c.numbers = append(c.numbers, s)
	}
	return s
}

// Start begins a life of a node: it was made from d and has done nothing yet. It remembers what was
// durable of its last life, if the disk was not lost.
func (c *Checker) Start(id NodeID, n Node, d Disk) error {
	s := c.member(id)
	if s.node != nil {
		c.Stop(id)
	}
	if s.disk != nil {
		if err := c.outlived(s, d); err != nil {
			return err
		}
	}
	if err := s.remembers(n, d); err != nil {
		return err
	}
	c.lives++
	s.life, s.node, s.disk = c.lives, n, d
	// The log as it was is where the comparison of the new one begins; all else starts over.
	s.was = view{end: s.was.end, term: d.Term(), vote: d.Vote(), configuration: unknown}
	return c.look(s)
}

// Stop ends a life: the node crashed or was stopped. What is on its disk goes on counting.
func (c *Checker) Stop(id NodeID) {
	s := c.members[id]
	if s == nil || s.node == nil {
		return
	}
	if c.outlived(s, s.disk) == nil { // else Start tells
		s.noteDurable()
	}
	s.node, s.peers, s.state = nil, s.peers[:0], state{}
}

// Wipe says that a node's disk was lost on purpose, after the node was removed: the name begins anew.
// That is safe only once no majority that counts the name can elect any more: a voter that was forgotten
// votes again, and whoever missed its removal may win by that. I4 tells when one did.
func (c *Checker) Wipe(id NodeID) {
	s := c.members[id]
	if s == nil {
		return
	}
	for g := range c.granted {
		if g.voter == id {
			delete(c.granted, g)
		}
	}
	*s = member{id: id, number: s.number, wiped: c.latest}
}

// Step looks at a node after a step of it whose effects have left it. Of a node that does not run
// nothing is said.
func (c *Checker) Step(id NodeID) error {
	s := c.members[id]
	if s == nil || s.node == nil {
		return nil
	}
	return c.look(s)
}

func (c *Checker) look(s *member) error {
	n := s.node
	now := view{
		term: n.Term(), vote: n.Vote(), leads: n.Leads(), commit: n.Commit(), applied: n.Applied(),
		base: n.BaseIndex(), configuration: n.ConfigurationIndex(),
	}
	now.end.Index = n.LastIndex()
	var found bool
	if now.end.Term, now.end.Checksum, found = n.Entry(now.end.Index); !found {
		return fmt.Errorf("invariant: %s cannot tell its last entry, %d", s.id, now.end.Index)
	}
	if now != s.was {
		if err := c.compare(s, now); err != nil {
			return err
		}
	}
	if now.leads {
		return c.lookAtPeers(s)
	}
	return nil
}

// compare judges what changed in a node since the last look at it, and makes now the last look.
func (c *Checker) compare(s *member, now view) error {
	was := s.was
	if now.term < was.term {
		return s.broke("I6", "%s went back from term %d to %d.", s.id, was.term, now.term)
	}
	if now.term == was.term && was.vote != "" && now.vote != was.vote {
		return s.broke("I7", "%s votes for %q in term %d, and had voted for %s.", s.id, now.vote, now.term, was.vote)
	}
	if err := s.compareProgress(now); err != nil {
		return err
	}
	kept, err := c.compareLog(s, now)
	if err != nil {
		return err
	}
	crowned := now.leads && (!was.leads || now.term != was.term)
	if crowned {
		if err := c.crown(s, now); err != nil {
			return err
		}
	}
	if now.commit != was.commit || kept < was.end.Index {
		if err := c.compareCommit(s, now); err != nil {
			return err
		}
	}
	if now.base != was.base || now.configuration != was.configuration {
		if err := c.compareBase(s, now); err != nil {
			return err
		}
	}
	if crowned || !now.leads {
		s.peers = s.peers[:0]
	}
	s.was = now
	s.noteDurable()
	return nil
}

// elected tells whether a quorum of the configuration in force gave a node its vote of a term. Its own it
// needs not send.
func (c *Checker) elected(s *member, term uint64) bool {
	conf := s.node.Configuration()
	for _, half := range [...][]NodeID{conf.Voters, conf.Outgoing} {
		votes := 0
		for _, id := range half {
			if id == s.id || c.granted[grant{id, term}] == s.id {
				votes++
			}
		}
		if len(half) > 0 && votes <= len(half)/2 {
			return false
		}
	}
	return true
}

// crown notes a new leader: I1, I4.
func (c *Checker) crown(s *member, now view) error {
	r := reign{s.id, s.life}
	switch before, known := c.leaders[now.term]; {
	case !known:
		c.leaders[now.term] = r
		c.latest = max(c.latest, now.term)
		if !c.elected(s, now.term) {
			return s.broke("I1", "%s leads term %d, and no quorum gave it its vote.", s.id, now.term)
		}
	case before.id != r.id:
		return s.broke("I1", "%s leads term %d, which %s led.", s.id, now.term, before.id)
	case before.life != r.life:
		return s.broke("I1", "%s leads term %d, which it led before it was restarted.", s.id, now.term)
	}
	for i := len(c.decided) - 1; i >= 0; i-- {
		d := c.decided[i]
		if d.term >= now.term {
			continue
		}
		if !c.holdsCommitted(s.node, now, d.index) {
			return s.broke("I4", "%s leads term %d and its log, which ends at %s, lacks entry %s, committed by term %d.",
				s.id, now.term, now.end, c.committed[d.index].mark(d.index), d.term)
		}
		break
	}
	return nil
}

package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/sim"
)

// field is something that can be seen of a node, a client, the cluster or what is under way. A * in its name
// stands for a word and a # for a number, which get and set are given.
type field struct {
	name string
	kind kind
	doc  string
	get  func(s *stage, of int, arg string) (value, error)
	set  func(s *stage, of int, arg string, v value) error // nil when it cannot be set

	words func(s *stage, of int) []string // that can stand for the * or #, where there is one now
}

// owner is what a name begins with.
type owner uint8

const (
	ownerNode owner = iota
	ownerCluster
	ownerMessages
	ownerClient
	ownerSettings
)

// fields are all names, by what they begin with.
func fields(o owner) []field {
	switch o {
	case ownerNode:
		return nodeFields
	case ownerCluster:
		return clusterFields
	case ownerMessages:
		return messageFields
	case ownerClient:
		return clientFields
	}
	return settingFields
}

// core has a field be that of a node that runs.
func core(of func(*raft.Raft) value) func(*stage, int, string) (value, error) {
	return func(s *stage, i int, _ string) (value, error) {
		n := s.hand.Look(i)
		if !n.Alive {
			return value{}, fmt.Errorf("%s is down", n.ID)
		}
		return of(n.Replica.Core()), nil
	}
}

// look has a field be that of a node, dead or alive.
func look(of func(*sim.Hand, int) value) func(*stage, int, string) (value, error) {
	return func(s *stage, i int, _ string) (value, error) { return of(s.hand, i), nil }
}

// configuration has a field be that of the configuration that a node goes by.
func configuration(of func(raft.Configuration) value) func(*stage, int, string) (value, error) {
	return core(func(r *raft.Raft) value { return of(r.Configuration()) })
}

func ids(nodes ...raft.NodeID) value {
	var found []int
	for _, id := range nodes {
		if i, ok := nodeName(string(id)); ok && id != "" {
			found = append(found, i)
		}
	}
	return nodeSet(found...)
}

// peer has a field be what a leader knows of a peer.
func peer(of func(raft.PeerProgress) value) func(*stage, int, string) (value, error) {
	return func(s *stage, i int, arg string) (value, error) {
		n := s.hand.Look(i)
		other, ok := nodeName(arg)
		switch {
		case !ok:
			return value{}, fmt.Errorf("%q is no node", arg)
		case !n.Alive:
			return value{}, fmt.Errorf("%s is down", n.ID)
		}
		p, known := n.Replica.Core().Status().Progress[raft.NodeID(name(other))]
		if !known {
			return value{}, fmt.Errorf("%s does not replicate to %s", n.ID, name(other))
		}
		return of(p), nil
	}
}

// entries has a field be made of a node's log.
func entries(of func(raft.Entry) string) func(*stage, int, string) (value, error) {
	return func(s *stage, i int, _ string) (value, error) {
		var found []string
		for _, e := range s.log(i) {
			if text := of(e); text != "" {
				found = append(found, text)
			}
		}
		return list(found), nil
	}
}

// log is what a node's log holds: as its process sees it, or its disk when it is down.
func (s *stage) log(i int) (log []raft.Entry) {
	n := s.hand.Look(i)
	first := n.Durable.Base + 1
	if n.Alive {
		first = n.Replica.Core().BaseIndex() + 1
	}
	for index := first; ; index++ {
		e, found := s.hand.Entry(i, index)
		if !found {
			return log
		}
		log = append(log, e)
	}
}

// content is an entry for people.
func content(e raft.Entry) string {
	switch e.Type {
	case raft.EntryNoOp:
		return "no-op"
	case raft.EntryConfiguration:
		return "configuration"
	}
	c, err := fsm.Decode(e.Data)
	if err != nil {
		return "damaged"
	}
	switch c.Op {
	case fsm.Write, fsm.CAS:
		return c.Value
	case fsm.Delete:
		return "delete"
	case fsm.OpenSession:
		return "open-session"
	case fsm.CloseSession:
		return "close-session"
	}
	return "clock"
}

// indexes are those of a node's log.
func indexes(s *stage, i int) (words []string) {
	for _, e := range s.log(i) {
		words = append(words, strconv.FormatUint(e.Index, 10))
	}
	return words
}

// keys are those that clients have written.
func keys(s *stage, _ int) []string { return s.keys }

// replicated are the peers that a leader replicates to.
func replicated(s *stage, i int) (words []string) {
	n := s.hand.Look(i)
	if !n.Alive {
		return nil
	}
	for id := range n.Replica.Core().Status().Progress {
		words = append(words, short(id))
	}
	slices.SortFunc(words, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return words
}

// kinds are those of messages under way.
func kinds(s *stage, _ int) (words []string) {
	for _, k := range messageKinds {
		if len(k.types) == 1 && len(s.matching(filter{kind: k.types})) > 0 {
			words = append(words, k.name)
		}
	}
	return words
}

// role is what a node takes itself for, or that it is down.
func role(h *sim.Hand, i int) value {
	if n := h.Look(i); n.Alive {
		return text(n.Replica.Core().Role().String())
	}
	return text("down")
}

func stored(s *stage, i int, key string) (value, error) {
	n := s.hand.Look(i)
	if !n.Alive {
		return value{}, fmt.Errorf("%s is down", n.ID)
	}
	r, err := n.Replica.Stale(key)
	return text(r.Value), err
}

// maxClock bounds the rate of a clock, in percent.
const maxClock = 1000

var nodeFields = []field{
	{name: "state", kind: kindText, doc: "follower, pre-candidate, candidate, leader or down", get: look(role)},
	{name: "term", kind: kindNumber, doc: "its current term", get: core(func(r *raft.Raft) value { return number(r.Term()) })},
	{name: "vote", kind: kindNodes, doc: "whom it voted for in its term", get: core(func(r *raft.Raft) value { return ids(r.Vote()) })},
	{name: "leader", kind: kindNodes, doc: "the leader of its term, as far as it knows", get: core(func(r *raft.Raft) value { return ids(r.Leader()) })},
	{name: "commit", kind: kindNumber, doc: "its commit index", get: core(func(r *raft.Raft) value { return number(r.Commit()) })},
	{name: "applied", kind: kindNumber, doc: "up to where it has applied its log", get: core(func(r *raft.Raft) value { return number(r.Applied()) })},
	{
		name: "leaderTimeout", kind: kindNumber, doc: "after how many more ticks without word from a leader it campaigns; can be set",
		get: core(func(r *raft.Raft) value { return number(uint64(r.ElectionIn())) }),
		set: func(s *stage, i int, _ string, v value) error {
			n := s.hand.Look(i)
			if !n.Alive {
				return fmt.Errorf("%s is down", n.ID)
			}
			n.Replica.Core().SetElectionIn(int(min(v.number, maxTicks)))
			return nil
		},
	},
	{
		name: "clock", kind: kindNumber, doc: "the rate of its clock, in percent of the true one; can be set, to 1000 at most",
		get: func(s *stage, i int, _ string) (value, error) { return number(uint64(s.clock[i])), nil },
		set: func(s *stage, i int, _ string, v value) error {
			if v.number > maxClock {
				return fmt.Errorf("a clock runs at %d percent at most", maxClock)
			}
			s.clock[i] = int(v.number)
			return nil
		},
	},
	{name: "alive", kind: kindFlag, doc: "its process runs, paused or not", get: look(func(h *sim.Hand, i int) value { return flag(h.Look(i).Alive) })},
	{name: "paused", kind: kindFlag, doc: "its process is paused", get: look(func(h *sim.Hand, i int) value { return flag(h.Look(i).Paused) })},
	{name: "lives", kind: kindNumber, doc: "how many processes it has had, ended or not", get: look(func(h *sim.Hand, i int) value { return number(uint64(h.Look(i).Processes)) })},
	{name: "error", kind: kindText, doc: "why its last process ended by itself; none when it did not", get: look(func(h *sim.Hand, i int) value {
		if err := h.Look(i).Died; err != nil {
			return text(err.Error())
		}
		return text("")
	})},

	{name: "log.firstIndex", kind: kindNumber, doc: "index of the first entry that its log still has, or would have", get: core(func(r *raft.Raft) value { return number(r.BaseIndex() + 1) })},
	{name: "log.lastIndex", kind: kindNumber, doc: "index of its last entry", get: core(func(r *raft.Raft) value { return number(r.LastIndex()) })},
	{name: "log.lastTerm", kind: kindNumber, doc: "term of its last entry", get: core(func(r *raft.Raft) value { return number(r.Status().LastTerm) })},
	{name: "log.terms", kind: kindList, doc: "the terms of its entries, in order; also of a node that is down", get: entries(func(e raft.Entry) string { return strconv.FormatUint(e.Term, 10) })},
	{name: "log.commands", kind: kindList, doc: "the values that its entries write, in order", get: entries(func(e raft.Entry) string {
		if e.Type != raft.EntryCommand {
			return ""
		}
		return content(e)
	})},
	{name: "log.#", kind: kindText, doc: "its entry at an index: what it writes, no-op, configuration, or none", words: indexes, get: func(s *stage, i int, arg string) (value, error) {
		index, err := strconv.ParseUint(arg, 10, 64)
		if err != nil {
			return value{}, err // the parser has seen to that
		}
		e, found := s.hand.Entry(i, index)
		if !found {
			return text(""), nil
		}
		return text(content(e)), nil
	}},

	{name: "config.voters", kind: kindNodes, doc: "the voters it goes by; in a joint configuration those of Cnew", get: configuration(func(c raft.Configuration) value { return ids(c.Voters...) })},
	{name: "config.outgoing", kind: kindNodes, doc: "the voters of Cold; none outside of a joint configuration", get: configuration(func(c raft.Configuration) value { return ids(c.Outgoing...) })},
	{name: "config.learners", kind: kindNodes, doc: "the learners", get: configuration(func(c raft.Configuration) value { return ids(c.Learners...) })},
	{name: "config.readOnly", kind: kindNodes, doc: "the read-only peers", get: configuration(func(c raft.Configuration) value { return ids(c.ReadOnly...) })},
	{name: "config.members", kind: kindNodes, doc: "all of these", get: configuration(func(c raft.Configuration) value { return ids(c.Members()...) })},
	{name: "config.joint", kind: kindFlag, doc: "it is Cold,new", get: configuration(func(c raft.Configuration) value { return flag(c.Joint()) })},
	{name: "config.index", kind: kindNumber, doc: "index of its entry", get: core(func(r *raft.Raft) value { return number(r.ConfigurationIndex()) })},
	{name: "config.committed", kind: kindFlag, doc: "the node knows it to be committed", get: core(func(r *raft.Raft) value { return flag(r.ConfigurationIndex() <= r.Commit()) })},

	{name: "snapshot.index", kind: kindNumber, doc: "index of its latest snapshot", get: core(func(r *raft.Raft) value { return number(r.LatestSnapshot().Index) })},
	{name: "snapshot.chunks", kind: kindNumber, doc: "of how many chunks that is", get: core(func(r *raft.Raft) value { return number(r.LatestSnapshot().Chunks) })},
	{name: "snapshot.received", kind: kindNumber, doc: "how many chunks it holds of one that it is being sent", get: core(func(r *raft.Raft) value { return number(r.ReceivedSnapshot().Next) })},

	{name: "stateMachine.hash", kind: kindText, doc: "the hash of its state: equal on nodes that have applied the same", get: func(s *stage, i int, _ string) (value, error) {
		n := s.hand.Look(i)
		if !n.Alive {
			return value{}, fmt.Errorf("%s is down", n.ID)
		}
		return text(fmt.Sprintf("%016x", n.Replica.Status().StateHash)), nil
	}},
	{name: "stateMachine.*", kind: kindText, doc: "what its state machine holds under a key; `data` is what plain commands write", words: keys, get: stored},

	{name: "peers.*.match", kind: kindNumber, doc: "of a leader: up to where it knows a peer's log to agree", words: replicated, get: peer(func(p raft.PeerProgress) value { return number(p.Match) })},
	{name: "peers.*.next", kind: kindNumber, doc: "of a leader: the next entry it sends there", words: replicated, get: peer(func(p raft.PeerProgress) value { return number(p.Next) })},
	{name: "peers.*.state", kind: kindText, doc: "of a leader: probe, replicate or snapshot", words: replicated, get: peer(func(p raft.PeerProgress) value { return text(p.State) })},
	{name: "peers.*.inFlight", kind: kindNumber, doc: "of a leader: appends there without an answer yet", words: replicated, get: peer(func(p raft.PeerProgress) value { return number(uint64(p.InFlight)) })},
	{name: "upstream", kind: kindNodes, doc: "of a read-only peer: whom it fetches from", get: core(func(r *raft.Raft) value { return ids(r.Status().Upstream) })},

	{name: "disk.term", kind: kindNumber, doc: "the term that is durable", get: look(func(h *sim.Hand, i int) value { return number(h.Look(i).Durable.Term) })},
	{name: "disk.vote", kind: kindNodes, doc: "the vote that is durable", get: look(func(h *sim.Hand, i int) value { return ids(h.Look(i).Durable.Vote) })},
	{name: "disk.lastIndex", kind: kindNumber, doc: "index of the last entry that is durable", get: look(func(h *sim.Hand, i int) value { return number(h.Look(i).Durable.Last) })},
	{name: "disk.hangs", kind: kindFlag, doc: "its process waits for its disk", get: look(func(h *sim.Hand, i int) value { return flag(h.Look(i).Hangs) })},
	{
		name: "disk.full", kind: kindFlag, doc: "there is no space left on it; can be set",
		get: look(func(h *sim.Hand, i int) value { return flag(h.Look(i).Full) }),
		set: func(s *stage, i int, _ string, v value) error {
			s.hand.Fill(i, v.flag)
			return nil
		},
	},
}

var clusterFields = []field{
	{name: "hasLeader", kind: kindFlag, doc: "some node that runs takes itself for the leader", get: func(s *stage, _ int, _ string) (value, error) { return flag(s.leader() >= 0), nil }},
	{name: "leader", kind: kindNodes, doc: "the leader of the latest term that runs", get: func(s *stage, _ int, _ string) (value, error) {
		if l := s.leader(); l >= 0 {
			return nodeSet(l), nil
		}
		return nodeSet(), nil
	}},
	{name: "leaders", kind: kindNodes, doc: "all that take themselves for the leader", get: func(s *stage, _ int, _ string) (value, error) {
		var found []int
		for i := range s.hand.Len() {
			if n := s.hand.Look(i); n.Alive && n.Replica.Core().Leads() {
				found = append(found, i)
			}
		}
		return nodeSet(found...), nil
	}},
	{name: "term", kind: kindNumber, doc: "the latest term of any node that runs", get: highest((*raft.Raft).Term)},
	{name: "commit", kind: kindNumber, doc: "the highest commit index of any node that runs", get: highest((*raft.Raft).Commit)},
	{name: "members", kind: kindNodes, doc: "all members, as of the latest leader", get: func(s *stage, _ int, _ string) (value, error) { return ids(s.hand.Members().Members()...), nil }},
	{name: "voters", kind: kindNodes, doc: "the voters among them", get: func(s *stage, _ int, _ string) (value, error) { return ids(s.hand.Members().Voters...), nil }},
	{name: "down", kind: kindNodes, doc: "the nodes that do not run", get: func(s *stage, _ int, _ string) (value, error) {
		found, err := s.part(part{text: "down", node: -1})
		return nodeSet(found...), err
	}},
	{name: "time", kind: kindNumber, doc: "ticks since the beginning", get: func(s *stage, _ int, _ string) (value, error) { return number(uint64(s.hand.Ticks())), nil }},
}

// highest is the greatest of a number of all nodes that run.
func highest(of func(*raft.Raft) uint64) func(*stage, int, string) (value, error) {
	return func(s *stage, _ int, _ string) (value, error) {
		var most uint64
		for i := range s.hand.Len() {
			if n := s.hand.Look(i); n.Alive {
				most = max(most, of(n.Replica.Core()))
			}
		}
		return number(most), nil
	}
}

var messageFields = []field{
	{name: "count", kind: kindNumber, doc: "how many messages are under way, held or not", get: func(s *stage, _ int, _ string) (value, error) { return number(uint64(len(s.hand.Flights()))), nil }},
	{name: "held", kind: kindNumber, doc: "how many of them are held", get: func(s *stage, _ int, _ string) (value, error) {
		held := uint64(0)
		for _, f := range s.hand.Flights() {
			if f.Held {
				held++
			}
		}
		return number(held), nil
	}},
	{name: "*", kind: kindNumber, doc: "how many of a kind are under way: `messages.append`", words: kinds, get: func(s *stage, _ int, arg string) (value, error) {
		kind, ok := messageKind(arg)
		if !ok {
			return value{}, fmt.Errorf("there is no kind of message %q", arg)
		}
		return number(uint64(len(s.matching(filter{kind: kind})))), nil
	}},
}

// answer has a field be that of a client's latest answer.
func answer(of func(*stage, *response) value) func(*stage, int, string) (value, error) {
	return func(s *stage, i int, _ string) (value, error) {
		r := s.clients[i].last
		if r == nil {
			return value{}, fmt.Errorf("%s has no answer yet", s.clients[i].name)
		}
		return of(s, r), nil
	}
}

var clientFields = []field{
	{name: "pending", kind: kindNumber, doc: "how many of its requests have no answer yet", get: func(s *stage, i int, _ string) (value, error) { return number(uint64(s.clients[i].pending)), nil }},
	{name: "session", kind: kindNumber, doc: "its session; 0 when it has none", get: func(s *stage, i int, _ string) (value, error) { return number(s.clients[i].session), nil }},
	{name: "lastResponse.ok", kind: kindFlag, doc: "its latest answer is no refusal", get: answer(func(_ *stage, r *response) value { return flag(r.err == nil && r.refusal() == "") })},
	{name: "lastResponse.value", kind: kindText, doc: "what it read, or none", get: answer(func(_ *stage, r *response) value { return text(r.result.Value) })},
	{name: "lastResponse.error", kind: kindText, doc: "why it was refused; none when it was not", get: answer(func(_ *stage, r *response) value { return text(r.refusal()) })},
	{name: "lastResponse.revision", kind: kindNumber, doc: "index of the entry that wrote the value", get: answer(func(_ *stage, r *response) value { return number(r.result.Revision) })},
	{name: "lastResponse.index", kind: kindNumber, doc: "up to where the node that answered had applied its log", get: answer(func(_ *stage, r *response) value { return number(r.result.Index) })},
	{name: "lastResponse.node", kind: kindNodes, doc: "who answered", get: answer(func(_ *stage, r *response) value { return ids(r.result.Node) })},
	{name: "lastResponse.repeated", kind: kindFlag, doc: "the command had been applied before", get: answer(func(_ *stage, r *response) value { return flag(r.result.Repeated) })},
	{name: "lastResponse.byLease", kind: kindFlag, doc: "a leader's lease answered the read", get: answer(func(_ *stage, r *response) value { return flag(r.result.Lease) })},
}

// setting has a field be one that nodes go by which start from now on.
func setting(name, doc string, of func(*sim.HandOptions) *int) field {
	return field{
		name: name, kind: kindNumber, doc: doc,
		get: func(s *stage, _ int, _ string) (value, error) {
			var v value
			s.hand.Configure(func(o *sim.HandOptions) { v = number(uint64(*of(o))) })
			return v, nil
		},
		set: func(s *stage, _ int, _ string, v value) error {
			s.hand.Configure(func(o *sim.HandOptions) { *of(o) = int(min(v.number, maxTicks)) })
			return nil
		},
	}
}

var settingFields = []field{
	setting("maxLeaderTicks", "after how many ticks a leader ends its reign; 0 is never", func(o *sim.HandOptions) *int { return &o.MaxLeaderTicks }),
	setting("leaseDrift", "by how many percent clocks may differ where leaders answer reads by lease; 0 is without leases", func(o *sim.HandOptions) *int { return &o.LeaseDrift }),
	setting("promotionLag", "how many entries a learner may be behind and still be promoted", func(o *sim.HandOptions) *int { return &o.PromotionLag }),
	setting("chunkBytes", "about how large a chunk of a snapshot is", func(o *sim.HandOptions) *int { return &o.Snapshots.ChunkBytes }),
}

// path is a name as a scenario writes it.
type path struct {
	text   string
	column int
	owner  owner
	nodes  selector // of ownerNode
	client int      // of ownerClient
	field  *field
	arg    string
}

// path takes a name: several nodes may stand before it.
func (p *parser) path() (path, error) {
	found := path{column: p.column()}
	start := p.at
	for p.at+1 < len(p.tokens) && p.tokens[p.at+1].text == "," {
		one, err := p.node()
		if err != nil {
			return found, err
		}
		found.nodes.parts = append(found.nodes.parts, one.parts...)
		p.at++
	}
	p.accept("a")
	p.offersName = p.offersName || !p.more()
	if !p.more() || p.tokens[p.at].quoted {
		return found, p.wanted("a name such as leader.term")
	}
	head, rest, dotted := strings.Cut(p.tokens[p.at].text, ".")
	if !dotted {
		return found, p.wanted("a name such as leader.term")
	}
	switch {
	case head == "cluster":
		found.owner = ownerCluster
	case head == "messages":
		found.owner = ownerMessages
	case head == "settings":
		found.owner = ownerSettings
	case head == "lastResponse":
		found.owner, found.client, rest = ownerClient, -1, "lastResponse."+rest
	case slices.Contains(p.clients, head):
		found.owner, found.client = ownerClient, slices.Index(p.clients, head)
	case head == "any":
		found.nodes = selector{parts: []part{{text: "all", node: -1}}, any: true}
	default:
		_, isNode := nodeName(head)
		if !isNode && !slices.Contains(groupNames(), head) && !slices.Contains(p.lets, head) {
			e := &Error{Column: p.column(), Text: fmt.Sprintf("%q is no name: nothing is called %q", p.tokens[p.at].text, head)}
			e.Suggestion = nearest(head, append(append(groupNames(), p.clients...), p.lets...))
			return found, e
		}
		one, err := p.selects(head)
		if err != nil {
			return found, err
		}
		found.nodes.parts = append(found.nodes.parts, one.parts...)
	}
	if len(found.nodes.parts) > 0 && found.owner != ownerNode {
		return found, p.fail("%q belongs to no node", p.tokens[p.at].text)
	}
	var names []string
	for i := range fields(found.owner) {
		f := &fields(found.owner)[i]
		names = append(names, f.name)
		if arg, ok := match(f.name, rest); ok {
			found.field, found.arg = f, arg
			break
		}
	}
	if found.field == nil {
		return found, &Error{Column: p.column() + len(head) + 1, Text: fmt.Sprintf("nothing is called %q in %q", rest, p.tokens[p.at].text), Suggestion: nearest(rest, names)}
	}
	p.at++
	for _, t := range p.tokens[start:p.at] {
		found.text += t.text
	}
	return found, nil
}

// full is the name with a word in place of its * or #.
func (f *field) full(word string) string {
	return strings.NewReplacer("*", word, "#", word).Replace(f.name)
}

// match tells whether a name is that of a field, and what stands for its * or #.
func match(pattern, name string) (arg string, ok bool) {
	at := strings.IndexAny(pattern, "*#")
	if at < 0 {
		return "", pattern == name
	}
	before, after := pattern[:at], pattern[at+1:]
	if len(name) <= len(before)+len(after) || !strings.HasPrefix(name, before) || !strings.HasSuffix(name, after) {
		return "", false
	}
	arg = name[len(before) : len(name)-len(after)]
	if pattern[at] == '#' {
		_, err := strconv.ParseUint(arg, 10, 64)
		return arg, err == nil
	}
	return arg, !strings.Contains(arg, ".")
}

// of are what a path's field belongs to now: nodes, a client, or just one of something.
func (s *stage) of(p *path) ([]int, error) {
	switch p.owner {
	case ownerNode:
		return s.pick(p.nodes)
	case ownerClient:
		if p.client >= 0 {
			return []int{p.client}, nil
		}
		return []int{s.lastClient}, nil
	}
	return []int{0}, nil
}

// get is the value of a name that has just one.
func (s *stage) get(p *path) (value, error) {
	of, err := s.of(p)
	if err != nil {
		return value{}, err
	}
	if len(of) > 1 {
		return value{}, fmt.Errorf("%s is %d values, and one is needed", p.text, len(of))
	}
	return p.field.get(s, of[0], p.arg)
}

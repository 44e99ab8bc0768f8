package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
	"coup/raftnode/replica"
)

// anybody is the client without a name.
const anybody = "client"

// dataKey is written by commands that are nothing but a value.
const dataKey = "data"

// client is one who asks for things.
type client struct {
	name    string
	pending int
	waiting []*response
	last    *response

	session  uint64
	sequence uint64
	acked    uint64 // all sequences up to it are answered
	command  *fsm.Command
}

// response is what a client is told, some day.
type response struct {
	node    int
	process int // of the node
	what    string
	done    bool
	result  replica.Result
	err     error
}

func (s *stage) newClient(name string) {
	s.clients = append(s.clients, &client{name: name})
}

// errLost ends a request whose process ended.
var errLost = errors.New("connection lost: whether it was done is not known")

// refusal is why a request had no effect, or may have had none; empty when it had.
func (r *response) refusal() string {
	switch {
	case r.err != nil:
		return r.err.Error()
	}
	return refusals[r.result.Code]
}

// outcome is what the client was told, for people.
func (r *response) outcome() string {
	switch refusal := r.refusal(); {
	case refusal != "":
		return refusal
	case strings.HasPrefix(r.what, "read"):
		return text(r.result.Value).String()
	}
	return "ok"
}

// refusals are what a state machine may say to a command that is in the log.
var refusals = map[fsm.Code]string{
	fsm.Mismatch: "mismatch: the key holds something else", fsm.SessionExpired: "session expired", fsm.SequenceForgotten: "sequence forgotten",
}

// hangUp ends the requests whose process ended.
func (s *stage) hangUp() {
	for i, c := range s.clients {
		for _, r := range slices.Clone(c.waiting) {
			if n := s.hand.Look(r.node); !n.Alive || n.Processes != r.process {
				s.answered(i, r, replica.Result{}, errLost)
			}
		}
	}
}

func (s *stage) answered(who int, r *response, result replica.Result, err error) {
	c := s.clients[who]
	if r.done {
		return
	}
	r.done, r.result, r.err = true, result, err
	c.waiting = slices.DeleteFunc(c.waiting, func(w *response) bool { return w == r })
	c.pending = len(c.waiting)
	c.last, s.lastClient = r, who
	s.hand.Answer(c.name, r.node, r.what+": "+r.outcome())
	if s.heard != nil {
		s.heard(who, r)
	}
}

// request sends a request to a node. An answer that refuses it at once is the error.
func (s *stage) request(who, node int, what string, send func(done func(replica.Result, error)) error) error {
	c := s.clients[who]
	r := &response{node: node, process: s.hand.Look(node).Processes, what: what}
	s.hand.Request(c.name, node, what)
	c.waiting = append(c.waiting, r)
	c.pending = len(c.waiting)
	s.send(who, r, send)
	if r.done {
		return r.err
	}
	return nil
}

// send sends a request. A leader that has committed nothing of its term yet is asked again at the next tick, unless the
// refusal is what the scenario is after.
func (s *stage) send(who int, r *response, send func(done func(replica.Result, error)) error) {
	err := send(func(result replica.Result, err error) {
		if errors.Is(err, raft.ErrNotReady) && !s.trying {
			s.deferred = append(s.deferred, func() {
				if !r.done {
					s.send(who, r, send)
				}
			})
			return
		}
		s.answered(who, r, result, err)
	})
	if err != nil {
		s.answered(who, r, replica.Result{}, fmt.Errorf("%s: %w", name(r.node), err))
	}
}

// target is the node that a client asks: the given one, or else the leader.
func (s *stage) target(at *selector) (int, error) {
	if at != nil {
		return s.one(*at)
	}
	if l := s.leader(); l >= 0 {
		return l, nil
	}
	return 0, errors.New("there is no leader to ask; say whom with: at NODE")
}

// operations are what clients ask for, by the word that begins each.
var operations = []string{"write", "cas", "delete", "read", "add", "remove", "promote", "demote", "transfer", "step", "snapshot", "truncate", "open", "close", "retry"}

func isOperation(word string) bool { return slices.Contains(operations, word) }

// operation is what a client asks a node for.
type operation func(s *stage, who, node int) error

func parseClient(p *parser) (func(*stage) error, error) {
	who := 0
	p.offer(p.clients[1:]...)
	if p.more() && !p.tokens[p.at].quoted {
		if i := slices.Index(p.clients, p.tokens[p.at].text); i > 0 {
			who = i
			p.at++
		}
	}
	var asks []operation
	if p.more() && !p.tokens[p.at].quoted && isOperation(p.tokens[p.at].text) {
		one, err := p.operation()
		if err != nil {
			return nil, err
		}
		asks = append(asks, one)
	} else {
		for p.more() && !p.peek("at") && !p.peek("expecting") {
			value, err := p.word("a command")
			if err != nil {
				return nil, err
			}
			asks = append(asks, command(fsm.Command{Op: fsm.Write, Key: dataKey, Value: value}))
		}
	}
	if len(asks) == 0 {
		return nil, p.wanted("a command or an operation", operations...)
	}
	at, err := p.where()
	if err != nil {
		return nil, err
	}
	return func(s *stage) error {
		for _, ask := range asks {
			node, err := s.target(at)
			if err != nil {
				return err
			}
			if err := ask(s, who, node); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// where takes the node that is asked, if it is said.
func (p *parser) where() (*selector, error) {
	if !p.accept("at") {
		return nil, nil
	}
	at, err := p.node()
	return &at, err
}

func (p *parser) operation() (operation, error) {
	op, err := p.word("an operation")
	if err != nil {
		return nil, err
	}
	switch op {
	case "write":
		words, err := p.several("a key", "a value")
		if err != nil {
			return nil, err
		}
		return command(fsm.Command{Op: fsm.Write, Key: words[0], Value: words[1]}), nil
	case "cas":
		words, err := p.several("a key", "the value that is expected", "the new value")
		if err != nil {
			return nil, err
		}
		return command(fsm.Command{Op: fsm.CAS, Key: words[0], Expect: words[1], Value: words[2]}), nil
	case "delete":
		key, err := p.word("a key")
		return command(fsm.Command{Op: fsm.Delete, Key: key}), err
	case "read":
		return p.read()
	case "transfer":
		if err := p.expect("to"); err != nil {
			return nil, err
		}
		to, err := p.node()
		return order("transfer to "+to.String(), func(s *stage, r *replica.Replica) error {
			i, err := s.one(to)
			if err != nil {
				return err
			}
			return r.Transfer(raft.NodeID(name(i)))
		}), err
	case "step":
		return order("step down", func(_ *stage, r *replica.Replica) error { return r.StepDown() }), p.expect("down")
	case "snapshot":
		return order("snapshot", func(_ *stage, r *replica.Replica) error { return r.TakeSnapshot() }), nil
	case "truncate":
		return order("truncate", func(_ *stage, r *replica.Replica) error { return r.Truncate() }), nil
	case "open":
		return p.openSession()
	case "close":
		return closeSession, p.expect("session")
	case "retry":
		return retry, nil
	}
	p.at--
	return p.changes()
}

func (p *parser) several(what ...string) (words []string, err error) {
	for _, w := range what {
		word, err := p.word(w)
		if err != nil {
			return nil, err
		}
		words = append(words, word)
	}
	return words, nil
}

// command sends a command, within the client's session if it has one.
func command(c fsm.Command) operation {
	return func(s *stage, who, node int) error {
		cl := s.clients[who]
		sent := c
		if cl.session > 0 {
			cl.sequence++
			sent.Session, sent.Sequence, sent.Acked = cl.session, cl.sequence, cl.acked
		}
		cl.command = &sent
		return s.propose(who, node, sent)
	}
}

func (s *stage) propose(who, node int, c fsm.Command) error {
	cl := s.clients[who]
	if i, known := slices.BinarySearch(s.keys, c.Key); !known && c.Key != "" {
		s.keys = slices.Insert(s.keys, i, c.Key)
	}
	return s.request(who, node, asks(c), func(done func(replica.Result, error)) error {
		return s.hand.Propose(node, c, func(r replica.Result, err error) {
			switch {
			case err != nil:
			case c.Op == fsm.OpenSession:
				cl.session, cl.sequence, cl.acked = r.Session, 0, 0
			case c.Op == fsm.CloseSession:
				cl.session = 0
			case c.Sequence == cl.acked+1 && r.Code != fsm.SessionExpired:
				cl.acked = c.Sequence
			}
			done(r, err)
		})
	})
}

// asks is a command for people.
func asks(c fsm.Command) string {
	switch c.Op {
	case fsm.Write:
		return "write " + c.Key + " " + c.Value
	case fsm.CAS:
		return "cas " + c.Key + " " + c.Expect + " " + c.Value
	case fsm.Delete:
		return "delete " + c.Key
	case fsm.OpenSession:
		return "open session"
	}
	return "close session"
}

// retry sends the client's latest command again, just as it was.
func retry(s *stage, who, node int) error {
	c := s.clients[who].command
	if c == nil {
		return fmt.Errorf("%s has sent no command", s.clients[who].name)
	}
	return s.propose(who, node, *c)
}

// defaultTTL is how long a session lasts without use, in ticks.
const defaultTTL = 1000

func (p *parser) openSession() (operation, error) {
	if err := p.expect("session"); err != nil {
		return nil, err
	}
	ttl := defaultTTL
	if p.accept("for") {
		var err error
		if ttl, err = p.number("a number of ticks", 1, maxTicks); err != nil {
			return nil, err
		}
		if !p.accept("tick") && !p.accept("ticks") {
			return nil, p.wanted("ticks", "ticks")
		}
	}
	return func(s *stage, who, node int) error {
		return s.propose(who, node, fsm.Command{Op: fsm.OpenSession, TTL: uint64(ttl) * uint64(tickLength/time.Millisecond)})
	}, nil
}

func closeSession(s *stage, who, node int) error {
	c := s.clients[who]
	if c.session == 0 {
		return fmt.Errorf("%s has no session", c.name)
	}
	return s.propose(who, node, fsm.Command{Op: fsm.CloseSession, Session: c.session})
}

func (p *parser) read() (operation, error) {
	key := dataKey
	if p.more() && !p.peek("at") && !p.peek("by") && !p.peek("stale") && !p.peek("expecting") {
		var err error
		if key, err = p.word("a key"); err != nil {
			return nil, err
		}
	}
	how := replica.Linearizable
	switch {
	case p.accept("by", "lease"):
		how = replica.Lease
	case p.accept("by", "follower"):
		how = replica.Follower
	case p.accept("stale"):
		return func(s *stage, who, node int) error {
			return s.request(who, node, "read "+key+" stale", func(done func(replica.Result, error)) error { return s.hand.Stale(node, key, done) })
		}, nil
	case p.peek("by"):
		p.at++
		return nil, p.wanted("how to read: by lease, or by follower", "lease", "follower")
	}
	return func(s *stage, who, node int) error {
		return s.request(who, node, "read "+key, func(done func(replica.Result, error)) error { return s.hand.Read(node, key, how, done) })
	}, nil
}

// order gives a node an order.
func order(what string, give func(*stage, *replica.Replica) error) operation {
	return func(s *stage, who, node int) error {
		return s.request(who, node, what, func(done func(replica.Result, error)) error {
			return s.hand.Order(node, func(r *replica.Replica) error { return give(s, r) }, func(err error) { done(replica.Result{}, err) })
		})
	}
}

// change is a part of a reconfiguration as it is written.
type change struct {
	op    confchange.Op
	nodes selector
}

// changes takes a reconfiguration: several parts are one request.
func (p *parser) changes() (operation, error) {
	var asked []change
	for {
		op, err := p.word("add, remove, promote or demote")
		if err != nil {
			return nil, err
		}
		c := change{op: confchange.Op(op)}
		switch c.op {
		case confchange.Add, confchange.Remove, confchange.Promote, confchange.Demote:
		default:
			p.at--
			return nil, p.wanted("add, remove, promote or demote", "add", "remove", "promote", "demote")
		}
		if c.nodes, err = p.nodes(); err != nil {
			return nil, err
		}
		if c.op == confchange.Add && p.accept("as") {
			switch {
			case p.accept("learner"):
				c.op = confchange.AddLearner
			case p.accept("read-only"):
				c.op = confchange.AddReadOnly
			default:
				return nil, p.wanted("learner or read-only", "learner", "read-only")
			}
		}
		asked = append(asked, c)
		if !p.accept("and") {
			break
		}
	}
	return func(s *stage, who, node int) error {
		var changes []confchange.Change
		for _, a := range asked {
			picked, err := s.pick(a.nodes)
			if err != nil {
				return err
			}
			for _, i := range picked {
				changes = append(changes, confchange.Change{Op: a.op, Node: raft.NodeID(name(i))})
			}
		}
		return s.request(who, node, fmt.Sprint(changes), func(done func(replica.Result, error)) error { return s.hand.Change(node, changes, done) })
	}, nil
}

package scenario

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"coup/raftnode/raft"
	"coup/sim"
)

// verb is what a statement begins with.
type verb struct {
	name  string
	usage []string // its forms, as docs/scenarios.md and help show them
	help  string
	parse func(*parser) (func(*stage) error, error)
}

// tickLength is how long a tick is, for what is told in milliseconds.
const tickLength = 50 * time.Millisecond

// verbs are all there are, in the order in which help lists them. A function, for try takes any of them.
func verbs() []verb {
	return []verb{
		{"cluster", []string{"cluster of N", "cluster of N with SETTING VALUE {, SETTING VALUE}", "cluster of N ... on pebble"},
			"Starts nodes raft-0 to raft-(N-1) on empty disks. Every scenario begins with it.", parseCluster},
		{"new", []string{"new raft-N", "new raft-N read-only from NODES", "new client NAME"},
			"Starts one more node on an empty disk, which waits to be made a member; or introduces a client.", parseNew},
		{"tick", []string{"tick", "tick N", "tick NODES [N]", "tick bus [N]", "tick until CONDITION [within N]"},
			"Passes time: every node's clock ticks, then the messages that are under way arrive. Or only some nodes' clocks tick; or only the messages arrive.", parseTick},
		{"check", []string{"check CONDITION"}, "Fails the scenario unless the condition holds.", parseCheck},
		{"client", []string{
			"client [NAME] VALUE {VALUE} [at NODE]", "client [NAME] write KEY VALUE | cas KEY OLD NEW | delete KEY", "client [NAME] read [KEY] [by lease | by follower | stale]",
			"client [NAME] open session [for N ticks] | close session | retry", "client [NAME] add NODES [as learner | as read-only] {and CHANGE}", "client [NAME] remove | promote | demote NODES {and CHANGE}",
			"client [NAME] transfer to NODE | step down | snapshot | truncate",
		}, "Asks a node for something: the leader, unless `at` says whom. Plain words are commands that write the key data, one after another. A refusal at once fails the scenario: see try.", parseClient},
		{"try", []string{"try STATEMENT [expecting TEXT]"}, "Plays a statement that must fail, with an error that contains the text.", parseTry},
		{"perhaps", []string{"perhaps STATEMENT"}, "Plays a statement that may fail: one that only a bug makes possible.", parsePerhaps},
		{"set", []string{"set NAME to VALUE"}, "Changes something that can be changed: see `help names`.", parseSet},
		{"let", []string{"let WORD be NAME", "let WORD be NODES"}, "Remembers a value, or who some nodes are now, under a word.", parseLet},
		{"campaign", []string{"campaign NODES"}, "Has nodes campaign at once: their time-out is over, and their clock ticks.", parseCampaign},

		{"cut", []string{"cut NODES from NODES", "cut NODES to NODES"}, "Cuts links, in both directions or in one. What is under way there is lost.", parseCut},
		{"isolate", []string{"isolate NODES"}, "Cuts each of the nodes off from all others.", parseIsolate},
		{"partition", []string{"partition NODES | NODES {| NODES}"}, "Cuts all links between the groups.", parsePartition},
		{"heal", []string{"heal", "heal NODES from NODES", "heal NODES to NODES"}, "Mends links, or all links; `heal` alone also ends every rule about messages.", parseHeal},
		{"drop", messageUsage("drop"), "Loses messages: the oldest under way of a kind, all of them, the next that leave, or every one from now on.", parseDrop},
		{"hold", messageUsage("hold"), "Keeps messages from arriving until they are delivered or released.", parseHold},
		{"duplicate", messageUsage("duplicate"), "Has messages arrive twice.", parseDuplicate},
		{"delay", []string{"delay next [N] MESSAGES by N", "delay every MESSAGES by N"}, "Has messages take so many ticks more.", parseDelay},
		{"deliver", []string{"deliver MESSAGES", "deliver [Nth] [last] MESSAGES", "deliver all [MESSAGES]"}, "Brings the oldest message of a kind, the 2nd, the last or the 2nd last, or all until there is none, held or not: `append`, `append from 0 to 1`, or `append among 0,1`.", parseDeliver},
		{"release", []string{"release [MESSAGES]"}, "Ends the holding of messages under way.", parseRelease},
		{"give", []string{"give up NODES to NODES", "give up oldest NODES to NODES"}, "Has what nodes asked others, and that has no answer yet, time out; or the oldest of it.", parseGiveUp},

		{"crash", []string{"crash NODES [keeping N]", "crash NODE before WRITE", "crash NODE after WRITE"},
			"Ends processes at once. What their disks have not finished is lost, but for the first N writes. Or ends one in the middle of its next write: before it is durable, or after, before anything is said of it.", parseCrash},
		{"start", []string{"start NODES"}, "Starts nodes that are down, on what their disks hold.", parseStart},
		{"wipe", []string{"wipe NODES"}, "Gives nodes that are down an empty disk. They wait to be made members when they start.", parseWipe},
		{"pause", []string{"pause NODES"}, "Stops processes; what comes meanwhile waits.", parsePause},
		{"resume", []string{"resume NODES"}, "Has paused processes go on.", parseResume},
		{"fail", []string{"fail WRITE of NODE [keeping it]"}, "Has the next such write fail. The node stops; of what was written nothing is durable, or all the same it is.", parseFail},
		{"hang", []string{"hang WRITE of NODE"}, "Has the next such write take until flush: until then the node waits, and a crash loses it.", parseHang},
		{"flush", []string{"flush NODES"}, "Ends the hanging of disks: all that was written is durable.", parseFlush},
		{"corrupt", []string{"corrupt NODES"}, "Flips a bit of what the disks of nodes that are down hold.", parseCorrupt},

		{"print", []string{"print", "print nodes | messages | logs", "print NAME"}, "Prints the state of the world, or a part of it. Lines that begin with > after it pin what it prints.", parsePrint},
		{"expect", []string{"expect violation CHECK"}, "Says that the scenario must break an invariant: it ends there, and fails when it does not.", parseExpect},
		{"end", []string{"end without healing"}, "Says that nothing is owed after the last line.", parseEnd},
	}
}

func messageUsage(verb string) []string {
	return []string{verb + " [Nth] [last] MESSAGES", verb + " all MESSAGES", verb + " next [N] MESSAGES", verb + " every MESSAGES"}
}

func find(name string) *verb {
	if name == "restart" {
		name = "start"
	}
	all := verbs()
	if i := slices.IndexFunc(all, func(v verb) bool { return v.name == name }); i >= 0 {
		return &all[i]
	}
	return nil
}

func verbNames() (names []string) {
	for _, v := range verbs() {
		names = append(names, v.name)
	}
	return names
}

// clusterSettings are what a cluster may be begun with.
var clusterSettings = []struct {
	name        string
	least, most int
	doc         string
	set         func(*sim.HandOptions, int)
}{
	{"seed", 0, math.MaxInt, "of all that is drawn, such as time-outs", func(o *sim.HandOptions, n int) { o.Seed = uint64(n) }},
	{"electionTicks", 2, 1000, "the shortest time-out of a follower; default 10", func(o *sim.HandOptions, n int) { o.ElectionTicks = n }},
	{"heartbeatTicks", 1, 999, "a leader's interval between heartbeats; default 2", func(o *sim.HandOptions, n int) { o.HeartbeatTicks = n }},
	{"snapshotEvery", 0, 1 << 30, "how many entries are applied from one snapshot to the next; default 0, only on request", func(o *sim.HandOptions, n int) { o.Snapshots.Every = uint64(n) }},
	{"snapshotKeep", 0, 1 << 30, "how many applied entries truncation leaves in the log", func(o *sim.HandOptions, n int) { o.Snapshots.Keep = uint64(n) }},
	{"snapshotSpare", 0, 1 << 30, "how many entries a leader leaves for peers further behind; default snapshotEvery", func(o *sim.HandOptions, n int) { o.Snapshots.Spare = uint64(n) }},
	{"chunkBytes", 1, 1 << 20, "about how large a chunk of a snapshot is", func(o *sim.HandOptions, n int) { o.Snapshots.ChunkBytes = n }},
	{"appendBytes", 1, 1 << 20, "how much data of entries an append holds at most, though always one entry; default 1 MiB", func(o *sim.HandOptions, n int) { o.MaxMessageBytes = n }},
	{"promotionLag", 1, 1 << 30, "how many entries a learner may be behind and still be promoted; default 64", func(o *sim.HandOptions, n int) { o.PromotionLag = n }},
	{"leaseDrift", 0, 50, "by how many percent clocks may differ where leaders answer reads by lease; default 0, without leases", func(o *sim.HandOptions, n int) { o.LeaseDrift = n }},
	{"maxLeaderTicks", 0, 1 << 30, "after how many ticks a leader ends its reign; default 0, never", func(o *sim.HandOptions, n int) { o.MaxLeaderTicks = n }},
}

func parseCluster(p *parser) (func(*stage) error, error) {
	if p.begun {
		p.at--
		return nil, p.fail("there is a cluster already")
	}
	if err := p.expect("of"); err != nil {
		return nil, err
	}
	n, err := p.number("the number of nodes", 1, maxNodes)
	if err != nil {
		return nil, err
	}
	o := sim.HandOptions{Nodes: n, Seed: 1}
	if p.accept("with") {
		for {
			if err := p.clusterSetting(&o); err != nil {
				return nil, err
			}
			if !p.accept(",") {
				break
			}
		}
	}
	if p.accept("on") {
		if err := p.expect("pebble"); err != nil {
			return nil, err
		}
		o.Store = sim.StorePebble
	}
	p.begun, p.scope.nodes = true, n
	return func(s *stage) error { return s.begin(o) }, nil
}

func (p *parser) clusterSetting(o *sim.HandOptions) error {
	var names []string
	for _, k := range clusterSettings {
		names = append(names, k.name)
		if p.accept(k.name) {
			n, err := p.number(k.name, k.least, k.most)
			k.set(o, n)
			return err
		}
	}
	if p.accept("atMaxReign") {
		switch {
		case p.accept("abdicate"):
			o.AtMaxReign = raft.Abdicate
		case p.accept("exit"):
			o.AtMaxReign = raft.Exit
		default:
			return p.wanted("abdicate or exit", "abdicate", "exit")
		}
		return nil
	}
	return p.wanted("a setting", append(names, "atMaxReign")...)
}

func parseNew(p *parser) (func(*stage) error, error) {
	if p.accept("client") {
		name, err := p.newName("the name of a client")
		if err != nil {
			return nil, err
		}
		if slices.Contains(p.clients, name) || slices.Contains(p.lets, name) {
			p.at--
			return nil, p.fail("there is a %q already", name)
		}
		p.clients = append(p.clients, name)
		return func(s *stage) error {
			s.newClient(name)
			return nil
		}, nil
	}
	next := name(p.scope.nodes)
	if !p.accept(next) && !p.accept(strings.TrimPrefix(next, "raft-")) {
		return nil, p.wanted(fmt.Sprintf("%s, the next node, or client", next), next, "client")
	}
	if p.scope.nodes >= maxNodes {
		return nil, p.fail("there are %d nodes, and no more can be", maxNodes)
	}
	var upstreams *selector
	if p.accept("read-only") {
		if err := p.expect("from"); err != nil {
			return nil, err
		}
		from, err := p.nodes()
		if err != nil {
			return nil, err
		}
		upstreams = &from
	}
	p.scope.nodes++
	return func(s *stage) error {
		var from []raft.NodeID
		if upstreams != nil {
			picked, err := s.pick(*upstreams)
			if err != nil {
				return err
			}
			for _, i := range picked {
				from = append(from, raft.NodeID(name(i)))
			}
		}
		s.addClock()
		return s.hand.Join(upstreams != nil, from)
	}, nil
}

// defaultWithin is how long `tick until` waits.
const defaultWithin = 500

func parseTick(p *parser) (func(*stage) error, error) {
	if p.accept("until") {
		c, err := p.condition()
		if err != nil {
			return nil, err
		}
		within := defaultWithin
		if p.accept("within") {
			if within, err = p.number("a number of ticks", 0, maxTicks); err != nil {
				return nil, err
			}
		}
		return func(s *stage) error { return s.until(c, within) }, nil
	}
	tick := func(s *stage) error {
		s.tick()
		return nil
	}
	switch {
	case p.accept("bus"):
		tick = func(s *stage) error {
			s.hand.Bus()
			return nil
		}
	case p.isSelector() && (!p.isNumber() || len(p.tokens) > p.at+1):
		// A number alone is how often; a number and another is a node, and how often.
		nodes, err := p.nodes()
		if err != nil {
			return nil, err
		}
		tick = func(s *stage) error {
			picked, err := s.pick(nodes)
			for _, i := range picked {
				s.tickNode(i)
			}
			return err
		}
	}
	n := 1
	if p.more() && !p.peek("expecting") {
		var err error
		if n, err = p.number("a number of ticks", 1, maxTicks); err != nil {
			return nil, err
		}
	}
	return func(s *stage) error {
		for range n {
			if s.broken() {
				return nil
			}
			if err := s.spend(); err != nil {
				return err
			}
			if err := tick(s); err != nil {
				return err
			}
			s.hangUp()
		}
		return nil
	}, nil
}

func parseCheck(p *parser) (func(*stage) error, error) {
	c, err := p.condition()
	if err != nil {
		return nil, err
	}
	return func(s *stage) error {
		if ok, instead := s.holds(c); !ok {
			return &Error{Column: 1, Text: instead, State: s.state()}
		}
		return nil
	}, nil
}

// canFail are the verbs that can be tried.
func canFail() []string {
	return slices.DeleteFunc(verbNames(), func(v string) bool {
		return v == "cluster" || v == "try" || v == "perhaps" || v == "end" || v == "expect"
	})
}

func parseTry(p *parser) (func(*stage) error, error) {
	if !p.more() {
		return nil, p.wanted("a statement", canFail()...)
	}
	v := find(p.tokens[p.at].text)
	if v == nil || !slices.Contains(canFail(), v.name) {
		return nil, p.wanted("a verb that can fail", canFail()...)
	}
	p.at++
	do, err := v.parse(p)
	if err != nil {
		return nil, err
	}
	expected := ""
	if p.accept("expecting") {
		var words []string
		for p.more() {
			word, _ := p.word("a text")
			words = append(words, word)
		}
		if expected = strings.Join(words, " "); expected == "" {
			return nil, p.wanted("a part of the error")
		}
	}
	return func(s *stage) error {
		s.trying = true
		err := do(s)
		s.trying = false
		switch {
		case err == nil:
			return errors.New("it succeeded, and was to fail")
		case !strings.Contains(err.Error(), expected):
			return fmt.Errorf("it fails with %q, which does not contain %q", err, expected)
		}
		return nil
	}, nil
}

func parsePerhaps(p *parser) (func(*stage) error, error) {
	if !p.more() {
		return nil, p.wanted("a statement", canFail()...)
	}
	v := find(p.tokens[p.at].text)
	if v == nil || !slices.Contains(canFail(), v.name) {
		return nil, p.wanted("a verb that can fail", canFail()...)
	}
	p.at++
	do, err := v.parse(p)
	if err != nil {
		return nil, err
	}
	return func(s *stage) error {
		// What it came to is not what the scenario is about.
		_ = do(s)
		return nil
	}, nil
}

func parseSet(p *parser) (func(*stage) error, error) {
	target, err := p.path()
	if err != nil {
		return nil, err
	}
	if target.field.set == nil {
		e := &Error{Column: target.column, Text: fmt.Sprintf("%s cannot be set; what can be: %s", target.text, strings.Join(settable(), ", "))}
		return nil, e
	}
	if err := p.expect("to"); err != nil {
		return nil, err
	}
	to, err := p.operand(target.field.kind)
	if err != nil {
		return nil, err
	}
	return func(s *stage) error {
		v, err := s.value(to)
		if err != nil {
			return err
		}
		of, err := s.of(&target)
		if err != nil {
			return err
		}
		for _, i := range of {
			if err := target.field.set(s, i, target.arg, v); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// settable are the names of what can be set.
func settable() (names []string) {
	for _, f := range nodeFields {
		if f.set != nil {
			names = append(names, "NODE."+f.name)
		}
	}
	for _, f := range settingFields {
		names = append(names, "settings."+f.name)
	}
	return names
}

func parseLet(p *parser) (func(*stage) error, error) {
	word, err := p.newName("a word to remember something by")
	if err != nil {
		return nil, err
	}
	if slices.Contains(p.clients, word) {
		p.at--
		return nil, p.fail("%q is a client", word)
	}
	if err := p.expect("be"); err != nil {
		return nil, err
	}
	remember := func() {
		if !slices.Contains(p.lets, word) {
			p.lets = append(p.lets, word)
		}
	}
	if p.isSelector() && !p.looksLikePath() {
		nodes, err := p.nodes()
		if err != nil {
			return nil, err
		}
		remember()
		return func(s *stage) error {
			picked, err := s.pick(nodes)
			s.lets[word] = nodeSet(picked...)
			return err
		}, nil
	}
	from, err := p.path()
	if err != nil {
		return nil, err
	}
	remember()
	return func(s *stage) error {
		v, err := s.get(&from)
		s.lets[word] = v
		return err
	}, nil
}

func parsePrint(p *parser) (func(*stage) error, error) {
	p.offer("nodes", "messages", "logs")
	p.offersName = !p.more()
	switch {
	case !p.more():
		return func(s *stage) error {
			s.out.WriteString(s.state())
			return nil
		}, nil
	case p.accept("nodes"):
		return func(s *stage) error {
			s.printNodes(&s.out)
			return nil
		}, nil
	case p.accept("messages"):
		return func(s *stage) error {
			s.printMessages(&s.out)
			return nil
		}, nil
	case p.accept("logs"):
		return func(s *stage) error {
			s.printLogs(&s.out)
			return nil
		}, nil
	}
	what, err := p.path()
	if err != nil {
		return nil, err
	}
	return func(s *stage) error {
		of, err := s.of(&what)
		if err != nil {
			return err
		}
		for _, i := range of {
			v, err := what.field.get(s, i, what.arg)
			if err != nil {
				return err
			}
			fmt.Fprintf(&s.out, "%s is %s\n", s.whose(what, i), v)
		}
		return nil
	}, nil
}

func parseExpect(p *parser) (func(*stage) error, error) {
	if err := p.expect("violation"); err != nil {
		return nil, err
	}
	check, err := p.word("a check such as I16")
	if err != nil {
		return nil, err
	}
	if !slices.Contains(checks, check) {
		p.at--
		return nil, p.wanted("a check such as I16", checks...)
	}
	return func(s *stage) error {
		s.expected = check
		return nil
	}, nil
}

// checks are what a world may fail by.
var checks = []string{
	"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11", "I12", "I13", "I14", "I15", "I16", "L1", "L2", "L3", "L4", "stale", "disk", "node",
}

func parseEnd(p *parser) (func(*stage) error, error) {
	if err := p.expect("without"); err != nil {
		return nil, err
	}
	if err := p.expect("healing"); err != nil {
		return nil, err
	}
	return func(s *stage) error {
		s.unhealed = true
		return nil
	}, nil
}

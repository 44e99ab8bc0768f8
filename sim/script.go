package sim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"coup/raftnode/actionlog"
	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
	"coup/raftnode/replica"
)

// Script takes down what comes to the nodes of a world that goes by itself, as lines of the language of package
// scenario: played by hand, they lead to the same. Node n1 is raft-0 there. It changes nothing of what happens. What
// Settle does is no part of it.
//
// A message that never arrives is not mentioned: by hand nothing arrives by itself. Nor is what links and clocks do,
// for the order of the lines says it all.
type Script struct {
	lines    []string
	over     bool
	turns    []int             // by node: where what its turn began with stands
	hangs    []bool            // by node: the script has its disk hang
	since    []time.Duration   // by node: when what hangs was written
	unsure   int               // writes that the node that crashes may lose by hand
	flights  map[lane][]uint64 // requests, by which messages are known, oldest first
	sessions map[uint64]string // the client that opened each
	opened   int               // sessions
	sequence uint64            // of the latest command in a session
}

// lane is what a line says of a message.
type lane struct {
	from, to int
	kind     raft.MessageType
}

// Lines are the script so far. The first makes the cluster.
func (s *Script) Lines() []string {
	return slices.DeleteFunc(slices.Clone(s.lines), func(line string) bool { return line == "" })
}

// begin begins a script. Nodes have started.
func (s *Script) begin(w *World) {
	if s == nil {
		return
	}
	p := &w.operators
	settings := []string{fmt.Sprintf("seed %d", w.options.Seed)}
	for _, x := range []struct {
		name         string
		is, standard int
	}{
		{"electionTicks", w.options.ElectionTicks, 10},
		{"heartbeatTicks", w.options.HeartbeatTicks, 2},
		{"snapshotEvery", int(p.snapshots.Every), 0},
		{"snapshotKeep", int(p.snapshots.Keep), 0},
		{"snapshotSpare", int(p.snapshots.Spare), 0},
		{"chunkBytes", p.snapshots.ChunkBytes, 0},
		{"promotionLag", p.promotionLag, 0},
		{"leaseDrift", w.trouble.drift, 0},
		{"maxLeaderTicks", p.maxReign, 0},
	} {
		if x.is != x.standard {
			settings = append(settings, fmt.Sprintf("%s %d", x.name, x.is))
		}
	}
	if p.maxReign > 0 && p.atMaxReign == raft.Exit {
		settings = append(settings, "atMaxReign exit")
	}
	line := fmt.Sprintf("cluster of %d with %s", w.options.Nodes, strings.Join(settings, ", "))
	if w.options.Store == StorePebble {
		line += " on pebble"
	}
	s.lines = []string{line}
	s.turns, s.hangs = make([]int, stride), make([]bool, stride)
	s.since = make([]time.Duration, stride)
	s.flights, s.sessions = map[lane][]uint64{}, map[uint64]string{}
}

// end ends it: what comes is the world's own healing.
func (s *Script) end() {
	if s != nil {
		s.over = true
	}
}

// off tells whether nothing is taken down now.
func (s *Script) off() bool { return s == nil || s.over || len(s.lines) == 0 }

func (s *Script) add(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

// input takes down what a node's turn may begin with.
func (s *Script) input(n *node, format string, args ...any) {
	if s.off() {
		return
	}
	s.turns[n.index] = len(s.lines)
	s.lines = append(s.lines, "") // room for what is to happen about the turn's writes
	s.add(format, args...)
}

// ticks takes down a tick, and what it began with.
func (s *Script) ticks(n *node) {
	if !s.off() {
		s.input(n, "tick %d 1", n.index)
	}
}

// ticked amends a tick that began a campaign: by hand that need not be waited for.
func (s *Script) ticked(n *node, before raft.Role, term uint64) {
	if s.off() || !n.alive() {
		return
	}
	c := n.replica.Core()
	began := c.Role() != before || c.Term() != term
	if began && (c.Role() == raft.PreCandidate || c.Role() == raft.Candidate || before == raft.Follower && c.Role() == raft.Leader) {
		s.lines[s.turns[n.index]+1] = fmt.Sprintf("campaign %d", n.index)
	}
}

// waits has a node's disk hang in the turn that began last, for it writes.
func (s *Script) waits(n *node) {
	if s.off() || s.hangs[n.index] {
		return
	}
	s.lines[s.turns[n.index]] = fmt.Sprintf("hang write of %d", n.index)
	s.hangs[n.index], s.since[n.index] = true, n.world.now
}

// flushes ends the hanging of a node's disk.
func (s *Script) flushes(n *node) {
	if s.off() || !s.hangs[n.index] {
		return
	}
	s.hangs[n.index] = false
	s.input(n, "flush %d", n.index)
}

// crashes takes down a crash, which leaves some of the writes that are not durable.
func (s *Script) crashes(n *node) {
	if s.off() {
		return
	}
	if n.cursor > n.world.now {
		s.waits(n)
	}
	// What never left did so by hand: nobody waits for it, but it is there.
	left := 0
	switch n.doom {
	case doomAtOnce:
		left = n.early
	case doomBetweenMessages:
		left = len(n.said)
	}
	for _, o := range n.said[:left] {
		if o.kind == outRequest || o.kind == outReply {
			s.leaves(&n.world.network.letters[o.ref])
		}
	}
	since := n.world.now
	if s.hangs[n.index] {
		since = s.since[n.index]
	}
	s.unsure = 0
	for _, x := range n.disk.journal {
		if x.durable > since {
			s.unsure++
		}
	}
	s.hangs[n.index] = false
	s.add("crash %d", n.index)
}

// crashed amends the latest crash: a node's disk has lost some writes, of those that hung by hand.
func (s *Script) crashed(n *node, lost int) {
	if s.off() {
		return
	}
	last := len(s.lines) - 1
	switch turn := s.turns[n.index]; {
	case s.lines[last] == fmt.Sprintf("crash %d", n.index) && s.unsure > lost:
		s.lines[last] += fmt.Sprintf(" keeping %d", s.unsure-lost)
	case s.lines[turn] == fmt.Sprintf("fail write of %d", n.index) && lost == 0:
		s.lines[turn] += " keeping it"
	}
}

// dies takes down why a node stops by itself.
func (s *Script) dies(n *node, err error) {
	if s.off() || !errors.Is(err, errSync) {
		return
	}
	s.lines[s.turns[n.index]] = fmt.Sprintf("fail write of %d", n.index)
	s.hangs[n.index] = false
}

// leaves takes down nothing: a message leaves by itself.
func (s *Script) leaves(l *letter) {
	if s.off() || l.to < 0 {
		return
	}
	on := lane{l.from, l.to, l.m.Type}
	s.flights[on] = append(s.flights[on], l.m.ID)
}

// which says which message of its kind a letter is, the latest first. It is under way no more.
func (s *Script) which(l *letter) (words string, found bool) {
	on := lane{l.from, l.to, l.m.Type}
	flights := s.flights[on]
	at := slices.Index(flights, l.m.ID)
	if at < 0 {
		return "", false
	}
	newer := len(flights) - 1 - at
	nth := ""
	switch {
	case newer == 0:
		nth = "last "
	case at == 0:
	default:
		nth = ordinal(newer+1) + " last "
	}
	s.flights[on] = slices.Delete(flights, at, at+1)
	return fmt.Sprintf("%s%s from %d to %d", nth, messageWord(l.m.Type), l.from, l.to), true
}

// arrives takes down the arrival of a letter, of which a copy may come later. The turn is that of a node.
func (s *Script) arrives(n *node, l *letter) {
	if s.off() {
		return
	}
	if l.copies > 1 {
		if words, found := s.which(l); found {
			on := lane{l.from, l.to, l.m.Type}
			s.add("duplicate %s", words)
			s.flights[on] = append(s.flights[on], l.m.ID, l.m.ID)
		}
	}
	if words, found := s.which(l); found {
		s.input(n, "deliver %s", words)
	}
}

// misses takes down that a request was to reach a node that is down, and that its sender hears of it.
func (s *Script) misses(r *request) {
	if s.off() || r.to < 0 {
		return
	}
	for on, flights := range s.flights {
		if on.from == r.node.index && on.to == r.to && !on.kind.IsReply() && slices.Contains(flights, r.id) {
			if words, found := s.which(&letter{from: on.from, to: on.to, m: raft.Message{ID: r.id, Type: on.kind}}); found {
				s.input(r.node, "deliver %s", words)
			}
			return
		}
	}
}

func (s *Script) givesUp(r *request) {
	if !s.off() && r.to >= 0 {
		s.input(r.node, "give up oldest %d to %d", r.node.index, r.to)
	}
}

// serves takes down a client's operation.
func (s *Script) serves(n *node, c *call) {
	if s.off() {
		return
	}
	switch command, changes := c.command(); {
	case !changes:
		s.input(n, "client read %s%s at %d", word(c.op.Key), readsBy[c.how], n.index)
	case command.Op == fsm.CAS:
		s.input(n, "client cas %s %s %s at %d", word(command.Key), word(command.Expect), word(command.Value), n.index)
	default:
		s.input(n, "client write %s %s at %d", word(command.Key), word(command.Value), n.index)
	}
}

var readsBy = [...]string{replica.Linearizable: "", replica.Lease: " by lease", replica.Follower: " by follower"}

// word is a text that is read as one word.
func word(text string) string {
	if text == "" || strings.ContainsAny(text, " \t\"#,|()[]-") {
		return strconv.Quote(text)
	}
	return text
}

// readsStale takes down a stale read.
func (s *Script) readsStale(n *node, key string) {
	if !s.off() {
		s.input(n, "client read %s stale at %d", word(key), n.index)
	}
}

// sends takes down a command of the client that has sessions. Each that is opened is that of a client of its own.
func (s *Script) sends(n *node, c *fsm.Command) {
	if s.off() {
		return
	}
	if c.Op == fsm.OpenSession {
		s.opened++
		s.add("new client s%d", s.opened)
		s.input(n, "client s%d open session for %d ticks at %d", s.opened, c.TTL*uint64(time.Millisecond)/uint64(n.world.options.Tick), n.index)
		return
	}
	client, known := s.sessions[c.Session]
	switch {
	case !known:
	case c.Sequence == s.sequence:
		s.input(n, "client %s retry at %d", client, n.index)
	default:
		s.sequence = c.Sequence
		s.input(n, "client %s write %s %s at %d", client, word(c.Key), word(c.Value), n.index)
	}
}

// sender is the client whose session the command under way is to open, for opens.
func (s *Script) sender() int {
	if s == nil {
		return 0
	}
	return s.opened
}

// opens takes in the session that a client was given.
func (s *Script) opens(client int, session uint64) {
	if !s.off() {
		s.sessions[session], s.sequence = fmt.Sprintf("s%d", client), 0
	}
}

// orders takes down an order to a node.
func (s *Script) orders(n *node, o order, to raft.NodeID) {
	switch o {
	case orderTransfer:
		s.transfers(n, n.world.find(to))
	case orderStepDown:
		s.input(n, "client step down at %d", n.index)
	case orderSnapshot:
		s.input(n, "client snapshot at %d", n.index)
	}
}

func (s *Script) transfers(n *node, to int) {
	if to >= 0 {
		s.input(n, "client transfer to %d at %d", to, n.index)
	}
}

// asks takes down a request to change the members.
func (s *Script) asks(n *node, changes []confchange.Change) {
	if s.off() {
		return
	}
	var parts []string
	for _, c := range changes {
		part := fmt.Sprintf("%s %d", c.Op, n.world.find(c.Node))
		switch c.Op {
		case confchange.AddLearner:
			part = fmt.Sprintf("add %d as learner", n.world.find(c.Node))
		case confchange.AddReadOnly:
			part = fmt.Sprintf("add %d as read-only", n.world.find(c.Node))
		}
		parts = append(parts, part)
	}
	s.input(n, "client %s at %d", strings.Join(parts, " and "), n.index)
}

// scriptAsk takes down that a request for changes comes to a node.
func (w *World) scriptAsk(n *node, id uint64) {
	if w.options.Script.off() {
		return
	}
	if at := slices.IndexFunc(w.members.asks, func(a ask) bool { return a.id == id }); at >= 0 {
		w.options.Script.asks(n, w.members.asks[at].changes)
	}
}

// starts takes down the start of a process; the first one of a node that joins makes it.
func (s *Script) starts(n *node) {
	switch {
	case s.off():
	case n.life > 0:
		s.input(n, "start %d", n.index)
	case n.readOnly:
		var from []string
		for _, id := range n.upstreams {
			from = append(from, strconv.Itoa(n.world.find(id)))
		}
		s.input(n, "new raft-%d read-only from %s", n.index, strings.Join(from, ","))
	default:
		s.input(n, "new raft-%d", n.index)
	}
}

// started takes back the start of a process that came to nothing but a corrupt disk that was found.
func (s *Script) started(n *node, err error) {
	switch {
	case s.off() || n.world.failure != nil:
	case err != nil:
		s.lines[s.turns[n.index]+1] = ""
	case n.waits:
		s.waits(n)
	}
}

// happens takes down something else that happens to a node.
func (s *Script) happens(n *node, what string) {
	if !s.off() {
		s.add("%s %d", what, n.index)
	}
}

func (s *Script) fills(n *node, full bool) {
	if !s.off() {
		s.add("set %d.disk.full to %t", n.index, full)
	}
}

// pauses and resumes take down what happens to a process that may be paused for two reasons.
func (s *Script) pauses(n *node) {
	if !s.off() && n.frozen != n.stalled {
		s.add("pause %d", n.index)
	}
}

func (s *Script) resumes(n *node) {
	if !n.frozen && !n.stalled {
		s.input(n, "resume %d", n.index)
	}
}

// ordinal is 2nd, 3rd and so on.
func ordinal(n int) string {
	switch {
	case n%100 >= 11 && n%100 <= 13:
	case n%10 == 1:
		return fmt.Sprintf("%dst", n)
	case n%10 == 2:
		return fmt.Sprintf("%dnd", n)
	case n%10 == 3:
		return fmt.Sprintf("%drd", n)
	}
	return fmt.Sprintf("%dth", n)
}

// messageWord is a kind of message as scenarios call it.
func messageWord(t raft.MessageType) string {
	switch t {
	case raft.MsgSnapshot:
		return "chunk"
	case raft.MsgSnapshotReply:
		return "chunk-reply"
	}
	return actionlog.TypeName(t)
}

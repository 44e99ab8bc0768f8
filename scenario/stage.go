package scenario

import (
	"errors"
	"fmt"
	"strings"

	"coup/raftnode/raft"
	"coup/sim"
)

// stage is a scenario as it is played.
type stage struct {
	hand    *sim.Hand
	options Options
	line    int // that is played

	deferred []func() // requests that a leader was not ready for yet
	trying   bool     // the statement is to fail

	clients    []*client // in the order of the parser's
	lastClient int       // who was answered last
	lets       map[string]value
	named      []int // the nodes that this statement has named
	rules      []rule
	clock      []int    // rates of the nodes' clocks, in percent
	owed       []int    // time that a node's clock has not ticked yet, in percent of a tick
	keys       []string // that clients have written, sorted
	most       int      // ticks that there may be; 0 for no bound
	spent      int
	heard      func(who int, r *response) // if not nil, is told of each answer

	failed *sim.Failure // how the world failed, if it did

	out      strings.Builder
	expected string // the check that is to fail
	unhealed bool   // nothing is owed at the end
}

func newStage(o Options) *stage {
	s := &stage{options: o, lets: map[string]value{}}
	s.newClient(anybody)
	return s
}

// begin makes the world.
func (s *stage) begin(o sim.HandOptions) error {
	o.Actions = s.options.Actions
	hand, err := sim.ByHand(o)
	if err != nil {
		return err
	}
	s.hand = hand
	hand.Sent = s.treat
	for range hand.Len() {
		s.addClock()
	}
	return nil
}

func (s *stage) addClock() { s.clock, s.owed = append(s.clock, 100), append(s.owed, 0) }

func (s *stage) close() {
	if s.hand != nil {
		s.hand.Close()
	}
}

// do plays one line and checks what it led to.
func (s *stage) do(l *Line) error {
	s.named = s.named[:0]
	if s.hand != nil && s.options.Actions != nil {
		s.hand.Remark(l.Text)
	}
	err := l.do(s)
	if s.hand != nil {
		s.hangUp()
		if broken := s.hand.Err(); broken != nil {
			return broken
		}
	}
	return err
}

// broken tells whether the world has failed, and nothing more can happen.
func (s *stage) broken() bool { return s.hand.Broken() }

// tick passes one unit of time: all clocks tick, then the bus brings what is under way.
func (s *stage) tick() {
	for i := range s.hand.Len() {
		s.tickNode(i)
	}
	s.hand.Bus()
	s.hand.Time()
	s.resend()
}

// maxFlights bounds the messages under way.
const maxFlights = 10_000

// spend takes one of the steps that pass time.
func (s *stage) spend() error {
	if s.most > 0 && s.spent >= s.most {
		return fmt.Errorf("a session has %d ticks, and no more are left; undo gives some back", s.most)
	}
	s.spent++
	return s.crowded()
}

// crowded is the error of too many messages under way.
func (s *stage) crowded() error {
	if n := len(s.hand.Flights()); n > maxFlights {
		return fmt.Errorf("%d messages are under way, and more than %d make no sense", n, maxFlights)
	}
	return nil
}

// resend sends again what a leader was not ready for.
func (s *stage) resend() {
	again := s.deferred
	s.deferred = nil
	for _, send := range again {
		send()
	}
}

// tickNode passes one unit of true time of a node.
func (s *stage) tickNode(i int) {
	for s.owed[i] += s.clock[i]; s.owed[i] >= 100; s.owed[i] -= 100 {
		s.hand.Tick(i)
	}
}

// until ticks until a condition holds.
func (s *stage) until(c condition, within int) error {
	for ticks := 0; ; ticks++ {
		ok, instead := s.holds(c)
		switch {
		case ok || s.broken():
			return nil
		case ticks == within:
			return &Error{Text: fmt.Sprintf("not within %d ticks: %s", within, instead), Column: 1, State: s.state()}
		}
		if err := s.spend(); err != nil {
			return err
		}
		s.tick()
		s.hangUp()
	}
}

// deliverAll brings what a filter takes, and what that leads to, until there is none.
func (s *stage) deliverAll(f filter) error {
	for range maxTicks {
		found := s.matching(f)
		if len(found) == 0 || s.broken() {
			return nil
		}
		if err := s.spend(); err != nil {
			return err
		}
		s.hand.Deliver(found[0])
	}
	return errors.New("there is no end to the messages")
}

// state is all that matters of the world, for people.
func (s *stage) state() string {
	var b strings.Builder
	s.printNodes(&b)
	s.printMessages(&b)
	return b.String()
}

func (s *stage) printNodes(b *strings.Builder) {
	rows := [][]string{{"node", "state", "term", "vote", "leader", "log", "commit", "applied", "data", "voters", ""}}
	for i := range s.hand.Len() {
		n := s.hand.Look(i)
		if !n.Alive {
			remark := ""
			if n.Died != nil {
				remark = n.Died.Error()
			}
			rows = append(rows, []string{string(n.ID), "down", fmt.Sprint(n.Durable.Term), short(n.Durable.Vote), "", s.logText(i), "", "", "", "", remark})
			continue
		}
		c := n.Replica.Core()
		conf := c.Configuration()
		remark := fmt.Sprintf("campaigns in %d", c.ElectionIn())
		if c.Leads() {
			remark = ""
		}
		if n.Paused {
			remark = "paused"
		}
		if n.Hangs {
			remark = "waits for its disk"
		}
		voters := ids(conf.Voters...).short()
		if conf.Joint() {
			voters = ids(conf.Outgoing...).short() + ">" + voters
		}
		data, _ := stored(s, i, dataKey)
		rows = append(rows, []string{
			string(n.ID), c.Role().String(), fmt.Sprint(c.Term()), short(c.Vote()), short(c.Leader()), s.logText(i),
			fmt.Sprint(c.Commit()), fmt.Sprint(c.Applied()), data.String(), voters, remark,
		})
	}
	table(b, rows)
}

// short is a node's number.
func short(id raft.NodeID) string {
	if id == "" {
		return "-"
	}
	return strings.TrimPrefix(string(id), "raft-")
}

func (v value) short() string {
	return strings.ReplaceAll(strings.ReplaceAll(v.String(), "raft-", ""), " ", "")
}

// logText is where a log begins and ends, and its last term.
func (s *stage) logText(i int) string {
	log := s.log(i)
	if len(log) == 0 {
		return "empty"
	}
	last := log[len(log)-1]
	return fmt.Sprintf("%d..%d@%d", log[0].Index, last.Index, last.Term)
}

func (s *stage) printLogs(b *strings.Builder) {
	var rows [][]string
	for i := range s.hand.Len() {
		row := []string{name(i)}
		for _, e := range s.log(i) {
			row = append(row, fmt.Sprintf("%d@%d %s", e.Index, e.Term, content(e)))
		}
		rows = append(rows, row)
	}
	table(b, rows)
}

func (s *stage) printMessages(b *strings.Builder) {
	flights := s.hand.Flights()
	if len(flights) == 0 {
		b.WriteString("no messages under way\n")
		return
	}
	for _, f := range flights {
		held := ""
		if f.Held {
			held = "  held"
		}
		fmt.Fprintf(b, "%s%s\n", describe(f.Message), held)
	}
}

// table writes rows with their columns aligned.
func table(b *strings.Builder, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for j, cell := range row {
			if j == len(widths) {
				widths = append(widths, 0)
			}
			widths[j] = max(widths[j], len(cell))
		}
	}
	for _, row := range rows {
		line := ""
		for j, cell := range row {
			line += fmt.Sprintf("%-*s  ", widths[j], cell)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

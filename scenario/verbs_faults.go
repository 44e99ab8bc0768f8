package scenario

import (
	"errors"
	"fmt"

	"coup/sim"
)

// each does something to each of some nodes.
func (p *parser) each(do func(*stage, int) error) (func(*stage) error, error) {
	nodes, err := p.nodes()
	if err != nil {
		return nil, err
	}
	return func(s *stage) error {
		picked, err := s.pick(nodes)
		if err != nil {
			return err
		}
		for _, i := range picked {
			if err := do(s, i); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func parseCampaign(p *parser) (func(*stage) error, error) {
	return p.each(func(s *stage, i int) error {
		n := s.hand.Look(i)
		if !n.Alive {
			return fmt.Errorf("%s is down", n.ID)
		}
		if n.Replica.Core().Leads() {
			return fmt.Errorf("%s leads already", n.ID)
		}
		n.Replica.Core().SetElectionIn(0)
		s.hand.Tick(i)
		return nil
	})
}

// sides is one or two groups of nodes between which links are cut or mended.
type sides struct {
	a, b   selector
	oneWay bool
}

// sides takes two groups, joined by from or to.
func (p *parser) sides() (x sides, err error) {
	if x.a, err = p.nodes(); err != nil {
		return x, err
	}
	switch {
	case p.accept("from"):
	case p.accept("to"):
		x.oneWay = true
	default:
		return x, p.wanted("from, for both directions, or to, for one", "from", "to")
	}
	x.b, err = p.nodes()
	return x, err
}

func (s *stage) link(x sides, cut bool) error {
	a, err := s.pick(x.a)
	if err != nil {
		return err
	}
	b, err := s.pick(x.b)
	if err != nil {
		return err
	}
	s.sever(a, b, x.oneWay, cut)
	return nil
}

func (s *stage) sever(a, b []int, oneWay, cut bool) {
	for _, from := range a {
		for _, to := range b {
			if from == to {
				continue
			}
			s.hand.Cut(from, to, cut)
			if !oneWay {
				s.hand.Cut(to, from, cut)
			}
		}
	}
}

func parseCut(p *parser) (func(*stage) error, error) {
	x, err := p.sides()
	return func(s *stage) error { return s.link(x, true) }, err
}

func parseIsolate(p *parser) (func(*stage) error, error) {
	return p.each(func(s *stage, i int) error {
		var others []int
		for j := range s.hand.Len() {
			others = append(others, j)
		}
		s.sever([]int{i}, others, false, true)
		return nil
	})
}

func parsePartition(p *parser) (func(*stage) error, error) {
	var groups []selector
	for {
		group, err := p.nodes()
		if err != nil {
			return nil, err
		}
		if groups = append(groups, group); !p.accept("|") {
			break
		}
	}
	if len(groups) < 2 {
		return nil, p.wanted(`"|" and another group`, "|")
	}
	return func(s *stage) error {
		var picked [][]int
		for _, g := range groups {
			nodes, err := s.pick(g)
			if err != nil {
				return err
			}
			for _, before := range picked {
				s.sever(before, nodes, false, true)
			}
			picked = append(picked, nodes)
		}
		return nil
	}, nil
}

func parseHeal(p *parser) (func(*stage) error, error) {
	if p.more() {
		x, err := p.sides()
		return func(s *stage) error { return s.link(x, false) }, err
	}
	return func(s *stage) error {
		s.rules = nil
		for from := range s.hand.Len() {
			for to := range s.hand.Len() {
				s.hand.Cut(from, to, false)
			}
		}
		return nil
	}, nil
}

// which says which messages a statement means.
type which struct {
	messages
	nth
	all  bool // that are under way, and not one alone
	left int  // of those that leave from now on: how many, -1 for every; 0 for those under way
}

func (p *parser) which() (w which, err error) {
	switch {
	case p.accept("all"):
		w.all = true
	case p.accept("every"):
		w.left = -1
	case p.accept("next"):
		w.left = 1
		if p.isNumber() {
			if w.left, err = p.number("a number of messages", 1, maxTicks); err != nil {
				return w, err
			}
		}
	}
	if !w.all && w.left == 0 {
		w.nth = p.nth()
	}
	w.messages, err = p.messages()
	return w, err
}

// treatment has messages be treated somehow: as they leave, or now.
func (p *parser) treatment(treatment sim.Treatment, now func(*stage, uint64)) (func(*stage) error, error) {
	w, err := p.which()
	if err != nil {
		return nil, err
	}
	return func(s *stage) error {
		f, err := s.filter(w.messages)
		if err != nil {
			return err
		}
		if w.left != 0 {
			s.rules = append(s.rules, rule{f, treatment, w.left})
			return nil
		}
		found := s.matching(f)
		if !w.all {
			one, ok := w.of(found)
			if !ok {
				return s.noSuch(w.messages)
			}
			found = []uint64{one}
		}
		for _, number := range found {
			if err := s.crowded(); err != nil {
				return err
			}
			now(s, number)
		}
		return nil
	}, nil
}

// noSuch is the error of a message that is not there.
func (s *stage) noSuch(m messages) error {
	return &Error{Column: 1, Text: fmt.Sprintf("no %s is under way", m), State: s.state()}
}

func parseDrop(p *parser) (func(*stage) error, error) {
	return p.treatment(sim.Treatment{Drop: true}, func(s *stage, n uint64) { s.hand.Drop(n) })
}

func parseHold(p *parser) (func(*stage) error, error) {
	return p.treatment(sim.Treatment{Hold: true}, func(s *stage, n uint64) { s.hand.Hold(n, true) })
}

func parseDuplicate(p *parser) (func(*stage) error, error) {
	return p.treatment(sim.Treatment{Twice: true}, func(s *stage, n uint64) { s.hand.Duplicate(n) })
}

func parseDelay(p *parser) (func(*stage) error, error) {
	if !p.peek("next") && !p.peek("every") {
		return nil, p.wanted("next or every", "next", "every")
	}
	w, err := p.which()
	if err != nil {
		return nil, err
	}
	if err := p.expect("by"); err != nil {
		return nil, err
	}
	ticks, err := p.number("a number of ticks", 1, maxTicks)
	if err != nil {
		return nil, err
	}
	p.accept("ticks")
	return func(s *stage) error {
		f, err := s.filter(w.messages)
		s.rules = append(s.rules, rule{f, sim.Treatment{Delay: ticks}, w.left})
		return err
	}, nil
}

func parseDeliver(p *parser) (func(*stage) error, error) {
	all, which := p.accept("all"), nth{}
	if !all {
		which = p.nth()
	}
	m := messages{word: "message"}
	if !all || p.more() && !p.peek("expecting") {
		var err error
		if m, err = p.messages(); err != nil {
			return nil, err
		}
	}
	return func(s *stage) error {
		f, err := s.filter(m)
		if err != nil {
			return err
		}
		if all {
			return s.deliverAll(f)
		}
		number, ok := which.of(s.matching(f))
		if !ok {
			return s.noSuch(m)
		}
		s.hand.Deliver(number)
		return nil
	}, nil
}

func parseRelease(p *parser) (func(*stage) error, error) {
	m := messages{word: "message"}
	if p.more() {
		var err error
		if m, err = p.messages(); err != nil {
			return nil, err
		}
	}
	return func(s *stage) error {
		f, err := s.filter(m)
		for _, number := range s.matching(f) {
			s.hand.Hold(number, false)
		}
		return err
	}, nil
}

func parseGiveUp(p *parser) (func(*stage) error, error) {
	if err := p.expect("up"); err != nil {
		return nil, err
	}
	giveUp := (*sim.Hand).GiveUp
	if p.accept("oldest") {
		giveUp = (*sim.Hand).GiveUpOldest
	}
	from, err := p.nodes()
	if err != nil {
		return nil, err
	}
	if err := p.expect("to"); err != nil {
		return nil, err
	}
	to, err := p.nodes()
	return func(s *stage) error {
		froms, err := s.pick(from)
		if err != nil {
			return err
		}
		tos, err := s.pick(to)
		for _, i := range froms {
			for _, j := range tos {
				giveUp(s.hand, i, j)
			}
		}
		return err
	}, err
}

// write takes the kind of a write.
func (p *parser) write() (string, error) {
	for _, w := range sim.Writes() {
		if p.accept(w) {
			return w, nil
		}
	}
	return "", p.wanted("a kind of write", sim.Writes()...)
}

// arm has something happen at a node's next write.
func arm(who selector, write string, action sim.WriteAction) func(*stage) error {
	return func(s *stage) error {
		i, err := s.one(who)
		if err != nil {
			return err
		}
		s.hand.Arm(i, sim.Armed{Write: write, Action: action})
		return nil
	}
}

func parseCrash(p *parser) (func(*stage) error, error) {
	nodes, err := p.nodes()
	if err != nil {
		return nil, err
	}
	for _, at := range []struct {
		word   string
		action sim.WriteAction
	}{{"before", sim.CrashBefore}, {"after", sim.CrashAfter}} {
		if p.accept(at.word) {
			write, err := p.write()
			return arm(nodes, write, at.action), err
		}
	}
	kept := 0
	if p.accept("keeping") {
		if kept, err = p.number("a number of writes", 1, maxTicks); err != nil {
			return nil, err
		}
	}
	return func(s *stage) error {
		picked, err := s.pick(nodes)
		if err != nil {
			return err
		}
		for _, i := range picked {
			if !s.hand.Look(i).Alive {
				return fmt.Errorf("%s is down already", name(i))
			}
			s.hand.Crash(i, kept)
		}
		return nil
	}, nil
}

func parseStart(p *parser) (func(*stage) error, error) {
	return p.each(func(s *stage, i int) error { return s.hand.Start(i) })
}

func parseWipe(p *parser) (func(*stage) error, error) {
	return p.each(func(s *stage, i int) error { return s.hand.Wipe(i) })
}

func parsePause(p *parser) (func(*stage) error, error) {
	return p.each(func(s *stage, i int) error { return s.hand.Pause(i) })
}

func parseResume(p *parser) (func(*stage) error, error) {
	return p.each(func(s *stage, i int) error { return s.hand.Resume(i) })
}

func parseFlush(p *parser) (func(*stage) error, error) {
	return p.each(func(s *stage, i int) error {
		s.hand.Flush(i)
		return nil
	})
}

func parseCorrupt(p *parser) (func(*stage) error, error) {
	return p.each(func(s *stage, i int) error {
		what, err := s.hand.Damage(i)
		if err == nil && what == "" {
			err = errors.New("its disk holds nothing")
		}
		return err
	})
}

// armed takes "WRITE of NODE".
func (p *parser) armed() (write string, who selector, err error) {
	p.accept("next")
	if write, err = p.write(); err != nil {
		return "", who, err
	}
	if err := p.expect("of"); err != nil {
		return "", who, err
	}
	who, err = p.node()
	return write, who, err
}

func parseFail(p *parser) (func(*stage) error, error) {
	write, who, err := p.armed()
	if err != nil {
		return nil, err
	}
	action := sim.FailWrite
	if p.accept("keeping", "it") {
		action = sim.FailButWrite
	}
	return arm(who, write, action), nil
}

func parseHang(p *parser) (func(*stage) error, error) {
	write, who, err := p.armed()
	return arm(who, write, sim.HangWrite), err
}

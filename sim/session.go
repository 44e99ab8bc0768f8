package sim

import (
	"slices"
	"strconv"
	"time"

	"coup/raftnode/fsm"
	"coup/raftnode/replica"
)

// session is a client that changes a key of its own in a session: it sends a command again, perhaps
// elsewhere, until it is answered, and now and then once more; sometimes it sleeps until its session
// is over. The invariants judge what the nodes make of it.
type session struct {
	dice     dice
	every    time.Duration // between two requests; 0 for none
	id       uint64        // 0 while none is open
	sequence uint64        // of the latest command
	answered bool          // that one was
	command  fsm.Command   // to be sent
	begun    bool
}

// sessionKey is written by nobody else.
const sessionKey = "session"

// sessionTTL is in milliseconds of log time.
const sessionTTL = 300

func newSession(o Options) session {
	s := session{dice: newDice(o.Seed, "session")}
	if every := pick(&s.dice, 0, 20*time.Millisecond, 100*time.Millisecond); slices.Contains(o.Trouble, "operator") {
		s.every = every
	}
	return s
}

// runSession sends what comes next.
func (w *World) runSession() {
	s := &w.session
	if s.every == 0 {
		return
	}
	if w.eclipses.lull > w.now {
		w.schedule(event{at: w.eclipses.lull, kind: evSession})
		return
	}
	next := s.dice.between(s.every/2, 2*s.every)
	switch {
	case s.id == 0:
		s.command = fsm.Command{Op: fsm.OpenSession, TTL: sessionTTL}
	case s.answered && s.dice.below(8) > 0:
		s.sequence++
		s.answered = false
		s.command = fsm.Command{
			Op: fsm.Write, Key: sessionKey, Value: strconv.FormatUint(s.sequence, 10), Session: s.id, Sequence: s.sequence,
		}
		if s.dice.below(2) == 0 {
			s.command.Acked = s.sequence - 1
		}
	default:
		w.reached.Retried++
	}
	if s.dice.below(30) == 0 {
		next += 6 * sessionTTL * time.Millisecond
	}
	w.schedule(event{at: w.now + next, kind: evSession})
	at := s.dice.below(len(w.nodes))
	for _, n := range w.nodes {
		if n.alive() && n.replica.Core().Leads() && s.dice.below(8) > 0 {
			at = n.index
		}
	}
	w.schedule(event{at: w.now + w.clients.latency(w), kind: evSessionAsk, node: uint8(at)})
}

// serveSession hands the client's command to a node. That an answer is lost on its way is the client's
// not waiting for it.
func (w *World) serveSession(n *node) {
	s := &w.session
	sent := s.command
	if sent.Op == 0 {
		return
	}
	script := w.options.Script
	script.sends(n, &sent)
	client := script.sender()
	n.replica.Propose(sent, func(r replica.Result, err error) {
		if err != nil || s.dice.below(10) == 0 {
			return
		}
		switch {
		case sent.Op == fsm.OpenSession:
			if s.id == 0 {
				w.reached.Sessions++
				s.id, s.sequence, s.answered = r.Session, 0, true
				script.opens(client, s.id)
			}
		case sent.Session != s.id:
		case r.Code == fsm.SessionExpired:
			w.reached.Expired++
			s.id = 0
		case sent.Sequence == s.sequence:
			s.answered = true
			if r.Repeated {
				w.reached.Repeated++
			}
		}
	})
}

package server

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"coup/raftnode/api"
	"coup/raftnode/api/apipb"
	"coup/raftnode/fsm"
	"coup/raftnode/replica"
)

// The bounds on clients by gRPC.
const (
	maxExchanges   = 1024
	maxWaiting     = 1024     // requests of one exchange that are under way; more are refused
	maxUnsent      = 4096     // answers of one exchange; with more, no further requests are read
	maxUnsentBytes = 32 << 20 // of what such answers carry; an exchange with more is ended
)

// exchange is one client's stream of requests and answers.
type exchange struct {
	server *Server
	wake   chan struct{} // holds one while there may be something to send
	timer  *time.Timer   // fires when the oldest request may be overdue

	mu          sync.Mutex
	room        *sync.Cond // there are fewer unsent answers
	over        bool       // nobody hears any more
	oldest      *asked     // under way, in the order in which they came
	newest      *asked
	waiting     int
	unsent      []*asked
	unsentBytes int
	roused      bool // the loop will flush
}

// asked is one request of an exchange. The exchange's mutex guards its links and its end.
type asked struct {
	request
	exchange    *exchange
	id          uint64
	op          apipb.Op
	begun       time.Time
	older, more *asked
	ended       bool
	outcome     outcome
	refusal     *api.Error // the request never came to an outcome
	status      int        // of refusal, as HTTP has it
}

// service is what clients call.
type service struct {
	apipb.UnimplementedAPIServer
	server *Server
}

// Exchange serves one stream until the client ends it, or the node stops.
func (s service) Exchange(stream apipb.API_ExchangeServer) error {
	defer s.server.exchanges.Add(-1)
	if s.server.exchanges.Add(1) > maxExchanges {
		return status.Errorf(codes.ResourceExhausted, "more than %d streams are open", maxExchanges)
	}
	e := newExchange(s.server)
	defer e.abandon()
	heard, said, all := make(chan error, 1), make(chan error, 1), make(chan struct{})
	go func() { heard <- e.hear(stream) }()
	go func() { said <- e.speak(stream, all) }()
	select {
	case err := <-said:
		return err
	case err := <-heard:
		if err != io.EOF {
			return err
		}
		close(all)
		return <-said
	}
}

// speak sends answers until the stream ends, or until no more requests come, since all were heard or the node stops, and
// those that came are answered.
func (e *exchange) speak(stream apipb.API_ExchangeServer, all <-chan struct{}) error {
	draining, ended := e.server.draining, e.server.loop.ended
	last := false
	var frame apipb.Answers
	for {
		select {
		case <-e.wake:
			if err := e.answer(stream, &frame); err != nil {
				return err
			}
		case <-all:
			last, all = true, nil
		case <-draining:
			last, draining = true, nil
		case <-ended:
			ended = nil
			e.giveUp(func(*asked) bool { return true }, true)
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
		if last && e.idle() {
			return nil
		}
	}
}

func newExchange(s *Server) *exchange {
	e := &exchange{server: s, wake: make(chan struct{}, 1)}
	e.room = sync.NewCond(&e.mu)
	e.timer = time.AfterFunc(time.Hour, e.expire)
	e.timer.Stop()
	return e
}

// hear takes frames until the stream ends.
func (e *exchange) hear(stream apipb.API_ExchangeServer) error {
	var frame apipb.Requests
	for {
		if err := stream.RecvMsg(&frame); err != nil {
			return err
		}
		e.take(frame.Requests)
		if !e.await() {
			return status.Error(codes.ResourceExhausted, "the answers are not read")
		}
	}
}

// take hands the requests of a frame to the loop, in one piece, but for those that are refused at once.
func (e *exchange) take(frame []*apipb.Request) {
	now := time.Now()
	all, hopeful := make([]asked, len(frame)), make([]*request, 0, len(frame))
	barred, why := e.server.barred()
	e.mu.Lock()
	if e.over {
		e.mu.Unlock()
		return
	}
	for i, p := range frame {
		a := &all[i]
		a.exchange, a.id, a.op, a.begun = e, p.Id, p.Op, now
		switch status, refusal := http.StatusServiceUnavailable, why; {
		case barred:
			a.refuse(status, *refusal)
		case e.waiting >= maxWaiting:
			a.refuse(status, overloaded("more than %d requests of one stream are under way", maxWaiting))
		default:
			if status, refusal = e.server.understand(p, &a.request); refusal != nil {
				a.refuse(status, *refusal)
			} else if n := e.server.underWay.Add(1); n > int64(e.server.o.MaxRequests) {
				e.server.underWay.Add(-1)
				a.refuse(http.StatusServiceUnavailable, overloaded("more than %d requests are under way", e.server.o.MaxRequests))
			}
		}
		if a.refusal != nil {
			e.unsent = append(e.unsent, a)
			continue
		}
		a.asker = a
		e.link(a)
		hopeful = append(hopeful, &a.request)
	}
	e.mu.Unlock()
	queued, err := e.server.loop.submit(hopeful...)
	for _, q := range hopeful[queued:] {
		q.asker.answered(outcome{err: err})
	}
	if queued < len(frame) {
		e.flush()
	}
}

func overloaded(format string, a ...any) api.Error {
	return api.Error{Type: api.Overloaded, Message: fmt.Sprintf(format, a...), Definite: true}
}

func (a *asked) refuse(status int, e api.Error) { a.status, a.refusal, a.ended = status, &e, true }

// understand makes a request of p, or says why it is none.
func (s *Server) understand(p *apipb.Request, q *request) (status int, refusal *api.Error) {
	bad := func(why string) (int, *api.Error) {
		e := badRequest(why)
		return http.StatusBadRequest, &e
	}
	large := func(what string, most any) (int, *api.Error) {
		e := tooLarge(fmt.Sprintf("%s has at most %d bytes", what, most))
		return http.StatusRequestEntityTooLarge, &e
	}
	if stray(p) || len(p.ProtoReflect().GetUnknown()) > 0 {
		return bad("a request has an op, and no field that is not the op's")
	}
	keyed, changes := true, true
	switch p.Op {
	case apipb.Op_READ:
		changes = false
		q.read, q.stale = true, p.Consistency == apipb.Consistency_STALE
		switch p.Consistency {
		case apipb.Consistency_LEASE:
			q.how = replica.Lease
		case apipb.Consistency_FOLLOWER:
			q.how = replica.Follower
		}
	case apipb.Op_WRITE:
		q.command.Op = fsm.Write
	case apipb.Op_CAS:
		q.command.Op = fsm.CAS
	case apipb.Op_DELETE:
		q.command.Op = fsm.Delete
	case apipb.Op_OPEN_SESSION:
		keyed, changes = false, false
		q.command.Op, q.command.TTL = fsm.OpenSession, p.TtlMs
		if p.TtlMs == 0 {
			return bad("ttl_ms is missing or 0")
		}
	case apipb.Op_CLOSE_SESSION:
		keyed, changes = false, false
		q.command.Op, q.command.Session = fsm.CloseSession, p.Session
		if p.Session == 0 {
			return bad("a session's ID is a positive number")
		}
	}
	if keyed {
		switch {
		case len(p.Key) > s.o.MaxKeyBytes:
			return large("a key", s.o.MaxKeyBytes)
		case p.Key == "":
			return bad("a key is UTF-8 and not empty")
		case int64(len(p.Value)+len(p.Expect)) > s.o.MaxBodyBytes:
			return large("a request", s.o.MaxBodyBytes)
		}
		q.command.Key, q.command.Value, q.command.Expect = p.Key, p.Value, p.Expect
	}
	if changes && (p.Session != 0 || p.Sequence != 0 || p.Acked != 0) {
		if p.Session == 0 || p.Acked >= p.Sequence {
			return bad("session is at least 1, and acked less than sequence")
		}
		q.command.Session, q.command.Sequence, q.command.Acked = p.Session, p.Sequence, p.Acked
	}
	return 0, nil
}

// stray tells whether p has no op, or a field that is not its op's.
func stray(p *apipb.Request) bool {
	var key, value, expect, consistency, session, place, ttl bool // that the op has
	switch p.Op {
	case apipb.Op_READ:
		key, consistency = true, p.Consistency <= apipb.Consistency_STALE
	case apipb.Op_WRITE:
		key, value, session, place = true, true, true, true
	case apipb.Op_CAS:
		key, value, expect, session, place = true, true, true, true, true
	case apipb.Op_DELETE:
		key, session, place = true, true, true
	case apipb.Op_OPEN_SESSION:
		ttl = true
	case apipb.Op_CLOSE_SESSION:
		session = true
	default:
		return true
	}
	return p.Key != "" && !key || p.Value != "" && !value || p.Expect != "" && !expect ||
		p.Consistency != 0 && !consistency || p.Session != 0 && !session ||
		(p.Sequence != 0 || p.Acked != 0) && !place || p.TtlMs != 0 && !ttl
}

// barred tells whether no request is taken now.
func (s *Server) barred() (bool, *api.Error) {
	select {
	case <-s.draining:
		return true, &api.Error{Type: api.Unavailable, Message: "the node is stopping; the request was not begun", Definite: true}
	default:
	}
	if s.o.Standing == nil {
		return false, nil
	}
	standing, begun := s.o.Standing(replica.Status{})
	if begun {
		return false, nil
	}
	e := notBegun(standing)
	return true, &e
}

// link adds a request to those under way. e.mu is held.
func (e *exchange) link(a *asked) {
	if a.older = e.newest; a.older != nil {
		a.older.more = a
	} else {
		e.oldest = a
		e.timer.Reset(e.server.o.RequestTimeout)
	}
	e.newest = a
	e.waiting++
}

// unlink takes a request from those under way. e.mu is held.
func (e *exchange) unlink(a *asked) {
	if a.older != nil {
		a.older.more = a.more
	} else {
		e.oldest = a.more
	}
	if a.more != nil {
		a.more.older = a.older
	} else {
		e.newest = a.older
	}
	a.older, a.more, a.ended = nil, nil, true
	e.waiting--
	e.server.underWay.Add(-1)
}

// answered implements asker: it queues the answer, unless the request was given up.
func (a *asked) answered(o outcome) flusher {
	e := a.exchange
	e.mu.Lock()
	defer e.mu.Unlock()
	if a.ended {
		return nil
	}
	e.unlink(a)
	a.outcome = o
	e.unsent = append(e.unsent, a)
	if e.unsentBytes += len(o.result.Value); e.unsentBytes > maxUnsentBytes {
		e.room.Signal() // whoever waits in await waits in vain
	}
	if e.roused {
		return nil
	}
	e.roused = true
	return e
}

// flush implements flusher.
func (e *exchange) flush() {
	e.mu.Lock()
	e.roused = false
	e.mu.Unlock()
	e.rouse()
}

func (e *exchange) rouse() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// giveUp ends the requests under way of which it is true, the oldest first, until it is not.
func (e *exchange) giveUp(which func(*asked) bool, stopping bool) {
	e.mu.Lock()
	for e.oldest != nil && which(e.oldest) {
		a := e.oldest
		e.unlink(a)
		a.outcome.err = &unansweredError{stopping: stopping, definite: a.request.giveUp()}
		e.unsent = append(e.unsent, a)
	}
	if e.oldest != nil {
		e.timer.Reset(time.Until(e.oldest.begun.Add(e.server.o.RequestTimeout)))
	}
	e.mu.Unlock()
	e.rouse()
}

// expire ends what has waited for too long.
func (e *exchange) expire() {
	late := time.Now().Add(-e.server.o.RequestTimeout)
	e.giveUp(func(a *asked) bool { return !a.begun.After(late) }, false)
}

// abandon keeps from the replica what has not reached it, since nobody waits for it any more.
func (e *exchange) abandon() {
	e.giveUp(func(*asked) bool { return true }, true)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over, e.unsent = true, nil
	e.timer.Stop()
	e.room.Broadcast()
}

// idle tells whether there is nothing to answer.
func (e *exchange) idle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.waiting == 0 && len(e.unsent) == 0
}

// await waits until the client has read enough answers to be heard again. It is false when the client never will.
func (e *exchange) await() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.unsent) > maxUnsent && e.unsentBytes <= maxUnsentBytes && !e.over {
		e.room.Wait()
	}
	return e.unsentBytes <= maxUnsentBytes && !e.over
}

// answer sends all answers that wait. frame is used again and again.
func (e *exchange) answer(stream apipb.API_ExchangeServer, frame *apipb.Answers) error {
	reused := frame.Answers
	for {
		var batch []*asked
		size, carried := 0, 0
		e.mu.Lock()
		if e.unsentBytes > maxUnsentBytes {
			e.mu.Unlock()
			return status.Error(codes.ResourceExhausted, "the answers are not read")
		}
		for len(batch) < len(e.unsent) && size < apipb.FrameBytes {
			a := e.unsent[len(batch)]
			batch = e.unsent[:len(batch)+1]
			carried += len(a.outcome.result.Value)
			size += answerBytes + len(a.outcome.result.Value)
		}
		e.unsent = e.unsent[len(batch):]
		e.unsentBytes -= carried
		e.room.Signal()
		e.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		now := time.Now()
		for len(reused) < len(batch) {
			reused = append(reused, &apipb.Answer{})
		}
		frame.Answers = reused[:len(batch)]
		for i, a := range batch {
			a.tell(frame.Answers[i], now)
		}
		err := stream.SendMsg(frame)
		for _, a := range frame.Answers {
			a.Reset()
		}
		frame.Answers = reused
		if err != nil {
			return err
		}
	}
}

// answerBytes is about what an answer takes beside its value.
const answerBytes = 64

// tell puts into an empty answer what the client is told.
func (a *asked) tell(into *apipb.Answer, now time.Time) {
	s := a.exchange.server
	code, answer, refusal := a.status, (*api.Answer)(nil), a.refusal
	if refusal == nil {
		code, answer, refusal = Outcome(s.o.ID, a.command.Key, a.read, a.outcome.result, a.outcome.err)
		s.o.Metrics.answered(a.op, now.Sub(a.begun), refusal)
	}
	into.Id = a.id
	if answer != nil {
		into.Node, into.Value, into.Revision = string(answer.Node), answer.Value, answer.Revision
		into.Index, into.Term, into.Repeated = answer.Index, answer.Term, answer.Repeated
		into.Session = a.outcome.result.Session
		if a.op == apipb.Op_CLOSE_SESSION {
			into.Session = a.command.Session
		}
		return
	}
	r := &apipb.Refusal{
		Type: string(refusal.Type), Message: refusal.Message, Definite: refusal.Definite, Status: uint32(code),
		Leader: string(refusal.Leader), Value: refusal.Value,
	}
	if url := s.o.ClientURL(refusal.Leader); refusal.Leader != "" && url != "" {
		scheme := "grpc://"
		if s.o.ClientTLS != nil {
			scheme = "grpcs://"
		}
		r.LeaderUrl = scheme + strings.TrimPrefix(url, "http://")
	}
	if refusal.Node == "" {
		refusal.Node = s.o.ID
	}
	into.Node, into.Revision, into.Index = string(refusal.Node), refusal.Revision, refusal.Index
	into.Term, into.Repeated, into.Refusal = refusal.Term, refusal.Repeated, r
}

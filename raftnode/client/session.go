package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"coup/raftnode/api"
	"coup/raftnode/api/apipb"
)

// Session numbers its commands, so that each takes effect at most once however often it is sent. Like the
// client it sends nothing again by itself: a command whose error is not definite stays in doubt until
// Retry settles it or Abandon gives it up. The nodes keep the answers of 256 commands at most, from the
// first one in doubt on. It is safe for concurrent use.
type Session struct {
	client *Client
	id     uint64

	mu   sync.Mutex
	last uint64              // the highest sequence given out
	open map[uint64]*command // under way or in doubt, by sequence
}

// place is where in a session a command is; the zero one is in none.
type place struct{ session, sequence, acked uint64 }

// command is what was, and may be, sent under a sequence.
type command struct {
	operation func(place) *apipb.Request
	found     bool // see Answered
	doubt     bool // an attempt ended with its effect unknown
}

// OpenSession begins a session, which ends when no command was sent in it for longer than ttl, at least a
// millisecond, of the cluster's time. When that ends with an error that is not definite, a session may
// have been opened, which then goes by itself.
func (c *Client) OpenSession(ctx context.Context, node string, ttl time.Duration) (*Session, error) {
	if ttl < time.Millisecond {
		return nil, &Error{Type: api.BadRequest, Message: fmt.Sprintf("a session cannot last for %v", ttl), Definite: true, Node: node}
	}
	answer, err := c.operate(ctx, node, &apipb.Request{Op: apipb.Op_OPEN_SESSION, TtlMs: uint64(ttl / time.Millisecond)})
	if err != nil {
		return nil, err
	}
	return &Session{client: c, id: answer.session, open: make(map[uint64]*command)}, nil
}

// ID is what the nodes know the session by.
func (s *Session) ID() uint64 { return s.id }

// Close ends the session. Commands in doubt stay so.
func (s *Session) Close(ctx context.Context, node string) error {
	_, err := s.client.operate(ctx, node, &apipb.Request{Op: apipb.Op_CLOSE_SESSION, Session: s.id})
	return err
}

// Write is Client.Write, in the session.
func (s *Session) Write(ctx context.Context, node, key, value string) (Result, error) {
	return s.begin(ctx, node, true, func(in place) *apipb.Request { return write(key, value, in) })
}

// CAS is Client.CAS, in the session.
func (s *Session) CAS(ctx context.Context, node, key, expect, value string) (Result, error) {
	return s.begin(ctx, node, true, func(in place) *apipb.Request { return cas(key, expect, value, in) })
}

// Delete is Client.Delete, in the session.
func (s *Session) Delete(ctx context.Context, node, key string) (Result, error) {
	return s.begin(ctx, node, false, func(in place) *apipb.Request { return remove(key, in) })
}

// Retry sends a command in doubt again, under its sequence, which is in its error. A result, or a refusal
// of type api.KeyNotFound or api.CASMismatch, is that of the one time it took effect. Any other error
// leaves the command in doubt and so is not definite, whatever it would be of a first attempt; after
// api.SessionExpired and api.SequenceForgotten there is no way left to find out.
func (s *Session) Retry(ctx context.Context, node string, sequence uint64) (Result, error) {
	s.mu.Lock()
	c := s.open[sequence]
	if c == nil || !c.doubt {
		s.mu.Unlock()
		return Result{}, &Error{
			Type: api.BadRequest, Message: fmt.Sprintf("no command %d is in doubt; nothing was sent", sequence), Definite: true, Node: node,
		}
	}
	in := s.place(sequence)
	s.mu.Unlock()
	return s.send(ctx, node, sequence, c, in)
}

// Abandon gives up a command in doubt, so that the nodes need not keep its answer.
func (s *Session) Abandon(sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.open[sequence]; c != nil && c.doubt {
		delete(s.open, sequence)
	}
}

func (s *Session) begin(ctx context.Context, node string, found bool, operation func(place) *apipb.Request) (Result, error) {
	s.mu.Lock()
	s.last++
	sequence, c := s.last, &command{operation: operation, found: found}
	s.open[sequence] = c
	in := s.place(sequence)
	s.mu.Unlock()
	return s.send(ctx, node, sequence, c, in)
}

// place is where in the session a command that is open is. All before the first that is open is
// acknowledged. s.mu is held.
func (s *Session) place(sequence uint64) place {
	acked := sequence - 1
	for open := range s.open {
		acked = min(acked, open-1)
	}
	return place{s.id, sequence, acked}
}

func (s *Session) send(ctx context.Context, node string, sequence uint64, c *command, in place) (Result, error) {
	answer, err := s.client.operate(ctx, node, c.operation(in))
	s.mu.Lock()
	defer s.mu.Unlock()
	var e *Error
	if !errors.As(err, &e) {
		delete(s.open, sequence)
		return result(answer.Answer, c.found, err)
	}
	e.Sequence = sequence
	decided := e.Type == api.KeyNotFound || e.Type == api.CASMismatch
	if c.doubt && !decided {
		e.Definite = false
	}
	c.doubt = c.doubt || !e.Definite
	if e.Definite || e.Type == api.SessionExpired || e.Type == api.SequenceForgotten {
		delete(s.open, sequence)
	}
	return Result{}, e
}

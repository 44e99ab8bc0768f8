package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
	"unicode/utf8"

	"coup/raftnode/api"
	"coup/raftnode/fsm"
	"coup/raftnode/replica"
)

func (s *Server) read(w http.ResponseWriter, r *http.Request) {
	q := &request{read: true}
	query := r.URL.Query()
	switch consistency := query.Get("consistency"); {
	case len(query) > 1 || len(query) == 1 && !query.Has("consistency"):
		s.refuse(w, http.StatusBadRequest, badRequest("the only parameter is consistency"))
		return
	case consistency == "stale":
		q.stale = true
	case consistency == "lease":
		q.how = replica.Lease
	case consistency == "follower":
		q.how = replica.Follower
	case consistency != "" && consistency != "linearizable":
		s.refuse(w, http.StatusBadRequest, badRequest("consistency is linearizable, lease, follower or stale"))
		return
	}
	s.serve(w, r, "read", q)
}

func (s *Server) write(w http.ResponseWriter, r *http.Request) {
	var body api.WriteRequest
	if !s.decode(w, r, &body) {
		return
	}
	if body.Value == nil {
		s.refuse(w, http.StatusBadRequest, badRequest("value is missing"))
		return
	}
	s.change(w, r, "write", body.InSession, fsm.Command{Op: fsm.Write, Value: *body.Value})
}

func (s *Server) cas(w http.ResponseWriter, r *http.Request) {
	var body api.CASRequest
	if !s.decode(w, r, &body) {
		return
	}
	if body.Expect == nil || body.Value == nil {
		s.refuse(w, http.StatusBadRequest, badRequest("expect or value is missing"))
		return
	}
	s.change(w, r, "cas", body.InSession, fsm.Command{Op: fsm.CAS, Expect: *body.Expect, Value: *body.Value})
}

func (s *Server) delete(w http.ResponseWriter, r *http.Request) {
	content, ok := s.body(w, r)
	if !ok {
		return
	}
	var body api.DeleteRequest
	if len(content) > 0 && !s.parse(w, content, &body) {
		return
	}
	s.change(w, r, "delete", body.InSession, fsm.Command{Op: fsm.Delete})
}

// change has the replica answer a command about the key in the path, in the session that its request
// names, if any.
func (s *Server) change(w http.ResponseWriter, r *http.Request, op string, in api.InSession, c fsm.Command) {
	switch {
	case in == api.InSession{}:
	case in.Session == nil || in.Sequence == nil || in.Acked == nil:
		s.refuse(w, http.StatusBadRequest, badRequest("session, sequence and acked come together"))
		return
	case *in.Session == 0 || *in.Acked >= *in.Sequence:
		s.refuse(w, http.StatusBadRequest, badRequest("session is at least 1, and acked less than sequence"))
		return
	default:
		c.Session, c.Sequence, c.Acked = *in.Session, *in.Sequence, *in.Acked
	}
	s.serve(w, r, op, &request{command: c})
}

// serve has the replica answer a request about the key in the path.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, op string, q *request) {
	key := r.PathValue("key")
	switch {
	case len(key) > s.o.MaxKeyBytes:
		s.refuse(w, http.StatusRequestEntityTooLarge, tooLarge(fmt.Sprintf("a key has at most %d bytes", s.o.MaxKeyBytes)))
		return
	case key == "" || !utf8.ValidString(key):
		s.refuse(w, http.StatusBadRequest, badRequest("a key is UTF-8 and not empty"))
		return
	}
	q.command.Key = key
	if _, answer := s.ended(w, r, op, q); answer != nil {
		reply(w, http.StatusOK, answer)
	}
}

// ended waits for the end of a request. What did not succeed it has answered, and then answer is nil.
func (s *Server) ended(w http.ResponseWriter, r *http.Request, op string, q *request) (result replica.Result, answer *api.Answer) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), s.o.RequestTimeout)
	result, err := s.loop.do(ctx, q)
	cancel()
	s.o.Metrics.latency.WithLabelValues(op).Observe(time.Since(begun).Seconds())
	status, answer, refusal := Outcome(s.o.ID, q.command.Key, q.read, result, err)
	if answer != nil {
		s.o.Metrics.requests.WithLabelValues(op, "ok").Inc()
		return result, answer
	}
	if refusal.Leader != "" {
		refusal.LeaderURL = s.o.ClientURL(refusal.Leader)
	}
	s.o.Metrics.requests.WithLabelValues(op, string(refusal.Type)).Inc()
	s.refuse(w, status, *refusal)
	return result, nil
}

// decode reads a body strictly: one JSON object, no field that it does not know, valid UTF-8.
func (s *Server) decode(w http.ResponseWriter, r *http.Request, into any) bool {
	body, ok := s.body(w, r)
	return ok && s.parse(w, body, into)
}

func (s *Server) body(w http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.o.MaxBodyBytes))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		s.refuse(w, http.StatusRequestEntityTooLarge, tooLarge(fmt.Sprintf("a body has at most %d bytes", s.o.MaxBodyBytes)))
		return nil, false
	case err != nil:
		s.refuse(w, http.StatusBadRequest, badRequest("the body cannot be read"))
		return nil, false
	}
	return body, true
}

func (s *Server) parse(w http.ResponseWriter, body []byte, into any) bool {
	// The decoder would replace what is not UTF-8 without a word.
	if !utf8.Valid(body) {
		s.refuse(w, http.StatusBadRequest, badRequest("the body is not UTF-8"))
		return false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		s.refuse(w, http.StatusBadRequest, badRequest("the body is not the JSON object expected: "+err.Error()))
		return false
	}
	if _, err := d.Token(); err != io.EOF {
		s.refuse(w, http.StatusBadRequest, badRequest("something follows the body's JSON object"))
		return false
	}
	return true
}

func badRequest(message string) api.Error {
	return api.Error{Type: api.BadRequest, Message: message, Definite: true}
}

func tooLarge(message string) api.Error {
	return api.Error{Type: api.TooLarge, Message: message, Definite: true}
}

func (s *Server) refuse(w http.ResponseWriter, status int, e api.Error) {
	if e.Node == "" {
		e.Node = s.o.ID
	}
	reply(w, status, api.ErrorReply{Error: e})
}

func reply(w http.ResponseWriter, status int, body any) {
	encoded, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(encoded, '\n'))
}

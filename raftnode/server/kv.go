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
	s.serve(w, r, "write", &request{command: fsm.Command{Op: fsm.Write, Value: *body.Value}})
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
	s.serve(w, r, "cas", &request{command: fsm.Command{Op: fsm.CAS, Expect: *body.Expect, Value: *body.Value}})
}

func (s *Server) delete(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, "delete", &request{command: fsm.Command{Op: fsm.Delete}})
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
	begun := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), s.o.RequestTimeout)
	result, err := s.loop.do(ctx, q)
	cancel()
	s.o.Metrics.latency.WithLabelValues(op).Observe(time.Since(begun).Seconds())
	status, answer, refusal := Outcome(s.o.ID, key, q.read, result, err)
	if answer != nil {
		s.o.Metrics.requests.WithLabelValues(op, "ok").Inc()
		reply(w, status, answer)
		return
	}
	if refusal.Leader != "" {
		refusal.LeaderURL = s.o.ClientURL(refusal.Leader)
	}
	s.o.Metrics.requests.WithLabelValues(op, string(refusal.Type)).Inc()
	s.refuse(w, status, *refusal)
}

// decode reads a body strictly: one JSON object, no field that it does not know, valid UTF-8.
func (s *Server) decode(w http.ResponseWriter, r *http.Request, into any) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.o.MaxBodyBytes))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		s.refuse(w, http.StatusRequestEntityTooLarge, tooLarge(fmt.Sprintf("a body has at most %d bytes", s.o.MaxBodyBytes)))
		return false
	case err != nil:
		s.refuse(w, http.StatusBadRequest, badRequest("the body cannot be read"))
		return false
	// The decoder would replace what is not UTF-8 without a word.
	case !utf8.Valid(body):
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

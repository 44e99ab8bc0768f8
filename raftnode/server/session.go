package server

import (
	"net/http"
	"strconv"

	"coup/raftnode/api"
	"coup/raftnode/fsm"
)

func (s *Server) openSession(w http.ResponseWriter, r *http.Request) {
	var body api.SessionRequest
	if !s.decode(w, r, &body) {
		return
	}
	if body.TTL == nil || *body.TTL == 0 {
		s.refuse(w, http.StatusBadRequest, badRequest("ttl_ms is missing or 0"))
		return
	}
	result, answer := s.ended(w, r, "open_session", &request{command: fsm.Command{Op: fsm.OpenSession, TTL: *body.TTL}})
	if answer != nil {
		reply(w, http.StatusOK, api.SessionAnswer{
			Session: result.Session, Index: answer.Index, Term: answer.Term, Node: answer.Node,
		})
	}
}

func (s *Server) closeSession(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil || id == 0 {
		s.refuse(w, http.StatusBadRequest, badRequest("a session's ID is a positive number"))
		return
	}
	_, answer := s.ended(w, r, "close_session", &request{command: fsm.Command{Op: fsm.CloseSession, Session: id}})
	if answer != nil {
		reply(w, http.StatusOK, api.SessionAnswer{
			Session: id, Index: answer.Index, Term: answer.Term, Node: answer.Node,
		})
	}
}

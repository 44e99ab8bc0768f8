package server

import (
	"context"
	"net/http"
	"time"

	"coup/raftnode/api"
	"coup/raftnode/replica"
)

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	st, ok := s.ask(w, r)
	if !ok {
		return
	}
	answer := api.Status{
		ID: st.ID, Role: st.Role.String(), Term: st.Term, Vote: st.Vote, Leader: st.Leader,
		Commit: st.Commit, Applied: st.Applied,
		LastIndex: st.LastIndex, LastTerm: st.LastTerm, LastChecksum: st.LastChecksum,
		Configuration: st.Configuration, Progress: st.Progress, Reigns: make([]api.Reign, len(st.Reigns)),
		UptimeNS: time.Since(s.begun).Nanoseconds(), PID: s.o.PID, Version: s.o.Version,
	}
	if st.Leader != "" {
		answer.LeaderURL = s.o.ClientURL(st.Leader)
	}
	for i, reign := range st.Reigns {
		answer.Reigns[i] = api.Reign(reign)
	}
	reply(w, http.StatusOK, answer)
}

func (s *Server) configuration(w http.ResponseWriter, r *http.Request) {
	if st, ok := s.ask(w, r); ok {
		reply(w, http.StatusOK, st.Configuration)
	}
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	if st, ok := s.ask(w, r); ok {
		reply(w, http.StatusOK, api.Health{ID: st.ID, LeaderKnown: st.Leader != "", Leader: st.Leader, Term: st.Term})
	}
}

// ask has the loop say how it is, or answers that it does not.
func (s *Server) ask(w http.ResponseWriter, r *http.Request) (replica.Status, bool) {
	ctx, cancel := context.WithTimeout(r.Context(), statusTimeout)
	defer cancel()
	st, err := s.loop.status(ctx)
	if err != nil {
		status, e := failed(err, true)
		s.refuse(w, status, e)
		return replica.Status{}, false
	}
	return st, true
}

func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) {
	s.refuse(w, http.StatusNotFound, api.Error{
		Type: api.NoRoute, Message: "nothing answers to " + r.Method + " " + r.URL.Path, Definite: true,
	})
}

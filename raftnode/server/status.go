package server

import (
	"context"
	"net/http"
	"time"

	"coup/raftnode/api"
	"coup/raftnode/raft"
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
		Configuration: st.Configuration, ConfigurationIndex: st.ConfigurationIndex,
		Snapshot: st.Snapshot, First: st.First, Upstream: st.Upstream, StateHash: st.StateHash,
		Progress: st.Progress, Reigns: make([]api.Reign, len(st.Reigns)),
		UptimeNS: time.Since(s.begun).Nanoseconds(), PID: s.o.PID, Version: s.o.Version,
	}
	if s.o.Standing != nil {
		answer.Standing, _ = s.o.Standing(st)
	}
	if st.Leader != "" {
		answer.LeaderURL = s.o.ClientURL(st.Leader)
	}
	for i, reign := range st.Reigns {
		answer.Reigns[i] = api.Reign(reign)
	}
	reply(w, http.StatusOK, answer)
}

// unbegun is the status of a node that has no replica yet.
func (s *Server) unbegun(standing api.Standing) api.Status {
	return api.Status{
		ID: s.o.ID, Role: raft.Follower.String(), Standing: standing, Reigns: []api.Reign{},
		UptimeNS: time.Since(s.begun).Nanoseconds(), PID: s.o.PID, Version: s.o.Version,
	}
}

func (s *Server) configuration(w http.ResponseWriter, r *http.Request) {
	var st replica.Status
	switch consistency := r.URL.Query().Get("consistency"); consistency {
	case "":
		var ok bool
		if st, ok = s.ask(w, r); !ok {
			return
		}
	case "linearizable":
		ctx, cancel := context.WithTimeout(r.Context(), s.o.RequestTimeout)
		defer cancel()
		if _, err := s.loop.do(ctx, &request{order: func(r Replica, done func(replica.Result, error)) {
			r.Read("", replica.Linearizable, func(result replica.Result, err error) {
				st = r.Status()
				done(result, err)
			})
		}}); err != nil {
			status, e := failed(err, true)
			if e.Leader != "" {
				e.LeaderURL = s.o.ClientURL(e.Leader)
			}
			s.refuse(w, status, e)
			return
		}
	default:
		s.refuse(w, http.StatusBadRequest, badRequest("consistency is linearizable, or is left out"))
		return
	}
	answer := api.Configuration{
		Configuration: st.Configuration, Index: st.ConfigurationIndex, Committed: st.ConfigurationIndex <= st.Commit,
		Term: st.Term, Leader: st.Leader, Node: st.ID,
	}
	if st.Leader != "" {
		answer.LeaderURL = s.o.ClientURL(st.Leader)
	}
	reply(w, http.StatusOK, answer)
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
	st, err := s.loop.Status(ctx)
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

package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"coup/raftnode/api"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
	"coup/raftnode/replica"
	"coup/raftnode/wire"
)

// errTransferFailed says that a transfer was begun and given up.
var errTransferFailed = errors.New("server: the transfer of leadership was given up after an election time-out")

// maxChanges bounds the changes of one request.
const maxChanges = 64

// lookEvery is how often a request looks whether what it began is over.
const lookEvery = 10 * time.Millisecond

func (s *Server) changeMembers(w http.ResponseWriter, r *http.Request) {
	var body api.ChangeRequest
	if !s.decode(w, r, &body) {
		return
	}
	if err := s.checkChanges(body.Changes); err != nil {
		s.refuse(w, http.StatusBadRequest, badRequest(err.Error()))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.o.RequestTimeout)
	defer cancel()
	var after raft.Configuration
	result, err := s.loop.do(ctx, &request{order: func(r Replica, done func(replica.Result, error)) {
		r.Change(body.Changes, func(result replica.Result, err error) {
			if err == nil {
				after = r.Status().Configuration
			}
			done(result, err)
		})
	}})
	if err != nil {
		s.refuseOrder(w, "change_members", err)
		return
	}
	s.o.Metrics.requests.WithLabelValues("change_members", "ok").Inc()
	reply(w, http.StatusOK, api.ChangeAnswer{Configuration: after, Index: result.Index, Term: result.Term, Node: result.Node})
}

// checkChanges refuses what no log may hold. The rest is for whoever knows the members.
func (s *Server) checkChanges(changes []confchange.Change) error {
	if len(changes) > maxChanges {
		return fmt.Errorf("%d changes are more than %d", len(changes), maxChanges)
	}
	for _, c := range changes {
		if len(c.Node) > wire.MaxNodeID {
			return fmt.Errorf("a node's name has at most %d bytes", wire.MaxNodeID)
		}
		if c.Address == "" {
			continue
		}
		if err := s.o.CheckAddress(c.Address); err != nil {
			return fmt.Errorf("address of %s: %w", c.Node, err)
		}
	}
	return nil
}

func (s *Server) transfer(w http.ResponseWriter, r *http.Request) {
	var body api.TransferRequest
	if !s.decode(w, r, &body) {
		return
	}
	if body.To == "" {
		s.refuse(w, http.StatusBadRequest, badRequest("to is missing"))
		return
	}
	s.endReign(w, r, "transfer", func(r Replica) error { return r.Transfer(body.To) })
}

func (s *Server) stepDown(w http.ResponseWriter, r *http.Request) {
	s.endReign(w, r, "step_down", Replica.StepDown)
}

// endReign has the replica begin to give up leadership, and answers once it has.
func (s *Server) endReign(w http.ResponseWriter, r *http.Request, op string, begin func(Replica) error) {
	st, err := s.abdicate(r.Context(), begin, op == "transfer")
	if err != nil {
		s.refuseOrder(w, op, err)
		return
	}
	s.o.Metrics.requests.WithLabelValues(op, "ok").Inc()
	reply(w, http.StatusOK, api.LeadershipAnswer{Leader: st.Leader, Term: st.Term, Node: st.ID})
}

// abdicate has the replica begin to give up leadership, and looks until it has; where there is an heir, until that leads.
func (s *Server) abdicate(ctx context.Context, begin func(Replica) error, heir bool) (replica.Status, error) {
	var reign uint64
	return s.order(ctx, func(r Replica) error {
		reign = r.Status().Term
		return begin(r)
	}, func(st replica.Status) (over bool, err error) {
		switch {
		case st.Term > reign || st.Role != raft.Leader:
			// Who was told to take over says so at once; where nobody was, no one is waited for.
			return st.Leader != "" || !heir, nil
		case st.Transferee == "":
			return true, errTransferFailed
		}
		return false, nil
	})
}

// HandOver has a node that is about to stop hand leadership over, so that clients need not wait for an election, and
// returns once another leads: requests go on being answered until then. A node that does not lead, or knows nobody who could, is
// done at once. The error says why it leads still, and is no reason not to stop.
func (s *Server) HandOver(ctx context.Context) error {
	_, err := s.abdicate(ctx, func(r Replica) error {
		if err := r.HandOver(); !errors.Is(err, raft.ErrTransferring) {
			return err
		}
		return nil
	}, true)
	var notLeader *raft.NotLeaderError
	var nobody *raft.TransferRefusedError
	if errors.As(err, &notLeader) || errors.As(err, &nobody) {
		return nil
	}
	return err
}

func (s *Server) snapshot(w http.ResponseWriter, r *http.Request) {
	var covers uint64
	st, err := s.order(r.Context(), func(r Replica) error {
		covers = r.Status().Applied
		return r.TakeSnapshot()
	}, func(st replica.Status) (bool, error) { return st.Snapshot >= covers, nil })
	if err != nil {
		s.refuseOrder(w, "snapshot", err)
		return
	}
	s.o.Metrics.requests.WithLabelValues("snapshot", "ok").Inc()
	reply(w, http.StatusOK, api.SnapshotAnswer{Index: st.Snapshot, First: st.First, Term: st.Term, Node: st.ID})
}

// order has the replica begin something, and looks until that is over.
func (s *Server) order(ctx context.Context, begin func(Replica) error, over func(replica.Status) (bool, error)) (replica.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.RequestTimeout)
	defer cancel()
	if _, err := s.loop.do(ctx, &request{order: func(r Replica, done func(replica.Result, error)) {
		done(replica.Result{}, begin(r))
	}}); err != nil {
		return replica.Status{}, err
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		st, err := s.loop.Status(ctx)
		switch {
		case errors.Is(err, errQueueFull):
		case err != nil:
			return replica.Status{}, begunOnly(err)
		default:
			if done, err := over(st); done {
				return st, err
			}
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return replica.Status{}, &unansweredError{}
		}
	}
}

// begunOnly is the error of a request that had been begun when this one ended it.
func begunOnly(err error) error {
	var unanswered *unansweredError
	if errors.As(err, &unanswered) {
		return &unansweredError{stopping: unanswered.stopping}
	}
	return err
}

// refuseOrder answers an operator's request that did not succeed.
func (s *Server) refuseOrder(w http.ResponseWriter, op string, err error) {
	status, e, known := refusedOrder(err)
	if !known {
		status, e = failed(err, false)
	}
	if e.Leader != "" {
		e.LeaderURL = s.o.ClientURL(e.Leader)
	}
	s.o.Metrics.requests.WithLabelValues(op, string(e.Type)).Inc()
	s.refuse(w, status, e)
}

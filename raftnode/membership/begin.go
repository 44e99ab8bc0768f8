// Package membership is how a node comes to take part in a cluster, and how it stands to it. It decides when a node
// with an empty disk may begin, which is all that safety rests on here, and notices when a node was removed. It asks
// other nodes by their HTTP API and is no part of the protocol: what it holds back is silence, which Raft
// always permits.
//
// An empty disk says nothing of what its node once promised. So a node begins on one in either of two ways, and
// never by itself alone:
//
//   - To found a cluster, each first member waits until every other one says that its disk is empty too, or that it
//     is founding the same cluster. Then it notes the first members, and waits until all others have. Whoever sees
//     one that has gone further than that comes too late: its disk was lost.
//   - To join one, it asks the leader, which a quorum confirms, until that says that this node is no member. Only
//     then is it added. Whoever it was before under its name is gone from every configuration, and the
//     node begins in the leader's term, so that nothing said to its former self is heard.
package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"coup/raftnode/api"
	"coup/raftnode/raft"
	"coup/raftnode/store"
)

// ErrBlank refuses to begin on an empty disk a node that was told neither to found a cluster nor to join one.
var ErrBlank = errors.New("the directory is empty: say whether this node is a first member of a new cluster, --bootstrap, or joins one, --join")

// Peers are the other nodes, as they are asked. Its methods may block until ctx is done.
type Peers interface {
	// Status is what a node says of itself.
	Status(ctx context.Context, node raft.NodeID) (api.Status, error)
	// Members is who is a member, by the log of a leader that a quorum has confirmed.
	Members(ctx context.Context) (api.Configuration, error)
}

// Options are what a Node is made of.
type Options struct {
	ID raft.NodeID
	// Founders, this node among them, are the first members of a new cluster, sorted. None: it joins, or has begun.
	Founders []raft.NodeID
	// Join: where the disk is empty, the node waits until it may be added.
	Join  bool
	Peers Peers
	// Addresses are where the founders are, for the first configuration; may be nil.
	Addresses map[raft.NodeID]string
	Logger    *slog.Logger
	// Every is how often others are asked. Zero is 250 ms.
	Every time.Duration
	// Remind is how often what is waited for is logged. Zero is 5 s.
	Remind time.Duration
	// Disagreements tells where the command line says something else than the configuration; nil for nothing.
	Disagreements func(raft.Configuration) []string
}

// Node is how one node stands to its cluster. It is safe for concurrent use.
type Node struct {
	o Options

	mu       sync.Mutex
	begun    bool
	phase    api.Phase // until it has begun; empty until it is known what is on the disk
	waiting  string
	reminded time.Time
	outside  *api.Configuration // by which the node is no member; nil when it may be one
}

// New makes a node that has not begun.
func New(o Options) *Node {
	if o.Every == 0 {
		o.Every = 250 * time.Millisecond
	}
	if o.Remind == 0 {
		o.Remind = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Node{o: o}
}

// Begin returns nil once a replica may be made of the store: at once where it is not empty. Errors: ErrBlank, those
// of the store, and ctx's. The caller must not use the store meanwhile.
func (n *Node) Begin(ctx context.Context, s store.Store) error {
	st, err := s.Load()
	if err != nil {
		return err
	}
	switch {
	case st.HardState == raft.HardState{} && st.Last == 0 && len(st.Base.Configuration.Voters) == 0:
		err = n.beginBlank(ctx, s)
	case st.HardState == raft.HardState{} && st.Last == 0 && st.Base.Index == 0:
		err = n.awaitFounders(ctx, st.Base.Configuration.Voters)
	}
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.begun, n.waiting = true, ""
	n.mu.Unlock()
	return nil
}

func (n *Node) beginBlank(ctx context.Context, s store.Store) error {
	if len(n.o.Founders) > 0 {
		n.enter(api.PhaseBlank)
		founds, err := n.found(ctx, s)
		if err != nil || founds {
			return err
		}
	} else if !n.o.Join {
		return ErrBlank
	}
	n.enter(api.PhaseJoining)
	return n.join(ctx, s)
}

// found makes the node a first member, and tells whether it did: it comes too late where a cluster is at work.
func (n *Node) found(ctx context.Context, s store.Store) (founds bool, err error) {
	late := raft.NodeID("")
	err = n.until(ctx, func(ctx context.Context) (string, bool) {
		answers, missing := n.askFounders(ctx, n.o.Founders)
		for id, phase := range answers {
			if phase != api.PhaseBlank && phase != api.PhaseFounded {
				late = id
				return "", true
			}
		}
		return "the other first members: " + strings.Join(missing, "; "), len(missing) == 0
	})
	if err != nil {
		return false, err
	}
	if late != "" {
		n.o.Logger.Warn("this disk is empty and the cluster is at work: this node must not begin as a first member, whatever it "+
			"was told; it joins as a new one", "says", late)
		return false, nil
	}
	base := raft.Base{Configuration: raft.Configuration{Voters: n.o.Founders, Addresses: n.o.Addresses}}
	if err := s.Bootstrap(base); err != nil {
		return false, fmt.Errorf("noting the first members: %w", err)
	}
	return true, n.awaitFounders(ctx, n.o.Founders)
}

// awaitFounders waits until every first member has noted that it is one. Nobody votes before that.
func (n *Node) awaitFounders(ctx context.Context, founders []raft.NodeID) error {
	n.mu.Lock()
	n.o.Founders, n.phase = founders, api.PhaseFounded
	n.mu.Unlock()
	return n.until(ctx, func(ctx context.Context) (string, bool) {
		answers, missing := n.askFounders(ctx, founders)
		for id, phase := range answers {
			switch phase {
			case api.PhaseFounded:
			case api.PhaseBlank:
				missing = append(missing, fmt.Sprintf("%s has not noted yet that it is one", id))
			default:
				return "", true // it waited for all, this node included
			}
		}
		return "the other first members: " + strings.Join(missing, "; "), len(missing) == 0
	})
}

// askFounders asks all the others at once. missing says who did not answer as a first member of this cluster does.
func (n *Node) askFounders(ctx context.Context, founders []raft.NodeID) (answers map[raft.NodeID]api.Phase, missing []string) {
	answers = make(map[raft.NodeID]api.Phase)
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, id := range founders {
		if id == n.o.ID {
			continue
		}
		asking.Go(func() {
			s, err := n.o.Peers.Status(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			early := s.Phase == api.PhaseBlank || s.Phase == api.PhaseFounded
			switch {
			case err != nil:
				missing = append(missing, fmt.Sprintf("%s does not answer", id))
			case s.ID != id:
				missing = append(missing, fmt.Sprintf("where %s should be is %s", id, s.ID))
			case s.Phase == api.PhaseJoining:
				missing = append(missing, fmt.Sprintf("%s is not to be a first member: it was told to join, or its disk was lost", id))
			case early && !slices.Equal(s.Founders, founders):
				missing = append(missing, fmt.Sprintf("%s was told of other first members: %v", id, s.Founders))
			default:
				answers[id] = s.Phase
			}
		})
	}
	asking.Wait()
	slices.Sort(missing)
	return answers, missing
}

// join waits until the node may be added, and has it begin without a past.
func (n *Node) join(ctx context.Context, s store.Store) error {
	var term uint64
	err := n.until(ctx, func(ctx context.Context) (string, bool) {
		c, err := n.o.Peers.Members(ctx)
		switch {
		case err != nil:
			return fmt.Sprintf("a leader's word that %s is no member: %v", n.o.ID, err), false
		case c.Contains(n.o.ID):
			return fmt.Sprintf("%s to be removed: the cluster has a member of that name, and this disk is empty; remove %[1]s, and add it again "+
				"once it waits for that", n.o.ID), false
		case !c.Committed || c.Joint():
			return "a change of members to end", false
		}
		term = c.Term
		return "", true
	})
	if err != nil {
		return err
	}
	if err := s.Bootstrap(raft.Base{}); err != nil && !errors.Is(err, store.ErrNotEmpty) {
		return fmt.Errorf("beginning an empty log: %w", err)
	}
	if err := s.Save(&raft.HardState{Term: term}, nil); err != nil {
		return fmt.Errorf("beginning an empty log: %w", err)
	}
	n.o.Logger.Info("this node may be added", "term", term)
	return nil
}

// until asks again and again until it is done, and says meanwhile what is waited for.
func (n *Node) until(ctx context.Context, ask func(context.Context) (waiting string, done bool)) error {
	again := time.NewTicker(n.o.Every)
	defer again.Stop()
	for {
		waiting, done := ask(ctx)
		if done {
			return nil
		}
		n.waitsFor(waiting)
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *Node) enter(p api.Phase) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.phase = p
}

// waitsFor notes what is waited for, and logs it from time to time. The empty string is nothing.
func (n *Node) waitsFor(what string) {
	n.mu.Lock()
	due := what != "" && (n.waiting == "" || time.Since(n.reminded) >= n.o.Remind)
	n.waiting = what
	if due {
		n.reminded = time.Now()
	}
	n.mu.Unlock()
	if due {
		n.o.Logger.Info("waits", "for", what)
	}
}

package membership

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/api"
	"coup/raftnode/raft"
	"coup/raftnode/replica"
	"coup/raftnode/store"
)

// town is the other nodes, as a test has them answer.
type town struct {
	mu      sync.Mutex
	nodes   map[raft.NodeID]func() (api.Status, error)
	members func() (api.Configuration, error)
}

func (w *town) Status(_ context.Context, id raft.NodeID) (api.Status, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ask := w.nodes[id]; ask != nil {
		return ask()
	}
	return api.Status{}, errors.New("connection refused")
}

func (w *town) Members(context.Context) (api.Configuration, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.members == nil {
		return api.Configuration{}, errors.New("nobody leads")
	}
	return w.members()
}

func (w *town) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *town) says(id raft.NodeID, phase api.Phase, founders ...raft.NodeID) {
	w.set(func() {
		w.nodes[id] = func() (api.Status, error) {
			return api.Status{ID: id, Standing: api.Standing{Phase: phase, Founders: founders}}, nil
		}
	})
}

func (w *town) leads(index uint64, c raft.Configuration) {
	w.set(func() {
		w.members = func() (api.Configuration, error) {
			return api.Configuration{Configuration: c, Index: index, Committed: true, Term: 7, Leader: "n2", Node: "n2"}, nil
		}
	})
}

func newTown() *town { return &town{nodes: make(map[raft.NodeID]func() (api.Status, error))} }

var three = []raft.NodeID{"n1", "n2", "n3"}

// beginning runs Begin and tells its end.
func beginning(t *testing.T, n *Node, s store.Store) <-chan error {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() { defer close(done); ended <- n.Begin(ctx, s) }()
	t.Cleanup(func() { cancel(); <-done })
	return ended
}

func options(w *town, change func(*Options)) Options {
	o := Options{ID: "n1", Peers: w, Every: time.Millisecond}
	change(&o)
	return o
}

func founder(o *Options) { o.Founders = three }
func joiner(o *Options)  { o.Join = true }

func waitsFor(t *testing.T, n *Node, what string) {
	t.Helper()
	require.Eventually(t, func() bool {
		standing, begun := n.Standing(replica.Status{})
		return !begun && bytes.Contains([]byte(standing.Waiting), []byte(what))
	}, 20*time.Second, time.Millisecond, what)
}

// blank tells whether nothing was noted.
func blank(t *testing.T, s store.Store) bool {
	st, err := s.Load()
	require.NoError(t, err)
	return st.HardState == raft.HardState{} && len(st.Base.Configuration.Voters) == 0
}

// Three nodes that are started together found a cluster, and none begins before all have noted it: whoever has begun
// is evidence against a lost disk.
func TestFoundersBeginTogether(t *testing.T) {
	w, s := newTown(), store.NewMemory()
	o := options(w, founder)
	o.Addresses = map[raft.NodeID]string{"n1": "h1"}
	n := New(o)
	ended := beginning(t, n, s)
	waitsFor(t, n, "n2 does not answer; n3 does not answer")
	w.says("n2", api.PhaseBlank, three...)
	w.says("n3", api.PhaseBlank, "n1", "n3")
	waitsFor(t, n, "n3 was told of other first members: [n1 n3]")
	w.says("n3", api.PhaseJoining)
	waitsFor(t, n, "n3 is not to be a first member")
	w.set(func() { w.nodes["n3"] = func() (api.Status, error) { return api.Status{ID: "n9"}, nil } })
	waitsFor(t, n, "where n3 should be is n9")
	standing, _ := n.Standing(replica.Status{})
	require.Equal(t, api.PhaseBlank, standing.Phase)
	require.Equal(t, three, standing.Founders)

	w.says("n3", api.PhaseBlank, three...)
	waitsFor(t, n, "n2 has not noted yet that it is one")
	standing, _ = n.Standing(replica.Status{})
	require.Equal(t, api.PhaseFounded, standing.Phase)
	require.Equal(t, three, standing.Founders)
	w.says("n2", api.PhaseFounded, three...)
	waitsFor(t, n, "n3 has not noted yet that it is one")
	w.says("n3", api.PhaseFounded, three...)
	require.NoError(t, <-ended)
	st, err := s.Load()
	require.NoError(t, err)
	require.Equal(t, raft.Configuration{Voters: three, Addresses: o.Addresses}, st.Base.Configuration)
	_, begun := n.Standing(replica.Status{})
	require.True(t, begun)
}

// A founder that was stopped before the others began finds that they have, and goes on.
func TestFounderThatIsLateBeginsOnItsOwnDisk(t *testing.T) {
	w, s := newTown(), store.NewMemory()
	require.NoError(t, s.Bootstrap(raft.Base{Configuration: raft.Configuration{Voters: three}}))
	n := New(options(w, func(*Options) {}))
	ended := beginning(t, n, s)
	waitsFor(t, n, "n2 does not answer; n3 does not answer")
	w.says("n2", api.PhaseMember)
	require.NoError(t, <-ended)
}

// A node alone founds at once, and one that has begun before asks nobody.
func TestWhoAsksNobody(t *testing.T) {
	alone := New(options(newTown(), func(o *Options) { o.Founders = []raft.NodeID{"n1"} }))
	require.NoError(t, alone.Begin(t.Context(), store.NewMemory()))
	used := store.NewMemory()
	require.NoError(t, used.Bootstrap(raft.Base{Configuration: raft.Configuration{Voters: three}}))
	require.NoError(t, used.Save(&raft.HardState{Term: 1}, nil))
	require.NoError(t, New(options(newTown(), joiner)).Begin(t.Context(), used))
	require.ErrorIs(t, New(options(newTown(), func(*Options) {})).Begin(t.Context(), store.NewMemory()), ErrBlank)
}

// The point of it all: a first member whose disk was lost does not begin as one, for it may have voted. It waits to be
// removed, and then begins without a past and in the leader's term.
func TestFounderWithAWipedDiskDoesNotBegin(t *testing.T) {
	w, s := newTown(), store.NewMemory()
	w.says("n2", api.PhaseMember)
	n := New(options(w, founder))
	ended := beginning(t, n, s)
	waitsFor(t, n, "a leader's word that n1 is no member: nobody leads")
	w.leads(4, raft.Configuration{Voters: three})
	waitsFor(t, n, "n1 to be removed")
	standing, _ := n.Standing(replica.Status{})
	require.Equal(t, api.PhaseJoining, standing.Phase)
	require.Empty(t, standing.Founders)
	w.leads(5, raft.Configuration{Voters: three[1:], Outgoing: three})
	waitsFor(t, n, "n1 to be removed")
	w.set(func() {
		w.members = func() (api.Configuration, error) {
			return api.Configuration{Configuration: raft.Configuration{Voters: three[1:]}, Index: 6}, nil
		}
	})
	waitsFor(t, n, "a change of members to end")
	require.True(t, blank(t, s))
	w.leads(6, raft.Configuration{Voters: three[1:]})
	require.NoError(t, <-ended)
	st, err := s.Load()
	require.NoError(t, err)
	require.Equal(t, raft.HardState{Term: 7}, st.HardState)
	require.Empty(t, st.Base.Configuration.Voters)

	// A restart finds that it was cleared, whatever the configuration says by now, and however it is started.
	w.leads(8, raft.Configuration{Voters: three})
	for _, how := range []func(*Options){joiner, founder} {
		require.NoError(t, New(options(w, how)).Begin(t.Context(), s))
	}
}

// A directory that was begun by joining, and then is to found a cluster, must not lose its first members in silence.
func TestHalfBegunDirectoryIsNotFounded(t *testing.T) {
	s := store.NewMemory()
	require.NoError(t, s.Bootstrap(raft.Base{}))
	n := New(options(newTown(), func(o *Options) { o.Founders = []raft.NodeID{"n1"} }))
	require.ErrorIs(t, n.Begin(t.Context(), s), store.ErrNotEmpty)
}

// What is waited for is logged, though not at every question.
func TestWaitingIsLoggedNowAndThen(t *testing.T) {
	var log bytes.Buffer
	o := options(newTown(), joiner)
	o.Logger, o.Remind = slog.New(slog.NewTextHandler(&log, nil)), time.Hour
	n := New(o)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, n.Begin(ctx, store.NewMemory()), context.DeadlineExceeded)
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("nobody leads")), log.String())
}

// watched is a replica that says what a test has it say.
type watched struct {
	mu     sync.Mutex
	state  replica.Status
	paused bool
}

func (r *watched) Status(context.Context) (replica.Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state, nil
}

func (r *watched) Pause(p bool) { r.set(func() { r.paused = p }) }

func (r *watched) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// A node that waits to be added says so, and is not taken for one that was removed; a removed one knows it, says how
// to return, and keeps quiet until it is a member again, also when no leader is left to say so.
func TestStandingFollowsTheCluster(t *testing.T) {
	w, s := newTown(), store.NewMemory()
	without, with := raft.Configuration{Voters: three[1:]}, raft.Configuration{Voters: three}
	w.leads(6, without)
	o := options(w, joiner)
	o.Disagreements = func(c raft.Configuration) []string { return []string{"--peers"} }
	n := New(o)
	standing, begun := n.Standing(replica.Status{})
	require.Equal(t, api.Standing{}, standing, "nothing is known before the disk was looked at")
	require.False(t, begun)
	require.NoError(t, n.Begin(t.Context(), s))
	r := &watched{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n.Watch(ctx, r) }()
	t.Cleanup(func() { cancel(); <-done })
	stands := func(phase api.Phase, waiting string, paused bool) {
		t.Helper()
		require.Eventually(t, func() bool {
			st, _ := r.Status(ctx)
			standing, begun := n.Standing(st)
			r.mu.Lock()
			defer r.mu.Unlock()
			return begun && standing.Phase == phase && bytes.Contains([]byte(standing.Waiting), []byte(waiting)) &&
				(waiting != "" || standing.Waiting == "") && r.paused == paused
		}, 20*time.Second, time.Millisecond)
	}
	stands(api.PhaseOutside, "n1 to be added", false)
	w.leads(8, raft.Configuration{Voters: three[1:], Learners: three[:1]})
	stands(api.PhaseOutside, "n2, which leads, to send what it needs", false)
	r.set(func() {
		r.state.Configuration, r.state.ConfigurationIndex, r.state.Leader, r.state.LastIndex = with, 8, "n2", 9
	})
	stands(api.PhaseMember, "", false)
	standing, _ = n.Standing(r.state)
	require.Equal(t, []string{"--peers"}, standing.Disagreements)

	r.set(func() { r.state.Leader = "" })
	w.set(func() { w.members = nil })
	stands(api.PhaseMember, "a leader: nobody leads", false)
	w.leads(12, without)
	stands(api.PhaseRemoved, "was removed from the cluster", true)
	w.set(func() { w.members = nil })
	r.set(func() { r.state.ConfigurationIndex = 14 })
	stands(api.PhaseMember, "a leader: nobody leads", false)
	w.leads(15, without)
	stands(api.PhaseRemoved, "was removed from the cluster", true)
	w.leads(16, with)
	stands(api.PhaseMember, "n2, which leads", false)
}

// A read-only peer hears no leader and is no stranger for that; one that was removed finds out all the same.
func TestReadOnlyPeerFindsOutThatItWasRemoved(t *testing.T) {
	w, s := newTown(), store.NewMemory()
	require.NoError(t, s.Bootstrap(raft.Base{}))
	require.NoError(t, s.Save(&raft.HardState{Term: 3}, nil))
	fed := raft.Configuration{Voters: three[1:], ReadOnly: three[:1]}
	w.leads(6, fed)
	n := New(options(w, joiner))
	require.NoError(t, n.Begin(t.Context(), s))
	r := &watched{}
	r.state.Configuration, r.state.ConfigurationIndex, r.state.LastIndex = fed, 6, 9
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n.Watch(ctx, r) }()
	t.Cleanup(func() { cancel(); <-done })
	standing, _ := n.Standing(r.state)
	require.Equal(t, api.Standing{Phase: api.PhaseMember}, standing)
	w.leads(10, raft.Configuration{Voters: three[1:]})
	require.Eventually(t, func() bool {
		standing, _ := n.Standing(r.state)
		return standing.Phase == api.PhaseRemoved
	}, 20*time.Second, time.Millisecond)
}

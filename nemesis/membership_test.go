package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"coup/cluster"
	"coup/raftnode/api"
	"coup/raftnode/client"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
)

// electorate is a fake whose nodes come and go, and can be made members. How it treats an order, manner says.
type electorate struct {
	*fake
	t       *testing.T
	config  raft.Configuration
	index   uint64
	next    int
	away    []string
	wipes   []string
	orders  int
	manner  []string // of the next orders, "" for all others: refused, lies, loses, drops, late, busy
	pending func()   // an order that will be carried out; nil for none
	deaf    bool     // the leader's configuration is known to nobody else
}

func elect(t *testing.T, nodes int, manner ...string) *electorate {
	e := &electorate{fake: newFake(nodes), t: t, index: 1, next: nodes, manner: manner}
	for _, id := range ids(e) {
		e.config.Voters = append(e.config.Voters, raft.NodeID(id))
	}
	was := connect
	connect = func([]cluster.Node) (operator, error) { return office{e}, nil }
	t.Cleanup(func() { connect = was })
	return e
}

func (e *electorate) Nodes() []cluster.Node {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.nodes)
}

func (e *electorate) Add(_ context.Context, name string) (n cluster.Node, err error) {
	err = e.do("add", func() {
		if name == "" {
			e.next++
			name = fmt.Sprintf("n%d", e.next)
		} else {
			require.Contains(e.t, e.away, name)
			e.away = without(e.away, name)
		}
		n = cluster.Node{ID: name, Address: "at " + name}
		e.nodes = append(e.nodes, n)
		slices.SortFunc(e.nodes, func(a, b cluster.Node) int { return int(a.ID[1]) - int(b.ID[1]) })
		e.pids++
		e.process[name] = cluster.ProcessState{State: "running", PID: e.pids}
	})
	return n, err
}

// Remove holds whoever calls it to the rule that no member's disk is emptied.
func (e *electorate) Remove(_ context.Context, node string, wipe bool) error {
	return e.do("remove", func() {
		require.Equal(e.t, "dead", e.process[node].State)
		if wipe {
			require.False(e.t, e.config.Contains(raft.NodeID(node)), "%s is a member, and its disk is emptied", node)
			require.Nil(e.t, e.pending, "%s may be made a member yet, and its disk is emptied", node)
			e.wipes = append(e.wipes, node)
		}
		e.nodes = slices.DeleteFunc(e.nodes, func(n cluster.Node) bool { return n.ID == node })
		e.away = append(e.away, node)
		delete(e.process, node)
	})
}

func (e *electorate) Stop(_ context.Context, node string) error {
	return e.do("stop", e.set(node, "dead"))
}

func (e *electorate) answering(node string) error {
	if e.process[node].State != "running" {
		return client.Failed(node, false, client.NotSent(errors.New("connection refused")))
	}
	return nil
}

func (e *electorate) Members(_ context.Context, node string) (api.Configuration, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.answering(node); err != nil {
		return api.Configuration{}, err
	}
	for _, v := range e.config.Voters {
		if e.answering(string(v)) == nil {
			return api.Configuration{Configuration: e.config, Index: e.index, Committed: true, Node: v}, nil
		}
	}
	return api.Configuration{}, client.Failed(node, false, context.DeadlineExceeded)
}

func (e *electorate) Configuration(ctx context.Context, node string) (api.Configuration, error) {
	c, err := e.Members(ctx, node)
	if e.deaf && node != string(e.config.Voters[0]) {
		c.Index--
	}
	return c, err
}

func (e *electorate) Status(_ context.Context, node string) (api.Status, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := api.Status{ID: raft.NodeID(node), Leader: "n1", Applied: e.index, Commit: e.index}
	s.Phase = api.PhaseOutside
	return s, e.answering(node)
}

// awaits tells whether an order will be carried out yet.
func (e *electorate) awaits() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pending != nil
}

// office is where an electorate is reached.
type office struct{ *electorate }

func (office) Close() {}

func (e *electorate) Change(_ context.Context, node string, changes ...confchange.Change) (api.ChangeAnswer, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.answering(node); err != nil {
		return api.ChangeAnswer{}, client.Failed(node, true, client.NotSent(errors.New("connection refused")))
	}
	e.orders++
	how := ""
	if e.orders <= len(e.manner) {
		how = e.manner[e.orders-1]
	}
	lost := client.Failed(node, true, context.DeadlineExceeded)
	switch how {
	case "refused":
		return api.ChangeAnswer{}, &client.Error{Type: api.ChangeRefused, Definite: true, Node: node}
	case "busy":
		return api.ChangeAnswer{}, &client.Error{Type: api.ChangeInFlight, Definite: true, Node: node}
	case "lies":
		return api.ChangeAnswer{}, nil
	case "drops":
		return api.ChangeAnswer{}, lost
	case "late":
		e.pending = func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.pending = nil
			_ = e.enter(changes)
		}
		time.AfterFunc(doubtTime-time.Second, e.pending)
		return api.ChangeAnswer{}, lost
	}
	if err := e.enter(changes); err != nil {
		return api.ChangeAnswer{}, &client.Error{Type: api.ChangeRefused, Message: err.Error(), Definite: true, Node: node}
	}
	if how == "loses" {
		return api.ChangeAnswer{}, lost
	}
	return api.ChangeAnswer{Configuration: e.config}, nil
}

// enter makes changes by the node's own rules, and has everybody catch up at once.
func (e *electorate) enter(changes []confchange.Change) error {
	entered, err := confchange.Enter(e.config, changes)
	if err != nil {
		return err
	}
	for len(entered.Promote) > 0 || entered.Joint() {
		if entered.Joint() {
			entered = confchange.Leave(entered)
			continue
		}
		var promote []confchange.Change
		for _, id := range entered.Promote {
			promote = append(promote, confchange.Change{Op: confchange.Promote, Node: id})
		}
		if entered, err = confchange.Enter(entered, promote); err != nil {
			return err
		}
	}
	e.config = entered
	e.index++
	return nil
}

func (e *electorate) voters() []string {
	var all []string
	for _, id := range e.config.Voters {
		all = append(all, string(id))
	}
	return all
}

// requireAsBefore holds what a fault leaves behind to what there was: the same members, on the same disks but for those that were
// emptied, and nobody else.
func (e *electorate) requireAsBefore(t *testing.T, nodes int) {
	t.Helper()
	require.Len(t, e.Nodes(), nodes)
	require.Equal(t, ids(e), e.voters())
	require.Empty(t, e.config.Learners)
	require.True(t, e.whole())
}

func families() (all []*membership) {
	for _, f := range Real() {
		if m, ok := f.(*membership); ok {
			all = append(all, m)
		}
	}
	return all
}

// Catches a fault that draws what it does not say, that is not in force when it says so, whose proof is not of what was drawn,
// or that leaves something behind; whatever becomes of the answer to its order.
func TestMembersChangeAndComeBack(t *testing.T) {
	for _, fault := range families() {
		for _, manner := range [][]string{{""}, {"busy"}, {"loses"}, {"drops"}, {"late"}, {"", "loses"}, {"", "drops"}, {"", "late"}} {
			for seed := range uint64(8) {
				nodes := []int{3, 5}[seed%2]
				t.Run(fmt.Sprintf("%s/%q/%d", fault.Name(), manner, seed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						e := elect(t, nodes, manner...)
						before := e.voters()
						require.NoError(t, fault.Check(e))
						in, out := fault.Install(t.Context(), e, leaders{"n2"}, random(seed))
						require.Equal(t, ResultInstalled, out.Result, out.Reason)
						require.Equal(t, e.config, *out.Members)
						require.NotEqual(t, before, e.voters())
						a := in.(*altered)
						switch fault {
						case grow:
							require.Subset(t, e.voters(), before)
							require.Len(t, e.voters(), nodes+a.add)
						case shrink, removeLeader, readd:
							require.Len(t, e.voters(), nodes-len(out.Targets))
							require.Greater(t, len(e.voters()), nodes/2)
							require.Len(t, e.Nodes(), nodes, "they run on")
							require.True(t, e.whole())
						case swap:
							require.Len(t, e.voters(), nodes)
						case demote:
							require.Len(t, e.config.Learners, len(out.Targets))
							require.Greater(t, len(e.voters()), nodes/2)
						case replace:
							require.Equal(t, out.Targets, e.wipes)
						}
						if fault == removeLeader {
							require.Equal(t, []string{"n2"}, out.Targets)
						}
						require.Equal(t, fault == readd, a.Rest() > 0)
						for range 3 * min(1, max(0, int(a.Rest()))) {
							a.Act(t.Context())
						}
						cancelled, cancel := context.WithCancel(t.Context())
						cancel()
						healed := in.Heal(cancelled)
						require.Equal(t, ResultHealed, healed.Result, healed.Reason)
						require.Empty(t, healed.Reason)
						e.requireAsBefore(t, nodes)
						require.Equal(t, before, e.voters())
						require.Equal(t, ResultHealed, in.Heal(t.Context()).Result, "healing twice")
					})
				})
			}
		}
	}
}

// Catches a fault that is reported installed though it was refused, or though nobody did what was ordered, and one that empties
// a disk then.
func TestWhatWasNotDoneIsNotInstalled(t *testing.T) {
	for _, fault := range families() {
		for _, c := range []struct {
			manner string
			want   Result
		}{{"refused", ResultSkipped}, {"lies", ResultIndeterminate}} {
			t.Run(fault.Name()+"/"+c.manner, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := elect(t, 5, c.manner)
					in, out := fault.Install(t.Context(), e, leaders{"n2"}, random(1))
					require.Equal(t, c.want, out.Result)
					require.NotEmpty(t, out.Reason)
					if c.want == ResultIndeterminate {
						require.Empty(t, e.wipes)
						require.Equal(t, ResultHealed, in.Heal(t.Context()).Result)
					}
					e.requireAsBefore(t, 5)
				})
			})
		}
	}
}

// Catches a proof that rests on the leader's word alone.
func TestAMajorityMustGoByTheMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := elect(t, 5)
		in, out := grow.Install(t.Context(), e, leaders{"n1"}, random(1))
		require.Equal(t, ResultInstalled, out.Result, out.Reason)
		e.deaf = true
		healed := in.Heal(t.Context())
		require.Equal(t, ResultNotHealed, healed.Result)
		require.Contains(t, healed.Reason, "only 1 say")
		_, out = grow.Install(t.Context(), e, leaders{"n1"}, random(1))
		require.Equal(t, ResultSkipped, out.Result)
	})
}

// Catches healing that believes what it is told: an order that is never carried out, a node that does not start.
func TestMembersThatDoNotComeBackAreNotHealed(t *testing.T) {
	for fault, lies := range map[*membership][]string{shrink: {"", "lies", "lies", "lies"}, replace: nil} {
		synctest.Test(t, func(t *testing.T) {
			e := elect(t, 5, lies...)
			in, out := fault.Install(t.Context(), e, leaders{"n1"}, random(1))
			require.Equal(t, ResultInstalled, out.Result, out.Reason)
			if lies == nil {
				e.fails = []string{"add"}
			}
			require.Equal(t, ResultNotHealed, in.Heal(t.Context()).Result)
			e.fails, e.manner = nil, nil
			require.Equal(t, ResultHealed, in.Heal(t.Context()).Result)
			e.requireAsBefore(t, 5)
		})
	}
}

func TestStopsAreProvenAndHealed(t *testing.T) {
	for _, fault := range []*stop{stopLeader, rollingRestart} {
		synctest.Test(t, func(t *testing.T) {
			e := elect(t, 5)
			in, out := fault.Install(t.Context(), e, leaders{"n2"}, random(1))
			require.Equal(t, ResultInstalled, out.Result, out.Reason)
			down := func() (dead []string) {
				for _, id := range ids(e) {
					if e.process[id].State == "dead" {
						dead = append(dead, id)
					}
				}
				return dead
			}
			require.Equal(t, out.Targets[:1], down())
			r := in.(*restarts)
			require.Equal(t, fault == rollingRestart, r.Rest() > 0)
			for i := range 7 * (len(out.Targets) - 1) / 4 {
				r.Act(t.Context())
				require.Empty(t, down())
				r.Act(t.Context())
				require.Equal(t, []string{out.Targets[(i+1)%5]}, down())
			}
			healed := in.Heal(t.Context())
			require.Equal(t, ResultHealed, healed.Result, healed.Reason)
			require.Empty(t, healed.Reason)
			require.True(t, e.whole())

			e.lies = []string{"stop"}
			_, out = fault.Install(t.Context(), e, leaders{"n2"}, random(1))
			require.Equal(t, ResultIndeterminate, out.Result)
		})
	}
}

// Catches recipes that leave a cluster that is not the one they say, and a step that passes for done and is not.
func TestRecipes(t *testing.T) {
	for _, recipe := range Recipes() {
		synctest.Test(t, func(t *testing.T) {
			e := elect(t, recipe.Nodes)
			for _, step := range recipe.Steps {
				require.NoError(t, step.Check(e))
				in, out := step.Install(t.Context(), e, leaders{"n1"}, random(1))
				require.Equal(t, ResultInstalled, out.Result, out.Reason)
				require.Equal(t, ResultHealed, in.Heal(t.Context()).Result)
				size := recipe.Nodes
				if to, ok := step.(resize); ok {
					size = to.to
				}
				e.requireAsBefore(t, size)
			}
			require.Empty(t, e.wipes)
			if recipe.Name == "growth" {
				require.Equal(t, []string{"n2", "n3", "n4"}, e.voters(), "the leader leaves, and the latest")
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		e := elect(t, 3, "lies", "lies")
		in, out := resize{3, 5}.Install(t.Context(), e, leaders{"n1"}, random(1))
		require.Equal(t, ResultIndeterminate, out.Result)
		require.Equal(t, ResultNotHealed, in.Heal(t.Context()).Result)
		require.Equal(t, ResultHealed, in.Heal(t.Context()).Result)
		e.requireAsBefore(t, 5)
	})
	_, err := FindRecipe("shrinkage")
	require.ErrorContains(t, err, "growth")
}

// Catches healing that takes for settled what may still come: a node that is taken away, and its disk emptied, and made a
// member a moment later.
func TestHealingWaitsForWhatMayStillHappen(t *testing.T) {
	for _, fault := range families() {
		synctest.Test(t, func(t *testing.T) {
			e := elect(t, 5, "late")
			impatient, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			in, out := fault.Install(impatient, e, leaders{"n2"}, random(1))
			require.Equal(t, ResultIndeterminate, out.Result)
			require.True(t, e.awaits())
			healed := in.Heal(t.Context())
			require.Equal(t, ResultHealed, healed.Result, healed.Reason)
			require.False(t, e.awaits())
			e.requireAsBefore(t, 5)
		})
	}
}

// Catches an island whose order is not given, or goes round to nodes that can carry it out, a leader that carries it out alone and
// passes for one that did not, and members that do not come back though the order was carried out after all.
func TestIsland(t *testing.T) {
	for manner, want := range map[string]Result{"drops": ResultInstalled, "late": ResultInstalled, "": ResultIndeterminate} {
		synctest.Test(t, func(t *testing.T) {
			e := elect(t, 5, manner)
			in, out := island{}.Install(t.Context(), e, leaders{"n2"}, random(1))
			require.Equal(t, want, out.Result, out.Reason)
			require.Equal(t, []string{"n2"}, out.Targets)
			require.Equal(t, 1, e.orders)
			require.Len(t, out.Links, 8)
			require.Len(t, e.cut, 8)
			healed := in.Heal(t.Context())
			require.Equal(t, ResultHealed, healed.Result, healed.Reason)
			require.Equal(t, 5, len(healed.Members.Voters))
			e.requireAsBefore(t, 5)
		})
	}
}

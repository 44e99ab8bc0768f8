package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"coup/cluster"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
)

// membership changes who the members are, by an order to the nodes themselves; healing brings back those that
// were members before, and nobody else. Both are proven by what a majority says is committed. No disk is emptied before
// its node is proven to be no member.
type membership struct {
	name    string
	summary string
	minimum int // members that the cluster must have
	// draw decides what is done, given the voters and the leader.
	draw func(voters []string, leader string, rng Rand) alteration
}

// alteration is what is done to the members, in one step.
type alteration struct {
	add    int      // nodes that are started, and made voters
	remove []string // these are members no more; they run on with their data, unless wipe is set
	demote []string // these have no vote any more
	wipe   bool     // those to be removed are killed before, and their disks emptied after
	again  bool     // those removed are added again as they are, and removed again, over and over
}

var grow = &membership{
	name: "grow", summary: "start one or two further nodes and make them voters in one step; they leave again", minimum: 1,
	draw: func(_ []string, _ string, rng Rand) alteration { return alteration{add: 1 + rng.IntN(2)} },
}

var shrink = &membership{
	name: "shrink", summary: "remove a minority of the voters in one step; they run on with their data, and come back as they are", minimum: 3,
	draw: func(voters []string, _ string, rng Rand) alteration {
		return alteration{remove: shuffled(voters, rng)[:1+rng.IntN((len(voters)-1)/2)]}
	},
}

var swap = &membership{
	name: "swap", summary: "put a new node in the place of a voter, in one step, and back", minimum: 2,
	draw: func(voters []string, _ string, rng Rand) alteration {
		return alteration{add: 1, remove: shuffled(voters, rng)[:1]}
	},
}

var removeLeader = &membership{
	name: "remove-leader", summary: "have the leader remove itself; it runs on, and is added again", minimum: 3,
	draw: func(_ []string, leader string, _ Rand) alteration { return alteration{remove: []string{leader}} },
}

var demote = &membership{
	name: "demote", summary: "take the vote from a minority, the leader perhaps among them; it is promoted again", minimum: 3,
	draw: func(voters []string, _ string, rng Rand) alteration {
		return alteration{demote: shuffled(voters, rng)[:1+rng.IntN((len(voters)-1)/2)]}
	},
}

var replace = &membership{
	name: "replace", summary: "kill a node and remove it, then empty its disk; it joins anew under its old name", minimum: 3,
	draw: func(voters []string, _ string, rng Rand) alteration {
		return alteration{remove: shuffled(voters, rng)[:1], wipe: true}
	},
}

var readd = &membership{
	name: "readd", summary: "remove a node and add it again as it is, over and over", minimum: 3,
	draw: func(voters []string, leader string, rng Rand) alteration {
		return alteration{remove: shuffled(without(voters, leader), rng)[:1], again: true}
	},
}

func (m *membership) Name() string      { return m.name }
func (m *membership) Summary() string   { return m.summary }
func (m *membership) KeepsQuorum() bool { return true }
func (m *membership) Needs() string {
	return fmt.Sprintf("at least %d nodes, and nodes that come and go and can be killed", max(1, m.minimum))
}
func (m *membership) Proof() string {
	return "a majority says that the change is committed, and later that the members are those before; they run, and nobody else does"
}

func (m *membership) Check(c cluster.Cluster) error {
	if n := len(c.Nodes()); n < m.minimum {
		return fmt.Errorf("%s needs at least %d nodes: this cluster has %d", m.name, m.minimum, n)
	}
	if _, err := grower(c, m.name); err != nil {
		return err
	}
	_, err := killer(c, m.name)
	return err
}

func grower(c cluster.Cluster, fault string) (cluster.Grower, error) {
	g, ok := c.(cluster.Grower)
	if !ok {
		return nil, fmt.Errorf("%s needs nodes that come and go, which the %s environment cannot have: use docker or netns", fault, c.Environment())
	}
	return g, nil
}

func (m *membership) Install(ctx context.Context, c cluster.Cluster, view View, rng Rand) (Installed, Outcome) {
	if err := m.Check(c); err != nil {
		return nil, Outcome{Result: ResultSkipped, Reason: err.Error()}
	}
	leader, reason := currentLeader(ctx, view)
	if leader == "" {
		return nil, Outcome{Result: ResultSkipped, Reason: reason}
	}
	a, err := unaltered(ctx, c, leader, m.name)
	if err != nil {
		return nil, Outcome{Result: ResultSkipped, Reason: err.Error()}
	}
	a.alteration = m.draw(a.before, leader, rng)
	a.rhythm = drawRhythm(rng)
	outcome := Outcome{Result: ResultInstalled}
	outcome.Members, err = a.install(ctx)
	outcome.Targets = slices.Concat(a.added, a.remove, a.demote)
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		// Nothing came of the order, and nothing may be left of what was done for it.
		outcome.Result, outcome.Reason = ResultSkipped, err.Error()
		if undone := a.Heal(ctx); undone.Result != ResultHealed {
			outcome.Result, outcome.Reason = ResultIndeterminate, err.Error()+"; "+undone.Reason
		}
	case err != nil:
		outcome.Result, outcome.Reason = ResultIndeterminate, err.Error()
	}
	return a, outcome
}

// altered is a change of members in force.
type altered struct {
	manner
	orders
	alteration
	nodes     cluster.Grower
	processes cluster.Killer
	before    []string // the members, and the nodes that there were
	added     []string

	rhythm  rhythm
	turn    int   // in rhythm
	absent  bool  // those to remove are no members, of one that goes on
	failure error // of Act, after which there is no other
}

// unaltered is a cluster whose members are all its nodes, as is proven, and who are to be so again.
func unaltered(ctx context.Context, c cluster.Cluster, leader, fault string) (*altered, error) {
	a := &altered{manner: mannerOf(c), orders: orders{cluster: c, leader: leader}, before: ids(c)}
	a.nodes, _ = grower(c, fault)
	a.processes, _ = killer(c, fault)
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	if _, err := a.until(ctx, a.whole); err != nil {
		return nil, fmt.Errorf("the members are not those that they should be: %w", err)
	}
	return a, nil
}

// install does what was drawn, and proves it.
func (a *altered) install(ctx context.Context) (*raft.Configuration, error) {
	if a.wipe {
		if _, _, err := killNodes(ctx, a.cluster, a.processes, a.remove); err != nil {
			return nil, err
		}
	}
	for range a.add {
		n, err := a.nodes.Add(ctx, "")
		if err != nil {
			return nil, err
		}
		a.added = append(a.added, n.ID)
	}
	if err := a.ready(ctx, a.added); err != nil {
		return nil, err
	}
	changes := append(changesOf(confchange.Remove, a.remove), changesOf(confchange.Demote, a.demote)...)
	agreed, err := a.change(ctx, append(a.additions(a.added), changes...))
	if err != nil {
		return nil, err
	}
	if a.wipe {
		for _, id := range a.remove {
			if err := a.nodes.Remove(ctx, id, true); err != nil {
				return nil, err
			}
		}
	}
	a.absent = true
	return &agreed, nil
}

// changesOf does the same to several nodes.
func changesOf(op confchange.Op, nodes []string) (all []confchange.Change) {
	for _, id := range nodes {
		all = append(all, confchange.Change{Op: op, Node: raft.NodeID(id)})
	}
	return all
}

// additions make nodes voters, where they are.
func (o *orders) additions(nodes []string) []confchange.Change {
	all := changesOf(confchange.Add, nodes)
	for i := range all {
		for _, n := range o.cluster.Nodes() {
			if n.ID == string(all[i].Node) {
				all[i].Address = n.Address
			}
		}
	}
	return all
}

// whole says in what the members differ from those before.
func (a *altered) whole(c raft.Configuration) error {
	if changes := a.back(c); len(changes) > 0 {
		return fmt.Errorf("it takes %v to have the members %v again", changes, a.before)
	}
	return nil
}

// back are the changes that bring back those who were voters before, and nobody else.
func (a *altered) back(c raft.Configuration) (changes []confchange.Change) {
	for _, id := range a.before {
		switch node := raft.NodeID(id); {
		case slices.Contains(c.Voters, node):
		case c.Contains(node):
			changes = append(changes, changesOf(confchange.Promote, []string{id})...)
		default:
			changes = append(changes, a.additions([]string{id})...)
		}
	}
	for _, id := range c.Members() {
		if !slices.Contains(a.before, string(id)) {
			changes = append(changes, confchange.Change{Op: confchange.Remove, Node: id})
		}
	}
	return changes
}

// Rest implements Restless.
func (a *altered) Rest() time.Duration {
	if !a.again || a.failure != nil || len(a.rhythm) == 0 {
		return -1
	}
	return a.rhythm[a.turn%len(a.rhythm)].down
}

// Act implements Restless: it adds those again that were removed, or removes them again.
func (a *altered) Act(ctx context.Context) {
	ctx, cancel := a.healing(ctx)
	defer cancel()
	changes := changesOf(confchange.Remove, a.remove)
	if a.absent {
		changes = a.additions(a.remove)
	}
	_, a.failure = a.change(ctx, changes)
	a.absent = !a.absent
	a.turn++
}

// Heal implements Installed. The proof is that a majority goes by the members that there were before, and that all of
// them run, and nobody else does.
func (a *altered) Heal(ctx context.Context) Outcome {
	ctx, cancel := a.healing(ctx)
	defer cancel()
	outcome := Outcome{
		Result: ResultHealed, Targets: slices.Concat(a.added, a.remove, a.demote), Reason: errorText(a.failure), Changes: a.turn,
	}
	agreed, err := a.restore(ctx)
	if err == nil {
		outcome.Members = &agreed
		outcome.Processes, err = a.inState(ctx, a.processes, a.before, "running")
	}
	if err != nil {
		outcome.Result, outcome.Reason = ResultNotHealed, err.Error()
	}
	return outcome
}

// restore goes on until things are as they were, or time is up.
func (a *altered) restore(ctx context.Context) (agreed raft.Configuration, err error) {
	for {
		if !a.settle(ctx) {
			return agreed, errors.New("it is not certain yet what will come of an order")
		}
		if agreed, err = a.attempt(ctx); err == nil || !pause(ctx, operatorPause) {
			return agreed, err
		}
	}
}

// attempt does all that is left to do.
func (a *altered) attempt(ctx context.Context) (raft.Configuration, error) {
	for _, id := range without(a.before, ids(a.cluster)...) {
		if _, err := a.nodes.Add(ctx, id); err != nil {
			return raft.Configuration{}, err
		}
	}
	err := a.each(a.before, func(id string) error { return revive(ctx, a.cluster, a.processes, id) })
	if err != nil {
		return raft.Configuration{}, err
	}
	agreed, err := a.agreed(ctx)
	if err != nil {
		return agreed, err
	}
	if changes := a.back(agreed); len(changes) > 0 {
		if err := a.ready(ctx, a.before); err != nil {
			return agreed, err
		}
		if agreed, err = a.change(ctx, changes); err != nil {
			return agreed, err
		}
	}
	// Only those leave that are proven to be no members, and they leave nothing behind.
	for _, id := range without(ids(a.cluster), a.before...) {
		if agreed.Contains(raft.NodeID(id)) {
			return agreed, fmt.Errorf("%s is a member still", id)
		}
		if err := dismiss(ctx, a.nodes, a.processes, id); err != nil {
			return agreed, err
		}
	}
	return agreed, a.whole(agreed)
}

// dismiss takes a node away that is proven to be no member, with its disk.
func dismiss(ctx context.Context, nodes cluster.Grower, processes cluster.Killer, id string) error {
	state, err := processes.Process(ctx, id)
	if err == nil && state.State != "dead" {
		err = processes.Kill(ctx, id)
	}
	if err != nil {
		return err
	}
	return nodes.Remove(ctx, id, true)
}

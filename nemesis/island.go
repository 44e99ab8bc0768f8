package nemesis

import (
	"context"
	"errors"
	"slices"
	"time"

	"coup/cluster"
	"coup/raftnode/raft/confchange"
)

// island cuts the leader off and orders it to remove all the others. It has no majority for that, and must not go by itself
// alone: a leader that did would serve on its own, beside the one that the others elect.
type island struct{}

// islandTime is how long the order is waited for. It takes none: nobody is there to agree.
const islandTime = time.Second

func (island) Name() string { return "island" }
func (island) Summary() string {
	return "cut the leader off from everybody, and order it to remove all the others"
}
func (island) KeepsQuorum() bool { return true }
func (island) Needs() string {
	return "at least 3 nodes, links that can be cut, and nodes that come and go and can be killed"
}
func (island) Proof() string {
	return cutProof + "; the order is not carried out, and later the members are those before"
}

func (f island) Check(c cluster.Cluster) error {
	m := membership{name: f.Name(), minimum: 3}
	_, err := partitioner(c, f.Name())
	return errors.Join(m.Check(c), err)
}

func (f island) Install(ctx context.Context, c cluster.Cluster, view View, _ Rand) (Installed, Outcome) {
	if err := f.Check(c); err != nil {
		return nil, Outcome{Result: ResultSkipped, Reason: err.Error()}
	}
	leader, reason := currentLeader(ctx, view)
	if leader == "" {
		return nil, Outcome{Result: ResultSkipped, Reason: reason}
	}
	a, err := unaltered(ctx, c, leader, f.Name())
	if err != nil {
		return nil, Outcome{Result: ResultSkipped, Reason: err.Error()}
	}
	others := without(a.before, leader)
	cut, outcome := cutLinks(ctx, c, f.Name(), []string{leader}, between([]string{leader}, others))
	m := &marooned{cut: cut, altered: a}
	if outcome.Result != ResultInstalled {
		return m, outcome
	}
	if err := m.order(ctx, leader, changesOf(confchange.Remove, others)); err != nil {
		outcome.Result, outcome.Reason = ResultIndeterminate, err.Error()
	}
	return m, outcome
}

// marooned is a leader that is alone.
type marooned struct {
	cut     Installed
	altered *altered // what may come of the order
}

// order has the leader, and nobody else, asked. An answer that it was done is an error.
func (m *marooned) order(ctx context.Context, leader string, changes []confchange.Change) error {
	all := m.altered.cluster.Nodes()
	alone, err := connect(slices.DeleteFunc(all, func(n cluster.Node) bool { return n.ID != leader }))
	if err != nil {
		return err
	}
	defer alone.Close()
	ctx, cancel := context.WithTimeout(ctx, islandTime)
	defer cancel()
	_, err = alone.Change(ctx, leader, changes...)
	m.altered.doubt = time.Now().Add(doubtTime)
	if err == nil {
		return errors.New("a leader that hears nobody says that it has removed all the others")
	}
	return nil
}

// Heal implements Installed. The order may be carried out once the leader is heard again: then those that it removed come back.
func (m *marooned) Heal(ctx context.Context) Outcome {
	outcome := m.cut.Heal(ctx)
	if outcome.Result != ResultHealed {
		return outcome
	}
	back := m.altered.Heal(ctx)
	outcome.Result, outcome.Reason, outcome.Members, outcome.Processes = back.Result, back.Reason, back.Members, back.Processes
	return outcome
}

package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"coup/cluster"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
)

// Recipe is a fixed schedule: steps that an operator would take, one after the other, each when the cluster has rested from the
// one before. Healing a step brings it to its end.
type Recipe struct {
	Name    string
	Summary string
	Nodes   int           // that the cluster begins with
	Steps   []Fault       // each with a name of its own
	Hold    time.Duration // from the proof that a step is in force to its end
	Rest    time.Duration // from the end of a step to the next
}

// Recipes are all that there are.
func Recipes() []Recipe {
	rolling := Recipe{
		Name: "rolling-restart", Summary: "five nodes, each stopped gracefully and started again in turn", Nodes: 5,
		Hold: 3 * time.Second, Rest: 3 * time.Second,
	}
	for i := range rolling.Nodes {
		rolling.Steps = append(rolling.Steps, restart{fmt.Sprintf("n%d", i+1)})
	}
	return []Recipe{rolling, {
		Name: "growth", Summary: "from one node to 3, 5 and 7, and back to 3", Nodes: 1,
		Steps: []Fault{resize{1, 3}, resize{3, 5}, resize{5, 7}, resize{7, 3}},
		Hold:  3 * time.Second, Rest: 3 * time.Second,
	}}
}

// FindRecipe finds a recipe by its name. The error lists all.
func FindRecipe(name string) (Recipe, error) {
	var names []string
	for _, r := range Recipes() {
		if r.Name == name {
			return r, nil
		}
		names = append(names, fmt.Sprintf("%s (%s)", r.Name, r.Summary))
	}
	return Recipe{}, fmt.Errorf("there is no recipe %q; there are %s", name, strings.Join(names, " and "))
}

// Plan is the schedule of a recipe that begins at the given time. Of each step only the order is fixed.
func (r Recipe) Plan(at time.Duration) []Planned {
	var plan []Planned
	for i, step := range r.Steps {
		plan = append(plan, Planned{ID: i + 1, Fault: step.Name(), At: at, HealAt: at + r.Hold})
	}
	return plan
}

// restart stops a node gracefully; healing starts it, and waits until it has caught up.
type restart struct{ node string }

func (s restart) Name() string      { return "restart " + s.node }
func (s restart) Summary() string   { return "stop " + s.node + " gracefully and start it again" }
func (s restart) KeepsQuorum() bool { return true }

func (s restart) Check(c cluster.Cluster) error {
	if !slices.Contains(ids(c), s.node) {
		return fmt.Errorf("there is no %s", s.node)
	}
	_, err := stopper(c, s.Name())
	return err
}

func (s restart) Install(ctx context.Context, c cluster.Cluster, _ View, _ Rand) (Installed, Outcome) {
	processes, err := stopper(c, s.Name())
	if err != nil {
		return nil, Outcome{Result: ResultSkipped, Reason: err.Error()}
	}
	outcome := Outcome{Result: ResultInstalled, Targets: []string{s.node}}
	r := &restarts{processes: processes, nodes: outcome.Targets}
	r.down, outcome.Processes, err = stopNode(ctx, c, processes, s.node)
	if err != nil {
		outcome.Result, outcome.Reason = ResultIndeterminate, err.Error()
	}
	return stopped{r}, outcome
}

// stopped is a node that has been stopped, once.
type stopped struct{ *restarts }

// Rest implements Restless: it does nothing more.
func (stopped) Rest() time.Duration { return -1 }

// Heal implements Installed.
func (s stopped) Heal(ctx context.Context) Outcome {
	ctx, cancel := s.down.healing(ctx)
	defer cancel()
	outcome := s.down.Heal(ctx)
	if outcome.Result != ResultHealed {
		return outcome
	}
	o := orders{cluster: s.down.cluster}
	if err := o.caughtUp(ctx, s.nodes); err != nil {
		outcome.Result, outcome.Reason = ResultNotHealed, err.Error()
	}
	return outcome
}

// resize changes the number of voters. Nodes come when they are needed and leave when they are not: the leader first, then the latest.
type resize struct{ from, to int }

func (s resize) Name() string { return fmt.Sprintf("%d to %d", s.from, s.to) }
func (s resize) Summary() string {
	return fmt.Sprintf("change from %d voters to %d in one step", s.from, s.to)
}
func (s resize) KeepsQuorum() bool { return true }

func (s resize) Check(c cluster.Cluster) error {
	if _, err := grower(c, s.Name()); err != nil {
		return err
	}
	_, err := stopper(c, s.Name())
	return err
}

func (s resize) Install(ctx context.Context, c cluster.Cluster, view View, _ Rand) (Installed, Outcome) {
	if err := s.Check(c); err != nil {
		return nil, Outcome{Result: ResultSkipped, Reason: err.Error()}
	}
	leader, reason := currentLeader(ctx, view)
	if leader == "" {
		return nil, Outcome{Result: ResultSkipped, Reason: reason}
	}
	r := &resized{manner: mannerOf(c), orders: orders{cluster: c, leader: leader}, want: s.to}
	r.nodes, _ = grower(c, s.Name())
	r.processes, _ = stopper(c, s.Name())
	outcome := Outcome{Result: ResultInstalled}
	agreed, err := r.do(ctx)
	outcome.Targets = r.targets
	if err != nil {
		outcome.Result, outcome.Reason = ResultIndeterminate, err.Error()
		return r, outcome
	}
	outcome.Members = &agreed
	return r, outcome
}

// resized is a resize in force. It is to stay so.
type resized struct {
	manner
	orders
	nodes     cluster.Grower
	processes graceful
	want      int
	targets   []string // who has come, or left
}

// do brings the cluster to the size that is wanted, and proves it. It may be repeated.
func (r *resized) do(ctx context.Context) (agreed raft.Configuration, err error) {
	for len(r.cluster.Nodes()) < r.want {
		n, err := r.nodes.Add(ctx, "")
		if err != nil {
			return agreed, err
		}
		r.targets = append(r.targets, n.ID)
	}
	if agreed, err = r.until(ctx, func(raft.Configuration) error { return nil }); err != nil {
		return agreed, err
	}
	leaving := r.leaving(agreed)
	wanted := without(ids(r.cluster), leaving...)
	if err := r.ready(ctx, wanted); err != nil {
		return agreed, err
	}
	var changes []confchange.Change
	for _, id := range wanted {
		if !agreed.Contains(raft.NodeID(id)) {
			changes = append(changes, r.additions([]string{id})...)
		}
	}
	for _, id := range leaving {
		if agreed.Contains(raft.NodeID(id)) {
			changes = append(changes, confchange.Change{Op: confchange.Remove, Node: raft.NodeID(id)})
		}
	}
	if len(changes) > 0 {
		if agreed, err = r.change(ctx, changes); err != nil {
			return agreed, err
		}
	}
	for _, id := range leaving {
		if agreed.Contains(raft.NodeID(id)) {
			return agreed, fmt.Errorf("%s is a member still", id)
		}
		r.targets = append(r.targets, id)
		if err := errors.Join(r.processes.Stop(ctx, id), r.nodes.Remove(ctx, id, false)); err != nil {
			return agreed, err
		}
	}
	return agreed, r.right(agreed)
}

// leaving are the nodes that are too many: those that are no members already, the leader, the latest.
func (r *resized) leaving(c raft.Configuration) []string {
	all := ids(r.cluster)
	rank := func(id string) int {
		switch {
		case !c.Contains(raft.NodeID(id)):
			return 0
		case id == r.leader:
			return 1
		}
		return 2 + len(all) - slices.Index(all, id)
	}
	order := slices.SortedFunc(slices.Values(all), func(a, b string) int { return rank(a) - rank(b) })
	return order[:max(0, len(all)-r.want)]
}

// right says in what the voters are not all the nodes that there are, in the number that is wanted.
func (r *resized) right(c raft.Configuration) error {
	var voters []string
	for _, id := range c.Voters {
		voters = append(voters, string(id))
	}
	all := ids(r.cluster)
	slices.Sort(all)
	if len(voters) != r.want || !slices.Equal(voters, all) {
		return fmt.Errorf("the nodes are %v, and %d should be voters: they are %v", all, r.want, voters)
	}
	return nil
}

// Heal implements Installed. What was left half done is done; the proof is that a majority goes by the members that there should
// be, and that all of them run and have caught up.
func (r *resized) Heal(ctx context.Context) Outcome {
	ctx, cancel := r.healing(ctx)
	defer cancel()
	outcome := Outcome{Result: ResultHealed, Targets: r.targets}
	agreed, err := r.agreed(ctx)
	if err != nil || r.right(agreed) != nil {
		if r.settle(ctx) {
			agreed, err = r.do(ctx)
		}
	}
	if err == nil {
		err = r.right(agreed)
	}
	if err == nil {
		outcome.Members = &agreed
		if err = r.caughtUp(ctx, ids(r.cluster)); err == nil {
			outcome.Processes, err = r.inState(ctx, r.processes, ids(r.cluster), "running")
		}
	}
	if err != nil {
		outcome.Result, outcome.Reason = ResultNotHealed, err.Error()
	}
	return outcome
}

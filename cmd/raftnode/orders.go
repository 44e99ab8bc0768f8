package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"coup/raftnode/api"
	"coup/raftnode/client"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
)

// operator is who gives orders to a cluster, through the nodes at some addresses.
type operator struct {
	at      string
	timeout time.Duration

	client *client.Client
	names  []string // by which the client knows those nodes
	out    io.Writer
}

// orderTimeout is above what a node lets a request wait.
const orderTimeout = 10 * time.Second

// newOrders are the commands by which a cluster is looked after.
func newOrders() []*cobra.Command {
	return []*cobra.Command{
		newMembers(), newConfig(), newStatus(),
		newAdd(), newEach(confchange.Remove, "Remove members, whatever they are"),
		newEach(confchange.Promote, "Make learners voters, if they have caught up"),
		newEach(confchange.Demote, "Make voters learners"), newMove(), newChange(),
		newTransfer(), newStepDown(), newSnapshot(),
	}
}

// command makes one whose run is handed an operator.
func command(use, short, long string, args cobra.PositionalArgs, run func(context.Context, *operator, []string) error) *cobra.Command {
	var o operator
	c := &cobra.Command{Use: use, Short: short, Long: long, Args: args}
	c.Flags().StringVar(&o.at, "at", "127.0.0.1:4100", "HTTP address of a node, HOST[:PORT]; several, separated by commas, are tried in turn")
	c.Flags().DurationVar(&o.timeout, "timeout", orderTimeout, "how long to try")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		o.out = cmd.OutOrStdout()
		if err := o.connect(); err != nil {
			return err
		}
		defer o.client.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
		defer cancel()
		return run(ctx, &o, args)
	}
	return c
}

func (o *operator) connect() error {
	nodes := make(map[string]string)
	for text := range strings.SplitSeq(o.at, ",") {
		name, err := parseAt(strings.TrimSpace(text))
		if err != nil {
			return fmt.Errorf("--at: %w", err)
		}
		nodes[name] = "http://" + name
		o.names = append(o.names, name)
	}
	if o.timeout <= 0 {
		return errors.New("--timeout: it must be positive")
	}
	var err error
	o.client, err = client.New(nodes, client.Options{Timeout: -1, FollowURLs: true})
	return err
}

// parseAt reads HOST[:PORT], the place of an HTTP API.
func parseAt(text string) (string, error) {
	if strings.Contains(text, "/") {
		return "", fmt.Errorf("%q is not HOST[:PORT]", text)
	}
	place, err := parsePlace(text, ports{bus: defaultPorts.http}) // the first port, and the only one
	return place.busAddress(), err
}

// patience is how long passes until an order is given again that was refused for the time being.
const patience = 200 * time.Millisecond

// order gives an order to one node after the other, and again where a refusal, by which nothing was done, says that
// this will be in order soon.
func order[T any](ctx context.Context, o *operator, give func(ctx context.Context, node string) (T, error)) (T, error) {
	for {
		var answer T
		var err error
		soon := false
		for _, node := range o.names {
			answer, err = give(ctx, node)
			var refused *client.Error
			if !errors.As(err, &refused) {
				break
			}
			err = failure{err}
			// A leader to which another node has sent us may just have died.
			soon = refused.Type == client.Unreachable && refused.Node != node ||
				refused.Definite && slices.Contains([]api.ErrorType{api.NotReady, api.Transferring, api.NotLeader}, refused.Type)
			if refused.Type != client.Unreachable {
				break
			}
		}
		if err == nil || !soon || ctx.Err() != nil {
			return answer, err
		}
		select {
		case <-time.After(patience):
		case <-ctx.Done():
			return answer, err
		}
	}
}

func (o *operator) members(ctx context.Context) (api.Configuration, error) {
	return order(ctx, o, o.client.Members)
}

func newMembers() *cobra.Command {
	return command("members", "List the members, what they are and how far they have come",
		"members lists who is a member, as the leader has it now, which a quorum confirms.", cobra.NoArgs,
		func(ctx context.Context, o *operator, _ []string) error {
			c, err := o.members(ctx)
			if err != nil {
				return err
			}
			leader := string(c.Node)
			if c.LeaderURL != "" {
				if err := o.client.Learn(leader, c.LeaderURL); err != nil {
					return failure{err}
				}
			}
			st, err := o.client.Status(ctx, leader)
			if err != nil {
				return failure{fmt.Errorf("the leader's status: %w", err)}
			}
			return printMembers(o.out, c, st)
		})
}

func printMembers(out io.Writer, c api.Configuration, leader api.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MEMBER\tPART\tADDRESS\tHOLDS\tLAG\tSTATE")
	for _, id := range c.Members() {
		address := c.Addresses[id]
		if address == "" {
			address = "-"
		}
		holds, lag, state := "-", "-", "-"
		if id == leader.ID {
			holds, lag, state = fmt.Sprint(leader.LastIndex), "0", leader.Role
		} else if p, ok := leader.Progress[id]; ok {
			holds, lag, state = fmt.Sprint(p.Match), fmt.Sprint(leader.LastIndex-min(p.Match, leader.LastIndex)), p.State
			if !p.RecentActive {
				state = "silent"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", id, part(c.Configuration, id), address, holds, lag, state)
	}
	fmt.Fprintf(w, "\nconfiguration of entry %d, ", c.Index)
	switch {
	case c.Joint():
		fmt.Fprintf(w, "joint: a change is under way")
	case !c.Committed:
		fmt.Fprintf(w, "not committed yet")
	default:
		fmt.Fprintf(w, "committed")
	}
	fmt.Fprintf(w, "; %s leads term %d\n", c.Node, c.Term)
	return w.Flush()
}

// part is what a member is.
func part(c raft.Configuration, id raft.NodeID) string {
	switch {
	case slices.Contains(c.LearnersNext, id):
		return "voter, to be learner"
	case c.Joint() && slices.Contains(c.Voters, id) && !slices.Contains(c.Outgoing, id):
		return "voter, new"
	case slices.Contains(c.Voters, id):
		return "voter"
	case slices.Contains(c.Outgoing, id):
		return "voter, to be removed"
	case slices.Contains(c.Promote, id):
		return "learner, to be voter"
	case slices.Contains(c.Learners, id):
		return "learner"
	}
	return "read-only"
}

func newConfig() *cobra.Command {
	return command("config", "Print the configuration of members as JSON",
		"config prints the configuration in force at the leader, which a quorum confirms, as one JSON object.", cobra.NoArgs,
		func(ctx context.Context, o *operator, _ []string) error {
			c, err := o.members(ctx)
			if err != nil {
				return err
			}
			return printJSON(o.out, c)
		})
}

func newStatus() *cobra.Command {
	return command("status", "Print what one node says of itself as JSON", "status prints what the node --at says of itself.", cobra.NoArgs,
		func(ctx context.Context, o *operator, _ []string) error {
			st, err := o.client.Status(ctx, o.names[0])
			if err != nil {
				return failure{err}
			}
			return printJSON(o.out, st)
		})
}

func printJSON(out io.Writer, what any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(what)
}

// parseMember reads ID or ID=HOST[:BUS[/HTTP[/GOSSIP]]].
func parseMember(op confchange.Op, text string) (confchange.Change, error) {
	id, place, located := strings.Cut(text, "=")
	if err := checkID(id); err != nil {
		return confchange.Change{}, err
	}
	c := confchange.Change{Op: op, Node: raft.NodeID(id)}
	if !located {
		return c, nil
	}
	p, err := parsePlace(place, defaultPorts)
	if err != nil {
		return confchange.Change{}, fmt.Errorf("%s: %w", id, err)
	}
	c.Address = p.String()
	return c, nil
}

func parseMembers(op confchange.Op, texts []string) (changes []confchange.Change, err error) {
	for _, text := range texts {
		c, err := parseMember(op, text)
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// change has all changes made, says what the members are then, and waits for voters to come if it is to.
func (o *operator) change(ctx context.Context, changes []confchange.Change, wait time.Duration) error {
	answer, err := order(ctx, o, func(ctx context.Context, node string) (api.ChangeAnswer, error) {
		return o.client.Change(ctx, node, changes...)
	})
	if err != nil {
		return err
	}
	c := answer.Configuration
	for _, change := range changes {
		switch {
		case change.Op == confchange.Remove:
			fmt.Fprintf(o.out, "%s is no member any more\n", change.Node)
		case change.Op == confchange.Move:
			fmt.Fprintf(o.out, "%s is at %s\n", change.Node, change.Address)
		case slices.Contains(c.Promote, change.Node):
			fmt.Fprintf(o.out, "%s is a learner, and becomes a voter when it has caught up\n", change.Node)
		default:
			fmt.Fprintf(o.out, "%s is a %s\n", change.Node, part(c, change.Node))
		}
	}
	if wait > 0 {
		return o.awaitVoters(changes, wait)
	}
	return nil
}

// awaitVoters waits until all that were added to be voters are.
func (o *operator) awaitVoters(changes []confchange.Change, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	for {
		c, err := o.members(ctx)
		var learners []raft.NodeID
		for _, change := range changes {
			if change.Op == confchange.Add && (!slices.Contains(c.Voters, change.Node) || c.Joint()) {
				learners = append(learners, change.Node)
			}
		}
		if err == nil && len(learners) == 0 {
			for _, change := range changes {
				if change.Op == confchange.Add {
					fmt.Fprintf(o.out, "%s is a voter\n", change.Node)
				}
			}
			return nil
		}
		select {
		case <-time.After(patience):
		case <-ctx.Done():
			if err != nil {
				return err
			}
			return failure{fmt.Errorf("members, and not voters after %v: %v; raftnode members shows how far they are", wait, learners)}
		}
	}
}

func newAdd() *cobra.Command {
	var learner, readOnly bool
	var wait time.Duration
	c := command("add ID[=HOST[:BUS[/HTTP[/GOSSIP]]]]...", "Add members",
		`add makes nodes members: voters as soon as they have caught up, unless --learner or --read-only says otherwise.
All of them are added in one step, or none. Start a node with --join before you add it. Where it is can be left
out where gossip finds it.`, cobra.MinimumNArgs(1),
		func(ctx context.Context, o *operator, args []string) error {
			op := confchange.Add
			switch {
			case learner && readOnly:
				return errors.New("--learner, --read-only: a node is one or the other")
			case learner:
				op = confchange.AddLearner
			case readOnly:
				op = confchange.AddReadOnly
			}
			changes, err := parseMembers(op, args)
			if err != nil {
				return err
			}
			return o.change(ctx, changes, wait)
		})
	c.Flags().BoolVar(&learner, "learner", false, "they stay learners: replicated to, never counted")
	c.Flags().BoolVar(&readOnly, "read-only", false, "they are fed by followers, and never counted")
	c.Flags().DurationVar(&wait, "wait", 0, "wait so long until they are voters, and fail if they are not")
	return c
}

// newEach is a command that does the same to each node that it names.
func newEach(op confchange.Op, short string) *cobra.Command {
	return command(string(op)+" ID...", short, short+". All in one step, or none.", cobra.MinimumNArgs(1),
		func(ctx context.Context, o *operator, args []string) error {
			changes, err := parseMembers(op, args)
			if err != nil {
				return err
			}
			for _, c := range changes {
				if c.Address != "" {
					return fmt.Errorf("%s: %s takes no address", c.Node, op)
				}
			}
			return o.change(ctx, changes, 0)
		})
}

func newMove() *cobra.Command {
	return command("move ID=HOST[:BUS[/HTTP[/GOSSIP]]]...", "Note where members are now",
		"move notes in the configuration where members are from now on.", cobra.MinimumNArgs(1),
		func(ctx context.Context, o *operator, args []string) error {
			changes, err := parseMembers(confchange.Move, args)
			if err != nil {
				return err
			}
			for _, c := range changes {
				if c.Address == "" {
					return fmt.Errorf("%s: say where it is, ID=HOST", c.Node)
				}
			}
			return o.change(ctx, changes, 0)
		})
}

func newChange() *cobra.Command {
	ops := []confchange.Op{
		confchange.Add, confchange.AddLearner, confchange.AddReadOnly, confchange.Promote, confchange.Demote, confchange.Remove, confchange.Move,
	}
	lists := make([][]string, len(ops))
	var wait time.Duration
	c := command("change --add ID=HOST --remove ID ...", "Change several members in one step",
		`change makes all of its changes in one step, or none. Each flag may be given several times:

  raftnode change --add n4=10.0.0.14 --add n5=10.0.0.15 --remove n1 --at 10.0.0.11:4100`, cobra.NoArgs,
		func(ctx context.Context, o *operator, _ []string) error {
			var changes []confchange.Change
			for i, op := range ops {
				some, err := parseMembers(op, lists[i])
				if err != nil {
					return fmt.Errorf("--%s: %w", op, err)
				}
				changes = append(changes, some...)
			}
			if len(changes) == 0 {
				return errors.New("say what is to change, by --add, --remove and so on")
			}
			return o.change(ctx, changes, wait)
		})
	for i, op := range ops {
		c.Flags().StringArrayVar(&lists[i], string(op), nil, "a node to "+string(op))
	}
	c.Flags().DurationVar(&wait, "wait", 0, "wait so long until those of --add are voters, and fail if they are not")
	return c
}

func newTransfer() *cobra.Command {
	return command("transfer ID", "Hand leadership to a voter", "transfer hands leadership to a voter, and ends when another leads.", cobra.ExactArgs(1),
		func(ctx context.Context, o *operator, args []string) error {
			if err := checkID(args[0]); err != nil {
				return err
			}
			answer, err := order(ctx, o, func(ctx context.Context, node string) (api.LeadershipAnswer, error) {
				return o.client.Transfer(ctx, node, args[0])
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(o.out, "%s leads term %d\n", answer.Leader, answer.Term)
			if string(answer.Leader) != args[0] {
				return failure{fmt.Errorf("%s was elected instead of %s", answer.Leader, args[0])}
			}
			return nil
		})
}

func newStepDown() *cobra.Command {
	return command("step-down", "Have the leader give up leadership", `step-down has the leader give up leadership and leave the next election to
the others. To name who shall lead use transfer.`, cobra.NoArgs,
		func(ctx context.Context, o *operator, _ []string) error {
			answer, err := order(ctx, o, func(ctx context.Context, node string) (api.LeadershipAnswer, error) {
				answer, err := o.client.StepDown(ctx, node)
				var refused *client.Error
				if errors.As(err, &refused) && refused.Elsewhere() != "" && refused.LeaderURL != "" {
					if o.client.Learn(refused.Leader, refused.LeaderURL) == nil {
						return o.client.StepDown(ctx, refused.Leader)
					}
				}
				return answer, err
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(o.out, "%s leads no longer\n", answer.Node)
			return nil
		})
}

func newSnapshot() *cobra.Command {
	return command("snapshot", "Have one node take a snapshot and truncate its log",
		"snapshot has the node --at take a snapshot, and ends when it is on the disk.", cobra.NoArgs,
		func(ctx context.Context, o *operator, _ []string) error {
			answer, err := o.client.TakeSnapshot(ctx, o.names[0])
			if err != nil {
				return failure{err}
			}
			fmt.Fprintf(o.out, "%s has a snapshot up to entry %d; its log begins with entry %d\n", answer.Node, answer.Index, answer.First)
			return nil
		})
}

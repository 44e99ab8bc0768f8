package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"coup/cluster"
	"coup/raftnode/api"
	"coup/raftnode/client"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
)

// operator is what a cluster's operator may ask of its nodes; *client.Client is one.
type operator interface {
	// Members is the configuration in force at the leader, as a quorum confirms.
	Members(ctx context.Context, node string) (api.Configuration, error)
	// Configuration is the one in force at that node.
	Configuration(ctx context.Context, node string) (api.Configuration, error)
	Status(ctx context.Context, node string) (api.Status, error)
	Change(ctx context.Context, node string, changes ...confchange.Change) (api.ChangeAnswer, error)
	Close()
}

// connect reaches the nodes of a cluster as clients do. It is a variable so that tests have another.
var connect = func(nodes []cluster.Node) (operator, error) {
	urls := map[string]string{}
	for _, n := range nodes {
		urls[n.ID] = n.ClientURL
	}
	return client.New(urls, client.Options{Timeout: askTime, DialTimeout: time.Second})
}

const (
	// askTime bounds one question to one node. It is longer than a node's --request-timeout.
	askTime = 5 * time.Second
	// doubtTime is how long a request whose answer was lost may still be begun: a node drops what has waited
	// for longer than its --request-timeout. What was begun in it, the configuration tells.
	doubtTime = 5 * time.Second
	// orderTime bounds an order, from the first request to the proof that it was carried out.
	orderTime = 20 * time.Second
	// operatorPause is between two looks at how things stand.
	operatorPause = 20 * time.Millisecond
)

// A refusedError says that an order was refused, and that nothing came or will come of it.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return "refused: " + e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// orders are given to a cluster by one who remembers what he asked for, and what may still come of it.
type orders struct {
	cluster cluster.Cluster
	leader  string    // as far as is known: who is asked first
	doubt   time.Time // until then what was asked, and not answered, may be begun; zero for never
}

// ask puts a question to the nodes in turn until one answers.
func (o *orders) ask(question func(nodes operator, node string) error) error {
	nodes, err := connect(o.cluster.Nodes())
	if err != nil {
		return err
	}
	defer nodes.Close()
	all := ids(o.cluster)
	if slices.Contains(all, o.leader) {
		all = append([]string{o.leader}, without(all, o.leader)...)
	}
	err = errors.New("there is no node to ask")
	for _, id := range all {
		if err = question(nodes, id); err == nil || !elsewhere(err) {
			return err
		}
	}
	return err
}

// elsewhere tells whether a refusal promises that nothing was done, so that others may be asked.
func elsewhere(err error) bool {
	var refused *client.Error
	return errors.As(err, &refused) && refused.Definite && !final(refused.Type)
}

// final tells whether whoever leads would refuse the same.
func final(t api.ErrorType) bool {
	return t == api.ChangeRefused || t == api.BadRequest || t == api.TooLarge || t == api.NoRoute
}

// agreed is the configuration in force, proven from outside: it is final, the leader goes by it, as a quorum confirms, and
// so does a majority of its voters, each of which says that it is committed.
func (o *orders) agreed(ctx context.Context) (agreed raft.Configuration, err error) {
	err = o.ask(func(nodes operator, node string) error {
		ctx, cancel := context.WithTimeout(ctx, proofTime)
		defer cancel()
		now, err := nodes.Members(ctx, node)
		if err != nil {
			return err
		}
		if !now.Committed || now.Joint() || len(now.LearnersNext)+len(now.Promote) > 0 {
			return errors.New("a change of members is under way")
		}
		var with, against int
		for _, voter := range now.Voters {
			said, err := nodes.Configuration(ctx, string(voter))
			if err == nil && said.Committed && said.Index == now.Index && said.Equal(now.Configuration) {
				with++
			} else {
				against++
			}
		}
		if 2*with <= len(now.Voters) {
			return fmt.Errorf("of %d voters only %d say that the configuration at %d is committed", with+against, with, now.Index)
		}
		agreed, o.leader = now.Configuration, string(now.Node)
		return nil
	})
	return agreed, err
}

// until looks again and again until the configuration that is agreed on is right, for a bounded time.
func (o *orders) until(ctx context.Context, right func(raft.Configuration) error) (agreed raft.Configuration, err error) {
	for {
		agreed, latest := o.agreed(ctx)
		if latest == nil {
			latest = right(agreed)
		}
		if latest == nil {
			return agreed, nil
		}
		if err == nil || ctx.Err() == nil {
			err = latest
		}
		if !pause(ctx, operatorPause) {
			return agreed, err
		}
	}
}

// change orders changes, in one step, and returns once a majority goes by what was ordered. Errors: a *refusedError; any other
// leaves in doubt what became of it.
func (o *orders) change(ctx context.Context, changes []confchange.Change) (raft.Configuration, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	done := func(c raft.Configuration) error { return carriedOut(c, changes) }
	for {
		err := o.ask(func(nodes operator, node string) error {
			_, err := nodes.Change(ctx, node, changes...)
			return err
		})
		var refused *client.Error
		switch {
		case err == nil:
			return o.until(ctx, done)
		case errors.As(err, &refused) && refused.Definite && final(refused.Type):
			return raft.Configuration{}, &refusedError{err}
		case errors.As(err, &refused) && refused.Definite:
			if !pause(ctx, operatorPause) {
				return raft.Configuration{}, &refusedError{err}
			}
			continue
		}
		// It may have been done, or may yet. Only when it can be begun no more, it counts as not done.
		o.doubt = time.Now().Add(doubtTime)
		agreed, failure := o.until(ctx, func(c raft.Configuration) error {
			if failure := carriedOut(c, changes); failure != nil && time.Now().Before(o.doubt) {
				return failure
			}
			return nil
		})
		if failure != nil || done(agreed) == nil {
			return agreed, failure
		}
	}
}

// settle waits until nothing that was asked can be begun any more.
func (o *orders) settle(ctx context.Context) bool {
	wait := time.Until(o.doubt)
	return o.doubt.IsZero() || wait <= 0 || pause(ctx, wait)
}

// carriedOut says what of the changes a configuration does not show.
func carriedOut(c raft.Configuration, changes []confchange.Change) error {
	for _, change := range changes {
		var shows bool
		switch change.Op {
		case confchange.Add, confchange.Promote:
			shows = slices.Contains(c.Voters, change.Node)
		case confchange.Demote, confchange.AddLearner:
			shows = slices.Contains(c.Learners, change.Node)
		case confchange.Remove:
			shows = !c.Contains(change.Node)
		}
		if !shows {
			return fmt.Errorf("%q was ordered, but the voters are %v, the learners %v", change, c.Voters, c.Learners)
		}
	}
	return nil
}

// ready waits until nodes take part: they may be made members now.
func (o *orders) ready(ctx context.Context, ids []string) error {
	return o.await(ctx, ids, func(s api.Status, _ uint64) error {
		switch s.Phase {
		case api.PhaseBlank, api.PhaseFounded, api.PhaseJoining, "":
			return fmt.Errorf("%s is %s: %s", s.ID, s.Phase, s.Waiting)
		}
		return nil
	})
}

// caughtUp waits until nodes follow a leader and have applied all that was committed when that was asked for.
func (o *orders) caughtUp(ctx context.Context, ids []string) error {
	return o.await(ctx, ids, func(s api.Status, committed uint64) error {
		if s.Leader == "" || s.Applied < committed {
			return fmt.Errorf("%s has applied %d of %d, and follows %q", s.ID, s.Applied, committed, s.Leader)
		}
		return nil
	})
}

// await waits, for a bounded time, until the nodes say what they should. committed is the most that any node said
// to be committed at first.
func (o *orders) await(ctx context.Context, ids []string, right func(s api.Status, committed uint64) error) error {
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	nodes, err := connect(o.cluster.Nodes())
	if err != nil {
		return err
	}
	defer nodes.Close()
	var committed uint64
	for _, n := range o.cluster.Nodes() {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		if s, err := nodes.Status(ctx, n.ID); err == nil {
			committed = max(committed, s.Commit)
		}
		cancel()
	}
	for _, id := range ids {
		for {
			s, err := nodes.Status(ctx, id)
			if err == nil {
				err = right(s, committed)
			}
			if err == nil {
				break
			}
			if !pause(ctx, operatorPause) {
				return err
			}
		}
	}
	return nil
}

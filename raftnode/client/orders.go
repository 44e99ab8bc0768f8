package client

import (
	"context"
	"encoding/json"
	"net/http"

	"coup/raftnode/api"
	"coup/raftnode/raft"
	"coup/raftnode/raft/confchange"
)

// Configuration is who is a member by the named node's log, which may be behind.
func (c *Client) Configuration(ctx context.Context, node string) (api.Configuration, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	var answer api.Configuration
	if err := c.exchange(ctx, node, http.MethodGet, "/raft/config", "", nil, false, &answer); err != nil {
		return api.Configuration{}, err
	}
	return answer, whole(node, answer.Node, false)
}

// Members is who is a member by the leader's log, at the time of the question: a quorum has confirmed that it
// leads. The configuration may be one that is not committed yet.
func (c *Client) Members(ctx context.Context, node string) (api.Configuration, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	var answer api.Configuration
	node, err := c.follow(node, func(node string) *Error {
		return c.exchange(ctx, node, http.MethodGet, "/raft/config", "consistency=linearizable", nil, false, &answer)
	})
	if err != nil {
		return api.Configuration{}, err
	}
	return answer, whole(node, answer.Node, false)
}

// Change has all of the changes made in one step, or none, and returns when that is over. A node that is added
// to be a voter is promoted when it has caught up, which may be later. Refusals that are peculiar to it, all
// definite: api.NotReady, api.ChangeInFlight, api.Lagging, api.ChangeRefused, api.Transferring.
func (c *Client) Change(ctx context.Context, node string, changes ...confchange.Change) (api.ChangeAnswer, error) {
	var answer api.ChangeAnswer
	last, err := c.order(ctx, node, "/raft/members", api.ChangeRequest{Changes: changes}, true, &answer)
	if err != nil {
		return api.ChangeAnswer{}, err
	}
	return answer, whole(last, answer.Node, true)
}

// Transfer has leadership handed to a voter, and returns when another leads. Refusals that are peculiar to it:
// api.TransferRefused and api.Transferring, definite, and api.TransferFailed.
func (c *Client) Transfer(ctx context.Context, node, to string) (api.LeadershipAnswer, error) {
	var answer api.LeadershipAnswer
	last, err := c.order(ctx, node, "/raft/transfer", api.TransferRequest{To: raft.NodeID(to)}, true, &answer)
	if err != nil {
		return api.LeadershipAnswer{}, err
	}
	return answer, whole(last, answer.Node, true)
}

// StepDown has the named node, and no other, give up leadership.
func (c *Client) StepDown(ctx context.Context, node string) (api.LeadershipAnswer, error) {
	var answer api.LeadershipAnswer
	if _, err := c.order(ctx, node, "/raft/step-down", nil, false, &answer); err != nil {
		return api.LeadershipAnswer{}, err
	}
	return answer, whole(node, answer.Node, true)
}

// TakeSnapshot has the named node, and no other, take a snapshot and truncate its log, and returns when the
// snapshot is on the disk. It is refused with api.SnapshotCurrent where there is nothing to take.
func (c *Client) TakeSnapshot(ctx context.Context, node string) (api.SnapshotAnswer, error) {
	var answer api.SnapshotAnswer
	if _, err := c.order(ctx, node, "/raft/snapshot", nil, false, &answer); err != nil {
		return api.SnapshotAnswer{}, err
	}
	return answer, whole(node, answer.Node, true)
}

// order sends an operator's request, on to the leader if it is for that. last is the node that was asked last.
func (c *Client) order(ctx context.Context, node, path string, body any, follow bool, reply any) (last string, err error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	var content []byte
	if body != nil {
		if content, err = json.Marshal(body); err != nil {
			return node, &Error{Type: api.BadRequest, Message: err.Error(), Definite: true, Node: node, Err: err}
		}
	}
	ask := func(node string) *Error {
		return c.exchange(ctx, node, http.MethodPost, path, "", content, true, reply)
	}
	var refused *Error
	if follow {
		node, refused = c.follow(node, ask)
	} else {
		refused = ask(node)
	}
	if refused != nil {
		return node, refused
	}
	return node, nil
}

// whole refuses an answer that names no node: it is not a node's.
func whole(asked string, by raft.NodeID, effect bool) error {
	if by == "" {
		return &Error{Type: BadReply, Message: "the answer names no node", Definite: !effect, Node: asked}
	}
	return nil
}

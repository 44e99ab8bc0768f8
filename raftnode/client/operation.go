package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"unicode/utf8"

	"coup/raftnode/api"
	"coup/raftnode/api/apipb"
	"coup/raftnode/raft"
)

// success is what an operation that succeeded was told, by whatever way.
type success struct {
	api.Answer
	session uint64 // of an operation about a session
}

func write(key, value string, in place) *apipb.Request {
	return in.of(&apipb.Request{Op: apipb.Op_WRITE, Key: key, Value: value})
}

func cas(key, expect, value string, in place) *apipb.Request {
	return in.of(&apipb.Request{Op: apipb.Op_CAS, Key: key, Expect: expect, Value: value})
}

func remove(key string, in place) *apipb.Request {
	return in.of(&apipb.Request{Op: apipb.Op_DELETE, Key: key})
}

func (p place) of(r *apipb.Request) *apipb.Request {
	r.Session, r.Sequence, r.Acked = p.session, p.sequence, p.acked
	return r
}

// operate sends an operation to a node, and on to the leader as long as it is definitely refused.
func (c *Client) operate(ctx context.Context, node string, op *apipb.Request) (got success, err error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	if err := possible(op); err != nil {
		return got, &Error{Type: api.BadRequest, Message: err.Error(), Definite: true, Node: node, Err: err}
	}
	if _, refused := c.follow(node, func(node string) (refused *Error) {
		got, refused = c.perform(ctx, node, op)
		return refused
	}); refused != nil {
		return success{}, refused
	}
	return got, nil
}

// possible refuses what some way to a node would change, or refuse, without a word.
func possible(op *apipb.Request) error {
	if about := op.Op <= apipb.Op_DELETE; about && (op.Key == "" || op.Key == "." || op.Key == ".." || !utf8.ValidString(op.Key)) {
		return fmt.Errorf("%q cannot be a key", op.Key)
	}
	for _, v := range []string{op.Value, op.Expect} {
		if !utf8.ValidString(v) {
			return fmt.Errorf("%q is not UTF-8", v)
		}
	}
	return nil
}

// perform asks one node, once.
func (c *Client) perform(ctx context.Context, node string, op *apipb.Request) (success, *Error) {
	base, ok := c.at(node)
	if !ok {
		return success{}, &Error{Type: UnknownNode, Message: "no such node", Definite: true, Node: node}
	}
	var got success
	var err *Error
	if base.Scheme == "http" {
		got, err = c.byHTTP(ctx, node, op)
	} else {
		got, err = c.byStream(ctx, node, base, op)
	}
	if err == nil && (got.Node == "" || op.Op == apipb.Op_OPEN_SESSION && got.session == 0) {
		err = &Error{Type: BadReply, Message: "the answer names no node or no session", Definite: !effect(op), Node: node}
	}
	return got, err
}

// effect tells whether an operation would change something.
func effect(op *apipb.Request) bool { return op.Op != apipb.Op_READ }

func (c *Client) byHTTP(ctx context.Context, node string, op *apipb.Request) (got success, refused *Error) {
	var in api.InSession
	if op.Sequence != 0 {
		in = api.InSession{Session: &op.Session, Sequence: &op.Sequence, Acked: &op.Acked}
	}
	method, path, query, body := "", "/kv/"+url.PathEscape(op.Key), "", any(nil)
	switch op.Op {
	case apipb.Op_READ:
		method = http.MethodGet
		switch op.Consistency {
		case apipb.Consistency_LEASE:
			query = "consistency=lease"
		case apipb.Consistency_FOLLOWER:
			query = "consistency=follower"
		case apipb.Consistency_STALE:
			query = "consistency=stale"
		}
	case apipb.Op_WRITE:
		method, body = http.MethodPut, api.WriteRequest{Value: &op.Value, InSession: in}
	case apipb.Op_CAS:
		method, path, body = http.MethodPost, path+"/cas", api.CASRequest{Expect: &op.Expect, Value: &op.Value, InSession: in}
	case apipb.Op_DELETE:
		method = http.MethodDelete
		if op.Sequence != 0 {
			body = api.DeleteRequest{InSession: in}
		}
	case apipb.Op_OPEN_SESSION:
		method, path, body = http.MethodPost, "/sessions", api.SessionRequest{TTL: &op.TtlMs}
	case apipb.Op_CLOSE_SESSION:
		method, path = http.MethodDelete, fmt.Sprintf("/sessions/%d", op.Session)
	}
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return got, &Error{Type: api.BadRequest, Message: err.Error(), Definite: true, Node: node, Err: err}
		}
	}
	if op.Op > apipb.Op_DELETE {
		var told api.SessionAnswer
		refused = c.exchange(ctx, node, method, path, query, content, true, &told)
		return success{api.Answer{Index: told.Index, Term: told.Term, Node: told.Node}, told.Session}, refused
	}
	refused = c.exchange(ctx, node, method, path, query, content, effect(op), &got.Answer)
	if refused == nil && got.Key != op.Key {
		refused = &Error{Type: BadReply, Message: "the answer is about something else", Definite: !effect(op), Node: node}
	}
	return got, refused
}

func (c *Client) byStream(ctx context.Context, node string, base *url.URL, op *apipb.Request) (success, *Error) {
	if len(op.Key)+len(op.Value)+len(op.Expect) > apipb.MaxRequests-requestBytes {
		return success{}, &Error{
			Type: api.TooLarge, Message: fmt.Sprintf("a request has at most %d bytes; nothing was sent", apipb.MaxRequests), Definite: true, Node: node,
		}
	}
	told, err := c.link(node, base).ask(ctx, op)
	if err != nil {
		return success{}, Failed(node, effect(op), err)
	}
	if r := told.Refusal; r != nil {
		e := api.Error{
			Type: api.ErrorType(r.Type), Message: r.Message, Definite: r.Definite, Leader: raft.NodeID(r.Leader), LeaderURL: r.LeaderUrl,
			Value: r.Value, Revision: told.Revision, Index: told.Index, Term: told.Term, Node: raft.NodeID(told.Node), Repeated: told.Repeated,
		}
		if !known[e.Type] {
			return success{}, &Error{
				Type: BadReply, Message: fmt.Sprintf("a refusal of type %.80q", r.Type), Definite: !effect(op), Node: node, Status: int(r.Status),
			}
		}
		return success{}, Refused(node, effect(op), int(r.Status), e)
	}
	return success{api.Answer{
		Key: op.Key, Value: told.Value, Revision: told.Revision, Index: told.Index, Term: told.Term, Node: raft.NodeID(told.Node),
		Repeated: told.Repeated,
	}, told.Session}, nil
}

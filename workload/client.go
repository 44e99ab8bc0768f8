package workload

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"coup/history"
	"coup/raftnode/api"
	"coup/raftnode/client"
)

// registers asks for operations on registers through the node's Go client.
type registers struct{ nodes *client.Client }

// NewClient makes a client that reaches nodes through c, which any number of clients may share.
func NewClient(c *client.Client) Client { return registers{c} }

// unwritten is recorded where a node answers a read with what no client ever wrote: generators write
// positive numbers only, so that the history is then not linearizable, as it should be.
const unwritten = history.Int(-1)

// Do implements Client.
func (r registers) Do(ctx context.Context, op Op) history.Event {
	result, err := r.ask(ctx, op)
	return Complete(op, result, err)
}

// Complete is the completion of op, without Index and Time, given what the node's client came to. A
// read that failed did nothing, whatever the reason; a change whose client cannot promise that it did
// nothing is Info.
func Complete(op Op, result client.Result, err error) history.Event {
	done := history.Event{Process: op.Process, F: op.F, Key: op.Key, Value: op.Value, Node: op.Node}
	if err == nil {
		done.Type, done.Node, done.Revision, done.Term = history.OK, result.Node, result.Revision, result.Term
		if op.F == history.Read && result.Found {
			held, err := strconv.ParseInt(result.Value, 10, 64)
			done.Value = history.Int(held)
			if err != nil {
				done.Value, done.Error = unwritten, fmt.Sprintf("read %.80q", result.Value)
			}
		}
		return done
	}
	done.Type, done.Error = history.Info, err.Error()
	var refused *client.Error
	if !errors.As(err, &refused) {
		return done
	}
	done.Revision, done.Term = refused.Revision, refused.Term
	done.Error = fmt.Sprintf("%s: %s", refused.Type, refused.Message)
	if refused.Definite || op.F == history.Read {
		done.Type = history.Fail
	}
	// An absent key, too, does not hold what was expected.
	if op.F == history.CAS && (refused.Type == api.CASMismatch || refused.Type == api.KeyNotFound) {
		done.Node, done.Error = refused.Node, history.ErrorMismatch+": "+refused.Message
	}
	return done
}

func (r registers) ask(ctx context.Context, op Op) (client.Result, error) {
	text := func(v int64) string { return strconv.FormatInt(v, 10) }
	switch value := op.Value.(type) {
	case nil:
		return r.nodes.Read(ctx, op.Node, op.Key)
	case history.Int:
		return r.nodes.Write(ctx, op.Node, op.Key, text(int64(value)))
	case history.Pair:
		return r.nodes.CAS(ctx, op.Node, op.Key, text(value[0]), text(value[1]))
	}
	return client.Result{}, fmt.Errorf("no operation %s with value %v", op.F, op.Value)
}

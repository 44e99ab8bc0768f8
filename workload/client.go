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

// Do implements Client. A read that failed did nothing, whatever the reason; a change whose client
// cannot promise that it did nothing is Info.
func (r registers) Do(ctx context.Context, op Op) history.Event {
	done := history.Event{Process: op.Process, F: op.F, Key: op.Key, Value: op.Value, Node: op.Node}
	result, err := r.ask(ctx, op)
	if err == nil && op.F == history.Read && result.Found {
		var held int64
		if held, err = strconv.ParseInt(result.Value, 10, 64); err == nil {
			done.Value = history.Int(held)
		}
	}
	var refused *client.Error
	switch {
	case err == nil:
		done.Type, done.Node, done.Revision, done.Term = history.OK, result.Node, result.Revision, result.Term
		return done
	case errors.As(err, &refused):
		done.Type, done.Revision, done.Term = history.Info, refused.Revision, refused.Term
		if refused.Definite || op.F == history.Read {
			done.Type = history.Fail
		}
		done.Error = fmt.Sprintf("%s: %s", refused.Type, refused.Message)
		if refused.Type == api.CASMismatch {
			done.Error = history.ErrorMismatch + ": " + refused.Message
			done.Node = refused.Node
		}
	default:
		// Not the node's doing: a value that this workload never wrote, or an operation it does not know.
		done.Type, done.Error = history.Info, err.Error()
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

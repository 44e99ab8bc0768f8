package nemesis

import (
	"context"
	"errors"
	"sync"
	"time"

	"coup/cluster"
)

// manner is how a cluster is acted on. Real nodes are acted on all at once, and given some time to
// show what became of it. Under virtual time nothing happens while one acts: it is done node by
// node, on the caller's goroutine, and proven at once or never.
type manner struct{ sequential bool }

func mannerOf(c cluster.Cluster) manner { return manner{cluster.IsSequential(c)} }

// each does something to all nodes.
func (m manner) each(nodes []string, do func(id string) error) error {
	failures := make([]error, len(nodes))
	if m.sequential {
		for i, id := range nodes {
			failures[i] = do(id)
		}
		return errors.Join(failures...)
	}
	var group sync.WaitGroup
	for i, id := range nodes {
		group.Go(func() { failures[i] = do(id) })
	}
	group.Wait()
	return errors.Join(failures...)
}

const (
	// proofTime bounds how long a proof may take, retries included.
	proofTime = 3 * time.Second
	// measureTime bounds a proof that takes thousands of datagrams.
	measureTime = 6 * time.Second
	// proofPause is between two attempts at a proof.
	proofPause = 100 * time.Millisecond
	// healTime bounds one attempt at healing.
	healTime = 20 * time.Second
)

// prove tries until the attempt succeeds or time is up. It returns the first failure then, unless a
// later one was not for lack of time.
func (m manner) prove(ctx context.Context, attempt func(context.Context) error) error {
	return m.proveWithin(ctx, proofTime, attempt)
}

func (m manner) proveWithin(ctx context.Context, bound time.Duration, attempt func(context.Context) error) error {
	if m.sequential {
		return attempt(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	var failure error
	for {
		latest := attempt(ctx)
		if latest == nil {
			return nil
		}
		if failure == nil || ctx.Err() == nil {
			failure = latest
		}
		if !pause(ctx, proofPause) {
			return failure
		}
	}
}

// healing is a context for healing. It lives on when ctx is cancelled: an interrupted run heals too.
func (m manner) healing(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx = context.WithoutCancel(ctx)
	if m.sequential {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, healTime)
}

// pause waits, unless ctx ends before; it tells whether it did not.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

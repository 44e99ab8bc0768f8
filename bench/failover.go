package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	attemptBound  = 100 * time.Millisecond // of one write while there is no leader
	attemptPause  = 5 * time.Millisecond   // after a refusal
	failoverBound = time.Minute
)

// failover kills the leader and tells after what time the first write succeeded. One client asks each
// node that is left, and again when it is refused. Then the killed node is started again.
func (c *cluster) failover(ctx context.Context) (took time.Duration, err error) {
	leader, err := c.agreement(ctx)
	if err != nil {
		return 0, err
	}
	var left []connection
	defer func() {
		for _, connection := range left {
			err = errors.Join(err, connection.close())
		}
	}()
	for _, n := range c.nodes {
		if n == leader {
			continue
		}
		connection, err := c.product.connect(n.address)
		if err != nil {
			return 0, err
		}
		left = append(left, connection)
		// Connected beforehand, so that it is not connecting that is measured.
		if _, err := connection.standing(ctx); err != nil {
			return 0, err
		}
	}
	begun := time.Now()
	if err := leader.kill(); err != nil {
		return 0, err
	}
	if took, err = firstWrite(ctx, left, begun); err != nil {
		return 0, fmt.Errorf("%s after its leader was killed: %w", c.product.name(), err)
	}
	if err := c.run(leader); err != nil {
		return 0, err
	}
	_, err = c.agreement(ctx)
	return took, err
}

func firstWrite(ctx context.Context, connections []connection, begun time.Time) (took time.Duration, err error) {
	ctx, stop := context.WithTimeout(ctx, failoverBound)
	defer stop()
	var once sync.Once
	var clients sync.WaitGroup
	for _, connection := range connections {
		clients.Go(func() {
			for ctx.Err() == nil {
				bounded, cancel := context.WithTimeout(ctx, attemptBound)
				err := connection.write(bounded, "failover", "x")
				cancel()
				if err == nil {
					once.Do(func() { took = time.Since(begun) })
					stop()
					return
				}
				select {
				case <-time.After(attemptPause):
				case <-ctx.Done():
				}
			}
		})
	}
	clients.Wait()
	if took == 0 {
		return 0, fmt.Errorf("no write succeeded: %w", context.Cause(ctx))
	}
	return took, nil
}

package main

import (
	"context"
	"time"
)

// settling is left to nodes before they count as idle.
const settling = 2 * time.Second

// idleness is what nodes use that nobody asks for anything.
type idleness struct {
	cpu    time.Duration // of all together
	memory memory
}

func (c *cluster) idle(ctx context.Context, duration time.Duration) (i idleness, err error) {
	if err := wait(ctx, settling); err != nil {
		return i, err
	}
	before, err := c.processorTime()
	if err != nil {
		return i, err
	}
	if err := wait(ctx, duration); err != nil {
		return i, err
	}
	after, err := c.processorTime()
	if err != nil {
		return i, err
	}
	i.cpu = after - before
	i.memory, err = c.memory()
	return i, err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

package docker

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	engine "github.com/ory/dockertest/v3/docker"

	"coup/cluster"
)

// life is one run of a container, from a start to an end.
type life struct {
	killed  atomic.Bool   // we sent SIGKILL
	stopped atomic.Bool   // we sent SIGTERM
	ended   chan struct{} // closed when it is over
	code    int           // with which it ended
}

// watch follows the life that has begun just now and calls died, with how it ended, if that was
// otherwise than by kill, or by stop with code 0. It gives up when ctx is done.
func watch(ctx context.Context, c *engine.Client, container string, died func(exit string)) *life {
	l := &life{ended: make(chan struct{})}
	go func() {
		code, err := c.WaitContainerWithContext(container, ctx)
		for err != nil && ctx.Err() == nil {
			// The engine dropped the connection; whether the container lives is another question.
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			code, err = c.WaitContainerWithContext(container, ctx)
		}
		if err != nil {
			return
		}
		killed := l.killed.Load() && code == 128+int(syscall.SIGKILL)
		if !killed && (!l.stopped.Load() || code != 0) {
			died(exitText(code))
		}
		l.code = code
		close(l.ended)
	}()
	return l
}

func exitText(code int) string {
	if code > 128 {
		return fmt.Sprintf("signal: %v", syscall.Signal(code-128))
	}
	return fmt.Sprintf("exit status %d", code)
}

func (l *life) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// kill ends it by SIGKILL and returns when it is over.
func (l *life) kill(ctx context.Context, c *engine.Client, container string) error {
	l.killed.Store(true)
	return l.end(ctx, c, container, engine.SIGKILL)
}

// stop ends it by SIGTERM and returns when it is over.
func (l *life) stop(ctx context.Context, c *engine.Client, container string) error {
	l.stopped.Store(true)
	if err := l.end(ctx, c, container, engine.SIGTERM); err != nil {
		return err
	}
	if l.code != 0 {
		return fmt.Errorf("told to stop, it ended otherwise: %s", exitText(l.code))
	}
	return nil
}

// end sends it a signal that should end it, and returns when it is over.
func (l *life) end(ctx context.Context, c *engine.Client, container string, signal engine.Signal) error {
	if err := c.KillContainer(engine.KillContainerOptions{ID: container, Signal: signal, Context: ctx}); err != nil {
		return err
	}
	select {
	case <-l.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("signal %d was sent, but it lives: %w", signal, ctx.Err())
	}
}

func state(ctx context.Context, c *engine.Client, container string) (cluster.ProcessState, error) {
	found, err := c.InspectContainerWithContext(container, ctx)
	switch {
	case err != nil:
		return cluster.ProcessState{}, err
	case found.State.Paused:
		return cluster.ProcessState{State: "paused", PID: found.State.Pid}, nil
	case found.State.Running:
		return cluster.ProcessState{State: "running", PID: found.State.Pid}, nil
	}
	return cluster.ProcessState{State: "dead"}, nil
}

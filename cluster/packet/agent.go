package packet

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Agent is the Endpoint of one network namespace.
type Agent struct {
	probes *listener

	mu    sync.Mutex
	rules *rules
}

// New makes the agent of the network namespace that the calling OS thread is in. A caller that
// changed the thread's namespace must hold runtime.LockOSThread during the call; the agent may be
// used from anywhere afterwards.
func New() (*Agent, error) {
	r, err := openRules()
	if err != nil {
		return nil, err
	}
	probes, err := listen()
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return &Agent{probes: probes, rules: r}, nil
}

// Close stops the agent. Cuts stay in force; they vanish with the namespace.
func (a *Agent) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return errors.Join(a.probes.close(), a.rules.close())
}

// Cut implements Endpoint.
func (a *Agent) Cut(_ context.Context, from []netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rules.cut(from)
}

// Restore implements Endpoint.
func (a *Agent) Restore(_ context.Context, from []netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rules.restore(from)
}

// List implements Endpoint.
func (a *Agent) List(context.Context) ([]Dropped, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	found, err := a.rules.list()
	if err != nil {
		return nil, err
	}
	list := make([]Dropped, 0, len(found))
	for _, d := range found {
		list = append(list, d)
	}
	slices.SortFunc(list, func(x, y Dropped) int { return x.From.Compare(y.From) })
	return list, nil
}

// Send implements Endpoint.
func (a *Agent) Send(_ context.Context, to netip.Addr, nonces []uint64) error {
	return a.probes.send(to, nonces)
}

// Received implements Endpoint.
func (a *Agent) Received(ctx context.Context, from netip.Addr, nonces []uint64, wait time.Duration) (int, error) {
	return a.probes.received(ctx, from, nonces, wait)
}

package packet

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"coup/cluster"
)

// Agent is the Endpoint of one network namespace.
type Agent struct {
	probes      *listener
	connections *connections
	features    func() []cluster.Capability

	mu        sync.Mutex
	rules     *rules
	queues    *queues
	checksums *checksums
}

// New makes the agent of the network namespace that the calling OS thread is in. A caller that
// changed the thread's namespace must hold runtime.LockOSThread during the call; the agent may be
// used from anywhere afterwards.
func New() (*Agent, error) {
	a := &Agent{}
	for _, open := range []func() error{
		func() (err error) { a.rules, err = openRules(); return },
		func() (err error) { a.queues, err = openQueues(); return },
		func() error { a.checksums = openChecksums(); return nil },
		func() (err error) { a.probes, err = listen(); return },
		func() (err error) { a.connections, err = openConnections(); return },
	} {
		if err := open(); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	a.features = sync.OnceValue(a.tryFeatures)
	return a, nil
}

// Close stops the agent. Cuts and disturbances stay in force; they vanish with the namespace.
func (a *Agent) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var failures []error
	if a.connections != nil {
		failures = append(failures, a.connections.close())
	}
	if a.probes != nil {
		failures = append(failures, a.probes.close())
	}
	if a.checksums != nil {
		a.checksums.close()
	}
	if a.queues != nil {
		a.queues.close()
	}
	if a.rules != nil {
		failures = append(failures, a.rules.close())
	}
	return errors.Join(failures...)
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
	found, err := a.rules.list(a.rules.input)
	if err != nil {
		return nil, err
	}
	list := []Dropped{}
	for _, rule := range found {
		if rule.kind == cutting {
			list = append(list, Dropped{From: rule.peer, Packets: rule.packets})
		}
	}
	slices.SortFunc(list, func(x, y Dropped) int { return x.From.Compare(y.From) })
	return list, nil
}

// Features implements Endpoint.
func (a *Agent) Features(context.Context) ([]cluster.Capability, error) { return a.features(), nil }

// Disturb implements Endpoint.
func (a *Agent) Disturb(_ context.Context, peers []netip.Addr, d cluster.Degradation) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch d.Kind {
	case cluster.Delay, cluster.Reorder:
		return a.queues.add(peers, d)
	case cluster.Corrupt:
		return a.damage(peers, d.Share)
	}
	return a.rules.disturb(peers, d)
}

// Calm implements Endpoint.
func (a *Agent) Calm(_ context.Context, peers []netip.Addr, kind cluster.Disturbance) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch kind {
	case cluster.Delay, cluster.Reorder:
		return a.queues.remove(peers, kind)
	}
	return a.rules.remove(string(kind), peers)
}

// damage has packets of these peers damaged at the interface by which they come.
func (a *Agent) damage(peers []netip.Addr, share float64) error {
	if _, err := a.checksums.wrong(); err != nil {
		return err
	}
	by := map[string][]netip.Addr{}
	for _, p := range peers {
		device, err := a.queues.device(p)
		if err != nil {
			return err
		}
		by[device.Attrs().Name] = append(by[device.Attrs().Name], p)
	}
	for device, peers := range by {
		if err := a.rules.damage(device, peers, share); err != nil {
			return err
		}
	}
	return nil
}

// Damaged implements Endpoint.
func (a *Agent) Damaged(context.Context) (int, error) { return a.checksums.wrong() }

// Connect implements Endpoint.
func (a *Agent) Connect(ctx context.Context, to netip.Addr) error {
	return a.connections.stand(ctx, to)
}

// Talk implements Endpoint.
func (a *Agent) Talk(ctx context.Context, to netip.Addr, fresh bool) (cluster.Passage, error) {
	return a.connections.talk(ctx, to, fresh)
}

// Send implements Endpoint.
func (a *Agent) Send(_ context.Context, to netip.Addr, nonces []uint64) error {
	return a.probes.send(to, nonces)
}

// Received implements Endpoint.
func (a *Agent) Received(ctx context.Context, from netip.Addr, nonces []uint64, wait time.Duration) (Arrived, error) {
	return a.probes.received(ctx, from, nonces, wait)
}

package main

import (
	"context"
	"errors"
	"time"
)

// measurer has the products take turns, and keeps what came of it by the product's name.
type measurer struct {
	options
	products []product
	dir      string
	say      func(format string, a ...any)

	cells     []cell // in the order of the table
	loaded    map[string]map[cell]*measurement
	failovers map[string][]time.Duration
	idleness  map[string]idleness
}

func (m *measurer) all(ctx context.Context) error {
	m.loaded = make(map[string]map[cell]*measurement)
	m.failovers = make(map[string][]time.Duration)
	m.idleness = make(map[string]idleness)
	for _, p := range m.products {
		m.loaded[p.name()] = make(map[cell]*measurement)
	}
	for _, nodes := range m.nodes {
		for _, clients := range m.clients {
			for _, operation := range m.operations {
				m.cells = append(m.cells, cell{nodes, clients, operation})
			}
		}
	}
	steps := []func(context.Context) error{m.underLoad}
	if m.idle > 0 {
		steps = append(steps, m.atRest)
	}
	if m.kills > 0 {
		steps = append(steps, m.withoutLeader)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// with starts a cluster, has it used, and ends it.
func (m *measurer) with(ctx context.Context, p product, nodes int, use func(*cluster) error) error {
	c, err := start(ctx, p, nodes, m.dir)
	if err != nil {
		return err
	}
	return errors.Join(use(c), c.close())
}

func (m *measurer) underLoad(ctx context.Context) error {
	if len(m.clients) == 0 {
		return nil
	}
	for _, nodes := range m.nodes {
		for range m.rounds {
			for _, p := range m.products {
				if err := m.with(ctx, p, nodes, func(c *cluster) error { return m.round(ctx, c) }); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// round measures all cells of one size with one product.
func (m *measurer) round(ctx context.Context, c *cluster) error {
	if err := m.load.preload(ctx, c); err != nil {
		return err
	}
	for _, what := range m.cells {
		if what.nodes != len(c.nodes) {
			continue
		}
		measured, err := m.load.measure(ctx, c, what)
		if err != nil {
			return err
		}
		name := c.product.name()
		m.say("%-8s  %d nodes, %3d clients, %-5s  %6.0f/s  p50 %sms  p99 %sms  %.0fµs of processor time each", name, what.nodes, what.clients, what.operation,
			measured.perSecond(), milliseconds(measured.quantile(50)), milliseconds(measured.quantile(99)), measured.cpuEach())
		if m.loaded[name][what] == nil {
			m.loaded[name][what] = &measurement{}
		}
		m.loaded[name][what].add(measured)
	}
	return nil
}

func (m *measurer) largest() int { return m.nodes[len(m.nodes)-1] }

// distinct are the products whose nodes differ, however they are asked.
func (m *measurer) distinct() (all []product) {
	seen := make(map[string]bool)
	for _, p := range m.products {
		if program := p.program(); !seen[program] {
			seen[program] = true
			all = append(all, p)
		}
	}
	return all
}

func (m *measurer) atRest(ctx context.Context) error {
	for _, p := range m.distinct() {
		err := m.with(ctx, p, m.largest(), func(c *cluster) (err error) {
			m.idleness[p.name()], err = c.idle(ctx, m.idle)
			return err
		})
		if err != nil {
			return err
		}
		m.say("%-8s  %d idle nodes for %v: %v of processor time", p.name(), m.largest(), m.idle, m.idleness[p.name()].cpu)
	}
	return nil
}

// withoutLeader kills leaders of each product in turns. All clusters are up all the time.
func (m *measurer) withoutLeader(ctx context.Context) (err error) {
	var clusters []*cluster
	defer func() {
		for _, c := range clusters {
			err = errors.Join(err, c.close())
		}
	}()
	for _, p := range m.distinct() {
		c, err := start(ctx, p, m.largest(), m.dir)
		if err != nil {
			return err
		}
		clusters = append(clusters, c)
	}
	for range m.kills {
		for _, c := range clusters {
			took, err := c.failover(ctx)
			if err != nil {
				return err
			}
			name := c.product.name()
			m.say("%-8s  leader killed: the first write succeeded after %v", name, took.Round(time.Millisecond))
			m.failovers[name] = append(m.failovers[name], took)
		}
	}
	return nil
}

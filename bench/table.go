package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"coup/page"
)

// text is what was measured, as Markdown.
func (m *measurer) text(machine string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `raftnode and etcd %s, each built with the same Go and started with its own settings, in turns on one machine:
%s.
Nodes, clients and disk share it. `, etcdVersion(), machine)
	b.WriteString("A ratio is raftnode's figure divided by etcd's.\n")
	if len(m.clients) > 0 {
		fmt.Fprintf(&b, `
%d keys, values of %d bytes. Every client asks the leader, one operation at a time, over a connection of its own;
%s. Every write is synced to disk on a majority, every read is
linearizable. Each row is %d rounds of %v.

`, m.load.keys, m.load.valueSize, m.sharing(), m.rounds, m.load.duration)
		b.WriteString(page.Table(m.speed()))
		b.WriteString(`
What was used meanwhile: processor time of all nodes together, and of the clients, which have the processors to share
with them; memory of nodes at most, with the files that they map, as etcd does its database.

`)
		b.WriteString(page.Table(m.cost()))
	}
	if m.idle > 0 {
		fmt.Fprintf(&b, "\n%d nodes that nobody asks, for %v.\n\n", m.largest(), m.idle)
		b.WriteString(page.Table(m.rest()))
	}
	if m.kills > 0 {
		fmt.Fprintf(&b, `
The leader of %d nodes is killed by SIGKILL, %d times. The time is until the first write succeeds: a client asks
each node that is left, and again after %v without an answer, or %v after a refusal.

`, m.largest(), m.kills, attemptBound, attemptPause)
		b.WriteString(page.Table(m.deaths()))
	}
	return b.String()
}

// sharing tells how etcd's clients are connected.
func (m *measurer) sharing() string {
	if m.etcdConnections == 0 {
		return "so do etcd's"
	}
	return fmt.Sprintf("only etcd's clients share %d, since gRPC carries many requests at a time", m.etcdConnections)
}

// beside is one figure of each product and their ratio.
func (m *measurer) beside(show func(float64) string, figure func(product string) float64) []string {
	var cells, ratios []string
	last := figure(m.products[len(m.products)-1].name())
	for i, p := range m.products {
		own := figure(p.name())
		cells = append(cells, show(own))
		if i == len(m.products)-1 {
			break
		}
		ratio := "-"
		if last > 0 {
			ratio = fmt.Sprintf("%.2f", own/last)
		}
		ratios = append(ratios, ratio)
	}
	return append(cells, ratios...)
}

// heading names columns: raftnode's, etcd's, and the ratio of each figure.
func (m *measurer) heading(first []string, figures ...string) []string {
	for _, figure := range figures {
		for _, p := range m.products {
			first = append(first, figure+" "+p.name())
		}
		first = append(first, "ratio")
	}
	return first
}

func (m *measurer) speed() [][]string {
	rows := [][]string{m.heading([]string{"operation", "nodes", "clients"}, "ops/s", "p50 ms", "p99 ms")}
	for _, c := range m.cells {
		row := c.row()
		row = append(row, m.beside(whole, func(p string) float64 { return m.loaded[p][c].perSecond() })...)
		for _, q := range []float64{50, 99} {
			row = append(row, m.beside(hundredths, func(p string) float64 { return inMilliseconds(m.loaded[p][c].quantile(q)) })...)
		}
		rows = append(rows, row)
	}
	return rows
}

func (m *measurer) cost() [][]string {
	rows := [][]string{m.heading([]string{"operation", "nodes", "clients"}, "CPU s", "CPU µs/op", "client CPU µs/op", "RSS MB of a node", "RSS MB of all")}
	for _, c := range m.cells {
		row := c.row()
		row = append(row, m.beside(hundredths, func(p string) float64 { return m.loaded[p][c].cpu.Seconds() })...)
		row = append(row, m.beside(whole, func(p string) float64 { return m.loaded[p][c].cpuEach() })...)
		row = append(row, m.beside(whole, func(p string) float64 { return m.loaded[p][c].askingEach() })...)
		row = append(row, m.beside(whole, func(p string) float64 { return megabytes(m.loaded[p][c].memory.node) })...)
		row = append(row, m.beside(whole, func(p string) float64 { return megabytes(m.loaded[p][c].memory.sum) })...)
		rows = append(rows, row)
	}
	return rows
}

func (c cell) row() []string {
	return []string{c.operation, fmt.Sprint(c.nodes), fmt.Sprint(c.clients)}
}

// figures is a table with a row for each figure.
func (m *measurer) figures() [][]string {
	return [][]string{{"", m.products[0].name(), m.products[1].name(), "ratio"}}
}

func (m *measurer) rest() [][]string {
	return append(m.figures(),
		append([]string{"CPU s, all"}, m.beside(hundredths, func(p string) float64 { return m.idleness[p].cpu.Seconds() })...),
		append([]string{"CPU of one core, a node, %"}, m.beside(hundredths, func(p string) float64 {
			return 100 * m.idleness[p].cpu.Seconds() / m.idle.Seconds() / float64(m.largest())
		})...),
		append([]string{"RSS MB, the largest"}, m.beside(whole, func(p string) float64 { return megabytes(m.idleness[p].memory.node) })...),
		append([]string{"RSS MB, a node on average"}, m.beside(whole, func(p string) float64 {
			return megabytes(m.idleness[p].memory.sum) / float64(m.largest())
		})...),
	)
}

func (m *measurer) deaths() [][]string {
	rows := m.figures()
	for _, which := range []struct {
		name string
		of   func([]time.Duration) time.Duration
	}{{"median ms", median}, {"shortest ms", slices.Min[[]time.Duration]}, {"longest ms", slices.Max[[]time.Duration]}} {
		rows = append(rows, append([]string{which.name}, m.beside(whole, func(p string) float64 { return inMilliseconds(which.of(m.failovers[p])) })...))
	}
	return rows
}

// median is the middle one, or the mean of the middle two.
func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

func inMilliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }
func megabytes(bytes int64) float64          { return float64(bytes) / 1e6 }

func milliseconds(d time.Duration) string { return hundredths(inMilliseconds(d)) }
func hundredths(f float64) string         { return fmt.Sprintf("%.2f", f) }
func whole(f float64) string              { return fmt.Sprintf("%.0f", f) }

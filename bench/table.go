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
	b.WriteString("A ratio is a figure divided by etcd's.\n")
	if len(m.clients) > 0 {
		fmt.Fprintf(&b, `
%d keys, values of %d bytes. Every client asks the leader, one operation at a time. %s.
Every write is synced to disk on a majority, every read is linearizable. Each row is %d rounds of %v.

`, m.load.keys, m.load.valueSize, m.sharing(), m.rounds, m.load.duration)
		for _, table := range m.speed() {
			b.WriteString(page.Table(table) + "\n")
		}
		b.WriteString(`What was used meanwhile: processor time of all nodes together, and of the clients, which have the processors to share
with them; memory of a node at most, with the files that it maps, its program among them (RSS), and what is its own of
that, in no file.

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

// sharing tells how the clients are connected.
func (m *measurer) sharing() string {
	var ways []string
	for _, p := range m.products {
		each := "one each"
		if shared := p.connections(most); shared < most {
			each = fmt.Sprintf("%d", shared)
		}
		ways = append(ways, p.name()+" "+each)
	}
	return "raftnode is asked by gRPC, and HTTP is raftnode asked\nby HTTP. Connections of all clients together: " + strings.Join(ways, ", ")
}

// most is more clients than there ever are.
const most = 1 << 20

// beside is one figure of each product, and the ratio to the last one's of each other.
func beside(products []product, show func(float64) string, figure func(product string) float64) []string {
	var cells, ratios []string
	last := figure(products[len(products)-1].name())
	for i, p := range products {
		own := figure(p.name())
		cells = append(cells, show(own))
		if i == len(products)-1 {
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

// heading names the columns that beside fills for each figure.
func heading(first []string, products []product, figures ...string) []string {
	for _, figure := range figures {
		for _, p := range products {
			first = append(first, strings.TrimSpace(figure+" "+p.name()))
		}
		for _, p := range products[:len(products)-1] {
			first = append(first, "ratio "+p.name())
		}
	}
	return first
}

// speed is a table for each figure.
func (m *measurer) speed() (tables [][][]string) {
	for _, figure := range []struct {
		name string
		show func(float64) string
		of   func(*measurement) float64
	}{
		{"ops/s", whole, (*measurement).perSecond},
		{"p50 ms", hundredths, func(one *measurement) float64 { return inMilliseconds(one.quantile(50)) }},
		{"p99 ms", hundredths, func(one *measurement) float64 { return inMilliseconds(one.quantile(99)) }},
	} {
		rows := [][]string{heading([]string{"operation", "nodes", "clients"}, m.products, figure.name)}
		for _, c := range m.cells {
			rows = append(rows, append(c.row(), beside(m.products, figure.show, func(p string) float64 { return figure.of(m.loaded[p][c]) })...))
		}
		tables = append(tables, rows)
	}
	return tables
}

func (m *measurer) cost() [][]string {
	rows := [][]string{heading([]string{"operation", "nodes", "clients"}, m.products, "CPU µs/op", "client CPU µs/op", "RSS MB", "own MB")}
	for _, c := range m.cells {
		row := c.row()
		row = append(row, beside(m.products, whole, func(p string) float64 { return m.loaded[p][c].cpuEach() })...)
		row = append(row, beside(m.products, whole, func(p string) float64 { return m.loaded[p][c].askingEach() })...)
		row = append(row, beside(m.products, whole, func(p string) float64 { return megabytes(m.loaded[p][c].memory.node) })...)
		row = append(row, beside(m.products, whole, func(p string) float64 { return megabytes(m.loaded[p][c].memory.own) })...)
		rows = append(rows, row)
	}
	return rows
}

func (c cell) row() []string {
	return []string{c.operation, fmt.Sprint(c.nodes), fmt.Sprint(c.clients)}
}

func (m *measurer) rest() [][]string {
	products := m.distinct()
	return [][]string{
		heading([]string{""}, products, ""),
		append([]string{"CPU s, all"}, beside(products, hundredths, func(p string) float64 { return m.idleness[p].cpu.Seconds() })...),
		append([]string{"CPU of one core, a node, %"}, beside(products, hundredths, func(p string) float64 {
			return 100 * m.idleness[p].cpu.Seconds() / m.idle.Seconds() / float64(m.largest())
		})...),
		append([]string{"RSS MB, the largest"}, beside(products, whole, func(p string) float64 { return megabytes(m.idleness[p].memory.node) })...),
		append([]string{"own MB of that, the largest"}, beside(products, whole, func(p string) float64 { return megabytes(m.idleness[p].memory.own) })...),
	}
}

func (m *measurer) deaths() [][]string {
	products := m.distinct()
	rows := [][]string{heading([]string{""}, products, "")}
	for _, which := range []struct {
		name string
		of   func([]time.Duration) time.Duration
	}{{"median ms", median}, {"shortest ms", slices.Min[[]time.Duration]}, {"longest ms", slices.Max[[]time.Duration]}} {
		rows = append(rows, append([]string{which.name}, beside(products, whole, func(p string) float64 { return inMilliseconds(which.of(m.failovers[p])) })...))
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

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"coup/page"
	"coup/runner"
)

func newBench() *cobra.Command {
	o := runner.BenchOptions{Nodes: 5, Clients: 32, Duration: 20 * time.Second, ValueSize: 256, Timeout: 5 * time.Second}
	var env, write string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure throughput without faults",
		Long: `Measure a cluster without faults: clients in a closed loop write distinct keys, then read them
linearizably. Every write is synced to disk on a majority.

With --env sim it is the simulator that is measured: runs a minute, with faults and all checks, on
all cores, and what share of the time each check takes.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return bench(cmd, o, env, write) },
	}
	flags := cmd.Flags()
	flags.StringVar(&env, "env", "auto", "where the nodes run: docker, netns, or auto for the first that works; or sim, to measure that")
	flags.IntVar(&o.Nodes, "nodes", o.Nodes, "nodes in the cluster")
	flags.IntVar(&o.Clients, "clients", o.Clients, "clients, each with one operation at a time")
	flags.DurationVar(&o.Duration, "duration", o.Duration, "how long to write, and how long to read")
	flags.IntVar(&o.ValueSize, "value-size", o.ValueSize, "bytes in a value")
	flags.StringVar(&o.Binary, "raftnode", "", "path of the raftnode binary; beside this program when not given")
	flags.StringVar(&write, "write", "", "page to write the table into, between its markers")
	return cmd
}

func bench(cmd *cobra.Command, o runner.BenchOptions, env, write string) error {
	for _, v := range []struct {
		flag  string
		right bool
		want  string
	}{
		{"nodes", o.Nodes >= 1 && o.Nodes <= 25, "from 1 to 25"},
		{"clients", o.Clients >= 1 && o.Clients <= 10_000, "from 1 to 10000"},
		{"duration", o.Duration >= time.Second && o.Duration <= time.Hour, "from 1s to 1h"},
		{"value-size", o.ValueSize >= 0 && o.ValueSize <= 1<<19, "from 0 to 524288"},
	} {
		if !v.right {
			return &usageError{fmt.Errorf("--%s: it must be %s", v.flag, v.want)}
		}
	}
	if env == simulated {
		for _, flag := range []string{"nodes", "clients", "value-size", "raftnode"} {
			if cmd.Flags().Changed(flag) {
				return &usageError{fmt.Errorf("--%s is for real nodes: the simulator is measured with what the page says", flag)}
			}
		}
		return benchSimulator(cmd.Context(), newTerminal(os.Stdout), o.Duration, write)
	}
	var err error
	if o.Binary, err = nodeBinary(o.Binary); err != nil {
		return &usageError{err}
	}
	environment, err := chooseEnvironment(cmd.Context(), env)
	if err != nil {
		return err
	}
	if err := environment.real("bench"); err != nil {
		return err
	}
	if err := environment.enter(); err != nil {
		return err
	}
	if o.Dir, err = os.MkdirTemp("", "coup-bench-"); err != nil {
		return err
	}
	t := newTerminal(os.Stdout)
	t.Printf("%s  %d nodes on %s\n", t.paint(bold, "coup bench"), o.Nodes, environment.name)
	gentle, _, release := interrupts(cmd.Context(), t)
	defer release()
	measured, err := runner.Bench(gentle, o, environment.start, t)
	if err != nil {
		return fmt.Errorf("%w; logs are in %s", err, o.Dir)
	}
	if err := os.RemoveAll(o.Dir); err != nil {
		return err
	}
	machine, err := page.Machine(filepath.Dir(o.Dir))
	if err != nil {
		return err
	}
	rows := [][]string{{"operation", "ok", "failed", "ops/s", "p50", "p99"}}
	for _, m := range measured {
		rows = append(rows, []string{m.Operation, count(m.OK), count(m.Failed), count(int(m.PerSecond)), latency(m.P50), latency(m.P99)})
	}
	t.Printf("\n%s\n  %s\n", t.table(rows), machine)
	if write == "" {
		return nil
	}
	return page.Write(write, "Performance", "bench", "`make bench` measures this and writes it here.", throughput(o, environment.name, machine, rows))
}

// throughput is the table as Markdown.
func throughput(o runner.BenchOptions, environment, machine string, rows [][]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d nodes (%s), %d clients in a closed loop for %v a phase, values of %d bytes, every write\nsynced to disk on a majority. %s.\n\n",
		o.Nodes, environment, o.Clients, o.Duration, o.ValueSize, machine)
	b.WriteString(page.Table(rows))
	return b.String()
}

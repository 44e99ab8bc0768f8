package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"coup/nemesis"
	"coup/page"
	"coup/runner"
	"coup/sim"
	"coup/sweep"
)

// benchRun is the run by which the simulator is measured: 5 nodes, 10 clients, a little more than 2,000
// operations, 10 faults, and everything going wrong that can.
func benchRun(seed uint64) sweep.Run {
	o := runner.Defaults()
	o.Seed, o.Environment, o.Nodes, o.Concurrency = seed, simulated, 5, 10
	o.Rate, o.WarmUp, o.Interval, o.Duration = 200, time.Second, 1400*time.Millisecond, 22*time.Second
	o.Trouble = sim.Troubles()
	faults, _ := nemesis.Parse(benchFaults)
	return sweep.Run{Options: o, Faults: faults}
}

// benchFaults stay the same, so that figures can be compared.
const benchFaults = "kill-leader,isolate-leader,split,one-way,pause-leader,kill-all,crash-bridge"

// benchSimulator measures the simulator with all checks, and without its invariants, for as long each.
func benchSimulator(ctx context.Context, t *terminal, duration time.Duration, write string) error {
	t.Printf("%s  the simulator\n", t.paint(bold, "coup bench"))
	gentle, _, release := interrupts(ctx, t)
	defer release()
	o := sweep.Options{First: 1, Budget: duration, Shape: benchRun, KeepGoing: true}
	begun := processorTime()
	checked := sweep.Sweep(gentle, o, func(r sweep.Result) { t.Status(r.Took, standing(r)) })
	between := processorTime()
	o.Only, o.Budget, o.Seeds = sweep.Linearizability, 0, checked.Runs
	sweep.Sweep(gentle, o, nil)
	with, without := between-begun, processorTime()-between
	switch {
	case gentle.Err() != nil:
		return errors.New("interrupted: nothing was measured")
	case checked.Runs == 0:
		return fmt.Errorf("no run came to its end within %v: give it longer with --duration", duration)
	case checked.Failed > 0:
		return fmt.Errorf("a run failed, so that nothing was measured: seed %d: %s", checked.Failures[0].Seed, checked.Failures[0].Text)
	}
	runs := float64(checked.Runs)
	histories := float64(checked.Judging) / float64(checked.Playing+checked.Judging)
	invariants := max(0, float64(with-without)/float64(with))
	share := func(part float64) string { return fmt.Sprintf("%.0f %%", 100*part) }
	rows := [][]string{
		{"", "figure"},
		{"runs a minute", count(int(runs / checked.Took.Minutes()))},
		{"operations in a run", count(checked.Ops / checked.Runs)},
		{"faults proven in a run", fmt.Sprintf("%.1f", float64(checked.Faults)/runs)},
		{"messages in a run", count(checked.Reached.Messages / checked.Runs)},
		{"simulated time to real time", fmt.Sprintf("%.0f", checked.Simulated.Seconds()/checked.Took.Seconds())},
		{"processor time of a run", latency(time.Duration(float64(with) / runs))},
		{"share of the nodes and their world", share(1 - histories - invariants)},
		{"share of the invariants", share(invariants)},
		{"share of the checks of histories", share(histories)},
	}
	machine := fmt.Sprintf("%s, %d CPUs, %d at work", page.CPU(), runtime.NumCPU(), runtime.GOMAXPROCS(0))
	t.Printf("\n%s\n  %s\n", t.table(rows), machine)
	if write == "" {
		return nil
	}
	text := fmt.Sprintf(`The simulator: %s runs, each of 5 nodes and 10 clients, under faults and with everything going wrong
all along, with all invariants checked after every step of every node and the history at the end.
%s.

`, count(checked.Runs), machine) + page.Table(rows)
	return page.Write(write, "Performance", "simulator", "`make bench` measures the simulator, too.", text)
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

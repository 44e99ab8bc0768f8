package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"coup/checker"
	"coup/nemesis"
	"coup/sim"
	"coup/sweep"
)

// sweepFlags are what `coup sweep` is told.
type sweepFlags struct {
	options sweep.Options
	nodes   string
	choose  faultFlags
	faults  string // as they are spelled
	first   string
	only    string
	json    bool
}

func newSweep() *cobra.Command {
	f := sweepFlags{options: sweep.Options{Seeds: 1000, Ops: 2000}}
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: "Do many short runs in the simulator, on all cores",
		Long: `Do many short runs in the simulator, one for each seed, on all cores. The seed decides everything:
how many nodes there are, which of the faults come and when, how dense the load is, and what goes
wrong all along. After every step of every node Raft's invariants are checked, and at the end of a
run its history. A sweep stops at the first failure and says how to do that run again.

A sweep of 100 runs or more with all faults that never came to something that it should test, such
as an election or a snapshot, is inconclusive.`,
		Example: `  coup sweep
  coup sweep --seeds 0 --budget 10m --keep-going
  coup sweep --first 4711 --seeds 1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	o := &f.options
	flags.StringVar(&f.first, "first", "", "seed of the first run, from which they count up; drawn when not given")
	flags.IntVar(&o.Seeds, "seeds", o.Seeds, "how many; 0 for as many as the budget allows")
	flags.DurationVar(&o.Budget, "budget", 0, "begin no run after that long; 0 for no limit")
	flags.StringVar(&f.nodes, "nodes", "3-7", "nodes in a cluster: a number, or a range to draw from")
	f.choose.bind(flags)
	flags.StringVar(&o.Store, "store", "", "what nodes keep their logs in: memory or pebble; memory when not given")
	flags.IntVar(&o.Ops, "ops", o.Ops, "operations in a run, about")
	flags.IntVar(&o.Workers, "workers", 0, "runs at a time; 0 for one a core")
	flags.BoolVar(&o.KeepGoing, "keep-going", false, "count failures instead of stopping at the first")
	flags.StringVar(&f.only, "only", "", "what may fail a run: invariants, linearizability or liveness; all when not given")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON, and nothing else")
	return cmd
}

// sweepGarbage is from where on a sweep collects its garbage more often.
const sweepGarbage = 2 << 30

// parse reads what is no number by itself.
func (f *sweepFlags) parse() (everything bool, err error) {
	o := &f.options
	refuse := func(flag, format string, args ...any) (bool, error) {
		return false, &usageError{fmt.Errorf("--%s: %s", flag, fmt.Sprintf(format, args...))}
	}
	if o.First, err = parseSeed(f.first); err != nil {
		return refuse("first", "%q is no number from 0 to 2^64-1", f.first)
	}
	low, high, isRange := strings.Cut(f.nodes, "-")
	if !isRange {
		high = low
	}
	var failed [2]error
	o.MinNodes, failed[0] = strconv.Atoi(low)
	o.MaxNodes, failed[1] = strconv.Atoi(high)
	if failed[0] != nil || failed[1] != nil || o.MinNodes < 3 || o.MaxNodes > 25 || o.MinNodes > o.MaxNodes {
		return refuse("nodes", "%q: it must be a number from 3 to 25, or two such with a dash between", f.nodes)
	}
	chosen, err := f.choose.choose(true)
	if err != nil {
		return false, err
	}
	f.faults, o.Troubles = chosen.list, chosen.troubles
	// What is asked for by its name must be possible in each run.
	if _, _, err := chosen.on(sim.Prospect(o.MinNodes)); err != nil {
		return false, err
	}
	if o.Faults, _, err = chosen.on(sim.Prospect(o.MaxNodes)); err != nil {
		return false, err
	}
	switch {
	case o.Seeds < 0:
		return refuse("seeds", "%d: it cannot be negative", o.Seeds)
	case o.Budget < 0:
		return refuse("budget", "%v: it cannot be negative", o.Budget)
	case o.Seeds == 0 && o.Budget == 0:
		return refuse("seeds", "0 needs a --budget: it would never end")
	case o.Ops < 100 || o.Ops > 1_000_000:
		return refuse("ops", "%d: it must be from 100 to 1000000", o.Ops)
	case o.Workers < 0 || o.Workers > 1000:
		return refuse("workers", "%d: it must be from 1 to 1000, or 0 for one a core", o.Workers)
	}
	if err := checkStore(o.Store); err != nil {
		return false, &usageError{err}
	}
	if o.Only = sweep.Check(f.only); f.only != "" && !slices.Contains(sweep.Checks(), o.Only) {
		return refuse("only", "%q: it must be invariants, linearizability or liveness", f.only)
	}
	possible := slices.DeleteFunc(nemesis.All(), func(f nemesis.Fault) bool { return f.Check(sim.Prospect(o.MaxNodes)) != nil })
	return len(o.Faults) == len(possible) && len(o.Troubles) == len(sim.Troubles()), nil
}

func (f *sweepFlags) run(cmd *cobra.Command) error {
	everything, err := f.parse()
	if err != nil {
		return err
	}
	// The very checkers that will judge every run must catch what is known to be broken.
	if err := checker.Canary(); err != nil {
		return fmt.Errorf("the checkers failed on a history whose verdict is known: %w", err)
	}
	t := newTerminal(os.Stdout)
	if f.json {
		t = newTerminal(os.Stderr)
	}
	// A world's garbage is a world at a time, and worlds are small: rather more of them than a collection for each.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
		debug.SetMemoryLimit(sweepGarbage)
	}
	o := f.options
	gentle, _, release := interrupts(cmd.Context(), t)
	defer release()
	progress := func(sweep.Result) {}
	if !f.json {
		t.Printf("%s  first seed %s\n", t.paint(bold, cmd.CommandPath()), t.paint(bold, fmt.Sprint(o.First)))
		t.Printf("%s", t.paragraph(f.describe()))
		progress = func(r sweep.Result) { t.Status(r.Took, standing(r)) }
	}
	result := sweep.Sweep(gentle, o, progress)
	verdict, reasons := judgeSweep(result, everything, gentle.Err() != nil)
	if f.json {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		err := encoder.Encode(struct {
			Verdict checker.Verdict `json:"verdict"`
			Reasons []string        `json:"reasons"`
			sweep.Result
		}{verdict, reasons, result})
		if err != nil {
			return err
		}
	} else {
		t.sweep(result, verdict, reasons, f.again)
	}
	if code := verdict.ExitCode(); code != 0 {
		return exitCode(code)
	}
	return nil
}

// describe says in a line what is swept.
func (f *sweepFlags) describe() string {
	o := f.options
	many := fmt.Sprintf("%s seeds", count(o.Seeds))
	switch {
	case o.Seeds == 0:
		many = fmt.Sprintf("seeds for %v", o.Budget)
	case o.Budget > 0:
		many += fmt.Sprintf(", for %v at most", o.Budget)
	}
	return fmt.Sprintf("%s, %s nodes, %s operations a run, faults: %s", many, f.nodes, count(o.Ops), f.faults)
}

// again is the command that does the run of a seed again.
func (f *sweepFlags) again(seed uint64) string {
	line := fmt.Sprintf("coup sweep --first %d --seeds 1 --nodes %s --faults %s --ops %d", seed, f.nodes, quote(f.faults), f.options.Ops)
	if f.options.Store != "" {
		line += " --store " + f.options.Store
	}
	if f.only != "" {
		line += " --only " + f.only
	}
	return line
}

// standing is how a sweep stands, in a line.
func standing(r sweep.Result) string {
	perMinute := float64(r.Runs) / max(r.Took.Minutes(), 1e-9)
	return fmt.Sprintf("%s runs  %s/min  %s operations  %s simulated  %s failed",
		count(r.Runs), count(int(perMinute)), count(r.Ops), r.Simulated.Round(time.Second), count(r.Failed))
}

// judgeSweep is the verdict on all runs together, and why it is not pass.
func judgeSweep(r sweep.Result, everything, interrupted bool) (checker.Verdict, []string) {
	verdict, reasons := checker.Pass, []string{}
	for _, f := range r.Failures {
		verdict = checker.Worst(verdict, f.Verdict)
		reasons = append(reasons, fmt.Sprintf("seed %d, %s: %s", f.Seed, f.Check, f.Text))
	}
	inconclusive := func(format string, args ...any) {
		verdict = checker.Worst(verdict, checker.Inconclusive)
		reasons = append(reasons, fmt.Sprintf(format, args...))
	}
	if interrupted {
		inconclusive("It was interrupted after %s runs.", count(r.Runs))
	}
	if r.Runs == 0 {
		inconclusive("No run came to its end.")
	}
	if r.Unknown > 0 {
		inconclusive("Whether %d runs are linearizable is unknown: the search ran out of its budget.", r.Unknown)
	}
	// A sweep that was stopped by a failure owes no more.
	if missing := r.Missing(everything); len(missing) > 0 && r.Failed == 0 {
		inconclusive("%s runs never came to: %s.", count(r.Runs), strings.Join(missing, ", "))
	}
	return verdict, reasons
}

// sweep prints what came of a sweep.
func (t *terminal) sweep(r sweep.Result, verdict checker.Verdict, reasons []string, again func(uint64) string) {
	t.Printf("  %s\n\n", standing(r))
	rows := [][]string{{"reached", "times", "a run"}}
	for _, c := range sweep.Counters(r.Reached) {
		rows = append(rows, []string{c.Name, count(c.Count), fmt.Sprintf("%.1f", float64(c.Count)/float64(max(r.Runs, 1)))})
	}
	t.Printf("%s", t.table(rows))
	t.Printf("  %s faults were proven in force; the trace of all runs is %s\n\n", count(r.Faults), r.Hash)
	if len(r.Checks) > 1 {
		t.Printf("%s\n", t.table(checksOf(r)))
	}
	word := strings.ToUpper(string(verdict))
	if verdict == checker.Pass {
		t.Printf("%s  nothing wrong was found in %s runs\n", t.paint(green, word), count(r.Runs))
		return
	}
	colour := yellow
	if verdict == checker.Violation || verdict == checker.Harness {
		colour = red
	}
	t.Printf("%s\n", t.paint(colour, word))
	for _, reason := range reasons {
		t.Printf("  - %s\n", t.hanging(reason, 4))
	}
	if len(r.Failures) > 0 {
		first := r.Failures[0]
		t.Printf("\n  again    %s\n  in full  %s\n", again(first.Seed), first.Run)
	}
}

// checksOf is how many runs each check failed, most first.
func checksOf(r sweep.Result) [][]string {
	rows := [][]string{{"failed", "runs"}}
	var names []string
	for name := range r.Checks {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(r.Checks[b], r.Checks[a]), cmp.Compare(a, b))
	})
	for _, name := range names {
		rows = append(rows, []string{name, count(r.Checks[name])})
	}
	return rows
}

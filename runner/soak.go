package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"coup/checker"
	"coup/cluster"
	"coup/results"
)

// Soak is a run that may go on for days: one cluster, and one window after another of workload under faults. Each
// window has keys of its own and is judged as soon as it has ended, so that neither memory nor disk grows with time; what
// a window that passed recorded is removed.
type Soak struct {
	Setup                // Options.Duration is that of the whole
	Window time.Duration // of the workload of one window
	Told   func(SoakWindow)
}

// SoakWindow is a window that has ended.
type SoakWindow struct {
	Number   int             `json:"number"` // from 1
	Took     time.Duration   `json:"took_ns"`
	Report   checker.Report  `json:"-"`
	Verdict  checker.Verdict `json:"verdict"` // of all but the coverage, which is that of the whole
	OK       int             `json:"ok"`
	Suicides int             `json:"suicides"`      // leaders that ended themselves when their reign was over
	Dir      string          `json:"dir,omitempty"` // its folder, where it is kept
	Memory   SoakMemory      `json:"memory"`
}

// SoakMemory is the resident memory at the end of a window, in bytes.
type SoakMemory struct {
	Suite int64 `json:"suite"`
	Node  int64 `json:"node"` // of the largest node
}

// SoakReport is what came of a soak: soak.json.
type SoakReport struct {
	Schema   int                   `json:"schema"` // 1
	Verdict  checker.Verdict       `json:"verdict"`
	Reasons  []checker.Reason      `json:"reasons"` // strongest first
	Took     time.Duration         `json:"took_ns"`
	Ops      int                   `json:"operations"`
	OK       int                   `json:"ok"`
	Suicides int                   `json:"suicides"`
	Coverage []checker.CoverageRow `json:"coverage"`
	Windows  []SoakWindow          `json:"windows"` // the latest, at most 1,000
	Dir      string                `json:"-"`       // the soak's folder
}

// mostWindows bounds how many windows a report tells one by one.
const mostWindows = 1000

// Run does the soak. When ctx ends, the window under way is ended and judged. When hurried ends, too, nothing more is
// done but to remove the cluster. An error means that there is no verdict.
func (s Soak) Run(ctx, hurried context.Context) (SoakReport, error) {
	begun := time.Now()
	dir, err := results.CreateSeries(filepath.Join(s.Options.Results, "runs"), s.Options.Name, begun)
	if err != nil {
		return SoakReport{}, err
	}
	k := &soaking{Soak: s, report: SoakReport{Schema: 1, Verdict: checker.Pass, Dir: dir, Reasons: []checker.Reason{}}}
	if err := k.start(ctx); err != nil {
		return SoakReport{}, err
	}
	defer k.base.close()
	var failure error
	if nodes := k.nodes; nodes != nil {
		defer nodes.Close()
		for n := 1; ctx.Err() == nil && (n == 1 || time.Since(begun)+s.Window/2 < s.Options.Duration); n++ {
			if failure = k.window(ctx, hurried, n); failure != nil || k.over {
				break
			}
		}
	}
	k.report.Took = time.Since(begun)
	k.judge(ctx.Err() != nil)
	if k.report.Verdict != checker.Pass {
		k.base.collect(hurried, true)
	}
	k.base.close()
	for _, problem := range k.base.info.Problems {
		k.blame(checker.Harness, checker.NameHarness, problem)
	}
	for _, found := range k.base.info.Findings {
		k.blame(found.Verdict, found.Checker, found.Text)
	}
	slices.SortStableFunc(k.report.Reasons, func(a, b checker.Reason) int { return checker.Compare(a.Verdict, b.Verdict) })
	return k.report, errors.Join(failure, results.WriteJSON(filepath.Join(dir, "soak.json"), k.report))
}

// soaking is a soak under way.
type soaking struct {
	Soak
	base   *running // has the cluster
	nodes  *nodes   // nil when it did not start
	report SoakReport
	plan   []checker.Plan
	seen   int // deaths
	over   bool
}

// start starts the cluster, whose logs go to the soak's folder.
func (k *soaking) start(ctx context.Context) error {
	info, err := k.info(time.Now())
	if err != nil {
		return err
	}
	k.base = &running{Setup: k.Setup, info: info, folder: k.report.Dir}
	k.nodes = k.base.startNodes(ctx)
	return nil
}

// window does one window and judges it.
func (k *soaking) window(ctx, hurried context.Context, n int) error {
	setup := k.Setup
	o := &setup.Options
	o.Duration = k.Window
	o.Seed = stream(k.Options.Seed, fmt.Sprint("window ", n)).Uint64()
	o.KeyPrefix = fmt.Sprintf("w%d-", n)
	began := time.Now()
	info, err := setup.info(began)
	if err != nil {
		return err
	}
	info.Name = "windows"
	run, err := results.Create(k.report.Dir, info)
	if err != nil {
		return err
	}
	r := &running{Setup: setup, run: run, info: info, cluster: k.base.cluster, deathsSeen: k.seen}
	r.loop(ctx, hurried, k.nodes)
	k.seen = r.deathsSeen
	if err := r.run.Close(); err != nil {
		r.problem("The window's files could not be written: %v.", err)
	}
	for _, death := range r.deaths {
		r.info.Findings = append(r.info.Findings, judge(death, logOf(k.report.Dir, death)))
	}
	report, err := r.check(hurried)
	if err != nil {
		return err
	}
	return k.take(SoakWindow{
		Number: n, Took: time.Since(began), Report: report, OK: report.Stats.OK, Suicides: r.suicides, Dir: run.Dir(),
		Memory: k.memory(hurried),
	}, info.Plan)
}

// take adds a window to the report, and removes its folder when nothing is wrong with it.
func (k *soaking) take(w SoakWindow, plan []checker.Plan) error {
	w.Verdict = checker.Pass
	for _, reason := range w.Report.Reasons {
		if reason.Checker != checker.NameCoverage {
			w.Verdict = checker.Worst(w.Verdict, reason.Verdict)
			k.blame(reason.Verdict, reason.Checker, fmt.Sprintf("Window %d: %s", w.Number, reason.Text))
		}
	}
	k.cover(w.Report, plan)
	k.report.Ops += w.Report.Stats.Invoked
	k.report.OK += w.OK
	k.report.Suicides += w.Suicides
	var err error
	switch w.Verdict {
	case checker.Pass:
		err = errors.Join(os.RemoveAll(w.Dir), os.RemoveAll(filepath.Join(k.report.Dir, "latest")))
		w.Dir = ""
	case checker.Inconclusive:
		// It goes on: what one window could not prove, others do.
	default:
		k.over = true
	}
	k.report.Windows = append(k.report.Windows, w)
	if len(k.report.Windows) > mostWindows {
		k.report.Windows = k.report.Windows[1:]
	}
	k.Told(w)
	return err
}

// cover adds up what was proven under faults.
func (k *soaking) cover(r checker.Report, plan []checker.Plan) {
	if k.plan == nil {
		k.plan = make([]checker.Plan, len(plan))
		k.report.Coverage = make([]checker.CoverageRow, len(plan))
	}
	for i, row := range r.Coverage.Rows {
		sum := &k.report.Coverage[i]
		sum.Fault, sum.KeepsQuorum = row.Fault, row.KeepsQuorum
		sum.Add(row)
		k.plan[i].Fault, k.plan[i].KeepsQuorum = plan[i].Fault, plan[i].KeepsQuorum
		k.plan[i].Count += plan[i].Count
	}
	for _, fault := range r.Faults {
		if fault.Indeterminate > 0 {
			k.blame(checker.Inconclusive, checker.NameCoverage, fmt.Sprintf("%s was not proven installed in %d attempts.", fault.Fault, fault.Indeterminate))
		}
	}
}

// judge settles what only the whole can say.
func (k *soaking) judge(interrupted bool) {
	for i, plan := range k.plan {
		for _, gap := range checker.Gaps(plan, k.report.Coverage[i], checker.Options{}) {
			k.blame(checker.Inconclusive, checker.NameCoverage, gap)
		}
	}
	if k.Options.MaxReign > 0 && k.report.Suicides == 0 {
		k.blame(checker.Inconclusive, NameRun, fmt.Sprintf("No leader ended itself, although each was to after %v.", k.Options.MaxReign))
	}
	if interrupted {
		k.blame(checker.Inconclusive, NameRun, fmt.Sprintf("Interrupted after %v.", k.report.Took.Round(time.Second)))
	}
}

// mostReasons bounds what a report tells, of each verdict, of what went wrong again and again.
const mostReasons = 50

func (k *soaking) blame(verdict checker.Verdict, by, text string) {
	k.report.Verdict = checker.Worst(k.report.Verdict, verdict)
	told := 0
	for _, r := range k.report.Reasons {
		if r.Verdict == verdict {
			told++
		}
	}
	if told < mostReasons {
		k.report.Reasons = append(k.report.Reasons, checker.Reason{Verdict: verdict, Checker: by, Text: text})
	}
}

// memory reads how much this process and the nodes hold. What cannot be read counts as nothing.
func (k *soaking) memory(ctx context.Context) (m SoakMemory) {
	m.Suite = resident(os.Getpid())
	processes, ok := k.base.cluster.(cluster.Killer)
	if !ok {
		return m
	}
	for _, node := range k.base.cluster.Nodes() {
		if state, err := processes.Process(ctx, node.ID); err == nil && state.PID > 0 {
			m.Node = max(m.Node, resident(state.PID))
		}
	}
	return m
}

// resident is the resident memory of a process, in bytes.
func resident(pid int) int64 {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "statm"))
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

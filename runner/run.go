package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"coup/checker"
	"coup/cluster"
	"coup/history"
	"coup/nemesis"
	"coup/results"
	"coup/version"
	"coup/workload"
)

// Setup is all that a run needs.
type Setup struct {
	Options Options // validated
	Faults  []nemesis.Fault
	Start   func(context.Context, cluster.Options) (cluster.Cluster, error)
	// Simulate makes the World of a run without a real environment; Start is not used then. dir is
	// the run's folder.
	Simulate func(dir string) (Simulation, error)
	Observer Observer
	Command  []string          // as typed
	Version  string            // of the suite
	Keep     map[string][]byte // files that the run's folder keeps, by name
}

// Conclusion is what came of a run.
type Conclusion struct {
	Report checker.Report
	Dir    string // the run's folder
}

// collectBound is how long copying the nodes' logs and data may take.
const collectBound = 60 * time.Second

// NameRun is the checker that interrupts and missing progress are filed under.
const NameRun = "run"

// Run does a whole run. When ctx ends the workload does; what is in force is healed, and what was
// recorded is checked. When hurried ends, too, nothing more is done but to remove the cluster, which
// is removed in any case. An error means that there is no verdict, because nothing was run.
func Run(ctx, hurried context.Context, s Setup) (Conclusion, error) {
	info, err := s.info(time.Now())
	if err != nil {
		return Conclusion{}, err
	}
	run, err := results.Create(filepath.Join(s.Options.Results, "runs"), info)
	if err != nil {
		return Conclusion{}, err
	}
	r := &running{Setup: s, run: run, info: info, folder: run.Dir()}
	defer r.close()
	for name, content := range s.Keep {
		if err := os.WriteFile(filepath.Join(run.Dir(), name), content, 0o644); err != nil {
			r.problem("%s could not be kept: %v.", name, err)
		}
	}
	r.play(ctx, hurried)
	return r.conclude(hurried)
}

// running is a run between its folder's making and its verdict.
type running struct {
	Setup
	run     *results.Run
	info    results.Info
	folder  string          // that the nodes' logs go to
	cluster cluster.Cluster // nil until it was started
	world   Simulation      // nil in a real environment
	deaths  []cluster.Death // that nobody asked for

	deathsSeen int // of all that the cluster has told of
	suicides   int // leaders that ended themselves when their reign was over
}

// info is what run.json says from the beginning.
func (s Setup) info(now time.Time) (results.Info, error) {
	options, err := json.Marshal(s.Options)
	if err != nil {
		return results.Info{}, fmt.Errorf("encode the options: %w", err)
	}
	raftnode := s.Version // simulated nodes are part of this program
	if s.Simulate == nil {
		raftnode = version.File(s.Options.Binary)
	}
	return results.Info{
		Name: s.Options.Name, Seed: s.Options.Seed, Command: s.Command, Environment: s.Options.Environment,
		Versions: map[string]string{"go": runtime.Version(), "coup": s.Version, "raftnode": raftnode},
		Options:  options, Plan: plans(s.Options, s.Faults), Started: now.UTC(),
		Recipe: s.recipe(),
		Check:  results.CheckOptions{AllowNoFaults: len(s.Faults) == 0, Troubled: len(s.Options.Trouble) > 0},
	}, nil
}

// recipe is what the steps of a recipe are to be measured by; nil for a run without.
func (s Setup) recipe() *results.Recipe {
	if s.Options.Recipe == "" {
		return nil
	}
	return &results.Recipe{Name: s.Options.Recipe, ElectionTimeout: ElectionTimeout(s.Options.NodeFlags)}
}

// plans is what is planned of each kind of fault. Where the world makes trouble of its own, no fault
// can be said to leave a healthy majority.
func plans(o Options, faults []nemesis.Fault) []checker.Plan {
	counts := map[string]int{}
	for _, planned := range planFaults(o, faults) {
		counts[planned.Fault]++
	}
	plan := []checker.Plan{}
	for _, fault := range faults {
		plan = append(plan, checker.Plan{
			Fault: fault.Name(), Count: counts[fault.Name()], KeepsQuorum: fault.KeepsQuorum() && len(o.Trouble) == 0,
		})
	}
	return plan
}

// History implements recorder.
func (r *running) History(e *history.Event) error { return r.run.History(e) }

// Fault implements recorder.
func (r *running) Fault(e nemesis.Event) error { return r.run.Fault(e) }

// Observation implements recorder.
func (r *running) Observation(o checker.Observation) error { return r.run.Observation(o) }

// Timeline implements recorder.
func (r *running) Timeline(t checker.Timeline) error {
	r.info.Timeline = t
	return errors.Join(r.run.Flush(), r.run.Update(r.info))
}

// find files something that the run itself found.
func (r *running) find(verdict checker.Verdict, format string, args ...any) {
	r.info.Findings = append(r.info.Findings, checker.Reason{
		Verdict: verdict, Checker: NameRun, Text: fmt.Sprintf(format, args...),
	})
}

func (r *running) problem(format string, args ...any) {
	r.info.Problems = append(r.info.Problems, fmt.Sprintf(format, args...))
}

// play starts the cluster, runs the loop, and notes what it found.
func (r *running) play(ctx, hurried context.Context) {
	if r.Simulate != nil {
		r.simulate(ctx, hurried)
		return
	}
	nodes := r.startNodes(ctx)
	if nodes == nil {
		return
	}
	defer nodes.Close()
	r.loop(ctx, hurried, nodes)
}

// startNodes starts the cluster. It is nil when it cannot be used, which is then filed.
func (r *running) startNodes(ctx context.Context) *nodes {
	step := fmt.Sprintf("start %d nodes", r.Options.Nodes)
	begun := time.Now()
	r.Observer.Step(Step{Name: step, State: StepBegan})
	c, err := r.Start(ctx, cluster.Options{
		Run: runName(r.Options.Name, begun), Nodes: r.Options.Nodes, Binary: r.Options.Binary,
		LoseUnsynced: r.Options.LoseUnsynced, ActionLog: r.Options.ActionLog,
		Seams:         slices.ContainsFunc(r.Faults, nemesis.NeedsSeams),
		NodeArguments: nodeArguments(r.Options), Dir: r.folder,
		Progress: func(text string) { r.Observer.Step(Step{Name: step, Detail: text, State: StepUnderWay}) },
	})
	r.cluster = c
	if err != nil {
		r.Observer.Step(Step{Name: step, Detail: "failed", State: StepFailed, Took: time.Since(begun)})
		if ctx.Err() != nil {
			r.find(checker.Inconclusive, "Interrupted while the cluster was started.")
			return nil
		}
		r.problem("The cluster could not be started: %v.", err)
		return nil
	}
	r.Observer.Step(Step{Name: step, State: StepDone, Took: time.Since(begun)})
	if !r.fit() {
		return nil
	}
	nodes, err := newNodes(c, r.Options.API)
	if err != nil {
		r.problem("The nodes cannot be reached: %v.", err)
		return nil
	}
	return nodes
}

// loop runs the loop in real time.
func (r *running) loop(ctx, hurried context.Context, nodes *nodes) {
	connect := func() workload.Client { return workload.NewClient(nodes.client) }
	world := newRealtime(hurried, r.cluster, r.Options.OpTimeout, connect, nodes.status)
	defer world.Close()
	l := newLoop(world, r.Options, names(r.cluster), r.Faults, r, r.Observer)
	l.deathsSeen = r.deathsSeen
	defer context.AfterFunc(ctx, func() { world.Wake(l.interrupt) })()
	l.run()
	r.note(l)
	r.info.Stalls = world.Stalls()
}

// fit tells whether all faults can be used on the cluster.
func (r *running) fit() bool {
	for _, fault := range r.Faults {
		if err := fault.Check(r.cluster); err != nil {
			r.problem("%s cannot be used on this cluster: %v.", fault.Name(), err)
			return false
		}
	}
	return true
}

// note takes over what the loop found.
func (r *running) note(l *loop) {
	r.info.Problems = append(r.info.Problems, l.problems...)
	r.info.Findings = append(r.info.Findings, l.found()...)
	r.deaths, r.deathsSeen, r.suicides = l.deaths, l.deathsSeen, l.suicides
}

// conclude checks what was recorded, keeps what a person will want to look at, and removes the
// cluster.
func (r *running) conclude(hurried context.Context) (Conclusion, error) {
	if err := r.run.Close(); err != nil {
		r.problem("The run's files could not be written: %v.", err)
	}
	r.collect(hurried, false)
	for _, death := range r.deaths {
		r.info.Findings = append(r.info.Findings, judge(death, logOf(r.run.Dir(), death)))
	}
	report, err := r.check(hurried)
	if err != nil {
		return Conclusion{}, err
	}
	found := len(r.info.Problems)
	if report.Verdict != checker.Pass {
		r.collect(hurried, true)
	}
	r.close()
	if len(r.info.Problems) > found {
		if report, err = r.check(hurried); err != nil {
			return Conclusion{}, err
		}
	}
	return Conclusion{Report: report, Dir: r.run.Dir()}, nil
}

// check completes run.json and has the run's folder judged.
func (r *running) check(ctx context.Context) (checker.Report, error) {
	begun := time.Now()
	ended := begun.UTC()
	r.info.Ended = &ended
	r.Observer.Step(Step{Name: "check", State: StepBegan})
	report, err := checker.Report{}, r.run.Update(r.info)
	if err == nil {
		report, err = results.Check(ctx, r.run.Dir())
	}
	if err != nil {
		r.Observer.Step(Step{Name: "check", State: StepFailed, Took: time.Since(begun)})
		return report, fmt.Errorf("check the run in %s: %w", r.run.Dir(), err)
	}
	r.Observer.Step(Step{Name: "check", Detail: fmt.Sprintf("%d operations", report.Stats.Invoked), State: StepDone, Took: time.Since(begun)})
	return report, nil
}

// collect copies the nodes' logs into the run's folder, and their data when asked to.
func (r *running) collect(hurried context.Context, data bool) {
	if r.cluster == nil || hurried.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(hurried, collectBound)
	defer cancel()
	if err := r.cluster.Collect(ctx, data); err != nil && hurried.Err() == nil {
		r.problem("The nodes' logs could not be collected: %v.", err)
	}
}

// close removes the cluster. Once is enough, twice does no harm.
func (r *running) close() {
	if r.world != nil {
		r.world.Close()
	}
	if r.cluster == nil {
		return
	}
	begun := time.Now()
	r.Observer.Step(Step{Name: "remove the cluster", State: StepBegan})
	if err := closeCluster(r.cluster); err != nil {
		r.Observer.Step(Step{Name: "remove the cluster", Detail: "`coup clean` removes what is left", State: StepFailed, Took: time.Since(begun)})
		r.problem("The cluster could not be removed: %v.", err)
	} else {
		r.Observer.Step(Step{Name: "remove the cluster", State: StepDone, Took: time.Since(begun)})
	}
	r.cluster = nil
}

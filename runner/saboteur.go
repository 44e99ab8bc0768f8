package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"coup/cluster"
	"coup/nemesis"
	"coup/workload"
)

// healAttempts is how often healing a fault is tried before the run is void, and healPause the time
// between two attempts: what is in the way, such as a full disk, may pass.
const (
	healAttempts = 5
	healPause    = time.Second
)

// saboteur carries out the schedule of faults, one at a time.
type saboteur struct {
	loop   *loop
	faults map[string]nemesis.Fault
	plan   []nemesis.Planned // relative to the beginning of the workload
	recipe *nemesis.Recipe   // that the plan is of; nil where it was drawn

	running bool          // new faults may be installed
	offset  time.Duration // when the workload began
	next    int           // in plan
	retryAt time.Duration // of the next one, after it was skipped
	busy    bool          // an action is under way
	current *attack       // in force
	tries   int           // at healing it
	healAt  time.Duration // not before, after an attempt that failed
	fallen  []fallen      // to be started again, oldest first
}

// fallen is a leader that has ended itself.
type fallen struct {
	node   string
	rising time.Duration // when it is started again
}

// mourning is how long a leader that has ended itself stays dead, at most.
const mourning = 2 * time.Second

// fell says that a leader has ended itself. It is started again a little later.
func (s *saboteur) fell(node string) {
	random := stream(s.loop.options.Seed, fmt.Sprint("rising ", s.loop.suicides))
	s.fallen = append(s.fallen, fallen{node, s.loop.world.Now() + time.Duration(random.Int64N(int64(mourning)))})
}

// raise starts the first of the fallen that is due, unless a fault keeps it down: its healing starts it. It returns when
// to ask again.
func (s *saboteur) raise(now time.Duration) time.Duration {
	next := workload.Never
	for i, f := range s.fallen {
		switch {
		case s.current != nil && slices.Contains(s.current.targets, f.node):
		case now < f.rising:
			next = min(next, f.rising)
		default:
			s.fallen = slices.Delete(s.fallen, i, i+1)
			s.repair([]string{f.node})
			return workload.Never
		}
	}
	return next
}

// attack is a fault in force.
type attack struct {
	planned   nemesis.Planned
	installed nemesis.Installed
	targets   []string
	acts      time.Duration // when it acts next; Never when it does not
}

// rest has a fault that goes on acting do so after its rest.
func (a *attack) rest(now time.Duration) {
	a.acts = workload.Never
	if restless, ok := a.installed.(nemesis.Restless); ok {
		if d := restless.Rest(); d >= 0 {
			a.acts = now + d
		}
	}
}

// planFaults draws the schedule of a run, relative to the beginning of its workload, unless the options bring
// one. It depends on them alone.
func planFaults(o Options, faults []nemesis.Fault) []nemesis.Planned {
	if o.Schedule != nil {
		return o.Schedule
	}
	if len(faults) == 0 {
		return nil
	}
	if recipe, err := nemesis.FindRecipe(o.Recipe); err == nil {
		return recipe.Plan(o.WarmUp)
	}
	plan := nemesis.Plan(stream(o.Seed, "schedule"), faults, nemesis.Timing{
		Start: o.WarmUp, End: o.Duration, Interval: o.Interval, Window: o.Window,
	})
	for i := range plan {
		plan[i].Seed = o.Seed
	}
	return plan
}

func newSaboteur(l *loop, faults []nemesis.Fault) *saboteur {
	s := &saboteur{
		loop: l, faults: map[string]nemesis.Fault{},
		plan: planFaults(l.options, faults),
	}
	for _, f := range faults {
		s.faults[f.Name()] = f
	}
	if recipe, err := nemesis.FindRecipe(l.options.Recipe); err == nil {
		s.recipe = &recipe
	}
	return s
}

// done tells whether a recipe has come to its end, and the cluster has rested from it. Any other run lasts as long as it was told to.
func (s *saboteur) done(now time.Duration) bool {
	return s.recipe != nil && s.running && s.idle() && s.next == len(s.plan) && now >= s.retryAt
}

// follow makes the times of a recipe's plan those at which things happen: it goes from step to step, and keeps only
// to the time in between.
func (s *saboteur) follow(now time.Duration) {
	if s.recipe == nil {
		return
	}
	if s.current != nil {
		s.current.planned.HealAt = now - s.offset + s.recipe.Hold
	} else {
		s.retryAt = now + s.recipe.Rest
	}
}

// begin lets faults happen. The workload began at the given time.
func (s *saboteur) begin(at time.Duration) { s.running, s.offset = true, at }

// finish has what is in force healed at the next act, and nothing installed any more.
func (s *saboteur) finish() { s.running = false }

// idle tells whether nothing is in force or under way.
func (s *saboteur) idle() bool { return !s.busy && s.current == nil }

// inForce describes the fault in force, for people.
func (s *saboteur) inForce() string {
	if s.current == nil {
		return ""
	}
	return strings.TrimSpace(s.current.planned.Fault + " " + strings.Join(s.current.targets, " "))
}

// act does what is due, and returns when it should be asked again at the latest.
func (s *saboteur) act(now time.Duration) time.Duration {
	if s.busy {
		return workload.Never
	}
	rising := s.raise(now)
	if s.busy {
		return workload.Never
	}
	return min(rising, s.attack(now))
}

// attack does what the schedule says.
func (s *saboteur) attack(now time.Duration) time.Duration {
	if s.current != nil {
		if heal := s.offset + s.current.planned.HealAt; s.running && now < heal {
			if now < s.current.acts {
				return min(heal, s.current.acts)
			}
			s.goOn()
			return workload.Never
		}
		if now < s.healAt {
			return s.healAt
		}
		s.heal()
		return workload.Never
	}
	if !s.running || s.next == len(s.plan) {
		return workload.Never
	}
	planned := s.plan[s.next]
	if at := max(s.offset+planned.At, s.retryAt); now < at {
		return at
	}
	s.install(planned)
	return workload.Never
}

func (s *saboteur) install(planned nemesis.Planned) {
	fault := s.faults[planned.Fault]
	// Each fault draws its targets from a stream of its own, so that one more retry moves no other's.
	targets := stream(planned.Seed, fmt.Sprint("targets of fault ", planned.ID))
	var installed nemesis.Installed
	var outcome nemesis.Outcome
	s.busy = true
	s.loop.world.Inject(func(ctx context.Context, c cluster.Cluster, view nemesis.View) error {
		installed, outcome = fault.Install(ctx, c, view, targets)
		return nil
	}, func(i Injected) {
		s.busy = false
		if i.Err != nil {
			s.loop.problem("The nemesis failed while installing %s: %v.", planned.Fault, i.Err)
			outcome = nemesis.Outcome{Result: nemesis.ResultIndeterminate, Reason: i.Err.Error()}
		}
		if outcome.Result == nemesis.ResultSkipped {
			if at, ok := planned.Retry(i.End - s.offset); ok || s.recipe != nil {
				s.retryAt = s.offset + at
				return
			}
		}
		s.next++
		s.retryAt = 0
		if installed != nil && outcome.Result != nemesis.ResultSkipped {
			// A busy machine may need a part of the window for the proof: at least half of it is left.
			planned.HealAt = max(planned.HealAt, i.End-s.offset+(planned.HealAt-planned.At)/2)
			s.current = &attack{planned: planned, installed: installed, targets: outcome.Targets}
			s.tries, s.healAt = 0, 0
			s.current.rest(i.End)
		}
		s.follow(i.End)
		s.record(nemesis.Event{ID: planned.ID, Fault: planned.Fault, Seed: &planned.Seed, Phase: nemesis.Install, Start: i.Start, End: i.End, Outcome: outcome})
	})
}

// goOn has the fault in force do what it does next.
func (s *saboteur) goOn() {
	attack := s.current
	s.busy = true
	s.loop.world.Inject(func(ctx context.Context, _ cluster.Cluster, _ nemesis.View) error {
		attack.installed.(nemesis.Restless).Act(ctx)
		return nil
	}, func(i Injected) {
		s.busy = false
		attack.rest(i.End)
		if i.Err != nil {
			s.loop.problem("The nemesis failed while %s was in force: %v.", attack.planned.Fault, i.Err)
		}
	})
}

func (s *saboteur) heal() {
	attack := s.current
	var outcome nemesis.Outcome
	s.busy = true
	s.loop.world.Inject(func(ctx context.Context, _ cluster.Cluster, _ nemesis.View) error {
		outcome = attack.installed.Heal(ctx)
		return nil
	}, func(i Injected) {
		s.busy = false
		if i.Err != nil {
			outcome = nemesis.Outcome{Result: nemesis.ResultNotHealed, Reason: i.Err.Error()}
		}
		if s.tries++; outcome.Result != nemesis.ResultHealed && s.tries < healAttempts {
			s.healAt = i.End + healPause
			return
		}
		if len(outcome.Targets) == 0 {
			outcome.Targets = attack.targets
		}
		s.current = nil
		s.follow(i.End)
		s.record(nemesis.Event{
			ID: attack.planned.ID, Fault: attack.planned.Fault, Seed: &attack.planned.Seed, Phase: nemesis.Heal, Start: i.Start, End: i.End, Outcome: outcome,
		})
		if outcome.Result != nemesis.ResultHealed {
			s.loop.problem("%s could not be healed: %s.", attack.planned.Fault, outcome.Reason)
		}
	})
}

// repair starts those of the nodes that are dead although nothing is in force; nil stands for all that there are.
func (s *saboteur) repair(nodes []string) {
	s.busy = true
	s.loop.world.Inject(func(ctx context.Context, c cluster.Cluster, _ nemesis.View) error {
		killer, ok := c.(cluster.Killer)
		if !ok {
			return nil
		}
		for _, node := range names(c) {
			if nodes != nil && !slices.Contains(nodes, node) {
				continue
			}
			state, err := killer.Process(ctx, node)
			if err != nil {
				return fmt.Errorf("process of %s: %w", node, err)
			}
			if state.State != "dead" || cluster.IsLost(c, node) {
				continue
			}
			if err := killer.Restart(ctx, node); err != nil && !cluster.IsLost(c, node) {
				return fmt.Errorf("restart %s: %w", node, err)
			}
		}
		return nil
	}, func(i Injected) {
		s.busy = false
		if i.Err != nil {
			s.loop.problem("Dead nodes could not be started again: %v.", i.Err)
		}
	})
}

func (s *saboteur) record(e nemesis.Event) {
	s.loop.observer.Fault(e)
	if err := s.loop.recorder.Fault(e); err != nil {
		s.loop.problem("A fault could not be recorded: %v.", err)
	}
}

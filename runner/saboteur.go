package runner

import (
	"context"
	"fmt"
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

	running bool          // new faults may be installed
	offset  time.Duration // when the workload began
	next    int           // in plan
	retryAt time.Duration // of the next one, after it was skipped
	busy    bool          // an action is under way
	current *attack       // in force
	tries   int           // at healing it
	healAt  time.Duration // not before, after an attempt that failed
}

// attack is a fault in force.
type attack struct {
	planned   nemesis.Planned
	installed nemesis.Installed
	targets   []string
	until     time.Duration // it is in force, unless the run ends before
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

// planFaults draws the schedule of a run, relative to the beginning of its workload. It depends on
// the options alone.
func planFaults(o Options, faults []nemesis.Fault) []nemesis.Planned {
	if len(faults) == 0 {
		return nil
	}
	return nemesis.Plan(stream(o.Seed, "schedule"), faults, nemesis.Timing{
		Start: o.WarmUp, End: o.Duration, Interval: o.Interval, Window: o.Window,
	})
}

func newSaboteur(l *loop, faults []nemesis.Fault) *saboteur {
	s := &saboteur{
		loop: l, faults: map[string]nemesis.Fault{},
		plan: planFaults(l.options, faults),
	}
	for _, f := range faults {
		s.faults[f.Name()] = f
	}
	return s
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
	if s.current != nil {
		if heal := s.current.until; s.running && now < heal {
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
	targets := stream(s.loop.options.Seed, fmt.Sprint("targets of fault ", planned.ID))
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
			if at, ok := planned.Retry(i.End - s.offset); ok {
				s.retryAt = s.offset + at
				return
			}
		}
		s.next++
		s.retryAt = 0
		if installed != nil && outcome.Result != nemesis.ResultSkipped {
			// A busy machine may need a part of the window for the proof: at least half of it is left.
			until := max(s.offset+planned.HealAt, i.End+(planned.HealAt-planned.At)/2)
			s.current = &attack{planned: planned, installed: installed, targets: outcome.Targets, until: until}
			s.tries, s.healAt = 0, 0
			s.current.rest(i.End)
		}
		s.record(nemesis.Event{ID: planned.ID, Fault: planned.Fault, Phase: nemesis.Install, Start: i.Start, End: i.End, Outcome: outcome})
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
		s.record(nemesis.Event{
			ID: attack.planned.ID, Fault: attack.planned.Fault, Phase: nemesis.Heal, Start: i.Start, End: i.End, Outcome: outcome,
		})
		if outcome.Result != nemesis.ResultHealed {
			s.loop.problem("%s could not be healed: %s.", attack.planned.Fault, outcome.Reason)
		}
	})
}

// repair starts the nodes that are dead although nothing is in force.
func (s *saboteur) repair(nodes []string) {
	s.busy = true
	s.loop.world.Inject(func(ctx context.Context, c cluster.Cluster, _ nemesis.View) error {
		killer, ok := c.(cluster.Killer)
		if !ok {
			return nil
		}
		for _, node := range nodes {
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

package nemesis

import (
	"context"
	"slices"
	"time"

	"coup/cluster"
)

// step is a set of links that is cut after a rest, instead of what was cut before.
type step struct {
	rest time.Duration
	cut  []cluster.Link
}

// staged is a partition that goes through steps while it is in force, or over and over.
type staged struct {
	name        string
	summary     string
	keepsQuorum bool
	over        bool // after the last step comes the first
	// choose draws the steps, given the nodes and the leader. The first is the one that Install takes; its rest is for
	// those that come over and over.
	choose func(nodes []string, leader string, rng Rand) (targets []string, steps []step)
}

var flapping = &staged{
	name:        "flapping",
	summary:     "cut a node off and let it back, again and again, faster than elections settle",
	keepsQuorum: true,
	over:        true,
	choose: func(nodes []string, leader string, rng Rand) ([]string, []step) {
		victim := []string{leader}
		if rng.IntN(2) == 0 {
			victim = shuffled(without(nodes, leader), rng)[:1]
		}
		links := between(victim, without(nodes, victim...))
		var steps []step
		for range 16 {
			steps = append(steps,
				step{drawTime(rng, 50*time.Millisecond, 700*time.Millisecond), links},
				step{drawTime(rng, 50*time.Millisecond, 700*time.Millisecond), nil})
		}
		return victim, steps
	},
}

var swizzle = &staged{
	name:    "swizzle",
	summary: "cut off nodes one by one, and let them back one by one in another order",
	choose: func(nodes []string, _ string, rng Rand) ([]string, []step) {
		victims := shuffled(nodes, rng)[:2+rng.IntN(len(nodes)-1)]
		alone := []string{}
		var steps []step
		pass := func() {
			steps = append(steps, step{drawTime(rng, 50*time.Millisecond, 300*time.Millisecond), isolated(nodes, alone)})
		}
		for _, id := range victims {
			alone = append(alone, id)
			pass()
		}
		back := shuffled(victims, rng)
		if slices.Equal(back, victims) {
			slices.Reverse(back)
		}
		for _, id := range back {
			alone = without(alone, id)
			pass()
		}
		return victims, steps
	},
}

// isolated are all links of those that are alone.
func isolated(nodes, alone []string) (links []cluster.Link) {
	for _, l := range allLinks(nodes) {
		if slices.Contains(alone, l.From) || slices.Contains(alone, l.To) {
			links = append(links, l)
		}
	}
	return links
}

// drawTime draws from [low, high) in milliseconds.
func drawTime(rng Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rng.IntN(int((high-low)/time.Millisecond)))*time.Millisecond
}

func (p *staged) Name() string      { return p.name }
func (p *staged) Summary() string   { return p.summary }
func (p *staged) KeepsQuorum() bool { return p.keepsQuorum }
func (p *staged) Needs() string     { return needsCuts(0) }
func (p *staged) Proof() string     { return cutProof + "; after every step" }

func (p *staged) Check(c cluster.Cluster) error { return checkPartition(c, p.name, 0) }

func (p *staged) Install(ctx context.Context, c cluster.Cluster, view View, rng Rand) (Installed, Outcome) {
	leader, reason := currentLeader(ctx, view)
	if leader == "" {
		return nil, Outcome{Result: ResultSkipped, Reason: reason}
	}
	targets, steps := p.choose(ids(c), leader, rng)
	s, outcome := cutLinks(ctx, c, p.name, targets, steps[0].cut)
	if s == nil {
		return nil, outcome
	}
	stages := &stages{severed: s, steps: steps, next: 1, over: p.over}
	for _, step := range steps[1:] {
		s.links = append(s.links, minus(step.cut, s.links)...)
	}
	if outcome.Result != ResultInstalled {
		stages.next, stages.over = len(steps), false
	}
	return stages, outcome
}

// stages is a staged partition in force.
type stages struct {
	*severed
	steps   []step
	next    int
	over    bool
	changes int   // that were proven
	failure error // of Act, after which there is no other
}

// Rest implements Restless.
func (s *stages) Rest() time.Duration {
	if s.next == len(s.steps) && s.over {
		s.next = 0
	}
	if s.failure != nil || s.next == len(s.steps) {
		return -1
	}
	return s.steps[s.next].rest
}

// Act implements Restless. What has begun is finished, in bounded time, though the run should end.
func (s *stages) Act(ctx context.Context) {
	ctx, cancel := s.healing(ctx)
	defer cancel()
	_, s.failure = s.become(ctx, s.steps[s.next].cut)
	s.next++
	if s.failure == nil {
		s.changes++
	}
}

// Heal implements Installed. What is left of the steps is gone through without a rest, so far as it restores.
func (s *stages) Heal(ctx context.Context) Outcome {
	if !s.over {
		restoring, cancel := s.healing(ctx)
		for _, step := range s.steps[s.next:] {
			_ = s.restore(restoring, minus(s.left, step.cut)) // if it fails, all that is left is restored, and proven, below
		}
		cancel()
	}
	s.next, s.over = len(s.steps), false
	outcome := s.severed.Heal(ctx)
	outcome.Changes = s.changes
	if s.failure != nil && outcome.Reason == "" {
		outcome.Reason = s.failure.Error()
	}
	return outcome
}

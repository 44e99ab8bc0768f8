package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"coup/cluster"
)

// degraded makes links bad without cutting them.
type degraded struct {
	name    string
	summary string
	proof   string
	of      cluster.Degradation
	dial    dial
	// quorum tells whether operations must go on succeeding on links that are so bad.
	quorum func(cluster.Degradation) bool
	// one says that the links are those of one node, never all.
	one bool
}

const lossProof = "of datagrams sent over each link, the share that is lost is within the bounds of chance"

var (
	loss = &degraded{
		name:    "loss",
		summary: "lose a share of the packets between nodes: all, the leader's, or a follower's",
		proof:   lossProof,
		of:      cluster.Degradation{Kind: cluster.Loss, Share: 0.2},
		dial:    shareDial{0.01, 0.9},
		quorum:  func(d cluster.Degradation) bool { return d.Share <= 0.2 },
	}
	duplicate = &degraded{
		name:    "duplicate",
		summary: "have a share of the packets arrive twice",
		proof:   "the share of datagrams that arrive twice is within the bounds of chance",
		of:      cluster.Degradation{Kind: cluster.Duplicate, Share: 0.2},
		dial:    shareDial{0.01, 1},
		quorum:  always,
	}
	corrupt = &degraded{
		name:    "corrupt",
		summary: "damage a share of the packets: their checksums tell, and whoever receives them drops them",
		proof:   lossProof + ", and the receiver's kernel counts as many wrong checksums",
		of:      cluster.Degradation{Kind: cluster.Corrupt, Share: 0.1},
		dial:    shareDial{0.01, 0.9},
		quorum:  func(d cluster.Degradation) bool { return d.Share <= 0.2 },
	}
	rate = &degraded{
		name:    "rate",
		summary: "lose what exceeds a rate on each link: less than a busy cluster sends",
		proof:   "of datagrams sent faster than that for a second, no more arrive than the rate and its burst allow",
		of:      cluster.Degradation{Kind: cluster.Limit, Rate: 100},
		dial:    rateDial{},
		quorum:  never,
	}
	slow = &degraded{
		name:    "slow",
		summary: "let a few packets a second pass on each link: connections stand, and hardly anything gets through",
		proof:   rate.proof,
		of:      cluster.Degradation{Kind: cluster.Limit, Rate: 10},
		dial:    rateDial{},
		quorum:  never,
	}
	delay = &degraded{
		name:    "delay",
		summary: "have all packets take longer, some more than others",
		proof:   "the median time that datagrams take is that delay",
		of:      cluster.Degradation{Kind: cluster.Delay, Delay: 50 * time.Millisecond},
		dial:    delayDial{},
		quorum:  func(d cluster.Degradation) bool { return d.Delay <= 100*time.Millisecond },
	}
	reorder = &degraded{
		name:    "reorder",
		summary: "have a share of the packets be overtaken by those sent after them",
		proof:   "the share of datagrams that arrive after a later one is as large",
		of:      cluster.Degradation{Kind: cluster.Reorder, Share: 0.2, Delay: 20 * time.Millisecond},
		dial:    shareDial{0.01, 0.9},
		quorum:  always,
	}
	halfOpen = &degraded{
		name:    "half-open",
		summary: "leave a node's connections half open: they go silent and new ones are refused, or they go on and new ones are refused",
		proof:   "over a connection that stood before nothing comes back, or all does, and a new one is refused",
		dial:    connectionDial{},
		quorum:  always,
		one:     true,
	}
)

func always(cluster.Degradation) bool { return true }
func never(cluster.Degradation) bool  { return false }

func (f *degraded) Name() string      { return f.name }
func (f *degraded) Summary() string   { return f.summary }
func (f *degraded) KeepsQuorum() bool { return f.quorum(f.of) }
func (f *degraded) Needs() string     { return "at least 3 nodes, and links that can suffer " + f.kinds() }
func (f *degraded) Proof() string     { return f.proof }

func (f *degraded) kinds() string {
	if f.of.Kind == "" {
		return string(cluster.Silence) + " and " + string(cluster.Refuse)
	}
	return string(f.of.Kind)
}

// Parameter implements Adjustable.
func (f *degraded) Parameter() string { return f.dial.meaning() }

// Setting implements Adjustable.
func (f *degraded) Setting() string { return f.dial.show(f.of) }

// With implements Adjustable.
func (f *degraded) With(value string) (Fault, error) {
	other := *f
	if err := f.dial.set(&other.of, value); err != nil {
		return nil, err
	}
	return &other, nil
}

func (f *degraded) Check(c cluster.Cluster) error {
	if n := len(c.Nodes()); n < 3 {
		return fmt.Errorf("%s needs at least 3 nodes: this cluster has %d", f.name, n)
	}
	_, err := f.degrader(c)
	return err
}

func (f *degraded) degrader(c cluster.Cluster) (cluster.Degrader, error) {
	network, ok := c.(cluster.Degrader)
	if !ok {
		return nil, fmt.Errorf("%s needs to make links bad, which the %s environment cannot: use docker, netns or sim", f.name, c.Environment())
	}
	kinds := []cluster.Disturbance{f.of.Kind}
	if f.of.Kind == "" {
		kinds = []cluster.Disturbance{cluster.Silence, cluster.Refuse}
	}
	for _, kind := range kinds {
		if err := network.Degrades(context.Background(), kind); err != nil {
			return nil, fmt.Errorf("%s cannot be had in %s: %w", f.name, c.Environment(), err)
		}
	}
	return network, nil
}

// Install implements Fault. Not all of a network need be bad: all links are, or those of one node.
func (f *degraded) Install(ctx context.Context, c cluster.Cluster, view View, rng Rand) (Installed, Outcome) {
	network, err := f.degrader(c)
	if err != nil {
		return nil, Outcome{Result: ResultSkipped, Reason: err.Error()}
	}
	leader, reason := currentLeader(ctx, view)
	if leader == "" {
		return nil, Outcome{Result: ResultSkipped, Reason: reason}
	}
	nodes := ids(c)
	targets, links := nodes, allLinks(nodes)
	of := f.of
	if of.Kind == "" {
		of.Kind = []cluster.Disturbance{cluster.Silence, cluster.Refuse}[rng.IntN(2)]
	}
	if whom := rng.IntN(3); whom > 0 || f.one {
		targets = []string{leader}
		if whom == 2 {
			targets = shuffled(without(nodes, leader), rng)[:1]
		}
		links = between(targets, without(nodes, targets...))
	}
	b := &bad{
		manner: mannerOf(c), network: network, of: of, targets: targets, links: links,
		others: minus(allLinks(nodes), links), left: slices.Clone(links),
	}
	b.probes, _ = c.(cluster.Partitioner)
	outcome := Outcome{Result: ResultInstalled, Targets: targets, Links: links, Degradation: &of}
	if err = network.Degrade(ctx, links, of); err == nil {
		outcome.Measurements, err = b.measured(ctx, func(m cluster.Measurement) error { return suffers(of, m) })
	}
	if err != nil {
		outcome.Result, outcome.Reason = ResultIndeterminate, err.Error()
	}
	return b, outcome
}

// bad are links that are degraded.
type bad struct {
	manner
	network cluster.Degrader
	probes  cluster.Partitioner // nil where links cannot be probed
	of      cluster.Degradation
	targets []string
	links   []cluster.Link
	others  []cluster.Link // that are to be as they were
	left    []cluster.Link // bad now, or perhaps: to be repaired
}

// Heal implements Installed.
func (b *bad) Heal(ctx context.Context) Outcome {
	ctx, cancel := b.healing(ctx)
	defer cancel()
	outcome := Outcome{Result: ResultHealed, Targets: b.targets, Links: b.links, Degradation: &b.of}
	var failures []error
	if len(b.left) > 0 && b.network.Repair(ctx, b.left, b.of.Kind) != nil {
		// Link by link: some may be whole already.
		for _, l := range b.left {
			failures = append(failures, b.network.Repair(ctx, []cluster.Link{l}, b.of.Kind))
		}
	}
	var err error
	outcome.Measurements, err = b.measured(ctx, func(m cluster.Measurement) error { return recovered(b.of, m) })
	if err != nil {
		outcome.Result, outcome.Reason = ResultNotHealed, errors.Join(append(failures, err)...).Error()
		return outcome
	}
	b.left = nil
	return outcome
}

// measured measures the links until each is as it should be, and the others are whole.
func (b *bad) measured(ctx context.Context, judge func(cluster.Measurement) error) (all []cluster.Measurement, err error) {
	err = b.proveWithin(ctx, measureTime, func(ctx context.Context) error {
		latest, failure := b.network.Measure(ctx, b.links, b.of.Kind, sample(b.of))
		if failure != nil {
			return failure
		}
		all = latest
		for _, m := range latest {
			if failure := judge(m); failure != nil {
				return fmt.Errorf("%s: %w", m.Link, failure)
			}
		}
		return b.spared(ctx)
	})
	return all, err
}

// spared tells whether the other links are whole.
func (b *bad) spared(ctx context.Context) error {
	if len(b.others) == 0 {
		return nil
	}
	switch b.of.Kind {
	case cluster.Loss, cluster.Duplicate, cluster.Corrupt:
		found, err := b.network.Measure(ctx, b.others, b.of.Kind, sample(b.of))
		if err != nil {
			return err
		}
		for _, m := range found {
			if err := recovered(b.of, m); err != nil {
				return fmt.Errorf("%s: %w", m.Link, err)
			}
		}
		return nil
	}
	if b.probes == nil {
		return nil
	}
	found, err := b.probes.Probe(ctx, b.others)
	if err != nil {
		return err
	}
	return wrongProbe(found, func(cluster.Link) bool { return true })
}

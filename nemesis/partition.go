package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"coup/cluster"
)

// partition cuts links between nodes for as long as it is in force.
type partition struct {
	name       string
	summary    string
	minimum    int  // nodes that the cluster must have; 0 for 3
	noMajority bool // a majority that all hear each other may not be left
	// choose draws what to cut, given the nodes and the leader.
	choose func(nodes []string, leader string, rng Rand) (targets []string, links []cluster.Link)
}

var isolateLeader = &partition{
	name:    "isolate-leader",
	summary: "cut the leader off from everybody, both ways",
	choose: func(nodes []string, leader string, _ Rand) ([]string, []cluster.Link) {
		return []string{leader}, between([]string{leader}, without(nodes, leader))
	},
}

var split = &partition{
	name:    "split",
	summary: "cut the cluster into a majority and a minority, the leader in either",
	choose: func(nodes []string, leader string, rng Rand) ([]string, []cluster.Link) {
		minority := shuffled(without(nodes, leader), rng)[:(len(nodes)-1)/2]
		if rng.IntN(2) == 0 {
			minority[0] = leader
		}
		slices.Sort(minority)
		return minority, between(minority, without(nodes, minority...))
	},
}

var oneWay = &partition{
	name:    "one-way",
	summary: "cut the leader's links to all, or to most, in one direction only",
	choose: func(nodes []string, leader string, rng Rand) ([]string, []cluster.Link) {
		others := shuffled(without(nodes, leader), rng)
		// With those that are left it is no majority.
		if rng.IntN(2) == 0 {
			others = others[:len(nodes)-len(nodes)/2]
		}
		slices.Sort(others)
		if rng.IntN(2) == 0 {
			return []string{leader}, towards([]string{leader}, others)
		}
		return []string{leader}, towards(others, []string{leader})
	},
}

func (p *partition) Name() string      { return p.name }
func (p *partition) Summary() string   { return p.summary }
func (p *partition) KeepsQuorum() bool { return !p.noMajority }
func (p *partition) Needs() string     { return needsCuts(p.minimum) }
func (p *partition) Proof() string     { return cutProof }

// cutProof is how cuts are proven.
const cutProof = "nothing passes on a link that is cut, and something does on every other; later on all"

func needsCuts(minimum int) string {
	return fmt.Sprintf("at least %d nodes, and links that can be cut", max(minimum, 3))
}

func (p *partition) Check(c cluster.Cluster) error {
	return checkPartition(c, p.name, p.minimum)
}

func checkPartition(c cluster.Cluster, name string, minimum int) error {
	minimum = max(minimum, 3)
	if n := len(c.Nodes()); n < minimum {
		return fmt.Errorf("%s needs at least %d nodes, so that it leaves majorities: this cluster has %d", name, minimum, n)
	}
	_, err := partitioner(c, name)
	return err
}

func (p *partition) Install(ctx context.Context, c cluster.Cluster, view View, rng Rand) (Installed, Outcome) {
	leader, reason := currentLeader(ctx, view)
	if leader == "" {
		return nil, Outcome{Result: ResultSkipped, Reason: reason}
	}
	targets, links := p.choose(ids(c), leader, rng)
	s, outcome := cutLinks(ctx, c, p.name, targets, links)
	if s == nil {
		return nil, outcome
	}
	return s, outcome
}

// severed is a set of links that are cut, and may change while it is in force.
type severed struct {
	manner
	network cluster.Partitioner
	nodes   []string
	targets []string
	links   []cluster.Link // that the fault is about
	left    []cluster.Link // cut now, or perhaps: to be restored
}

// cutLinks cuts links and proves it: nothing passes on them, and something does on every other.
func cutLinks(ctx context.Context, c cluster.Cluster, name string, targets []string, links []cluster.Link) (*severed, Outcome) {
	network, err := partitioner(c, name)
	if err != nil {
		return nil, Outcome{Result: ResultSkipped, Reason: err.Error()}
	}
	s := &severed{manner: mannerOf(c), network: network, nodes: ids(c), targets: targets, links: links}
	outcome := Outcome{Result: ResultInstalled, Targets: targets, Links: links}
	if outcome.Probes, err = s.become(ctx, links); err != nil {
		outcome.Result, outcome.Reason = ResultIndeterminate, err.Error()
	}
	return s, outcome
}

// become has exactly these links cut, of all that the fault is about, and proves it.
func (s *severed) become(ctx context.Context, want []cluster.Link) ([]cluster.Probe, error) {
	if err := s.restore(ctx, minus(s.left, want)); err != nil {
		return nil, err
	}
	if more := minus(want, s.left); len(more) > 0 {
		s.left = append(s.left, more...)
		if err := s.network.Cut(ctx, more); err != nil {
			return nil, err
		}
	}
	return s.probe(ctx, func(l cluster.Link) bool { return !slices.Contains(want, l) })
}

// restore takes cuts back. When it fails, each of them may still be in force.
func (s *severed) restore(ctx context.Context, links []cluster.Link) error {
	if len(links) == 0 {
		return nil
	}
	if err := s.network.Restore(ctx, links); err != nil {
		return err
	}
	s.left = minus(s.left, links)
	return nil
}

// Heal implements Installed.
func (s *severed) Heal(ctx context.Context) Outcome {
	ctx, cancel := s.healing(ctx)
	defer cancel()
	outcome := Outcome{Result: ResultHealed, Targets: s.targets, Links: s.links}
	var failures []error
	if s.restore(ctx, s.left) != nil {
		// Link by link: some may be whole already.
		for _, l := range s.left {
			if err := s.network.Restore(ctx, []cluster.Link{l}); err != nil {
				failures = append(failures, err)
			}
		}
	}
	// What counts is what the network does: a link that carries again is restored, whatever was said.
	var err error
	outcome.Probes, err = s.probe(ctx, func(cluster.Link) bool { return true })
	if err != nil {
		outcome.Result, outcome.Reason = ResultNotHealed, errors.Join(append(failures, err)...).Error()
		return outcome
	}
	s.left = nil
	return outcome
}

// probe probes all links until those that should carry do, and the others do not. On a busy machine
// single datagrams get lost: a link carries when most of them arrive, and does not when none does.
// The probes returned are the last.
func (s *severed) probe(ctx context.Context, carries func(cluster.Link) bool) (probes []cluster.Probe, err error) {
	err = s.prove(ctx, func(ctx context.Context) error {
		latest, failure := s.network.Probe(ctx, allLinks(s.nodes))
		if failure != nil {
			return failure
		}
		probes = latest
		return wrongProbe(latest, carries)
	})
	return probes, err
}

func wrongProbe(probes []cluster.Probe, carries func(cluster.Link) bool) error {
	for _, p := range probes {
		switch {
		case carries(p.Link) && 2*p.Received <= p.Sent:
			return fmt.Errorf("%s should carry, but %d of %d datagrams arrived", p.Link, p.Received, p.Sent)
		case !carries(p.Link) && p.Received > 0:
			return fmt.Errorf("%s should be cut, but %d of %d datagrams arrived", p.Link, p.Received, p.Sent)
		}
	}
	return nil
}

func partitioner(c cluster.Cluster, fault string) (cluster.Partitioner, error) {
	network, ok := c.(cluster.Partitioner)
	if !ok {
		return nil, fmt.Errorf("%s needs to cut links, which the %s environment cannot: use docker, netns or sim", fault, c.Environment())
	}
	return network, nil
}

// towards are the links from each of from to each of to.
func towards(from, to []string) []cluster.Link {
	var links []cluster.Link
	for _, f := range from {
		for _, t := range to {
			if f != t {
				links = append(links, cluster.Link{From: f, To: t})
			}
		}
	}
	return links
}

// minus are the links of a that are not in b.
func minus(a, b []cluster.Link) []cluster.Link {
	return slices.DeleteFunc(slices.Clone(a), func(l cluster.Link) bool { return slices.Contains(b, l) })
}

// between are the links from a to b and back.
func between(a, b []string) []cluster.Link { return append(towards(a, b), towards(b, a)...) }

func allLinks(nodes []string) []cluster.Link { return towards(nodes, nodes) }

package nemesis

import (
	"slices"

	"coup/cluster"
)

var isolateFollower = &partition{
	name:    "isolate-follower",
	summary: "cut a follower off from everybody, both ways",
	choose: func(nodes []string, leader string, rng Rand) ([]string, []cluster.Link) {
		victim := shuffled(without(nodes, leader), rng)[:1]
		return victim, between(victim, without(nodes, victim...))
	},
}

var bridge = &partition{
	name:    "bridge",
	summary: "cut the cluster into halves that a single node, no leader at first, hears and reaches both",
	choose:  bridged,
}

// bridged draws a bridge, not the leader, and cuts what is left into halves.
func bridged(nodes []string, leader string, rng Rand) (bridge []string, links []cluster.Link) {
	others := shuffled(without(nodes, leader), rng)
	bridge, rest := others[:1], append(others[1:], leader)
	half := len(rest) / 2
	return bridge, between(rest[:half], rest[half:])
}

var majoritiesRing = &partition{
	name:    "majorities-ring",
	summary: "put the nodes on a ring where each hears and reaches but its neighbours: a majority, and for no two the same",
	minimum: 4, // on a ring of three, everybody is everybody's neighbour
	choose: func(nodes []string, _ string, rng Rand) ([]string, []cluster.Link) {
		ring := shuffled(nodes, rng)
		// With so many neighbours on either side, a node sees a majority, itself included.
		reach := (len(ring)/2 + 1) / 2
		var links []cluster.Link
		for i, from := range ring {
			for j, to := range ring {
				apart := (j - i + len(ring)) % len(ring)
				if apart = min(apart, len(ring)-apart); apart > reach {
					links = append(links, cluster.Link{From: from, To: to})
				}
			}
		}
		return ring, links
	},
}

var grudges = &partition{
	name:       "grudges",
	summary:    "have each node hear nothing of others drawn at random, one way: no majority need be left",
	noMajority: true,
	choose: func(nodes []string, _ string, rng Rand) (targets []string, links []cluster.Link) {
		all := allLinks(nodes)
		for _, l := range all {
			if rng.IntN(2) == 0 {
				links = append(links, l)
			}
		}
		// Neither nothing nor everything.
		switch len(links) {
		case 0:
			links = all[:1]
		case len(all):
			links = all[1:]
		}
		for _, l := range links {
			if !slices.Contains(targets, l.To) {
				targets = append(targets, l.To)
			}
		}
		slices.Sort(targets)
		return targets, links
	},
}

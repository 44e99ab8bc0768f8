package nemesis

import (
	"context"
	"slices"

	"coup/cluster"
)

// currentLeader is the node that leads the highest term now, by what the nodes say; when there is none
// it is empty, with the reason.
func currentLeader(ctx context.Context, view View) (leader, reason string) {
	leaders := view.Leaders(ctx)
	if len(leaders) == 0 {
		return "", "no node calls itself leader"
	}
	return leaders[len(leaders)-1], ""
}

func ids(c cluster.Cluster) []string {
	var all []string
	for _, n := range c.Nodes() {
		all = append(all, n.ID)
	}
	return all
}

func without(nodes []string, drop ...string) []string {
	return slices.DeleteFunc(slices.Clone(nodes), func(id string) bool { return slices.Contains(drop, id) })
}

func shuffled(nodes []string, rng Rand) []string {
	all := slices.Clone(nodes)
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

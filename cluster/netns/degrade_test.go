package netns

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/cluster"
	"coup/cluster/packet"
)

// bareNetwork is a network of that many ports without nodes.
func bareNetwork(t *testing.T, ports int) *packet.Network {
	t.Helper()
	if !Inside() {
		t.Skip("no network namespaces: ", Available(t.Context()))
	}
	require.NoError(t, loopbackUp())
	n, err := newNetwork(ports)
	t.Cleanup(func() { require.NoError(t, n.close()) })
	require.NoError(t, err)
	members := map[string]packet.Member{}
	for i, p := range n.ports {
		members[fmt.Sprintf("n%d", i+1)] = packet.Member{Address: p.address, Endpoint: p.agent}
	}
	network := packet.NewNetwork(members)
	require.NoError(t, network.Settle(t.Context(), settleBound))
	return network
}

// Catches disturbances that do nothing, too much, or something else, that reach other links, and repairs that repair
// nothing: each is looked at on a quiet network, where chance alone moves the figures. They lie more than five standard
// deviations from their bounds.
func TestDegradedLinks(t *testing.T) {
	network := bareNetwork(t, 3)
	ctx := t.Context()
	bad, good := cluster.Link{From: "n1", To: "n2"}, cluster.Link{From: "n2", To: "n1"}
	other := cluster.Link{From: "n3", To: "n2"}
	const sent = 1000
	whole := func(m cluster.Measurement) {
		t.Helper()
		require.Equal(t, sent, m.Received, "%+v", m)
		require.Zero(t, m.Twice+m.Late+m.Damaged, "%+v", m)
		require.Less(t, m.Delay, 100*time.Millisecond)
	}
	for _, c := range []struct {
		of    cluster.Degradation
		check func(t *testing.T, m cluster.Measurement)
	}{
		{cluster.Degradation{Kind: cluster.Loss, Share: 0.3}, func(t *testing.T, m cluster.Measurement) {
			require.InDelta(t, 700, m.Received, 80)
			require.Zero(t, m.Twice)
		}},
		{cluster.Degradation{Kind: cluster.Duplicate, Share: 0.2}, func(t *testing.T, m cluster.Measurement) {
			require.Equal(t, sent, m.Received)
			require.InDelta(t, 200, m.Twice, 70)
		}},
		{cluster.Degradation{Kind: cluster.Corrupt, Share: 0.1}, func(t *testing.T, m cluster.Measurement) {
			require.InDelta(t, 900, m.Received, 55)
			require.Equal(t, sent-m.Received, m.Damaged, "each was dropped for its checksum")
		}},
		{cluster.Degradation{Kind: cluster.Limit, Rate: 100}, func(t *testing.T, m cluster.Measurement) {
			passed := float64(cluster.Burst(100)) + 100*m.Took.Seconds()
			require.InDelta(t, passed, m.Received, 0.1*passed+2)
		}},
		{cluster.Degradation{Kind: cluster.Delay, Delay: 100 * time.Millisecond}, func(t *testing.T, m cluster.Measurement) {
			require.Equal(t, sent, m.Received)
			require.InDelta(t, 100*time.Millisecond, m.Delay, float64(90*time.Millisecond))
		}},
		{cluster.Degradation{Kind: cluster.Reorder, Share: 0.2, Delay: 20 * time.Millisecond}, func(t *testing.T, m cluster.Measurement) {
			require.Equal(t, sent, m.Received)
			require.Greater(t, m.Late, 100)
		}},
	} {
		t.Run(string(c.of.Kind), func(t *testing.T) {
			if err := network.Degrades(ctx, c.of.Kind); err != nil {
				t.Skip(err)
			}
			measure := func(l cluster.Link) cluster.Measurement {
				kind := c.of.Kind
				if kind == cluster.Limit && l != bad {
					kind = cluster.Loss // which takes no time
				}
				m, err := network.Measure(ctx, []cluster.Link{l}, kind, sent)
				require.NoError(t, err)
				return m[0]
			}
			require.NoError(t, network.Degrade(ctx, []cluster.Link{bad}, c.of))
			require.Error(t, network.Degrade(ctx, []cluster.Link{bad}, c.of), "twice")
			c.check(t, measure(bad))
			whole(measure(good))
			whole(measure(other))
			require.NoError(t, network.Repair(ctx, []cluster.Link{bad}, c.of.Kind))
			require.Error(t, network.Repair(ctx, []cluster.Link{bad}, c.of.Kind), "twice")
			whole(measure(bad))
		})
	}
}

// Catches half-open links that are open, or closed altogether, and datagrams that suffer with the connections.
func TestHalfOpenLinks(t *testing.T) {
	network := bareNetwork(t, 3)
	ctx := t.Context()
	links := []cluster.Link{{From: "n1", To: "n2"}, {From: "n2", To: "n1"}}
	for kind, standing := range map[cluster.Disturbance]cluster.Passage{
		cluster.Silence: cluster.Silent, cluster.Refuse: cluster.Carries,
	} {
		t.Run(string(kind), func(t *testing.T) {
			if err := network.Degrades(ctx, kind); err != nil {
				t.Skip(err)
			}
			require.NoError(t, network.Degrade(ctx, links, cluster.Degradation{Kind: kind}))
			found, err := network.Measure(ctx, links, kind, 0)
			require.NoError(t, err)
			for _, m := range found {
				require.Equal(t, standing, m.Standing, m.Link)
				require.Equal(t, cluster.Refused, m.Fresh, m.Link)
			}
			probes, err := network.Probe(ctx, links)
			require.NoError(t, err)
			require.Equal(t, probes[0].Sent, probes[0].Received)
			require.NoError(t, network.Repair(ctx, links, kind))
			require.Eventually(t, func() bool {
				found, err = network.Measure(ctx, links, kind, 0)
				return err == nil && found[0].Standing == cluster.Carries && found[0].Fresh == cluster.Carries &&
					found[1].Standing == cluster.Carries && found[1].Fresh == cluster.Carries
			}, 10*time.Second, 10*time.Millisecond, "%+v", &found)
		})
	}
}

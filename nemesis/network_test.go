package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"coup/cluster"
)

// drawCluster draws a cluster's nodes, its leader, and a source for the rest.
func drawCluster(t *rapid.T, least int) (nodes []string, leader string, rng *rand.Rand) {
	for i := range rapid.IntRange(least, 11).Draw(t, "nodes") {
		nodes = append(nodes, fmt.Sprintf("n%d", i+1))
	}
	return nodes, rapid.SampledFrom(nodes).Draw(t, "leader"), random(rapid.Uint64().Draw(t, "seed"))
}

// sees is whom a node both hears and reaches, itself included.
func sees(nodes []string, cut []cluster.Link, id string) (seen []string) {
	for _, other := range nodes {
		there, back := cluster.Link{From: id, To: other}, cluster.Link{From: other, To: id}
		if !slices.Contains(cut, there) && !slices.Contains(cut, back) {
			seen = append(seen, other)
		}
	}
	return seen
}

// Catches a ring on which a node has no majority, or on which two have the same one.
func TestOnARingEachNodeSeesAMajorityOfItsOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, leader, rng := drawCluster(t, 4)
		_, cut := majoritiesRing.choose(nodes, leader, rng)
		known := map[string]bool{}
		for _, id := range nodes {
			seen := sees(nodes, cut, id)
			require.Greater(t, 2*len(seen), len(nodes))
			require.Less(t, len(seen), len(nodes))
			require.False(t, known[fmt.Sprint(seen)], "%s sees the same as another: %v", id, seen)
			known[fmt.Sprint(seen)] = true
		}
		requireProper(t, nodes, cut)
	})
}

// Catches a bridge that does not see everybody, a second one, and halves that see each other or are none.
func TestABridgeAloneSeesBothHalves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, leader, rng := drawCluster(t, 3)
		targets, cut := bridge.choose(nodes, leader, rng)
		require.Len(t, targets, 1)
		require.NotEqual(t, leader, targets[0])
		require.Len(t, sees(nodes, cut, targets[0]), len(nodes))
		for _, id := range without(nodes, targets[0]) {
			seen := len(sees(nodes, cut, id))
			require.Contains(t, []int{1 + len(nodes)/2, 1 + (len(nodes)-1)/2}, seen, "half, and the bridge")
		}
		requireProper(t, nodes, cut)
	})
}

// Catches a follower that is the leader, or that is left with somebody.
func TestAFollowerIsIsolated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, leader, rng := drawCluster(t, 3)
		targets, cut := isolateFollower.choose(nodes, leader, rng)
		require.NotEqual(t, []string{leader}, targets)
		require.Equal(t, targets, sees(nodes, cut, targets[0]))
		require.Len(t, cut, 2*(len(nodes)-1))
		requireProper(t, nodes, cut)
	})
}

// Catches grudges that cut nothing or everything.
func TestGrudgesLeaveSomething(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, leader, rng := drawCluster(t, 3)
		targets, cut := grudges.choose(nodes, leader, rng)
		require.NotEmpty(t, targets)
		require.NotEmpty(t, cut)
		require.Less(t, len(cut), len(nodes)*(len(nodes)-1))
		requireProper(t, nodes, cut)
	})
}

// requireProper: each link is one, and comes once.
func requireProper(t require.TestingT, nodes []string, cut []cluster.Link) {
	known := map[cluster.Link]bool{}
	for _, l := range cut {
		require.False(t, known[l], l)
		known[l] = true
		require.Contains(t, nodes, l.From)
		require.Contains(t, nodes, l.To)
		require.NotEqual(t, l.From, l.To)
	}
}

// Catches a swizzle that does not cut nodes off one by one, or lets them back in the same order, and steps of any staged
// partition that come too fast to be seen or too late to come at all.
func TestSwizzleCutsAndRestoresOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes, leader, rng := drawCluster(t, 3)
		victims, steps := swizzle.choose(nodes, leader, rng)
		require.Len(t, steps, 2*len(victims))
		var alone, back []string
		for i, s := range steps {
			require.GreaterOrEqual(t, s.rest, 50*time.Millisecond)
			require.Less(t, s.rest, time.Second)
			if i < len(victims) {
				alone = append(alone, victims[i])
			} else {
				// Somebody is let back, and it shows who, unless all others are alone: the last one is in any case.
				for _, id := range alone {
					if links := isolated(nodes, without(alone, id)); len(links) == len(s.cut) && len(minus(links, s.cut)) == 0 {
						alone, back = without(alone, id), append(back, id)
						break
					}
				}
			}
			if len(victims) < len(nodes)-1 {
				require.Len(t, back, max(0, i-len(victims)+1), "one by one")
				require.ElementsMatch(t, isolated(nodes, alone), s.cut)
			}
		}
		if len(victims) >= len(nodes)-1 {
			return
		}
		require.Empty(t, alone)
		require.ElementsMatch(t, victims, back)
		require.NotEqual(t, victims, back)
	})
}

// play has a fault act so often, or until it has no more to do.
func play(t *testing.T, in Installed, times int) {
	t.Helper()
	staged := in.(Restless)
	for range times {
		if staged.Rest() < 0 {
			return
		}
		staged.Act(t.Context())
	}
}

// Catches what is cut after a step other than the step's links, a heal that leaves some of them, and one that restores
// what somebody else has cut.
func TestStagesAreHealedWhereverTheyStand(t *testing.T) {
	for _, fault := range []*staged{flapping, swizzle} {
		for acts := range 12 {
			f := newFake(5)
			f.sequential = true
			in, out := fault.Install(t.Context(), f, leaders{"n1"}, random(uint64(acts)))
			require.Equal(t, ResultInstalled, out.Result, out.Reason)
			s := in.(*stages)
			for range acts {
				if s.Rest() < 0 {
					break
				}
				want := s.steps[s.next].cut
				s.Act(t.Context())
				require.NoError(t, s.failure)
				require.Len(t, f.cut, len(want))
			}
			healed := in.Heal(t.Context())
			require.Equal(t, ResultHealed, healed.Result, healed.Reason)
			require.True(t, f.whole())
			if acts > 0 {
				require.NotZero(t, healed.Changes)
			}
			require.Negative(t, s.Rest(), "nothing is cut after healing")
		}
	}
}

// Catches steps that do nothing and pass for done.
func TestAStepThatFailsIsTold(t *testing.T) {
	f := newFake(5)
	f.sequential = true
	in, out := flapping.Install(t.Context(), f, leaders{"n1"}, random(1))
	require.Equal(t, ResultInstalled, out.Result, out.Reason)
	f.lies = []string{"restore"}
	play(t, in, 3)
	require.Negative(t, in.(Restless).Rest())
	require.Equal(t, ResultNotHealed, in.Heal(t.Context()).Result)
	f.lies = nil
	for l := range f.cut {
		delete(f.cut, l)
	}
	healed := in.Heal(t.Context())
	require.Equal(t, ResultHealed, healed.Result)
	require.Contains(t, healed.Reason, "should carry")
}

// Catches bounds that raise false alarms, and bounds within which a link that is not disturbed at all, or four times too
// little or too much, would pass for what was asked.
func TestBoundsOfChance(t *testing.T) {
	for _, share := range []float64{0.01, 0.05, 0.1, 0.2, 0.5, 0.9} {
		d := cluster.Degradation{Kind: cluster.Loss, Share: share}
		n := sample(d)
		least, most := bounds(n, share)
		within := 0.0
		for k := least; k <= most; k++ {
			within += binomial(n, k, share)
		}
		require.InDelta(t, 1, within, 3*improbable, "%g of %d", share, n)
		require.Greater(t, least, int(share*float64(n)/20), "far from nothing")
		few := int(share * float64(n) / 4)
		require.Less(t, few, n-1)
		healedUnseen := 0.0
		for k := range few + 1 {
			healedUnseen += binomial(n, k, share)
		}
		require.Less(t, healedUnseen, 1e-6, "a heal that heals nothing is seen")
		if share < 0.2 {
			require.Less(t, most, int(4*share*float64(n)))
		}
		require.NoError(t, suffers(d, cluster.Measurement{Sent: n, Received: n - int(share*float64(n))}))
		require.Error(t, suffers(d, cluster.Measurement{Sent: n, Received: n}))
		require.NoError(t, recovered(d, cluster.Measurement{Sent: n, Received: n}))
		require.Error(t, recovered(d, cluster.Measurement{Sent: n, Received: n - int(share*float64(n))}))
	}
	least, most := bounds(100, 1)
	require.Equal(t, []int{100, 100}, []int{least, most})
}

// Catches damage that reaches the process unseen: then nothing was dropped for its checksum.
func TestDamageMustBeSeenByChecksums(t *testing.T) {
	d := cluster.Degradation{Kind: cluster.Corrupt, Share: 0.1}
	m := cluster.Measurement{Sent: 300, Received: 270, Damaged: 30}
	require.NoError(t, suffers(d, m))
	m.Damaged = 0
	require.ErrorContains(t, suffers(d, m), "only 0 were dropped for their checksums")
}

// Catches a limit that was never set, one that lets nothing pass, and a measurement that was too slow to tell.
func TestLimitsAreSeen(t *testing.T) {
	d := cluster.Degradation{Kind: cluster.Limit, Rate: 100}
	m := cluster.Measurement{Sent: sample(d), Received: 108, Took: time.Second}
	require.NoError(t, suffers(d, m))
	m.Received = m.Sent
	require.ErrorContains(t, suffers(d, m), "100 a second should have")
	m.Received = 0
	require.ErrorContains(t, suffers(d, m), "none of")
	m.Took, m.Received = 10*time.Second, m.Sent
	require.ErrorContains(t, suffers(d, m), "too few to see")
}

// leaky is a cluster that degrades other links, too.
type leaky struct{ *fake }

func (l leaky) Degrade(ctx context.Context, links []cluster.Link, d cluster.Degradation) error {
	return l.fake.Degrade(ctx, allLinks(ids(l)), d)
}

// Catches a disturbance that reaches links which it should not.
func TestOtherLinksMustBeSpared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(10) {
			c := leaky{newFake(5)}
			_, out := loss.Install(t.Context(), c, leaders{"n1"}, random(seed))
			if len(out.Targets) == 5 {
				continue
			}
			require.Equal(t, ResultIndeterminate, out.Result)
			require.Contains(t, out.Reason, "were lost: at most")
			return
		}
		t.Fatal("all of the network was drawn each time")
	})
}

// Catches a fault that always means the same nodes.
func TestDegradedNodesAreDrawn(t *testing.T) {
	for _, c := range []struct {
		fault *degraded
		want  []int
	}{{loss, []int{1, 5}}, {halfOpen, []int{1}}} {
		sizes, leader := map[int]bool{}, map[bool]bool{}
		for seed := range uint64(40) {
			f := newFake(5)
			f.sequential = true
			_, out := c.fault.Install(t.Context(), f, leaders{"n1"}, random(seed))
			require.Equal(t, ResultInstalled, out.Result, out.Reason)
			sizes[len(out.Targets)] = true
			if len(out.Targets) == 1 {
				leader[out.Targets[0] == "n1"] = true
			}
		}
		require.Len(t, sizes, len(c.want))
		for _, n := range c.want {
			require.True(t, sizes[n])
		}
		require.Len(t, leader, 2, "the leader, and followers")
	}
}

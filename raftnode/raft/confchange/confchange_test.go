package confchange

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"coup/raftnode/raft/quorum"
)

func changes(list ...string) []Change {
	var all []Change
	for i := 0; i < len(list); i += 2 {
		all = append(all, Change{Op: Op(list[i]), Node: NodeID(list[i+1])})
	}
	return all
}

// Catches a change that is taken in and cannot work, and a refusal that leaves traces.
func TestRefusedChanges(t *testing.T) {
	c := Configuration{
		Voters: []NodeID{"a", "b"}, Learners: []NodeID{"l"}, Promote: []NodeID{"l"}, ReadOnly: []NodeID{"r"},
	}
	for _, k := range []struct {
		changes []Change
		reason  string
	}{
		{nil, "no change was asked for"},
		{changes("add", ""), "it names no node"},
		{changes("rename", "a"), "there is no such operation"},
		{changes("add", "a"), "it is a member already"},
		{changes("add-learner", "l"), "it is a member already"},
		{changes("add-read-only", "r"), "it is a member already"},
		{changes("add", "r"), "it is a member already"},
		{changes("promote", "a"), "it is a voter already"},
		{changes("promote", "r"), "it is no learner of this cluster"},
		{changes("promote", "x"), "it is no learner of this cluster"},
		{changes("demote", "l"), "it is no voter of this cluster"},
		{changes("demote", "x"), "it is no voter of this cluster"},
		{changes("remove", "x"), "it is no member of this cluster"},
		{changes("remove", "a", "add", "a"), "another change of the same request names this node"},
		{changes("remove", "a", "demote", "b"), "no voter would be left"},
		{changes("move", "a"), "it names no address"},
		{[]Change{{Move, "x", "h"}}, "it is no member of this cluster"},
		{[]Change{{Remove, "a", "h"}}, "it has no use for an address"},
		{[]Change{{Add, "x", "\xff"}}, "its address is not UTF-8 of at most 1024 bytes"},
		{[]Change{{Move, "a", strings.Repeat("h", MaxAddress+1)}}, "its address is not UTF-8 of at most 1024 bytes"},
	} {
		t.Run(fmt.Sprint(k.changes), func(t *testing.T) {
			before := clone(c)
			next, err := Enter(c, k.changes)
			var refused *RefusedError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, k.reason, refused.Reason)
			require.Equal(t, before, c)
			require.Equal(t, before, next)
		})
	}
	t.Run("while one is under way", func(t *testing.T) {
		c := Configuration{Voters: []NodeID{"a", "b"}, Outgoing: []NodeID{"a"}}
		_, err := Enter(c, changes("add-learner", "x"))
		var refused *RefusedError
		require.ErrorAs(t, err, &refused)
		require.Contains(t, refused.Reason, "joint")
	})
}

// Addresses travel with the changes. Catches a joint configuration in which the outgoing cannot be found, and an
// address that outlives its member.
func TestAddressesTravelWithChanges(t *testing.T) {
	c := Configuration{Voters: []NodeID{"a", "b"}, Addresses: map[NodeID]string{"a": "h1", "b": "h2"}}
	joint, err := Enter(c, []Change{{Op: Remove, Node: "b"}, {Op: Add, Node: "c", Address: "h3"}, {Op: AddReadOnly, Node: "d", Address: "h4"}, {Op: Move, Node: "a", Address: "h9"}})
	require.NoError(t, err)
	require.NoError(t, joint.Validate())
	require.Equal(t, map[NodeID]string{"a": "h9", "b": "h2", "c": "h3", "d": "h4"}, joint.Addresses)
	final := Leave(joint)
	require.Equal(t, map[NodeID]string{"a": "h9", "c": "h3", "d": "h4"}, final.Addresses)
	require.Equal(t, map[NodeID]string{"a": "h1", "b": "h2"}, c.Addresses, "what was changed is a copy")

	moved, err := Enter(final, []Change{{Op: Move, Node: "c", Address: "h8"}})
	require.NoError(t, err)
	require.False(t, moved.Joint())
	require.False(t, moved.Equal(final))
	require.Equal(t, "h8", moved.Addresses["c"])
	gone, err := Enter(Configuration{Voters: []NodeID{"a"}, Learners: []NodeID{"l"}, Addresses: map[NodeID]string{"l": "h"}}, changes("remove", "l"))
	require.NoError(t, err)
	require.Equal(t, Configuration{Voters: []NodeID{"a"}}, gone)
}

// A demoted voter's vote counts in the joint configuration, and is gone with it.
func TestDemotedVoterIsLearnerOnlyWhenLeft(t *testing.T) {
	c := Configuration{Voters: []NodeID{"a", "b", "c"}}
	joint, err := Enter(c, changes("demote", "c"))
	require.NoError(t, err)
	require.Equal(t, Configuration{
		Voters: []NodeID{"a", "b"}, Outgoing: []NodeID{"a", "b", "c"}, LearnersNext: []NodeID{"c"},
	}, joint)
	require.True(t, joint.IsVoter("c"))
	require.Equal(t, []NodeID{"a", "b", "c"}, joint.Replicated())
	require.Equal(t, Configuration{Voters: []NodeID{"a", "b"}, Learners: []NodeID{"c"}}, Leave(joint))
}

// Changes that touch no voter need no joint configuration.
func TestWhoDoesNotVoteJoinsInOneStep(t *testing.T) {
	c := Configuration{Voters: []NodeID{"a"}}
	next, err := Enter(c, changes("add", "b", "add-learner", "c", "add-read-only", "d"))
	require.NoError(t, err)
	require.Equal(t, Configuration{
		Voters: []NodeID{"a"}, Learners: []NodeID{"b", "c"}, Promote: []NodeID{"b"}, ReadOnly: []NodeID{"d"},
	}, next)
	require.Equal(t, []NodeID{"a", "b", "c"}, next.Replicated(), "nobody sends to a read-only peer")
	require.Equal(t, []NodeID{"a", "b", "c", "d"}, next.Members())
}

func TestValidateRejects(t *testing.T) {
	for name, c := range map[string]Configuration{
		"unsorted":                   {Voters: []NodeID{"b", "a"}},
		"twice":                      {Voters: []NodeID{"a", "a"}},
		"nameless":                   {Voters: []NodeID{""}},
		"voter and learner":          {Voters: []NodeID{"a", "b"}, Learners: []NodeID{"b"}},
		"voter and read-only":        {Voters: []NodeID{"a", "b"}, ReadOnly: []NodeID{"b"}},
		"demoted and voter":          {Voters: []NodeID{"a"}, Outgoing: []NodeID{"a"}, LearnersNext: []NodeID{"a"}},
		"demoted and never a voter":  {Voters: []NodeID{"a"}, Outgoing: []NodeID{"a"}, LearnersNext: []NodeID{"b"}},
		"demoted outside a change":   {Voters: []NodeID{"a"}, LearnersNext: []NodeID{"b"}},
		"promoted and no learner":    {Voters: []NodeID{"a"}, Promote: []NodeID{"b"}},
		"members without any voter":  {Learners: []NodeID{"a"}},
		"only those that were voter": {Outgoing: []NodeID{"a"}},
	} {
		t.Run(name, func(t *testing.T) { require.Error(t, c.Validate()) })
	}
	require.NoError(t, Configuration{}.Validate(), "of a node that was told of none")
}

// part is what a node is in the model: a cluster is nothing but a map from nodes to parts.
type part string

const (
	voter    part = "voter"
	learner  part = "learner"
	rising   part = "learner to be promoted"
	readOnly part = "read-only"
)

// after is the model's answer to a request: false when it is refused.
func after(before map[NodeID]part, request []Change) (map[NodeID]part, bool) {
	next, named := map[NodeID]part{}, map[NodeID]bool{}
	for id, p := range before {
		next[id] = p
	}
	for _, c := range request {
		old, member := next[c.Node]
		is := func(parts ...part) bool { return member && slices.Contains(parts, old) }
		var ok bool
		switch c.Op {
		case Add:
			ok, next[c.Node] = !member, rising
		case AddLearner:
			ok, next[c.Node] = !member, learner
		case AddReadOnly:
			ok, next[c.Node] = !member, readOnly
		case Promote:
			ok, next[c.Node] = is(learner, rising), voter
		case Demote:
			ok, next[c.Node] = is(voter), learner
		case Remove:
			ok = member
			delete(next, c.Node)
		}
		if !ok || named[c.Node] {
			return nil, false
		}
		named[c.Node] = true
	}
	for _, p := range next {
		if p == voter {
			return next, len(request) > 0
		}
	}
	return nil, false
}

func model(c Configuration) map[NodeID]part {
	m := map[NodeID]part{}
	for p, list := range map[part][]NodeID{voter: c.Voters, learner: c.Learners, readOnly: c.ReadOnly} {
		for _, id := range list {
			m[id] = p
		}
	}
	for _, id := range c.Promote {
		m[id] = rising
	}
	return m
}

// winning are all sets of nodes that decide by q, each as a bit set over nodes.
func winning(nodes []NodeID, q quorum.Joint) []int {
	var sets []int
	for set := range 1 << len(nodes) {
		votes := map[NodeID]bool{}
		for i, id := range nodes {
			votes[id] = set&(1<<i) != 0
		}
		if q.Tally(votes) == quorum.Won {
			sets = append(sets, set)
		}
	}
	return sets
}

// Any sequence of requests leads where a simple model of sets says, by configurations that are valid and
// of which no two that follow each other ever decide without a common node: the ground that the safety of
// changes stands on (thesis, 4.1).
func TestChangesAgainstModel(t *testing.T) {
	nodes := []NodeID{"a", "b", "c", "d", "e", "f"}
	ops := []Op{Add, AddLearner, AddReadOnly, Promote, Demote, Remove}
	rapid.Check(t, func(t *rapid.T) {
		c := Configuration{Voters: quorum.NewMajority(rapid.SliceOfNDistinct(rapid.SampledFrom(nodes), 1, 5, rapid.ID[NodeID]).Draw(t, "voters")...)}
		for range rapid.IntRange(1, 8).Draw(t, "requests") {
			request := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Change {
				return Change{Op: rapid.SampledFrom(ops).Draw(t, "op"), Node: rapid.SampledFrom(nodes).Draw(t, "node")}
			}), 0, 4).Draw(t, "changes")
			want, legal := after(model(c), request)
			before := clone(c)
			next, err := Enter(c, request)
			require.True(t, before.Equal(c), "Enter changed what it was given")
			if !legal {
				require.Error(t, err)
				continue
			}
			require.NoError(t, err)
			require.NoError(t, next.Validate())
			require.Equal(t, !slices.Equal(c.Voters, next.Voters), next.Joint(), "joint if and only if voters change")
			intersect(t, nodes, c, next)
			for _, id := range c.Voters {
				require.True(t, next.IsVoter(id), "until a joint configuration is left all old voters count")
			}
			if next.Joint() {
				left := Leave(next)
				require.NoError(t, left.Validate())
				require.False(t, left.Joint())
				intersect(t, nodes, next, left)
				next = left
			}
			require.Equal(t, want, model(next))
			c = next
		}
	})
}

func intersect(t *rapid.T, nodes []NodeID, c, d Configuration) {
	for _, x := range winning(nodes, c.Quorum()) {
		for _, y := range winning(nodes, d.Quorum()) {
			require.NotZero(t, x&y, "%v and %v decide without a common node", c, d)
		}
	}
}

package nemesis_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/cluster"
	"coup/nemesis"
	"coup/raftnode/client"
)

// Catches faults that prove themselves but change no members of real nodes, or leave others than there were.
func TestMembersInNamespaces(t *testing.T) {
	inNamespaces(t, "../cmd/raftnode", cluster.Options{Run: "members", Nodes: 3, Dir: t.TempDir(), LoseUnsynced: true}, func(c cluster.Cluster) {
		for _, fault := range nemesis.Real() {
			t.Run(fault.Name(), func(t *testing.T) { tryMembers(t, c, fault) })
		}
	}, "readd")
}

// Catches the same in containers: of a disk that is emptied, and of a node that joins.
func TestMembersInDocker(t *testing.T) {
	inDocker(t, "../cmd/raftnode", cluster.Options{Run: "members", Nodes: 3, Dir: t.TempDir(), LoseUnsynced: true}, func(c cluster.Cluster) {
		for _, fault := range nemesis.Real() {
			if slices.Contains([]string{"stop-leader", "swap", "replace"}, fault.Name()) {
				t.Run(fault.Name(), func(t *testing.T) { tryMembers(t, c, fault) })
			}
		}
	})
}

// reach is a client of the nodes that there are now.
func reach(t *testing.T, c cluster.Cluster) (*client.Client, []string) {
	urls, names := map[string]string{}, []string{}
	for _, n := range c.Nodes() {
		urls[n.ID] = n.ClientURL
		names = append(names, n.ID)
	}
	nodes, err := client.New(urls, client.Options{Timeout: time.Second})
	require.NoError(t, err)
	t.Cleanup(nodes.Close)
	return nodes, names
}

// said are the voters and the leader, as the first node that knows says.
func said(t *testing.T, c cluster.Cluster) (voters []string, leader string) {
	nodes, names := reach(t, c)
	require.Eventually(t, func() bool {
		voters = nil
		for _, id := range names {
			members, err := nodes.Members(t.Context(), id)
			if err != nil || !members.Committed {
				continue
			}
			for _, v := range members.Voters {
				voters = append(voters, string(v))
			}
			leader = string(members.Node)
			return true
		}
		return false
	}, 20*time.Second, 20*time.Millisecond)
	return voters, leader
}

type leads string

func (l leads) Leaders(context.Context) []string { return []string{string(l)} }

func tryMembers(t *testing.T, c cluster.Cluster, fault nemesis.Fault) {
	before, leader := said(t, c)
	nodes, names := reach(t, c)
	require.Equal(t, names, before)
	_, err := nodes.Write(t.Context(), leader, "k", fault.Name())
	require.NoError(t, err)
	require.NoError(t, fault.Check(c))
	installed, out := fault.Install(t.Context(), c, leads(leader), rand.New(rand.NewPCG(7, 7)))
	require.Equal(t, nemesis.ResultInstalled, out.Result, out.Reason)
	voters, _ := said(t, c)
	if len(out.Links) > 0 {
		require.Equal(t, before, voters)
	} else if out.Members == nil {
		_, err := nodes.Status(t.Context(), out.Targets[0])
		require.Error(t, err, "it was stopped")
		require.Equal(t, before, voters)
	} else {
		require.NotEqual(t, before, voters)
	}
	if restless, ok := installed.(nemesis.Restless); ok && restless.Rest() > 0 {
		restless.Act(t.Context())
		restless.Act(t.Context())
	}
	healed := installed.Heal(t.Context())
	require.Equal(t, nemesis.ResultHealed, healed.Result, healed.Reason)
	require.Empty(t, healed.Reason)
	after, leader := said(t, c)
	require.Equal(t, before, after)
	nodes, names = reach(t, c)
	require.Equal(t, before, names)
	read, err := nodes.Read(t.Context(), leader, "k")
	require.NoError(t, err)
	require.Equal(t, fault.Name(), read.Value)
	require.Empty(t, c.(cluster.Watcher).Unexpected())
}

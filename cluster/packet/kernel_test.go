package packet_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/stretchr/testify/require"

	"coup/cluster/netns"
	"coup/cluster/packet"
)

// TestMain runs the tests in a network namespace that is thrown away, where the machine permits it.
func TestMain(m *testing.M) {
	netns.Init()
	if !netns.Inside() && netns.Available(context.Background()) == nil {
		code, err := netns.Enter()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func newAgent(t *testing.T) *packet.Agent {
	t.Helper()
	if !netns.Inside() {
		t.Skip("no network namespaces: ", netns.Available(t.Context()))
	}
	agent, err := packet.New()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, agent.Close()) })
	return agent
}

// Catches a heal that flushes what it did not make: rules of others in tables of their own, and even
// in ours with our tag.
func TestRestoreLeavesOthersAlone(t *testing.T) {
	agent := newAgent(t)
	conn, err := nftables.New()
	require.NoError(t, err)
	peer, other := netip.MustParseAddr("127.0.0.7"), netip.MustParseAddr("127.0.0.8")
	rule := func(table *nftables.Table, chain string) *nftables.Rule {
		return &nftables.Rule{
			Table: table,
			Chain: conn.AddChain(&nftables.Chain{
				Name: chain, Table: conn.AddTable(table), Type: nftables.ChainTypeFilter,
				Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityRaw,
			}),
			Exprs:    []expr.Any{&expr.Counter{}},
			UserData: userdata.AppendString(nil, userdata.TypeComment, "coup cut "+peer.String()),
		}
	}
	ours := &nftables.Table{Name: "coup", Family: nftables.TableFamilyIPv4}
	theirs := &nftables.Table{Name: "theirs", Family: nftables.TableFamilyIPv4}
	conn.AddRule(rule(ours, "input"))
	conn.AddRule(rule(theirs, "input"))
	require.NoError(t, conn.Flush())
	t.Cleanup(func() {
		conn.DelTable(ours)
		conn.DelTable(theirs)
		require.NoError(t, conn.Flush())
	})

	ctx := t.Context()
	require.NoError(t, agent.Cut(ctx, []netip.Addr{peer, other}))
	list, err := agent.List(ctx)
	require.NoError(t, err)
	require.Len(t, list, 3, "ours, and the stranger with our tag")
	require.NoError(t, agent.Restore(ctx, []netip.Addr{peer}))
	require.NoError(t, agent.Restore(ctx, []netip.Addr{other}))
	for _, table := range []*nftables.Table{ours, theirs} {
		left, err := conn.GetRules(table, &nftables.Chain{Name: "input", Table: table})
		require.NoError(t, err)
		require.Len(t, left, 1, table.Name)
	}
}

// Catches cuts that drop nothing or too much, miscounted, and probes that are believed unseen.
func TestCutDropsByAddress(t *testing.T) {
	agent := newAgent(t)
	ctx := t.Context()
	self, stranger := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.9")
	passes := func(nonces ...uint64) int {
		require.NoError(t, agent.Send(ctx, self, nonces))
		n, err := agent.Received(ctx, self, nonces, 200*time.Millisecond)
		require.NoError(t, err)
		return n.Count
	}
	require.Equal(t, 3, passes(1, 2, 3))
	n, err := agent.Received(ctx, self, []uint64{3, 4}, 0)
	require.NoError(t, err)
	require.Equal(t, 1, n.Count, "4 was never sent")

	require.NoError(t, agent.Cut(ctx, []netip.Addr{stranger}))
	require.Equal(t, 2, passes(5, 6), "another address is cut")
	require.NoError(t, agent.Cut(ctx, []netip.Addr{self}))
	require.Equal(t, 0, passes(7, 8))
	list, err := agent.List(ctx)
	require.NoError(t, err)
	require.Equal(t, []packet.Dropped{{From: self, Packets: 3}, {From: stranger}}, list, "two, and the one behind which they queue up")

	require.ErrorContains(t, agent.Cut(ctx, []netip.Addr{self}), "already cut")
	require.ErrorContains(t, agent.Cut(ctx, []netip.Addr{netip.MustParseAddr("::1")}), "IPv4")
	require.ErrorContains(t, agent.Restore(ctx, []netip.Addr{self, netip.MustParseAddr("127.0.0.3")}), "not cut")
	require.Equal(t, 0, passes(9), "a refused restore restores nothing")
	require.NoError(t, agent.Restore(ctx, []netip.Addr{self, stranger}))
	require.Equal(t, 2, passes(10, 11))
	require.ErrorContains(t, agent.Restore(ctx, []netip.Addr{self}), "not cut")
}

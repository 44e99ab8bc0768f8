package packet

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"

	"coup/cluster"
)

// Features tries what the kernel offers for packet faults. It leaves its marks in the network
// namespace that the calling thread is in, so call it in one that is thrown away.
func Features() []cluster.Capability {
	return []cluster.Capability{
		feature("nf_tables", false, "drop packets by their source", tryDrop()),
		feature("nft_numgen", true, "choose packets at random", tryNumgen()),
		feature("sch_netem", true, "delay, duplicate and reorder packets", tryNetem()),
	}
}

func feature(module string, optional bool, detail string, err error) cluster.Capability {
	c := cluster.Capability{Name: module, OK: err == nil, Optional: optional, Detail: detail}
	if err != nil {
		c.Detail, c.Remedy = err.Error(), "a kernel with the module "+module
		if optional {
			c.Remedy += "; no fault of today needs it"
		}
	}
	return c
}

func tryDrop() error {
	r, err := openRules()
	if err != nil {
		return err
	}
	defer r.close()
	peers := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	if err := r.cut(peers); err != nil {
		return err
	}
	return r.restore(peers)
}

func tryNumgen() error {
	r, err := openRules()
	if err != nil {
		return err
	}
	defer r.close()
	r.conn.AddTable(r.table)
	r.conn.AddChain(r.chain)
	r.conn.AddRule(&nftables.Rule{Table: r.table, Chain: r.chain, Exprs: []expr.Any{
		&expr.Numgen{Register: 1, Type: 1, Modulus: 100},
	}})
	return r.conn.Flush()
}

func tryNetem() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	qdisc := netlink.NewNetem(
		netlink.QdiscAttrs{LinkIndex: lo.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		netlink.NetemQdiscAttrs{Latency: 1000})
	return netlink.QdiscAdd(qdisc)
}

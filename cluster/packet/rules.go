package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"coup/cluster"
)

const (
	tableName   = "coup"
	commentHead = "coup "
	// cutting is the kind of the rules of a cut; those of a disturbance have its name.
	cutting = "cut"
)

// rules are the packet rules of one network namespace, in a table of their own. They remember the handles of what they
// made and touch nothing else. Not safe for concurrent use.
type rules struct {
	conn          *nftables.Conn
	table         *nftables.Table
	input, output *nftables.Chain
	ingress       map[string]*nftables.Chain // by interface: before the kernel looks at a packet
	made          map[purpose][]made
}

// purpose is what a rule is for. Its tag is "coup <kind> <peer>".
type purpose struct {
	kind string
	peer netip.Addr
}

func (p purpose) tag() string { return commentHead + p.kind + " " + p.peer.String() }

// made is a rule in force.
type made struct {
	chain  *nftables.Chain
	handle uint64
}

// openRules opens the rules of the calling thread's network namespace.
func openRules() (*rules, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("open nf_tables: %w", err)
	}
	accept := nftables.ChainPolicyAccept
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4}
	chain := func(name string, hook *nftables.ChainHook) *nftables.Chain {
		return &nftables.Chain{
			Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook,
			Priority: nftables.ChainPriorityRaw, Policy: &accept,
		}
	}
	return &rules{
		conn: conn, table: table, made: map[purpose][]made{}, ingress: map[string]*nftables.Chain{},
		input: chain("input", nftables.ChainHookInput), output: chain("output", nftables.ChainHookOutput),
	}, nil
}

func (r *rules) close() error { return r.conn.CloseLasting() }

// add makes the rules of one kind for all these peers, in one transaction.
func (r *rules) add(kind string, peers []netip.Addr, chain *nftables.Chain, of func(netip.Addr) [][]expr.Any) error {
	seen := map[purpose]bool{}
	for _, a := range peers {
		p := purpose{kind, a}
		if !a.Is4() {
			return fmt.Errorf("%s %s: not an IPv4 address", kind, a)
		}
		if _, ok := r.made[p]; ok || seen[p] {
			return fmt.Errorf("%s %s: it is already %s", kind, a, kind)
		}
		seen[p] = true
	}
	before, err := r.list(chain)
	if err != nil {
		return err
	}
	r.conn.AddTable(chain.Table)
	r.conn.AddChain(chain)
	wanted := 0
	for _, a := range peers {
		for _, rule := range of(a) {
			wanted++
			r.conn.AddRule(&nftables.Rule{
				Table: chain.Table, Chain: chain, Exprs: rule,
				UserData: userdata.AppendString(nil, userdata.TypeComment, purpose{kind, a}.tag()),
			})
		}
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("%s %v: %w", kind, peers, err)
	}
	after, err := r.list(chain)
	if err != nil {
		return err
	}
	for handle, rule := range after {
		if _, old := before[handle]; !old && seen[rule.purpose] {
			r.made[rule.purpose] = append(r.made[rule.purpose], made{chain, handle})
			wanted--
		}
	}
	if wanted > 0 {
		return fmt.Errorf("%s %v: the kernel does not list %d of the rules", kind, peers, wanted)
	}
	return nil
}

// remove deletes by handle what add made, in one transaction, and checks that it is gone.
func (r *rules) remove(kind string, peers []netip.Addr) error {
	for _, a := range peers {
		if _, ok := r.made[purpose{kind, a}]; !ok {
			return fmt.Errorf("end %s of %s: it is not %s", kind, a, kind)
		}
	}
	var gone []made
	for _, a := range peers {
		for _, m := range r.made[purpose{kind, a}] {
			if err := r.conn.DelRule(&nftables.Rule{Table: m.chain.Table, Chain: m.chain, Handle: m.handle}); err != nil {
				return fmt.Errorf("end %s of %s: %w", kind, a, err)
			}
			gone = append(gone, m)
		}
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("end %s of %v: %w", kind, peers, err)
	}
	for _, chain := range append(slices.Collect(maps.Values(r.ingress)), r.input, r.output) {
		left, err := r.list(chain)
		if err != nil {
			return err
		}
		for _, m := range gone {
			if _, ok := left[m.handle]; ok && m.chain == chain {
				return fmt.Errorf("end %s of %v: the kernel still lists a rule", kind, peers)
			}
		}
	}
	for _, a := range peers {
		delete(r.made, purpose{kind, a})
	}
	return nil
}

// cut drops all that comes from these addresses.
func (r *rules) cut(from []netip.Addr) error {
	return r.add(cutting, from, r.input, func(a netip.Addr) [][]expr.Any {
		return [][]expr.Any{append(isFrom(a), &expr.Counter{}, drop)}
	})
}

func (r *rules) restore(from []netip.Addr) error { return r.remove(cutting, from) }

// disturb makes what is in the tables of a disturbance at the receiver, or else at the sender.
func (r *rules) disturb(peers []netip.Addr, d cluster.Degradation) error {
	in := func(rules ...[]expr.Any) error {
		return r.add(string(d.Kind), peers, r.input, func(a netip.Addr) (all [][]expr.Any) {
			for _, rule := range rules {
				all = append(all, append(isFrom(a), rule...))
			}
			return all
		})
	}
	switch d.Kind {
	case cluster.Loss:
		return in(append(chance(d.Share), &expr.Counter{}, drop))
	case cluster.Limit:
		return in([]expr.Any{
			&expr.Limit{Type: expr.LimitTypePkts, Rate: uint64(d.Rate), Over: true, Unit: expr.LimitTimeSecond, Burst: uint32(cluster.Burst(d.Rate))},
			&expr.Counter{}, drop,
		})
	case cluster.Refuse:
		return in(slices.Concat(opening, []expr.Any{&expr.Counter{}, reset}))
	case cluster.Silence:
		return in(slices.Concat(opening, []expr.Any{&expr.Counter{}, reset}), slices.Concat(talk, []expr.Any{&expr.Counter{}, drop}))
	case cluster.Duplicate:
		return r.add(string(d.Kind), peers, r.output, func(a netip.Addr) [][]expr.Any {
			twice := append(isTo(a), chance(d.Share)...)
			return [][]expr.Any{append(twice, &expr.Counter{}, &expr.Immediate{Register: 1, Data: a.AsSlice()}, &expr.Dup{RegAddr: 1})}
		})
	}
	return fmt.Errorf("packet rules do not %s", d.Kind)
}

// damage turns a byte of the header of a share of the packets that come by an interface from the peers into another. The
// kernel, which has not looked at them yet, drops each for its checksum. What comes later than that would not do: it is
// up to the interfaces, and to what else is on the way, whether anybody looks at the checksum of TCP or UDP once more,
// and what nobody does reaches the process damaged, as no network of flesh and blood would have it.
func (r *rules) damage(device string, peers []netip.Addr, share float64) error {
	chain := r.ingress[device]
	if chain == nil {
		chain = &nftables.Chain{
			Name: "ingress-" + device, Table: &nftables.Table{Name: tableName, Family: nftables.TableFamilyNetdev},
			Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookIngress, Priority: nftables.ChainPriorityFilter, Device: device,
		}
		r.ingress[device] = chain
	}
	return r.add(string(cluster.Corrupt), peers, chain, func(a netip.Addr) [][]expr.Any {
		return [][]expr.Any{slices.Concat(isIP, isFrom(a), chance(share), flip, []expr.Any{&expr.Counter{}})}
	})
}

// tagged is a rule with one of our tags, whoever made it.
type tagged struct {
	purpose
	packets uint64
}

// list is every tagged rule of a chain, by handle.
func (r *rules) list(chain *nftables.Chain) (map[uint64]tagged, error) {
	all, err := r.conn.GetRules(chain.Table, chain)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the rules: %w", err)
	}
	found := map[uint64]tagged{}
	for _, rule := range all {
		comment, _ := userdata.GetString(rule.UserData, userdata.TypeComment)
		tag, ours := strings.CutPrefix(comment, commentHead)
		kind, address, _ := strings.Cut(tag, " ")
		peer, err := netip.ParseAddr(address)
		if !ours || err != nil {
			continue
		}
		t := tagged{purpose: purpose{kind, peer}}
		for _, e := range rule.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				t.packets = c.Packets
			}
		}
		found[rule.Handle] = t
	}
	return found, nil
}

// The parts of rules. Register 1 is free for each of them.
var (
	drop  = &expr.Verdict{Kind: expr.VerdictDrop}
	reset = &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}
	// isTCP is "meta l4proto tcp".
	isTCP = []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
	}
	// opening is "tcp flags & (syn | ack) == syn": the first segment of a connection.
	opening = flags(syn|ack, syn)
	// talk is "tcp flags & rst == 0": all but refusals.
	talk = flags(rst, 0)
	// isIP is "meta protocol ip".
	isIP = []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0x08, 0x00}},
	}
	// flip turns a byte of the IP header over, and leaves the checksum alone.
	flip = []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: timeToLive, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{0xff}, Xor: []byte{0xff}},
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: timeToLive, Len: 1},
	}
)

// timeToLive is where that is in an IP header.
const timeToLive = 8

// The flags of TCP.
const (
	syn = 0x02
	rst = 0x04
	ack = 0x10
)

func flags(mask, value byte) []expr.Any {
	return append(isTCP[:2:2],
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{mask}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{value}})
}

// isFrom is "ip saddr <a>", isTo "ip daddr <a>".
func isFrom(a netip.Addr) []expr.Any { return isAddress(12, a) }
func isTo(a netip.Addr) []expr.Any   { return isAddress(16, a) }

func isAddress(offset uint32, a netip.Addr) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: a.AsSlice()},
	}
}

// grain is how finely a share of packets can be told.
const grain = 10_000

// chance is "numgen random mod 10000 < <share>", the share counted in ten-thousandths.
func chance(share float64) []expr.Any {
	return []expr.Any{
		&expr.Numgen{Register: 1, Type: unix.NFT_NG_RANDOM, Modulus: grain},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binary.BigEndian.AppendUint32(nil, uint32(share*grain+0.5))},
	}
}

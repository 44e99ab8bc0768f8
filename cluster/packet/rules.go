package packet

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

const (
	tableName   = "coup"
	chainName   = "input"
	commentHead = "coup cut "
)

// rules are the drop rules of one network namespace: one for each address, in a table of their own.
// They remember the handles of what they made and touch nothing else. Not safe for concurrent use.
type rules struct {
	conn  *nftables.Conn
	table *nftables.Table
	chain *nftables.Chain
	made  map[netip.Addr]uint64 // handle of each rule in force
}

// openRules opens the rules of the calling thread's network namespace.
func openRules() (*rules, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("open nf_tables: %w", err)
	}
	accept := nftables.ChainPolicyAccept
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4}
	return &rules{
		conn:  conn,
		table: table,
		chain: &nftables.Chain{
			Name:     chainName,
			Table:    table,
			Type:     nftables.ChainTypeFilter,
			Hooknum:  nftables.ChainHookInput,
			Priority: nftables.ChainPriorityRaw,
			Policy:   &accept,
		},
		made: map[netip.Addr]uint64{},
	}, nil
}

func (r *rules) close() error { return r.conn.CloseLasting() }

// cut adds one rule for each address, in one transaction.
func (r *rules) cut(from []netip.Addr) error {
	seen := map[netip.Addr]bool{}
	for _, a := range from {
		if !a.Is4() {
			return fmt.Errorf("cut %s: not an IPv4 address", a)
		}
		if _, ok := r.made[a]; ok || seen[a] {
			return fmt.Errorf("cut %s: it is already cut", a)
		}
		seen[a] = true
	}
	before, err := r.list()
	if err != nil {
		return err
	}
	r.conn.AddTable(r.table)
	r.conn.AddChain(r.chain)
	for _, a := range from {
		r.conn.AddRule(&nftables.Rule{
			Table:    r.table,
			Chain:    r.chain,
			Exprs:    dropFrom(a),
			UserData: userdata.AppendString(nil, userdata.TypeComment, commentHead+a.String()),
		})
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("cut %v: %w", from, err)
	}
	after, err := r.list()
	if err != nil {
		return err
	}
	for handle, rule := range after {
		if _, old := before[handle]; !old && seen[rule.From] {
			r.made[rule.From] = handle
		}
	}
	for _, a := range from {
		if _, ok := r.made[a]; !ok {
			return fmt.Errorf("cut %s: the kernel does not list the rule", a)
		}
	}
	return nil
}

// restore deletes by handle what cut made, in one transaction, and checks that it is gone.
func (r *rules) restore(from []netip.Addr) error {
	for _, a := range from {
		if _, ok := r.made[a]; !ok {
			return fmt.Errorf("restore %s: it is not cut", a)
		}
	}
	for _, a := range from {
		if err := r.conn.DelRule(&nftables.Rule{Table: r.table, Chain: r.chain, Handle: r.made[a]}); err != nil {
			return fmt.Errorf("restore %s: %w", a, err)
		}
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("restore %v: %w", from, err)
	}
	left, err := r.list()
	if err != nil {
		return err
	}
	for _, a := range from {
		if _, ok := left[r.made[a]]; ok {
			return fmt.Errorf("restore %s: the kernel still lists the rule", a)
		}
		delete(r.made, a)
	}
	return nil
}

// list is every rule tagged as a cut, by handle, whoever made it.
func (r *rules) list() (map[uint64]Dropped, error) {
	all, err := r.conn.GetRules(r.table, r.chain)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the cuts: %w", err)
	}
	found := map[uint64]Dropped{}
	for _, rule := range all {
		comment, _ := userdata.GetString(rule.UserData, userdata.TypeComment)
		address, ours := strings.CutPrefix(comment, commentHead)
		from, err := netip.ParseAddr(address)
		if !ours || err != nil {
			continue
		}
		d := Dropped{From: from}
		for _, e := range rule.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				d.Packets = c.Packets
			}
		}
		found[rule.Handle] = d
	}
	return found, nil
}

// dropFrom is "ip saddr <from> counter drop".
func dropFrom(from netip.Addr) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: from.AsSlice()},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}

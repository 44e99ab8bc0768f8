package packet

import (
	"errors"
	"net/netip"
	"time"

	"coup/cluster"
)

// The names of what the kernel may have.
const (
	featureDrop      = "nf_tables"
	featureRandom    = "nft_numgen"
	featureLimit     = "nft_limit"
	featureReject    = "nft_reject"
	featureDuplicate = "nft_dup_ipv4"
	featureDamage    = "nf_tables_netdev"
	featureNetem     = "sch_netem"
)

// needs is what each disturbance takes of the kernel.
var needs = map[cluster.Disturbance][]string{
	cluster.Loss:      {featureRandom},
	cluster.Duplicate: {featureRandom, featureDuplicate},
	cluster.Corrupt:   {featureRandom, featureDamage},
	cluster.Limit:     {featureLimit},
	cluster.Delay:     {featureNetem},
	cluster.Reorder:   {featureNetem},
	cluster.Silence:   {featureReject},
	cluster.Refuse:    {featureReject},
}

// tryFeatures tries what the kernel offers for packet faults, on an address that nobody has.
func (a *Agent) tryFeatures() []cluster.Capability {
	a.mu.Lock()
	defer a.mu.Unlock()
	nobody := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	try := func(kind cluster.Disturbance) error {
		err := a.rules.disturb(nobody, cluster.Degradation{Kind: kind, Share: 0.5, Rate: 10})
		if err != nil {
			return err
		}
		return a.rules.remove(string(kind), nobody)
	}
	drops := a.rules.cut(nobody)
	if drops == nil {
		drops = a.rules.restore(nobody)
	}
	// Ingress is tried on loopback, where nobody has that address either.
	alone := []netip.Addr{netip.MustParseAddr("127.77.77.77")}
	damages := a.damage(alone, 0.5)
	if damages == nil {
		damages = a.rules.remove(string(cluster.Corrupt), alone)
	}
	return []cluster.Capability{
		feature(featureDrop, false, "drop packets by their source", "a kernel with the module nf_tables", drops),
		feature(featureRandom, true, "choose packets at random", "a kernel with the module nft_numgen", try(cluster.Loss)),
		feature(featureLimit, true, "drop what exceeds a rate", "a kernel with the module nft_limit", try(cluster.Limit)),
		feature(featureReject, true, "refuse connections", "a kernel with the module nft_reject", try(cluster.Refuse)),
		feature(featureDuplicate, true, "send packets twice", "a kernel with the module nft_dup_ipv4", try(cluster.Duplicate)),
		feature(featureDamage, true, "damage packets as they come, so that their checksums tell", "a kernel with NF_TABLES_NETDEV and NETFILTER_INGRESS, and /proc", damages),
		feature(featureNetem, true, "delay and reorder packets", "a kernel with the modules sch_netem, sch_htb and cls_u32", a.tryNetem()),
	}
}

// tryNetem delays what goes to loopback, for a moment.
func (a *Agent) tryNetem() error {
	self := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	if err := a.queues.add(self, cluster.Degradation{Kind: cluster.Delay, Delay: time.Millisecond}); err != nil {
		return err
	}
	return a.queues.remove(self, cluster.Delay)
}

func feature(name string, optional bool, detail, remedy string, err error) cluster.Capability {
	c := cluster.Capability{Name: name, OK: err == nil, Optional: optional, Detail: detail}
	if err != nil {
		c.Detail, c.Remedy = err.Error(), remedy
	}
	return c
}

// Features tries what the kernel offers for packet faults, in the network namespace that the calling OS thread is in.
func Features() []cluster.Capability {
	a, err := New()
	if err != nil {
		return []cluster.Capability{feature(featureDrop, false, "", "a kernel with the module nf_tables, and NET_ADMIN", err)}
	}
	defer a.Close()
	return a.features()
}

// Offers tells by a kernel's features why a link cannot be disturbed in that way; nil where it can.
func Offers(features []cluster.Capability, d cluster.Disturbance) error {
	wanted, known := needs[d]
	if !known {
		return &Missing{Feature: "a way to make " + string(d)}
	}
	for _, name := range wanted {
		found := cluster.Capability{Detail: "it was not tried"}
		for _, f := range features {
			if f.Name == name {
				found = f
			}
		}
		if !found.OK {
			return &Missing{Feature: name, Detail: found.Detail, Remedy: found.Remedy}
		}
	}
	return nil
}

// Missing is a disturbance that this kernel cannot make.
type Missing struct{ Feature, Detail, Remedy string }

func (m *Missing) Error() string {
	text := "this kernel lacks " + m.Feature
	if m.Detail != "" {
		text += " (" + m.Detail + ")"
	}
	if m.Remedy != "" {
		text += ": it takes " + m.Remedy
	}
	return text
}

var errNobody = errors.New("there is no node to ask")

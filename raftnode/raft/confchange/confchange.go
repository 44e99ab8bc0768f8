// Package confchange holds who is a member of a cluster, and how that may change: by joint consensus
// (Raft thesis, 4.3), with any number of changes in one step. It is pure, and imports only quorum.
package confchange

import (
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"coup/raftnode/raft/quorum"
)

// NodeID names a node.
type NodeID = quorum.NodeID

// Configuration is a set of members. Every list is sorted and holds each node once; a node is in at
// most one of Voters, Learners and ReadOnly. Outside a joint change Outgoing and LearnersNext are
// empty. The zero Configuration is that of a node that was told of none yet.
type Configuration struct {
	Voters   []NodeID `json:"voters"`             // Cnew in a joint configuration
	Outgoing []NodeID `json:"outgoing,omitempty"` // Cold in a joint configuration
	Learners []NodeID `json:"learners,omitempty"` // replicated to, never counted
	// LearnersNext are voters of Outgoing that become learners when the joint configuration is left:
	// until then their votes count.
	LearnersNext []NodeID `json:"learners_next,omitempty"`
	// Promote are the learners that become voters as soon as they have caught up.
	Promote []NodeID `json:"promote,omitempty"`
	// ReadOnly hang off a follower: they fetch committed entries, and nobody counts or waits for them.
	ReadOnly []NodeID `json:"read_only,omitempty"`
	// Addresses are where members are found, in a form that only the driver reads. They decide nothing.
	Addresses map[NodeID]string `json:"addresses,omitempty"`
}

// Joint tells whether this is Cold,new: a decision needs the majorities of both halves.
func (c Configuration) Joint() bool { return len(c.Outgoing) > 0 }

// Quorum is the rule by which this configuration elects and commits.
func (c Configuration) Quorum() quorum.Joint {
	return quorum.Joint{quorum.Majority(c.Voters), quorum.Majority(c.Outgoing)}
}

// IsVoter tells whether a node's vote counts, in either half.
func (c Configuration) IsVoter(id NodeID) bool { return c.Quorum().Contains(id) }

// IsReadOnly tells whether a node is fed by a follower.
func (c Configuration) IsReadOnly(id NodeID) bool { return contains(c.ReadOnly, id) }

// Replicated are those that the leader sends its log to: voters of both halves and learners, sorted.
func (c Configuration) Replicated() []NodeID {
	all := slices.Concat(c.Voters, c.Outgoing, c.Learners, c.LearnersNext)
	slices.Sort(all)
	return slices.Compact(all)
}

// Members are all nodes that the configuration names, sorted.
func (c Configuration) Members() []NodeID {
	all := append(c.Replicated(), c.ReadOnly...)
	slices.Sort(all)
	return slices.Compact(all)
}

// Contains tells whether the configuration names a node at all.
func (c Configuration) Contains(id NodeID) bool {
	return c.IsVoter(id) || contains(c.Learners, id) || contains(c.LearnersNext, id) || contains(c.ReadOnly, id)
}

// Equal tells whether two configurations are the same.
func (c Configuration) Equal(d Configuration) bool {
	return slices.Equal(c.Voters, d.Voters) && slices.Equal(c.Outgoing, d.Outgoing) &&
		slices.Equal(c.Learners, d.Learners) && slices.Equal(c.LearnersNext, d.LearnersNext) &&
		slices.Equal(c.Promote, d.Promote) && slices.Equal(c.ReadOnly, d.ReadOnly) &&
		maps.Equal(c.Addresses, d.Addresses)
}

func contains(sorted []NodeID, id NodeID) bool {
	_, found := slices.BinarySearch(sorted, id)
	return found
}

// Op is what is done to a node's membership.
type Op string

// The operations.
const (
	Add         Op = "add"           // a learner that becomes a voter as soon as it has caught up
	AddLearner  Op = "add-learner"   // a learner that stays one
	AddReadOnly Op = "add-read-only" // fed by a follower
	Promote     Op = "promote"       // a learner becomes a voter
	Demote      Op = "demote"        // a voter becomes a learner
	Remove      Op = "remove"        // whatever it is
	Move        Op = "move"          // a member is at another address from now on
)

// Change is one part of a reconfiguration.
type Change struct {
	Op   Op     `json:"op"`
	Node NodeID `json:"node"`
	// Address is where the node is found: required of Move, optional of what adds, and of nothing else.
	Address string `json:"address,omitempty"`
}

func (c Change) String() string { return string(c.Op) + " " + string(c.Node) }

// RefusedError says why a change cannot work. Nothing was logged.
type RefusedError struct {
	Change Change // the zero Change when the reason is the whole
	Reason string
}

func (e *RefusedError) Error() string {
	if e.Change == (Change{}) {
		return "confchange: refused: " + e.Reason
	}
	return fmt.Sprintf("confchange: %s refused: %s", e.Change, e.Reason)
}

// Enter is the configuration to log for changes to a configuration that is not joint. It is joint when
// the set of voters changes, so that no two majorities without a common member ever decide; else it
// is final at once. Errors: *RefusedError.
func Enter(c Configuration, changes []Change) (Configuration, error) {
	if c.Joint() {
		return c, &RefusedError{Reason: "the configuration is joint: a change is under way"}
	}
	if len(changes) == 0 {
		return c, &RefusedError{Reason: "no change was asked for"}
	}
	next := clone(c)
	touched := map[NodeID]bool{}
	for _, change := range changes {
		if change.Node == "" {
			return c, &RefusedError{change, "it names no node"}
		}
		if touched[change.Node] {
			return c, &RefusedError{change, "another change of the same request names this node"}
		}
		touched[change.Node] = true
		if err := next.apply(change); err != nil {
			return c, err
		}
	}
	if len(next.Voters) == 0 {
		return c, &RefusedError{Reason: "no voter would be left"}
	}
	if slices.Equal(next.Voters, c.Voters) {
		return normal(next), nil
	}
	next.Outgoing = slices.Clone(c.Voters)
	next.LearnersNext = slices.DeleteFunc(slices.Clone(next.Learners), func(id NodeID) bool { return !contains(c.Voters, id) })
	next.Learners = slices.DeleteFunc(next.Learners, func(id NodeID) bool { return contains(c.Voters, id) })
	return normal(next), nil
}

// Leave is the configuration that ends a joint one: Cnew.
func Leave(c Configuration) Configuration {
	next := clone(c)
	next.Learners = append(next.Learners, next.LearnersNext...)
	slices.Sort(next.Learners)
	next.Outgoing, next.LearnersNext = nil, nil
	return normal(next)
}

func (c *Configuration) apply(change Change) error {
	id := change.Node
	refuse := func(reason string) error { return &RefusedError{change, reason} }
	if change.Address != "" && (change.Op == Promote || change.Op == Demote || change.Op == Remove) {
		return refuse("it has no use for an address")
	}
	if !fits(change.Address) {
		return refuse(fmt.Sprintf("its address is not UTF-8 of at most %d bytes", MaxAddress))
	}
	switch change.Op {
	case Add, AddLearner, AddReadOnly:
		if c.Contains(id) {
			return refuse("it is a member already")
		}
		switch change.Op {
		case AddReadOnly:
			c.ReadOnly = with(c.ReadOnly, id)
		case Add:
			c.Promote = with(c.Promote, id)
			fallthrough
		default:
			c.Learners = with(c.Learners, id)
		}
		c.place(id, change.Address)
	case Promote:
		if !contains(c.Learners, id) {
			if contains(c.Voters, id) {
				return refuse("it is a voter already")
			}
			return refuse("it is no learner of this cluster")
		}
		c.Learners, c.Promote = without(c.Learners, id), without(c.Promote, id)
		c.Voters = with(c.Voters, id)
	case Demote:
		if !contains(c.Voters, id) {
			return refuse("it is no voter of this cluster")
		}
		c.Voters, c.Learners = without(c.Voters, id), with(c.Learners, id)
	case Remove:
		if !c.Contains(id) {
			return refuse("it is no member of this cluster")
		}
		c.Voters, c.Learners = without(c.Voters, id), without(c.Learners, id)
		c.Promote, c.ReadOnly = without(c.Promote, id), without(c.ReadOnly, id)
	case Move:
		switch {
		case !c.Contains(id):
			return refuse("it is no member of this cluster")
		case change.Address == "":
			return refuse("it names no address")
		}
		c.place(id, change.Address)
	default:
		return refuse("there is no such operation")
	}
	return nil
}

// MaxAddress is the length in bytes of the longest address.
const MaxAddress = 1024

func fits(address string) bool { return len(address) <= MaxAddress && utf8.ValidString(address) }

// place notes where a node is found; the empty address says nothing. c is a clone.
func (c *Configuration) place(id NodeID, address string) {
	if address == "" {
		return
	}
	if c.Addresses == nil {
		c.Addresses = make(map[NodeID]string)
	}
	c.Addresses[id] = address
}

func with(sorted []NodeID, id NodeID) []NodeID {
	at, found := slices.BinarySearch(sorted, id)
	if found {
		return sorted
	}
	return slices.Insert(slices.Clone(sorted), at, id)
}

func without(sorted []NodeID, id NodeID) []NodeID {
	return slices.DeleteFunc(slices.Clone(sorted), func(x NodeID) bool { return x == id })
}

func clone(c Configuration) Configuration {
	return Configuration{
		Voters: slices.Clone(c.Voters), Outgoing: slices.Clone(c.Outgoing), Learners: slices.Clone(c.Learners),
		LearnersNext: slices.Clone(c.LearnersNext), Promote: slices.Clone(c.Promote), ReadOnly: slices.Clone(c.ReadOnly),
		Addresses: maps.Clone(c.Addresses),
	}
}

// normal has nil for every empty list, so that equal configurations are equal in every way, and the addresses
// of members only.
func normal(c Configuration) Configuration {
	maps.DeleteFunc(c.Addresses, func(id NodeID, _ string) bool { return !c.Contains(id) })
	if len(c.Addresses) == 0 {
		c.Addresses = nil
	}
	for _, list := range []*[]NodeID{&c.Voters, &c.Outgoing, &c.Learners, &c.LearnersNext, &c.Promote, &c.ReadOnly} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	return c
}

// Validate tells whether c could be in force: its lists are sorted and distinct, no node has two parts,
// and what only a joint configuration has stands in a joint one only.
func (c Configuration) Validate() error {
	for name, list := range map[string][]NodeID{
		"voters": c.Voters, "outgoing": c.Outgoing, "learners": c.Learners,
		"learners_next": c.LearnersNext, "promote": c.Promote, "read_only": c.ReadOnly,
	} {
		for i, id := range list {
			if id == "" || i > 0 && list[i-1] >= id {
				return fmt.Errorf("confchange: %s are not sorted and distinct at %q", name, id)
			}
		}
	}
	parts := append(slices.Concat(c.Voters, c.Learners, c.ReadOnly), c.LearnersNext...)
	slices.Sort(parts)
	if len(slices.Compact(slices.Clone(parts))) != len(parts) {
		return fmt.Errorf("confchange: a node has two parts")
	}
	for _, id := range c.LearnersNext {
		if !contains(c.Outgoing, id) {
			return fmt.Errorf("confchange: %s is to be demoted, and is no outgoing voter", id)
		}
	}
	for _, id := range c.Promote {
		if !contains(c.Learners, id) {
			return fmt.Errorf("confchange: %s is to be promoted, and is no learner", id)
		}
	}
	for id, address := range c.Addresses {
		if address == "" || !c.Contains(id) || !fits(address) {
			return fmt.Errorf("confchange: the address of %q is empty, too long, not UTF-8, or not a member's", id)
		}
	}
	if len(c.Voters) == 0 && len(c.Members()) > 0 {
		return fmt.Errorf("confchange: there are members and no voters")
	}
	return nil
}

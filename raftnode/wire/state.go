package wire

import (
	"maps"
	"slices"
	"unicode/utf8"

	"coup/raftnode/raft"
)

// MarshalHardState encodes hs. It refuses what UnmarshalHardState would.
func MarshalHardState(hs raft.HardState) ([]byte, error) {
	if err := CheckHardState(hs); err != nil {
		return nil, err
	}
	return marshal(&HardState{Term: hs.Term, Vote: string(hs.Vote), Joined: hs.Joined})
}

// UnmarshalHardState is the inverse of MarshalHardState.
func UnmarshalHardState(b []byte) (raft.HardState, error) {
	var p HardState
	if err := unmarshal(b, &p); err != nil {
		return raft.HardState{}, err
	}
	hs := raft.HardState{Term: p.Term, Vote: raft.NodeID(p.Vote), Joined: p.Joined}
	return hs, CheckHardState(hs)
}

// CheckHardState says why hs cannot be encoded; nil when it can.
func CheckHardState(hs raft.HardState) error {
	if err := believable("term", hs.Term); err != nil {
		return err
	}
	if err := believable("entry of joining", hs.Joined); err != nil {
		return err
	}
	if hs.Vote == "" {
		return nil
	}
	if hs.Term == 0 {
		return malformed("a vote for %q in no term", hs.Vote)
	}
	return checkNodeID("vote", hs.Vote)
}

// MarshalBase encodes b. It refuses what UnmarshalBase would.
func MarshalBase(b raft.Base) ([]byte, error) {
	if err := CheckBase(b); err != nil {
		return nil, err
	}
	return marshal(baseToProto(b))
}

// UnmarshalBase is the inverse of MarshalBase.
func UnmarshalBase(data []byte) (raft.Base, error) {
	var p Base
	if err := unmarshal(data, &p); err != nil {
		return raft.Base{}, err
	}
	return baseFromProto(&p)
}

func baseToProto(b raft.Base) *Base {
	return &Base{
		Index:         b.Index,
		Term:          b.Term,
		Checksum:      b.Checksum,
		Configuration: configurationToProto(b.Configuration),
	}
}

func baseFromProto(p *Base) (raft.Base, error) {
	if p == nil {
		return raft.Base{}, malformed("base is missing")
	}
	if err := known(p); err != nil {
		return raft.Base{}, err
	}
	if p.Configuration == nil {
		return raft.Base{}, malformed("base configuration is missing")
	}
	if err := known(p.Configuration); err != nil {
		return raft.Base{}, err
	}
	configuration, err := configurationFromProto(p.Configuration)
	if err != nil {
		return raft.Base{}, err
	}
	b := raft.Base{Index: p.Index, Term: p.Term, Checksum: p.Checksum, Configuration: configuration}
	return b, CheckBase(b)
}

// CheckBase says why b cannot be encoded; nil when it can. The empty configuration can: it is that of
// a node that has yet to be told of one.
func CheckBase(b raft.Base) error {
	if err := believable("base index", b.Index); err != nil {
		return err
	}
	if err := believable("base term", b.Term); err != nil {
		return err
	}
	if (b.Index == 0) != (b.Term == 0) {
		return malformed("base at index %d has term %d", b.Index, b.Term)
	}
	return checkConfiguration(b.Configuration)
}

func configurationToProto(c raft.Configuration) *Configuration {
	return &Configuration{
		Voters:       fromIDs(c.Voters),
		Outgoing:     fromIDs(c.Outgoing),
		Learners:     fromIDs(c.Learners),
		LearnersNext: fromIDs(c.LearnersNext),
		Promote:      fromIDs(c.Promote),
		ReadOnly:     fromIDs(c.ReadOnly),
		Addresses:    addressesToProto(c.Addresses),
	}
}

func addressesToProto(places map[raft.NodeID]string) (addresses []*Address) {
	for _, id := range slices.Sorted(maps.Keys(places)) {
		addresses = append(addresses, &Address{Node: string(id), Place: places[id]})
	}
	return addresses
}

func addressesFromProto(addresses []*Address) (map[raft.NodeID]string, error) {
	if len(addresses) == 0 {
		return nil, nil
	}
	places := make(map[raft.NodeID]string, len(addresses))
	last := ""
	for _, a := range addresses {
		if err := known(a); err != nil {
			return nil, err
		}
		if a.Node <= last {
			return nil, malformed("addresses are not sorted and distinct at %q", a.Node)
		}
		last = a.Node
		places[raft.NodeID(a.Node)] = a.Place
	}
	return places, nil
}

func configurationFromProto(p *Configuration) (raft.Configuration, error) {
	addresses, err := addressesFromProto(p.Addresses)
	return raft.Configuration{
		Voters:       toIDs(p.Voters),
		Outgoing:     toIDs(p.Outgoing),
		Learners:     toIDs(p.Learners),
		LearnersNext: toIDs(p.LearnersNext),
		Promote:      toIDs(p.Promote),
		ReadOnly:     toIDs(p.ReadOnly),
		Addresses:    addresses,
	}, err
}

func checkConfiguration(c raft.Configuration) error {
	for _, id := range c.Members() {
		if err := checkNodeID("member", id); err != nil {
			return err
		}
	}
	if err := c.Validate(); err != nil {
		return malformed("%v", err)
	}
	return nil
}

func checkNodeID(what string, id raft.NodeID) error {
	switch {
	case id == "":
		return malformed("%s is missing", what)
	case len(id) > MaxNodeID:
		return malformed("%s is %d bytes long, at most %d are", what, len(id), MaxNodeID)
	case !utf8.ValidString(string(id)):
		return malformed("%s %q is not UTF-8", what, id)
	}
	return nil
}

func fromIDs(ids []raft.NodeID) []string {
	if len(ids) == 0 {
		return nil
	}
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}

func toIDs(names []string) []raft.NodeID {
	if len(names) == 0 {
		return nil
	}
	out := make([]raft.NodeID, len(names))
	for i, name := range names {
		out[i] = raft.NodeID(name)
	}
	return out
}

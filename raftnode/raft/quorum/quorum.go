// Package quorum holds the rules by which nodes elect and commit. A joint quorum is two
// majorities, and a decision under it needs both (Raft thesis, 4.3). It imports nothing of raft.
package quorum

import "slices"

// NodeID names a node.
type NodeID string

// Result is how a vote stands.
type Result uint8

// The results of a vote.
const (
	Pending Result = iota // undecided, and may still go either way
	Won
	Lost
)

// Majority decides by more than half of its members. Members are sorted and distinct. An empty
// majority agrees with everything, so that the empty half of a Joint has no say.
type Majority []NodeID

// NewMajority sorts and deduplicates members; it does not keep the slice.
func NewMajority(members ...NodeID) Majority {
	m := slices.Clone(members)
	slices.Sort(m)
	return slices.Compact(m)
}

// Size is the number of members that suffice.
func (m Majority) Size() int { return len(m)/2 + 1 }

// Contains tells whether id is a member.
func (m Majority) Contains(id NodeID) bool {
	_, found := slices.BinarySearch(m, id)
	return found
}

// Tally counts votes; a member that is not in the map has not voted yet.
func (m Majority) Tally(votes map[NodeID]bool) Result {
	if len(m) == 0 {
		return Won
	}
	yes, no := 0, 0
	for _, id := range m {
		if v, voted := votes[id]; voted && v {
			yes++
		} else if voted {
			no++
		}
	}
	switch {
	case yes >= m.Size():
		return Won
	case len(m)-no < m.Size():
		return Lost
	}
	return Pending
}

// Committed is the largest value that a majority has reached, where reached tells how far a member
// is. For an empty majority it is the largest uint64.
func (m Majority) Committed(reached func(NodeID) uint64) uint64 {
	if len(m) == 0 {
		return ^uint64(0)
	}
	var buf [9]uint64
	values := buf[:0]
	for _, id := range m {
		values = append(values, reached(id))
	}
	slices.Sort(values)
	return values[len(values)-m.Size()]
}

// Joint is a pair of majorities, both of which must agree.
type Joint [2]Majority

// Contains tells whether id is a member of either half.
func (j Joint) Contains(id NodeID) bool { return j[0].Contains(id) || j[1].Contains(id) }

// Members are those of both halves, sorted, each once.
func (j Joint) Members() []NodeID {
	return NewMajority(append(slices.Clone([]NodeID(j[0])), j[1]...)...)
}

// Tally is lost as soon as one half is lost, and won when both are won.
func (j Joint) Tally(votes map[NodeID]bool) Result {
	a, b := j[0].Tally(votes), j[1].Tally(votes)
	switch {
	case a == Lost || b == Lost:
		return Lost
	case a == Won && b == Won:
		return Won
	}
	return Pending
}

// Committed is the smaller of the two halves' answers.
func (j Joint) Committed(reached func(NodeID) uint64) uint64 {
	return min(j[0].Committed(reached), j[1].Committed(reached))
}

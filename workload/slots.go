package workload

import (
	"math/rand/v2"
	"slices"
)

// The streams of a run's seed, so that one generator's draws do not shift another's.
const (
	registersStream  = 0x7265676973746572
	finalReadsStream = 0x66696e616c
)

// moveOnceIn is how seldom a slot moves to another node for no reason but variety.
const moveOnceIn = 20

// slots are the logical clients. A slot has one process at a time; when that dies of an unknown
// outcome, a new one takes the slot, numbered slot + k * (number of slots), and asks another node.
type slots struct {
	first   int // lowest process number
	process []int
	node    []string
	busy    []bool
	nodes   []string
	random  *rand.Rand
}

func newSlots(first, count int, nodes []string, random *rand.Rand) *slots {
	s := &slots{
		first: first, process: make([]int, count), node: make([]string, count), busy: make([]bool, count),
		nodes: nodes, random: random,
	}
	for i := range count {
		s.process[i] = first + i
		s.node[i] = s.draw()
	}
	return s
}

func (s *slots) draw() string { return s.nodes[s.random.IntN(len(s.nodes))] }

// ask has all slots ask these nodes from now on. Those whose node is among them stay with it.
func (s *slots) ask(nodes []string) {
	s.nodes = nodes
	for i, node := range s.node {
		if !slices.Contains(nodes, node) {
			s.node[i] = s.draw()
		}
	}
}

// take claims a free slot, drawn from all that are free.
func (s *slots) take() (process int, node string, ok bool) {
	var free []int
	for i, busy := range s.busy {
		if !busy {
			free = append(free, i)
		}
	}
	if len(free) == 0 {
		return 0, "", false
	}
	i := free[s.random.IntN(len(free))]
	if s.random.IntN(moveOnceIn) == 0 {
		s.node[i] = s.draw()
	}
	s.busy[i] = true
	return s.process[i], s.node[i], true
}

// release frees the slot of a process; dead says that the process must not be used again. It tells
// whether the process held a slot.
func (s *slots) release(process int, dead bool) bool {
	i := (process - s.first) % len(s.process)
	if process < s.first || s.process[i] != process || !s.busy[i] {
		return false
	}
	s.busy[i] = false
	if dead {
		s.process[i] += len(s.process)
		s.node[i] = s.draw()
	}
	return true
}

// unused is a number from which on no process was ever used.
func (s *slots) unused() int {
	highest := s.first
	for _, p := range s.process {
		highest = max(highest, p+1)
	}
	return highest
}

// move has the slot of a process ask another node from now on, where there is another.
func (s *slots) move(process int) {
	i := (process - s.first) % len(s.process)
	for was := s.node[i]; len(s.nodes) > 1 && s.node[i] == was; {
		s.node[i] = s.draw()
	}
}

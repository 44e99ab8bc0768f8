package runner

import (
	"hash/fnv"
	"math/rand/v2"
)

// stream is the random source for one purpose of a run. What one purpose draws never moves what
// another one draws, so that a seed keeps its schedule when, say, the operations change.
func stream(seed uint64, purpose string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

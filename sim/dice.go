package sim

import (
	"hash/fnv"
	"math"
	"math/bits"
	"math/rand/v2"
	"time"
)

// dice is the random source for one purpose, so that what one purpose draws never moves what another
// one draws.
type dice struct{ pcg rand.PCG }

func newDice(seed uint64, purpose string) dice {
	h := fnv.New64a()
	_, _ = h.Write([]byte(purpose))
	return dice{*rand.NewPCG(seed, h.Sum64())}
}

func (d *dice) next() uint64 { return d.pcg.Uint64() }

// below draws from [0, n).
func (d *dice) below(n int) int {
	hi, _ := bits.Mul64(d.pcg.Uint64(), uint64(n))
	return int(hi)
}

// between draws from [lo, hi).
func (d *dice) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(d.below(int(hi-lo)))
}

// long draws a time whose logarithm is even between those of lo and hi: mostly short, sometimes long.
func (d *dice) long(lo, hi time.Duration) time.Duration {
	u := float64(d.pcg.Uint64()>>11) / (1 << 53)
	return time.Duration(float64(lo) * math.Pow(float64(hi)/float64(lo), u))
}

// odds are how likely something is, of 2^64.
type odds uint64

// chances is the odds of something with a probability below 1.
func chances(p float64) odds { return odds(p * (1 << 32) * (1 << 32)) }

// hit draws whether something happens. What never happens draws nothing.
func (d *dice) hit(o odds) bool { return o > 0 && d.pcg.Uint64() < uint64(o) }

// pick draws one of several.
func pick[T any](d *dice, from ...T) T { return from[d.below(len(from))] }

package shrink

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// draws are what random lines are drawn with.
type draws struct{ *rand.Rand }

func newDraws(seed uint64) draws { return draws{rand.New(rand.NewPCG(seed, 0x73687269))} }

// Short is from where on lines are short enough: nothing is drawn to shorten them.
const Short = 15

// draw looks for fewer lines around what is left: some lines are moved, or give way to fewer that are drawn. It tells whether
// it found any.
func (s *Shrinker) draw() bool {
	if len(s.lines) <= Short || len(s.lines) > 200 {
		return false
	}
	s.tell("drawing")
	base := s.lines
	for s.more() {
		candidates := make([][]string, s.o.Workers)
		for i := range candidates {
			candidates[i] = s.variant(base)
		}
		i, kept := First(candidates, s.test)
		switch {
		case i < 0:
		case len(kept) < len(s.lines):
			s.lines, s.drawn = kept, true
			s.tell("drawn")
			return true
		case len(kept) <= len(s.lines):
			base = kept // as long, and other: a way to somewhere else
		}
	}
	return false
}

// variant is lines with some of them changed. It is no longer.
func (s *Shrinker) variant(lines []string) []string {
	d := s.draws
	v := slices.Clone(lines)
	for range 1 + d.IntN(3) {
		at := 1 + d.IntN(len(v)-1)
		switch d.IntN(4) {
		case 0: // a line moves
			line := v[at]
			v = slices.Delete(v, at, at+1)
			v = slices.Insert(v, 1+d.IntN(len(v)), line)
		case 1:
			v[at] = s.line(v)
		default: // some give way to fewer
			end := min(len(v), at+1+d.IntN(5))
			var instead []string
			for range d.IntN(end - at) {
				instead = append(instead, s.line(v))
			}
			v = slices.Replace(v, at, end, instead...)
		}
		if len(v) < 2 {
			return lines
		}
	}
	return v
}

// line draws a line.
func (s *Shrinker) line(lines []string) string {
	d := s.draws
	n := nodes(lines)
	node := func() string { return strconv.Itoa(d.IntN(n)) }
	group := func() string {
		a, b := d.IntN(n), d.IntN(n)
		if a == b {
			b = (a + 1) % n
		}
		return fmt.Sprintf("%d,%d", min(a, b), max(a, b))
	}
	kinds := []string{"message", "append", "append-reply", "heartbeat", "heartbeat-reply", "vote", "pre-vote", "chunk"}
	return strings.TrimSpace([]func() string{
		func() string { return "deliver all" },
		func() string { return "deliver all among " + group() },
		func() string { return "deliver all from " + node() },
		func() string { return "deliver all to " + node() },
		func() string { return "deliver all " + kinds[d.IntN(len(kinds))] },
		func() string { return "campaign " + node() },
		func() string { return "tick" },
		func() string { return fmt.Sprintf("tick %s %d", node(), 1+d.IntN(20)) },
		func() string { return fmt.Sprintf("tick until %s.state is leader", node()) },
		func() string { return fmt.Sprintf("client write x %d at %s", 1+d.IntN(9), node()) },
		func() string { return lines[1+d.IntN(len(lines)-1)] },
		func() string { return lines[1+d.IntN(len(lines)-1)] },
	}[d.IntN(12)]())
}

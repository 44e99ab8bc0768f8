package shrink

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"coup/scenario"
)

// Options say how much may be done. The zero value of each is its default.
type Options struct {
	Budget  time.Duration // by the wall clock; default a minute
	Workers int           // default 1
	Seed    uint64        // of what is drawn
	// Sound plays lines on a program without the bug. What is kept must break nothing there. Nil when there is no such program.
	Sound func(lines []string) (scenario.Replayed, error)
	// Progress, if not nil, is told how many lines are left.
	Progress func(doing string, lines int)
}

// Shrunk is what is left.
type Shrunk struct {
	Lines  []string      `json:"lines"`
	Check  string        `json:"check"`  // that fails
	Text   string        `json:"text"`   // what it says
	Before int           `json:"before"` // lines
	Drawn  bool          `json:"drawn"`  // some lines were drawn, and not taken from the run
	Trials int           `json:"trials"`
	Took   time.Duration `json:"took_ns"`
	Ended  bool          `json:"ended"` // nothing more was found to cut, and the budget was not used up
}

// ErrNotSame is the error of lines that do not fail as they should.
var ErrNotSame = errors.New("played by hand it does not fail in the same way")

// Shrinker cuts one scenario down.
type Shrinker struct {
	o        Options
	check    string
	gist     string // of what the check said, where there are many ways to fail it
	unhealed bool   // it fails before the end
	lines    []string
	drawn    bool
	trials   atomic.Int64
	deadline time.Time
	asking   sync.Mutex // Sound
	draws    draws
}

// Shrink cuts down lines that fail by a check.
func Shrink(lines []string, check string, o Options) (Shrunk, error) {
	began := time.Now()
	if o.Budget <= 0 {
		o.Budget = time.Minute
	}
	o.Workers = max(1, o.Workers)
	s := &Shrinker{o: o, check: check, deadline: began.Add(o.Budget), draws: newDraws(o.Seed)}
	err := s.begin(lines)
	for other := uint64(1); errors.Is(err, ErrNotSame) && other <= otherSeeds && time.Since(began) < o.Budget/4; other++ {
		s.drawn, err = true, s.begin(reseed(lines, other))
	}
	if err != nil {
		return Shrunk{}, err
	}
	s.run()
	r := scenario.Replay(s.lines, scenario.Options{Unhealed: s.unhealed})
	return Shrunk{
		Lines: s.lines, Check: check, Text: r.Text, Before: len(lines), Drawn: s.drawn,
		Trials: int(s.trials.Load()), Took: time.Since(began), Ended: s.more(),
	}, nil
}

// otherSeeds is with how many other seeds lines are tried that do not fail as they should: what is drawn by hand, such as
// which bit flips, is not what was drawn in the run.
const otherSeeds = 100

var seeded = regexp.MustCompile(`seed \d+`)

// reseed is lines whose cluster draws otherwise.
func reseed(lines []string, seed uint64) []string {
	return append([]string{seeded.ReplaceAllString(lines[0], fmt.Sprintf("seed %d", seed))}, lines[1:]...)
}

// begin plays all lines, and keeps those that were played before it failed.
func (s *Shrinker) begin(lines []string) error {
	r := scenario.Replay(lines, scenario.Options{})
	if r.Check != s.check {
		said := "nothing fails"
		if r.Check != "" {
			said = fmt.Sprintf("%s fails: %s", r.Check, r.Text)
		}
		return fmt.Errorf("%w: %s is to fail, and %s", ErrNotSame, s.check, said)
	}
	s.unhealed = !r.Healed
	if s.check == "node" {
		s.gist = gist(r.Text)
	}
	kept, fails := s.test(lines)
	if !fails {
		return fmt.Errorf("%w: without the lines that cannot be played, or on the program without the bug", ErrNotSame)
	}
	s.lines = kept
	return nil
}

var particulars = regexp.MustCompile(`raft-\d+|\d+|0x[0-9a-f]+|"[^"]*"`)

// gist is a text without what differs from run to run.
func gist(text string) string { return particulars.ReplaceAllString(text, "_") }

func (s *Shrinker) more() bool { return time.Now().Before(s.deadline) }

// test tells whether lines fail in the same way, and which of them were played before.
func (s *Shrinker) test(lines []string) ([]string, bool) {
	for range 3 {
		s.trials.Add(1)
		r := scenario.Replay(lines, scenario.Options{Unhealed: s.unhealed})
		if r.Check != s.check || s.gist != "" && gist(r.Text) != s.gist || s.unhealed == r.Healed {
			return nil, false
		}
		if !slices.Contains(r.Played, false) {
			return lines, s.sound(lines)
		}
		lines = played(lines, r.Played)
	}
	return nil, false
}

func played(lines []string, which []bool) (kept []string) {
	for i, line := range lines {
		if which[i] {
			kept = append(kept, line)
		}
	}
	return kept
}

// sound tells whether lines break nothing on the program without the bug.
func (s *Shrinker) sound(lines []string) bool {
	if s.o.Sound == nil {
		return true
	}
	s.asking.Lock()
	defer s.asking.Unlock()
	r, err := s.o.Sound(lines)
	return err == nil && r.Check == ""
}

// accept takes what is left from the first of some candidates that fails in the same way.
func (s *Shrinker) accept(candidates [][]string) bool {
	for len(candidates) > 0 && s.more() {
		n := min(s.o.Workers, len(candidates))
		if i, kept := First(candidates[:n], s.test); i >= 0 {
			s.lines = kept
			return true
		}
		candidates = candidates[n:]
	}
	return false
}

func (s *Shrinker) tell(doing string) {
	if s.o.Progress != nil {
		s.o.Progress(doing, len(s.lines))
	}
}

// run cuts as long as that finds something.
func (s *Shrinker) run() {
	s.tell("begin")
	for s.more() {
		before := strings.Join(s.lines, "\n")
		s.cut()
		s.rewrite()
		if strings.Join(s.lines, "\n") != before {
			continue
		}
		if s.settings(); strings.Join(s.lines, "\n") != before {
			continue
		}
		if !s.draw() {
			break
		}
	}
	s.polish()
}

// first holds back the line that makes the cluster.
func first(line string) bool { return strings.HasPrefix(line, "cluster of ") }

// cut leaves lines out.
func (s *Shrinker) cut() {
	for {
		before := len(s.lines)
		s.ticks()
		s.coarsely()
		s.kinds()
		s.tell("by kind")
		s.lines = Reduce(s.lines, s.o.Workers, first, s.more, s.tidy, s.test)
		s.tell("line by line")
		s.fewerTicks()
		s.pairs()
		s.smallerCluster()
		s.tell("fewer nodes")
		if len(s.lines) == before || !s.more() {
			return
		}
	}
}

// manyLines is from where on a single test is dear.
const manyLines = 200

// coarsely leaves out large parts, where there are many lines.
func (s *Shrinker) coarsely() {
	for part := 2; part <= 32 && len(s.lines) > manyLines && s.more(); part *= 2 {
		s.lines = sweep(s.lines, len(s.lines)/part, s.o.Workers, first, s.more, s.test)
		s.ticks()
		s.tell("large parts")
	}
}

// tidy gathers ticks while lines are left out.
func (s *Shrinker) tidy(lines []string) []string {
	s.lines = lines
	s.ticks()
	s.tell("line by line")
	return s.lines
}

// kinds leaves out all lines of a kind at once: the more lines the earlier.
func (s *Shrinker) kinds() {
	many := map[string]int{}
	for _, line := range s.lines {
		for _, k := range kindsOf(line) {
			many[k]++
		}
	}
	var kinds []string
	for k, n := range many {
		if n > 1 && n > len(s.lines)/manyLines {
			kinds = append(kinds, k)
		}
	}
	slices.SortFunc(kinds, func(a, b string) int {
		if many[a] != many[b] {
			return many[b] - many[a]
		}
		return strings.Compare(a, b)
	})
	for at := 0; at < len(kinds) && s.more(); {
		n := min(s.o.Workers, len(kinds)-at)
		var candidates [][]string
		for _, k := range kinds[at : at+n] {
			candidates = append(candidates, slices.DeleteFunc(slices.Clone(s.lines), func(line string) bool {
				return !first(line) && slices.Contains(kindsOf(line), k)
			}))
		}
		i, kept := First(candidates, s.test)
		if i < 0 {
			at += n
			continue
		}
		s.lines = kept
		at += i + 1
	}
}

// kindsOf are the groups that a line belongs to: what it does, with what, to whom.
func kindsOf(line string) (kinds []string) {
	w := strings.Fields(line)
	if len(w) < 2 || first(line) {
		return nil
	}
	kinds = append(kinds, w[0])
	switch w[0] {
	case "hang", "flush":
		kinds = append(kinds, "disk "+w[len(w)-1], "hangs")
	case "pause", "resume":
		kinds = append(kinds, "pauses")
	case "crash", "start":
		kinds = append(kinds, "processes "+w[1])
	case "client":
		kinds = append(kinds, w[0]+" "+w[1])
		if len(w) > 2 {
			kinds = append(kinds, "client "+w[1]+" "+w[2])
		}
	case "deliver", "duplicate":
		for i, word := range w {
			if word == "from" && i+3 < len(w) && w[i-1] != "all" {
				kinds = append(kinds, w[i-1], "link "+w[i+1]+" "+w[i+3], w[i-1]+" "+w[i+1]+" "+w[i+3])
			}
		}
	}
	for _, n := range nodesOf(line) {
		kinds = append(kinds, fmt.Sprintf("node %d", n), fmt.Sprintf("%s %d", w[0], n))
	}
	return kinds
}

// pairs leaves out two lines at once that may belong together, where few are left.
func (s *Shrinker) pairs() {
	if len(s.lines) > 80 {
		return
	}
	for again := true; again && s.more(); {
		var candidates [][]string
		for i := 1; i < len(s.lines); i++ {
			for j := i + 1; j < len(s.lines); j++ {
				candidates = append(candidates, slices.Concat(s.lines[:i], s.lines[i+1:j], s.lines[j+1:]))
			}
		}
		again = s.accept(candidates)
	}
}

package sim

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"coup/raftnode/actionlog"
	"coup/raftnode/raft"
)

// Troubles are what may go wrong by itself, by the names that Options.Trouble takes.
func Troubles() []string {
	return []string{"messages", "crashes", "disk", "clocks", "pauses", "membership", "operator", "eclipses"}
}

// trouble is what goes wrong in a world, as drawn from its seed. Zero odds and intervals are off.
type trouble struct {
	dice dice

	latency time.Duration // a message takes from an eighth of it up to all of it
	inOrder bool          // between two nodes, those that nothing delays
	loss, duplicate,
	tail, hold odds // of a message

	part time.Duration // between two times at which links fail, on average

	quick          time.Duration // a sync takes from an eighth of it up to all of it
	slow, failSync odds          // of a sync
	fill           time.Duration // between two full disks, on average
	rot            time.Duration // between two disks that are lost or lie about what was written, on average

	slack float64 // a clock is off by at most that part
	drift int     // the percentage by which two clocks may thus differ; 0 where nobody relies on it

	crash         time.Duration // between two crashes, on average
	crashInWrite  odds          // of a write
	crashInChange odds          // of a leader's write while a configuration is not committed

	stall time.Duration // between two pauses, on average
}

// What happens again and again, by itself.
const (
	troubleCrash = iota
	troubleStall
	troubleFull
	troublePart
	troubleRot
	troubleEmpty // a disk has space again
)

func newTrouble(o Options) (trouble, error) {
	for _, name := range o.Trouble {
		if !slices.Contains(Troubles(), name) {
			return trouble{}, fmt.Errorf("sim: there is no trouble %q; there are %s", name, strings.Join(Troubles(), ", "))
		}
	}
	d := newDice(o.Seed, "character")
	t := trouble{dice: newDice(o.Seed, "trouble")}
	const ms = time.Millisecond
	t.latency = pick(&d, ms/2, ms, 2*ms, 10*ms)
	t.quick = pick(&d, ms/4, ms, 2*ms)
	t.inOrder = true
	t.drift = 1
	// Each is drawn whether it is wanted or not, so that one trouble more leaves the others alone.
	for _, draw := range []struct {
		name string
		draw func()
	}{
		{"messages", func() {
			t.inOrder = d.below(3) == 0
			t.loss = chances(pick(&d, 0, 0, 0.001, 0.01, 0.05))
			t.duplicate = chances(pick(&d, 0, 0.001, 0.01, 0.1))
			t.tail = chances(pick(&d, 0, 0.001, 0.01, 0.1))
			t.hold = chances(pick(&d, 0, 0.0005, 0.005))
			t.part = pick(&d, 0, 0, 3*time.Second, 8*time.Second)
		}},
		{"crashes", func() {
			t.crash = pick(&d, 0, 2*time.Second, 5*time.Second, 10*time.Second)
			t.crashInWrite = chances(pick(&d, 0, 0.0002, 0.001, 0.005))
			t.crashInChange = chances(pick(&d, 0, 0.05, 0.3))
		}},
		{"disk", func() {
			t.slow = chances(pick(&d, 0, 0.001, 0.01, 0.05))
			t.failSync = chances(pick(&d, 0, 0, 0.0002, 0.001))
			t.fill = pick(&d, 0, 0, 10*time.Second)
			t.rot = pick(&d, 0, 0, 5*time.Second, 15*time.Second)
		}},
		{"clocks", func() {
			t.slack = pick(&d, 0.01, 0.05, 0.1)
			t.drift = 1 + int(math.Ceil(200*t.slack/(1+t.slack)))
		}},
		{"pauses", func() { t.stall = pick(&d, 0, 2*time.Second, 5*time.Second) }},
	} {
		before := t
		if draw.draw(); !slices.Contains(o.Trouble, draw.name) {
			t = before
		}
	}
	return t, nil
}

// calm ends all trouble.
func (t *trouble) calm() {
	*t = trouble{dice: t.dice, latency: t.latency, quick: t.quick, inOrder: t.inOrder, slack: t.slack, drift: t.drift}
}

// tickRate draws how long a tick is by the true time.
func (t *trouble) tickRate(tick time.Duration) time.Duration {
	off := 2*float64(t.dice.below(1001))/1000 - 1
	return time.Duration(float64(tick) * (1 + off*t.slack))
}

// sync draws how long a sync takes, and whether it fails.
func (t *trouble) sync(w *World) (took time.Duration, broken bool) {
	if t.dice.hit(t.failSync) && w.spare() {
		return 0, true
	}
	if t.dice.hit(t.slow) {
		w.reached.SlowSyncs++
		return t.dice.long(10*time.Millisecond, 500*time.Millisecond), false
	}
	return t.dice.between(t.quick/8, t.quick), false
}

// doom is how a process ends that crashes about a write.
type doom uint8

const (
	doomNone            doom = iota
	doomAtOnce               // before what may be said early is
	doomBeforeSync           // after that, before the write is durable
	doomBeforeMessages       // it is durable, and nothing that follows from it has been said
	doomBetweenMessages      // some of that has
)

// doom draws whether and how a process crashes about its writes: more often when there are several, of which a crash
// may leave some.
func (t *trouble) doom(w *World, n *node) doom {
	if c := n.replica.Core(); t.crashInChange > 0 && c.Leads() && c.ConfigurationIndex() > c.Commit() && t.dice.hit(t.crashInChange) {
		// Whether the others can go on or not: it comes back. Mostly others have then what it has not itself.
		return pick(&t.dice, doomBeforeSync, doomBeforeSync, doomAtOnce, doomBeforeMessages, doomBetweenMessages)
	}
	likely := t.crashInWrite
	if n.writes > 1 {
		likely *= 16
	}
	if !t.dice.hit(likely) || !w.spare() {
		return doomNone
	}
	return doom(1 + t.dice.below(4))
}

// spare tells whether the members go on deciding when one more is gone.
func (w *World) spare() bool {
	c, _ := w.configured()
	return w.spareOf(c.Voters) && (len(c.Outgoing) == 0 || w.spareOf(c.Outgoing))
}

func (w *World) spareOf(voters []raft.NodeID) bool {
	gone := 1
	for _, id := range voters {
		if n := w.nodes[w.find(id)]; !n.alive() || n.frozen || n.stalled {
			gone++
		}
	}
	return 2*gone < len(voters)
}

// beginTrouble schedules what happens by itself.
func (w *World) beginTrouble() {
	for what := range troubleEmpty {
		w.again(what)
	}
}

// again schedules the next of a trouble.
func (w *World) again(what int) {
	t := &w.trouble
	if interval := [...]time.Duration{t.crash, t.stall, t.fill, t.part, t.rot}[what]; interval > 0 {
		w.schedule(event{at: w.now + t.dice.between(0, 2*interval), kind: evTrouble, ref: int32(what)})
	}
}

// happen has a trouble come about.
func (w *World) happen(what int) {
	t := &w.trouble
	if what >= troubleEmpty {
		n := w.nodes[what-troubleEmpty]
		n.disk.full = false
		w.options.Script.fills(n, false)
		w.tell(n, actionlog.Action{Kind: actionlog.Disk, Text: "has space again"})
		return
	}
	w.again(what)
	if what == troublePart {
		w.shutLinks()
		return
	}
	n := w.nodes[t.dice.below(len(w.nodes))]
	if what == troubleRot {
		w.spoil(n)
		return
	}
	if !n.alive() || n.frozen || n.stalled || !w.spare() {
		return
	}
	switch what {
	case troubleCrash:
		// Ten times as often while it writes.
		if t.crash > 0 && (n.busy > w.now || t.dice.below(10) == 0) {
			w.crash(n)
		}
	case troubleStall:
		if t.stall > 0 {
			w.pause(n, &n.stalled)
			w.schedule(event{at: w.now + t.dice.long(20*time.Millisecond, 5*time.Second), kind: evResume, node: uint8(n.index), id: uint64(n.life)})
		}
	case troubleFull:
		if t.fill > 0 {
			n.disk.full = true
			w.options.Script.fills(n, true)
			w.tell(n, actionlog.Action{Kind: actionlog.Disk, Text: "full"})
			w.reached.FullDisks++
			w.schedule(event{at: w.now + t.dice.long(10*time.Millisecond, 3*time.Second), kind: evTrouble, ref: int32(troubleEmpty + n.index)})
		}
	}
}

// shutLinks has some links fail, in one direction each, and come back one by one.
func (w *World) shutLinks() {
	if w.trouble.part == 0 {
		return
	}
	d := &w.trouble.dice
	for range 1 + d.below(2*len(w.nodes)) {
		from, to := d.below(len(w.nodes)), d.below(len(w.nodes))
		shut := d.long(50*time.Millisecond, 3*time.Second)
		w.network.link(from, to).shut = w.now + shut
		w.tellLink(from, to, true, shut)
		w.reached.Shut++
	}
}

// revive has a node that ended by itself start again later.
func (t *trouble) revive(w *World, n *node) {
	if !n.killed && !n.lost && !w.byHand() {
		at := w.now + t.dice.long(5*time.Millisecond, 5*time.Second)
		w.schedule(event{at: at, kind: evRestart, node: uint8(n.index), id: uint64(n.life)})
	}
}

// restartByItself starts a node again unless somebody else has, or wants it dead.
func (w *World) restartByItself(n *node, life uint64) {
	if uint64(n.life) == life && !n.alive() && !n.killed && !n.lost {
		// What it comes to is noted there.
		_ = w.restart(n)
	}
}

package nemesis

import (
	"context"
	"fmt"
	"math"
	"time"

	"coup/cluster"
	"coup/raftnode/seams"
)

// clock sets the clock of one node, the leader or another, wrong while it runs. Whatever rates and jumps there are, a node
// that serves no lease reads, which none does by default and no workload asks for, must answer right.
type clock struct {
	name    string
	summary string
	draw    func(rng Rand) seams.ClockFaults
}

var (
	jumpClock = &clock{
		name: "jump-clock", summary: "let the clock of one node jump, forwards or backwards; where it goes back its time stands still",
		draw: func(rng Rand) seams.ClockFaults {
			jump := time.Duration(200+rng.IntN(20_000)) * time.Millisecond
			if rng.IntN(2) == 0 {
				jump = -jump
			}
			return seams.ClockFaults{Jump: jump}
		},
	}
	strobeClock = &clock{
		name: "strobe-clock", summary: "let the clock of one node jump to and fro, many times",
		draw: func(rng Rand) seams.ClockFaults {
			return seams.ClockFaults{
				Strobe: time.Duration(100+rng.IntN(3000)) * time.Millisecond, Period: time.Duration(30+rng.IntN(400)) * time.Millisecond,
			}
		},
	}
	clockRate = &clock{
		name: "clock-rate", summary: "let the clock of one node go up to ten times as fast, or as slow",
		draw: func(rng Rand) seams.ClockFaults {
			rate := 1.2 + float64(rng.IntN(89))/10
			if rng.IntN(2) == 0 {
				rate = 1 / rate
			}
			return seams.ClockFaults{Rate: rate}
		},
	}
)

func (k *clock) Name() string      { return k.name }
func (k *clock) Summary() string   { return k.summary }
func (k *clock) KeepsQuorum() bool { return true }
func (k *clock) Needs() string     { return "at least 3 nodes, which are started with seams" }
func (k *clock) Proof() string {
	return "readings of the node's clock against ours, or both ends of its jumps; later it goes at the true rate"
}

func (k *clock) Check(c cluster.Cluster) error {
	_, err := breaker(c, k.name)
	return err
}

func (k *clock) Install(ctx context.Context, c cluster.Cluster, view View, rng Rand) (Installed, Outcome) {
	b, node, skipped := victim(ctx, c, view, rng, k.name)
	if skipped.Result != "" {
		return nil, skipped
	}
	w := &wrongClock{broken{manner: mannerOf(c), breaker: b, node: node}}
	outcome := Outcome{Result: ResultInstalled, Targets: []string{node}}
	var err error
	if outcome.Seams, err = w.set(ctx, k.draw(rng)); err != nil {
		outcome.Result, outcome.Reason = ResultIndeterminate, err.Error()
	}
	return w, outcome
}

// wrongClock is a clock that was set wrong.
type wrongClock struct{ broken }

// Heal implements Installed. The proof is that the clock goes at the true rate by the clock of whoever heals. What it is off
// by stays: ticks are never taken back.
func (w *wrongClock) Heal(ctx context.Context) Outcome {
	ctx, cancel := w.healing(ctx)
	defer cancel()
	outcome := Outcome{Result: ResultHealed, Targets: []string{w.node}}
	err := w.revive(ctx)
	if err == nil {
		// A node that was started again may need a moment until it can be asked.
		err = w.prove(ctx, func(ctx context.Context) (err error) {
			outcome.Seams, err = w.set(ctx, seams.ClockFaults{})
			return err
		})
	}
	if err != nil {
		outcome.Result, outcome.Reason = ResultNotHealed, err.Error()
	}
	return outcome
}

// set has a clock go wrong, or right, and proves by our own clock that it does.
func (w *wrongClock) set(ctx context.Context, f seams.ClockFaults) (map[string]seams.Report, error) {
	before, err := w.look(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := w.breaker.BreakClock(ctx, w.node, f); err != nil {
		return nil, err
	}
	begun, err := w.look(ctx)
	if err != nil {
		return nil, err
	}
	early, late := begun.Clock.Offset, begun.Clock.Offset
	return w.shows(ctx, func(r seams.Report) error {
		now, err := w.look(ctx)
		if err != nil {
			return err
		}
		early, late = min(early, now.Clock.Offset), max(late, now.Clock.Offset)
		switch {
		case now.Clock.Faults != f:
			return fmt.Errorf("the clock of %s was set %+v, and is %+v", w.node, f, now.Clock.Faults)
		case f.Strobe > 0:
			if late-early < f.Strobe-time.Millisecond {
				return fmt.Errorf("the clock of %s goes to and fro by %v only", w.node, late-early)
			}
			return nil
		}
		return w.goes(f, before, begun, now)
	})
}

// look is what the node says, and between which times by our own clock it said it.
func (w *wrongClock) look(ctx context.Context) (s sighting, err error) {
	s.asked = time.Now()
	s.Report, err = w.breaker.Seams(ctx, w.node)
	s.heard = time.Now()
	return s, err
}

type sighting struct {
	seams.Report
	asked, heard time.Time
}

// goes tells why a clock does not do as it was told: from one sighting to another it must have passed as much time as lies
// between the least and the most by our own clock, at its rate, and it must have jumped when it was set.
func (w *wrongClock) goes(f seams.ClockFaults, before, begun, now sighting) error {
	rate := f.Rate
	if rate == 0 {
		rate = 1
	}
	passed := func(a, b sighting) (least, most time.Duration) { return b.asked.Sub(a.heard), b.heard.Sub(a.asked) }
	const enough = 250 * time.Millisecond
	least, most := passed(begun, now)
	if least < enough {
		return fmt.Errorf("too little time has passed to tell how the clock of %s goes", w.node)
	}
	lo, hi := scaled(least, rate)-time.Millisecond, scaled(most, rate)+time.Millisecond
	if seen := now.Clock.Seen - begun.Clock.Seen; seen < lo || seen > hi {
		return fmt.Errorf("the clock of %s counted %v in %v to %v, at the rate %g", w.node, seen, least, most, rate)
	}
	if f.Jump == 0 {
		return nil
	}
	_, most = passed(before, begun)
	// A jump starts from what the node has counted, which may be a little behind or before its clock.
	if moved := begun.Clock.Seen - before.Clock.Seen - f.Jump; moved < -50*time.Millisecond || moved > most+50*time.Millisecond {
		return fmt.Errorf("the clock of %s moved by %v and not by %v", w.node, moved+f.Jump, f.Jump)
	}
	return nil
}

func scaled(d time.Duration, rate float64) time.Duration {
	return time.Duration(math.Round(float64(d) * rate))
}

package nemesis

import (
	"fmt"
	"time"
)

// Planned is one entry of a schedule. Times are since the workload began. Seed and ID decide what the fault
// draws, such as its targets, so that an entry does the same in any schedule.
type Planned struct {
	ID     int           `json:"id"`
	Seed   uint64        `json:"seed"`
	Fault  string        `json:"fault"`
	At     time.Duration `json:"at"`
	HealAt time.Duration `json:"heal_at"`
}

// Schedule is what events did to a cluster, to be done again: each fault that was installed, or may have been, from
// and to when it was. What was skipped did nothing, and is left out; what was never healed, since the run ended, stays
// for as long as the workload. Load is when that began. An error means that the events do not say what must be known.
func Schedule(events []Event, load, workload time.Duration) ([]Planned, error) {
	var plan []Planned
	at := map[int]int{}
	for _, e := range events {
		switch i, known := at[e.ID]; {
		case e.Result == ResultSkipped:
		case e.Seed == nil:
			return nil, fmt.Errorf("fault %d, %s, does not say from what seed its targets were drawn: it was recorded by another version", e.ID, e.Fault)
		case e.Phase == Install && !known:
			at[e.ID] = len(plan)
			plan = append(plan, Planned{ID: e.ID, Seed: *e.Seed, Fault: e.Fault, At: e.Start - load, HealAt: workload})
		case e.Phase == Heal && known:
			plan[i].HealAt = e.Start - load
		default:
			return nil, fmt.Errorf("the %s of fault %d, %s, fits nothing before it", e.Phase, e.ID, e.Fault)
		}
	}
	return plan, nil
}

// Timing shapes a schedule.
type Timing struct {
	Start    time.Duration // no fault before
	End      time.Duration // every fault healed well before
	Interval time.Duration // from one install to the next, on average; 0 means 7 s
	Window   time.Duration // how long a fault is in force, on average; 0 means 4 s, or less where the interval is short
}

const (
	defaultInterval = 7 * time.Second
	defaultWindow   = 4 * time.Second
)

// Plan draws a schedule from rng: the faults come in shuffled decks, so that every kind comes as often as its weight
// says before any comes again; they never overlap.
func Plan(rng Rand, faults []Fault, t Timing) []Planned {
	if t.Interval <= 0 {
		t.Interval = defaultInterval
	}
	if t.Window <= 0 {
		t.Window = min(defaultWindow, t.Interval*4/7)
	}
	// A fault is healed, and the cluster has some time to itself, before the next.
	t.Window = min(t.Window, t.Interval*3/4)
	var plan []Planned
	var deck []Fault
	for slot := t.Start; len(faults) > 0; slot += t.Interval {
		// The slot's slack is shared out at random: both beginning and length vary.
		slack := t.Interval - t.Window
		at := slot + portion(rng, slack/4)
		window := t.Window - t.Window/8 + portion(rng, t.Window/4)
		if at+window+slack/4 > t.End {
			return plan
		}
		if len(deck) == 0 {
			for _, f := range faults {
				for range Weight(f) {
					deck = append(deck, f)
				}
			}
			rng.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		plan = append(plan, Planned{ID: len(plan) + 1, Fault: deck[0].Name(), At: at, HealAt: at + window})
		deck = deck[1:]
	}
	return nil
}

// portion draws a part of d, in milliseconds.
func portion(rng Rand, d time.Duration) time.Duration {
	return time.Duration(rng.IntN(int(d/time.Millisecond)+1)) * time.Millisecond
}

// retryPause is between two attempts to install a fault that was skipped.
const retryPause = 250 * time.Millisecond

// Retry says when to try again to install a fault that was skipped at now, and whether the window
// leaves time for it: half of it must be left.
func (p Planned) Retry(now time.Duration) (at time.Duration, ok bool) {
	at = now + retryPause
	return at, p.HealAt-at >= (p.HealAt-p.At)/2
}

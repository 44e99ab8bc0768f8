package nemesis

import "time"

// Planned is one entry of a schedule. Times are since the run began.
type Planned struct {
	ID     int           `json:"id"`
	Fault  string        `json:"fault"`
	At     time.Duration `json:"at"`
	HealAt time.Duration `json:"heal_at"`
}

// Timing shapes a schedule.
type Timing struct {
	Start    time.Duration // no fault before
	End      time.Duration // every fault healed well before
	Interval time.Duration // from one install to the next, on average; 0 means 7 s
	Window   time.Duration // how long a fault is in force, on average; 0 means 4 s
}

// Plan draws a schedule from rng: the faults come in shuffled decks, so that every kind comes once
// before any comes again; they never overlap.
func Plan(rng Rand, faults []Fault, t Timing) []Planned { return nil }

// Retry says when to try again to install a fault that was skipped at now, and whether the window
// leaves time for it.
func (p Planned) Retry(now time.Duration) (at time.Duration, ok bool) { return 0, false }

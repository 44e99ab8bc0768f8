package seams

import (
	"errors"
	"sync"
	"time"

	"coup/raftnode/server"
)

// ClockFaults are what a clock does wrong. The zero value has it go at the true rate from where it stands.
type ClockFaults struct {
	// Jump moves the clock once, when the fault is set: forwards, or backwards where it is negative.
	Jump time.Duration `json:"jump_ns,omitempty"`
	// Rate is how much time it counts in a second; 0 stands for 1, which is the true rate. It must not be negative.
	Rate float64 `json:"rate,omitempty"`
	// Strobe has the clock stand that much later during every other Period.
	Strobe time.Duration `json:"strobe_ns,omitempty"`
	Period time.Duration `json:"period_ns,omitempty"` // positive where Strobe is given
}

// validate says what makes no sense.
func (f ClockFaults) validate() error {
	switch {
	case f.Rate < 0 || f.Rate > 1000:
		return errors.New("rate: it must be from 0 to 1000")
	case f.Strobe != 0 && f.Period <= 0:
		return errors.New("period_ns: a strobe needs one, and it must be positive")
	case f.Strobe < 0:
		return errors.New("strobe_ns: it must not be negative")
	}
	return nil
}

// ClockReport is how a clock stands.
type ClockReport struct {
	Faults ClockFaults   `json:"faults"`
	True   time.Duration `json:"true_ns"` // since the node began
	Seen   time.Duration `json:"seen_ns"` // by this clock, and so by the node
	Offset time.Duration `json:"offset_ns"`
	Ticks  int           `json:"ticks"` // that it has counted
}

// Clock is the time of a replica, which counts ticks of it. Ticks never fall: where the clock goes back, as by a negative
// jump or at the end of a strobe, the count stands still until the clock has come to where it was, and for the node no
// time passes. A jump forwards passes many ticks at once. Safe for concurrent use.
type Clock struct {
	tick time.Duration
	now  func() time.Duration // the true time since the start

	mu     sync.Mutex
	faults ClockFaults
	since  time.Duration // true time at which the faults were set
	from   time.Duration // the clock at that time
	ticks  int           // the most that were told
}

// NewClock is one of ticks that are that long, which is right until it is set wrong.
func NewClock(tick time.Duration) *Clock {
	begun := time.Now()
	return &Clock{tick: tick, now: func() time.Duration { return time.Since(begun) }}
}

// Set has all that is wrong from now on take the place of what was. The clock goes on from where it stands, but for what
// it had gone back, so that a healed one counts at once.
func (c *Clock) Set(f ClockFaults) error {
	if err := f.validate(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count()
	now := c.now()
	c.from = max(c.seen(now), time.Duration(c.ticks)*c.tick) + f.Jump
	c.faults, c.since = f, now
	return nil
}

// seen is what the clock shows at a true time.
func (c *Clock) seen(now time.Duration) time.Duration {
	passed, rate := now-c.since, c.faults.Rate
	if rate == 0 {
		rate = 1
	}
	seen := c.from + time.Duration(float64(passed)*rate)
	if c.faults.Strobe > 0 && passed/c.faults.Period%2 == 1 {
		seen += c.faults.Strobe
	}
	return seen
}

// count brings the ticks up to now.
func (c *Clock) count() int {
	c.ticks = max(c.ticks, int(c.seen(c.now())/c.tick))
	return c.ticks
}

// Report tells how the clock stands.
func (c *Clock) Report() ClockReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	r := ClockReport{Faults: c.faults, True: now, Seen: c.seen(now), Ticks: c.count()}
	r.Offset = r.Seen - r.True
	return r
}

// Ticks are the ticks of this clock from now on. They are looked for ten times as often as there are some at the true rate. Stop ends
// them.
func (c *Clock) Ticks() (t server.Ticks, stop func()) {
	passed := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.count()
	}
	begun, ticker := passed(), time.NewTicker(max(c.tick/10, time.Millisecond))
	return server.Ticks{C: ticker.C, Passed: func() int { return passed() - begun }}, ticker.Stop
}

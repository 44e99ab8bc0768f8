package runner

import (
	"time"

	"coup/history"
)

// rateWindow is what the rate of a run is measured over.
const rateWindow = 2 * time.Second

// counts are how many operations ended how.
type counts struct {
	ok, fail, info int
	recent         []time.Duration // completions with OK inside the window, oldest first
}

func (c *counts) add(t history.Type, at time.Duration) {
	switch t {
	case history.OK:
		c.ok++
		c.recent = append(c.recent, at)
	case history.Fail:
		c.fail++
	case history.Info:
		c.info++
	}
}

// rate is how many operations a second took effect lately.
func (c *counts) rate(now time.Duration) float64 {
	old := 0
	for old < len(c.recent) && c.recent[old] < now-rateWindow {
		old++
	}
	c.recent = c.recent[old:]
	return float64(len(c.recent)) / min(rateWindow, max(now, time.Millisecond)).Seconds()
}

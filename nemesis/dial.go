package nemesis

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"coup/cluster"
)

// Adjustable is a Fault that takes a parameter.
type Adjustable interface {
	Fault
	// Parameter says what it is and within what bounds: "a share from 1% to 90%".
	Parameter() string
	// Setting is its value, as With takes it; empty where it is drawn each time.
	Setting() string
	// With is the same fault with another value. The error says what is wrong with it, and what would do.
	With(value string) (Fault, error)
}

// dial is a parameter of a degradation.
type dial interface {
	meaning() string
	show(cluster.Degradation) string
	set(d *cluster.Degradation, value string) error
}

// shareDial is a share of the packets: 20%, or 0.2.
type shareDial struct{ least, most float64 }

func (s shareDial) meaning() string {
	return fmt.Sprintf("a share from %s to %s", percent(s.least), percent(s.most))
}

func (shareDial) show(d cluster.Degradation) string { return percent(d.Share) }

func (s shareDial) set(d *cluster.Degradation, value string) error {
	number, hundredths := strings.CutSuffix(value, "%")
	share, err := strconv.ParseFloat(number, 64)
	if hundredths {
		share /= 100
	}
	share = math.Round(share*1e4) / 1e4 // packets are drawn in ten-thousandths
	if err != nil || math.IsNaN(share) || share < s.least || share > s.most {
		return fmt.Errorf("%q is not %s", value, s.meaning())
	}
	d.Share = share
	return nil
}

func percent(share float64) string {
	return strconv.FormatFloat(math.Round(share*1e4)/1e2, 'f', -1, 64) + "%"
}

// rateDial is how many packets a second pass: 100/s.
type rateDial struct{}

const maxPacketRate = 500

func (rateDial) meaning() string {
	return fmt.Sprintf("packets a second from 1/s to %d/s", maxPacketRate)
}

func (rateDial) show(d cluster.Degradation) string { return fmt.Sprintf("%d/s", d.Rate) }

func (r rateDial) set(d *cluster.Degradation, value string) error {
	number, each := strings.CutSuffix(value, "/s")
	rate, err := strconv.Atoi(number)
	if err != nil || !each || rate < 1 || rate > maxPacketRate {
		return fmt.Errorf("%q is not %s", value, r.meaning())
	}
	d.Rate = rate
	return nil
}

// delayDial is how long packets take: 50ms.
type delayDial struct{}

// The bounds of a delay: below, a busy machine's own cannot be told from it.
const (
	minDelay = 20 * time.Millisecond
	maxDelay = 500 * time.Millisecond
)

func (delayDial) meaning() string { return fmt.Sprintf("a time from %v to %v", minDelay, maxDelay) }

func (delayDial) show(d cluster.Degradation) string { return d.Delay.String() }

func (s delayDial) set(d *cluster.Degradation, value string) error {
	delay, err := time.ParseDuration(value)
	if delay = delay.Round(time.Millisecond); err != nil || delay < minDelay || delay > maxDelay {
		return fmt.Errorf("%q is not %s", value, s.meaning())
	}
	d.Delay = delay
	return nil
}

// connectionDial is what becomes of connections that stand.
type connectionDial struct{}

func (connectionDial) meaning() string {
	return fmt.Sprintf("%s or %s, drawn when not given", cluster.Silence, cluster.Refuse)
}

func (connectionDial) show(d cluster.Degradation) string { return string(d.Kind) }

func (c connectionDial) set(d *cluster.Degradation, value string) error {
	switch kind := cluster.Disturbance(value); kind {
	case cluster.Silence, cluster.Refuse:
		d.Kind = kind
		return nil
	}
	return fmt.Errorf("%q is neither %s nor %s", value, cluster.Silence, cluster.Refuse)
}

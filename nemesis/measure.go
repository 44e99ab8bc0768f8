package nemesis

import (
	"fmt"
	"math"
	"time"

	"coup/cluster"
)

// improbable is the chance, on either side, that a link which does what it was asked for is taken for one that does
// not. One in a thousand million: a sweep measures some hundred links in each of its runs.
const improbable = 1e-9

// rareEvents is how many packets a measurement expects to be hit. With so many, none at all, or four times too few, is
// as good as impossible.
const rareEvents = 30

// sample is how many datagrams tell whether a link is as bad as that.
func sample(d cluster.Degradation) int {
	switch d.Kind {
	case cluster.Limit:
		return 4*d.Rate + 20
	case cluster.Delay:
		return 50
	case cluster.Silence, cluster.Refuse:
		return 0
	}
	return max(200, int(math.Ceil(rareEvents/d.Share)))
}

// suffers tells why a link is not as bad as that; nil when it is.
func suffers(d cluster.Degradation, m cluster.Measurement) error {
	lost := m.Sent - m.Received
	switch d.Kind {
	case cluster.Loss:
		return byChance("were lost", lost, m.Sent, d.Share)
	case cluster.Duplicate:
		return byChance("came twice", m.Twice, m.Sent, d.Share)
	case cluster.Corrupt:
		if m.Damaged < lost {
			return fmt.Errorf("%d of %d datagrams did not arrive whole, and only %d were dropped for their checksums", lost, m.Sent, m.Damaged)
		}
		return byChance("were damaged", lost, m.Sent, d.Share)
	case cluster.Limit:
		most := allowed(d.Rate, m.Took)
		switch {
		case float64(m.Sent) < 1.2*most:
			return fmt.Errorf("%d datagrams in %v are too few to see a limit of %d a second", m.Sent, m.Took, d.Rate)
		case float64(m.Received) > most:
			return fmt.Errorf("%d of %d datagrams arrived in %v: %d a second should have", m.Received, m.Sent, m.Took, d.Rate)
		case m.Received == 0:
			return fmt.Errorf("none of %d datagrams arrived: %d a second should have", m.Sent, d.Rate)
		}
	case cluster.Delay:
		if m.Received == 0 || m.Delay < d.Delay*7/10 || m.Delay > d.Delay+slack {
			return fmt.Errorf("%d of %d datagrams arrived, after %v: it should have been %v", m.Received, m.Sent, m.Delay, d.Delay)
		}
	case cluster.Reorder:
		// The last of some that are sent at once is overtaken by none.
		if _, most := bounds(m.Sent, d.Share); float64(m.Late) < d.Share*float64(m.Sent)/2 || m.Late > most {
			return fmt.Errorf("%d of %d datagrams were overtaken: %g%% should have been", m.Late, m.Sent, 100*d.Share)
		}
	case cluster.Silence:
		return passages(m, cluster.Silent, cluster.Refused)
	case cluster.Refuse:
		return passages(m, cluster.Carries, cluster.Refused)
	}
	return nil
}

// slack is what a busy machine may add to a delay.
const slack = 500 * time.Millisecond

// recovered tells why a link still is as bad as that; nil when it is not. Some of it may be a busy machine's: a quarter
// of what it would be is taken for that.
func recovered(d cluster.Degradation, m cluster.Measurement) error {
	few := int(d.Share * float64(m.Sent) / 4)
	lost := m.Sent - m.Received
	switch d.Kind {
	case cluster.Loss, cluster.Corrupt:
		return atMost("were lost", lost, few, m.Sent)
	case cluster.Duplicate:
		return atMost("came twice", m.Twice, few, m.Sent)
	case cluster.Reorder:
		return atMost("were overtaken", m.Late, few, m.Sent)
	case cluster.Limit:
		return atMost("were lost", lost, m.Sent/10, m.Sent)
	case cluster.Delay:
		if m.Received == 0 || m.Delay > d.Delay/2 {
			return fmt.Errorf("%d of %d datagrams arrived, and still take %v", m.Received, m.Sent, m.Delay)
		}
	case cluster.Silence:
		// A connection that stood may be silent for long: what waits in it is tried again ever more rarely.
		if m.Fresh != cluster.Carries {
			return passages(m, m.Standing, cluster.Carries)
		}
	case cluster.Refuse:
		return passages(m, cluster.Carries, cluster.Carries)
	}
	return nil
}

func passages(m cluster.Measurement, standing, fresh cluster.Passage) error {
	if m.Standing != standing || m.Fresh != fresh {
		return fmt.Errorf("a connection that stood is %q and a new one %q: it should be %q and %q", m.Standing, m.Fresh, standing, fresh)
	}
	return nil
}

func atMost(what string, k, most, n int) error {
	if k > most {
		return fmt.Errorf("%d of %d datagrams %s: at most %d should", k, n, what, most)
	}
	return nil
}

// allowed is how many packets may pass a limit in that time.
func allowed(rate int, took time.Duration) float64 {
	return float64(cluster.Burst(rate)) + 1.05*float64(rate)*took.Seconds() + 3
}

// byChance tells why k of n is not what a chance of p brings about.
func byChance(what string, k, n int, p float64) error {
	if least, most := bounds(n, p); k < least || k > most {
		return fmt.Errorf("%d of %d datagrams %s: with %g%% from %d to %d should", k, n, what, 100*p, least, most)
	}
	return nil
}

// bounds are the least and the most of n that a chance of p hits, but for an improbable case on either side.
func bounds(n int, p float64) (least, most int) {
	if p >= 1 {
		return n, n
	}
	below, above := 0.0, 0.0
	for least = 0; least < n; least++ {
		if below += binomial(n, least, p); below > improbable {
			break
		}
	}
	for most = n; most > 0; most-- {
		if above += binomial(n, most, p); above > improbable {
			break
		}
	}
	return least, most
}

// binomial is the probability that a chance of p hits exactly k of n.
func binomial(n, k int, p float64) float64 {
	lgamma := func(x int) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	return math.Exp(lgamma(n) - lgamma(k) - lgamma(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
}

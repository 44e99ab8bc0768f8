package packet

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/cluster"
)

// recorder is an Endpoint that writes down what it is asked.
type recorder struct {
	mu      sync.Mutex
	cut     map[netip.Addr]bool
	arrived []uint64
	lossy   int // of the next probes, so many arrive in part
	fails   bool
	wait    time.Duration

	disturbed []netip.Addr
	damaged   int
	connected []netip.Addr
}

func newRecorder() *recorder { return &recorder{cut: map[netip.Addr]bool{}} }

func (r *recorder) Cut(_ context.Context, from []netip.Addr) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails {
		return errors.New("no such luck")
	}
	for _, a := range from {
		r.cut[a] = true
	}
	return nil
}

func (r *recorder) Restore(_ context.Context, from []netip.Addr) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range from {
		delete(r.cut, a)
	}
	return nil
}

func (r *recorder) List(context.Context) (list []Dropped, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for a := range r.cut {
		list = append(list, Dropped{From: a, Packets: 7})
	}
	return list, nil
}

func (r *recorder) Send(_ context.Context, _ netip.Addr, nonces []uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrived = append(r.arrived, nonces...)
	return nil
}

func (r *recorder) Received(_ context.Context, _ netip.Addr, nonces []uint64, wait time.Duration) (Arrived, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wait = wait
	if r.lossy > 0 {
		r.lossy--
		return Arrived{Count: len(nonces) - 1}, nil
	}
	return Arrived{Count: len(nonces), Twice: 1, Late: 2, Delay: time.Minute}, nil
}

func (r *recorder) Features(context.Context) ([]cluster.Capability, error) {
	return []cluster.Capability{{Name: featureRandom, OK: true}, {Name: featureNetem, Detail: "no such file", Remedy: "another kernel"}}, nil
}

func (r *recorder) Disturb(_ context.Context, peers []netip.Addr, d cluster.Degradation) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails {
		return errors.New(string(d.Kind) + " is impossible")
	}
	r.disturbed = append(r.disturbed, peers...)
	return nil
}

func (r *recorder) Calm(_ context.Context, peers []netip.Addr, _ cluster.Disturbance) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.disturbed = slices.DeleteFunc(r.disturbed, func(a netip.Addr) bool { return slices.Contains(peers, a) })
	return nil
}

func (r *recorder) Damaged(context.Context) (int, error) {
	r.damaged += 3
	return r.damaged, nil
}

func (r *recorder) Connect(_ context.Context, to netip.Addr) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connected = append(r.connected, to)
	return nil
}

func (r *recorder) Talk(_ context.Context, to netip.Addr, fresh bool) (cluster.Passage, error) {
	if fresh {
		return cluster.Refused, nil
	}
	return cluster.Silent, nil
}

var one, two, three = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")

func threeMembers() (*Network, map[string]*recorder) {
	ends := map[string]*recorder{"n1": newRecorder(), "n2": newRecorder(), "n3": newRecorder()}
	return NewNetwork(map[string]Member{
		"n1": {one, ends["n1"]}, "n2": {two, ends["n2"]}, "n3": {three, ends["n3"]},
	}), ends
}

// Catches a call that loses its argument, its answer or its error on the way through HTTP.
func TestControlRoundTrip(t *testing.T) {
	end := newRecorder()
	server := httptest.NewServer(Handler(end))
	defer server.Close()
	c := &Client{URL: server.URL, HTTP: server.Client()}
	ctx := t.Context()

	require.NoError(t, c.Cut(ctx, []netip.Addr{one, two}))
	require.Equal(t, map[netip.Addr]bool{one: true, two: true}, end.cut)
	require.NoError(t, c.Restore(ctx, []netip.Addr{one}))
	list, err := c.List(ctx)
	require.NoError(t, err)
	require.Equal(t, []Dropped{{From: two, Packets: 7}}, list)
	require.NoError(t, c.Send(ctx, one, []uint64{1 << 63, 2}))
	require.Equal(t, []uint64{1 << 63, 2}, end.arrived)
	n, err := c.Received(ctx, one, []uint64{4, 5, 6}, time.Second)
	require.NoError(t, err)
	require.Equal(t, Arrived{Count: 3, Twice: 1, Late: 2, Delay: time.Minute}, n)
	require.Equal(t, time.Second, end.wait)
	features, err := c.Features(ctx)
	require.NoError(t, err)
	require.Equal(t, "another kernel", features[1].Remedy)
	require.NoError(t, c.Disturb(ctx, []netip.Addr{one, two}, cluster.Degradation{Kind: cluster.Loss}))
	require.NoError(t, c.Calm(ctx, []netip.Addr{two}, cluster.Loss))
	require.Equal(t, []netip.Addr{one}, end.disturbed)
	damaged, err := c.Damaged(ctx)
	require.NoError(t, err)
	require.Equal(t, 3, damaged)
	require.NoError(t, c.Connect(ctx, three))
	require.Equal(t, []netip.Addr{three}, end.connected)
	fresh, err := c.Talk(ctx, three, true)
	require.NoError(t, err)
	require.Equal(t, cluster.Refused, fresh)
	end.fails = true
	require.ErrorContains(t, c.Cut(ctx, []netip.Addr{three}), "no such luck")

	wrong := httptest.NewServer(http.NotFoundHandler())
	defer wrong.Close()
	_, err = (&Client{URL: wrong.URL, HTTP: wrong.Client()}).List(ctx)
	require.ErrorContains(t, err, "404")
}

// Catches links cut in the wrong direction, and a cut that fails half-way and leaves its half.
func TestNetworkCutsAtTheReceiver(t *testing.T) {
	network, ends := threeMembers()
	links := []cluster.Link{{From: "n1", To: "n2"}, {From: "n3", To: "n2"}, {From: "n1", To: "n3"}}
	require.NoError(t, network.Cut(t.Context(), links))
	require.Empty(t, ends["n1"].cut)
	require.Equal(t, map[netip.Addr]bool{one: true, three: true}, ends["n2"].cut)
	require.Equal(t, map[netip.Addr]bool{one: true}, ends["n3"].cut)
	require.NoError(t, network.Restore(t.Context(), links))
	require.Empty(t, ends["n2"].cut)

	ends["n3"].fails = true
	require.ErrorContains(t, network.Cut(t.Context(), links), "no such luck")
	require.Empty(t, ends["n2"].cut, "what was cut before the failure is taken back")
	for _, l := range []cluster.Link{{From: "n1", To: "n1"}, {From: "n1", To: "n4"}, {From: "", To: "n1"}} {
		require.Error(t, network.Cut(t.Context(), []cluster.Link{l}))
	}
}

// Catches nonces that are used twice: an old datagram would then prove a cut link whole.
func TestProbesAreFresh(t *testing.T) {
	network, ends := threeMembers()
	links := []cluster.Link{{From: "n1", To: "n2"}, {From: "n1", To: "n3"}}
	for range 3 {
		probes, err := network.Probe(t.Context(), links)
		require.NoError(t, err)
		require.Equal(t, links[1], probes[1].Link)
		require.Equal(t, datagrams, probes[1].Sent)
		require.Equal(t, datagrams, probes[1].Received)
	}
	seen := map[uint64]bool{}
	for _, nonce := range ends["n1"].arrived {
		require.False(t, seen[nonce])
		seen[nonce] = true
	}
	require.Len(t, seen, 2*3*datagrams)
}

// Catches a network taken for whole while it still loses packets, and a wait without an end.
func TestSettle(t *testing.T) {
	network, ends := threeMembers()
	ends["n2"].lossy = 5
	require.NoError(t, network.Settle(t.Context(), time.Minute))
	require.Zero(t, ends["n2"].lossy)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ends["n2"].lossy = 1 << 30
	require.ErrorIs(t, network.Settle(ctx, time.Minute), context.Canceled)
}

// Catches disturbances that are made at the wrong end, and what fails half-way and leaves its half.
func TestNetworkDegradesAtTheRightEnd(t *testing.T) {
	links := []cluster.Link{{From: "n1", To: "n2"}, {From: "n3", To: "n2"}}
	for kind, atSender := range map[cluster.Disturbance]bool{
		cluster.Loss: false, cluster.Corrupt: false, cluster.Limit: false, cluster.Silence: false, cluster.Refuse: false,
		cluster.Duplicate: true, cluster.Delay: true, cluster.Reorder: true,
	} {
		network, ends := threeMembers()
		require.NoError(t, network.Degrade(t.Context(), links, cluster.Degradation{Kind: kind}))
		require.Equal(t, atSender, slices.Equal(ends["n1"].disturbed, []netip.Addr{two}), kind)
		require.Equal(t, atSender, slices.Equal(ends["n3"].disturbed, []netip.Addr{two}), kind)
		require.Equal(t, !atSender, slices.Equal(ends["n2"].disturbed, []netip.Addr{one, three}), kind)
		require.Equal(t, kind == cluster.Silence || kind == cluster.Refuse, len(ends["n1"].connected) > 0, "what is to stand must stand before")
		require.NoError(t, network.Repair(t.Context(), links, kind))
		for id, e := range ends {
			require.Empty(t, e.disturbed, id)
		}

		ends["n3"].fails, ends["n2"].fails = true, !atSender
		require.ErrorContains(t, network.Degrade(t.Context(), links, cluster.Degradation{Kind: kind}), "is impossible")
		require.Empty(t, ends["n1"].disturbed, "what was done before the failure is taken back")
	}
}

// Catches a capability that is claimed though the kernel lacks it, and one whose lack is not explained.
func TestWhatIsMissingIsNamed(t *testing.T) {
	network, _ := threeMembers()
	require.NoError(t, network.Degrades(t.Context(), cluster.Loss))
	err := network.Degrades(t.Context(), cluster.Delay)
	require.EqualError(t, err, "this kernel lacks sch_netem (no such file): it takes another kernel")
	require.ErrorContains(t, network.Degrades(t.Context(), cluster.Limit), "nft_limit (it was not tried)")
	require.ErrorContains(t, network.Degrades(t.Context(), "gravity"), "gravity")
	require.Error(t, NewNetwork(nil).Degrades(t.Context(), cluster.Loss))
}

// Catches measurements that are of another link, or lose what was seen.
func TestMeasure(t *testing.T) {
	network, ends := threeMembers()
	links := []cluster.Link{{From: "n1", To: "n2"}, {From: "n3", To: "n1"}}
	found, err := network.Measure(t.Context(), links, cluster.Corrupt, 250)
	require.NoError(t, err)
	for i, m := range found {
		m.Took = 0
		require.Equal(t, cluster.Measurement{Link: links[i], Sent: 250, Received: 250, Twice: 1, Late: 2, Damaged: 3, Delay: time.Minute}, m)
	}
	require.Len(t, ends["n1"].arrived, 250)
	found, err = network.Measure(t.Context(), links[:1], cluster.Silence, 250)
	require.NoError(t, err)
	require.Equal(t, cluster.Silent, found[0].Standing)
	require.Equal(t, cluster.Refused, found[0].Fresh)
	_, err = network.Measure(t.Context(), []cluster.Link{{From: "n1", To: "n9"}}, cluster.Loss, 1)
	require.Error(t, err)
}

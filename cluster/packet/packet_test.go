package packet

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
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

func (r *recorder) Received(_ context.Context, _ netip.Addr, nonces []uint64, wait time.Duration) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wait = wait
	if r.lossy > 0 {
		r.lossy--
		return len(nonces) - 1, nil
	}
	return len(nonces), nil
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
	require.Equal(t, 3, n)
	require.Equal(t, time.Second, end.wait)
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

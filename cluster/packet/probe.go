package packet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// ProbePort is the port where every agent listens for probes, by UDP and by TCP.
const ProbePort = 4900

// remembered is how many nonces of one sender are kept.
const remembered = 1 << 14

var magic = []byte("coup")

// datagramSize is that of a probe: the magic word, a nonce, and when it was sent, in nanoseconds of the wall clock.
const datagramSize = 4 + 8 + 8

// listener counts the probes that arrive in its network namespace.
type listener struct {
	conn *net.UDPConn
	done chan struct{}

	mu      sync.Mutex
	arrived map[netip.Addr]*arrivals
	fences  uint64
	news    chan struct{} // closed at the next arrival
}

// arrivals are the last probes of one sender.
type arrivals struct {
	nonces []uint64 // oldest first, each once
	of     map[uint64]arrival
	count  int // of all
}

type arrival struct {
	order int // among all from this sender; the first where it came twice
	times int
	took  time.Duration
}

// listen opens the listener in the calling thread's network namespace.
func listen() (*listener, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{Port: ProbePort})
	if err != nil {
		return nil, fmt.Errorf("listen for probes: %w", err)
	}
	l := &listener{conn: conn, done: make(chan struct{}), arrived: map[netip.Addr]*arrivals{}, news: make(chan struct{})}
	go l.receive()
	return l, nil
}

func (l *listener) close() error {
	err := l.conn.Close()
	<-l.done
	return err
}

func (l *listener) receive() {
	defer close(l.done)
	buffer := make([]byte, 64)
	for {
		n, from, err := l.conn.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n == datagramSize && string(buffer[:len(magic)]) == string(magic) {
			sent := time.Unix(0, int64(binary.BigEndian.Uint64(buffer[len(magic)+8:])))
			l.note(from.Addr().Unmap(), binary.BigEndian.Uint64(buffer[len(magic):]), max(0, time.Since(sent)))
		}
	}
}

func (l *listener) note(from netip.Addr, nonce uint64, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.arrived[from]
	if all == nil {
		all = &arrivals{of: map[uint64]arrival{}}
		l.arrived[from] = all
	}
	all.count++
	a, known := all.of[nonce]
	if !known {
		a.order, a.took = all.count, took
		all.nonces = append(all.nonces, nonce)
		if len(all.nonces) > remembered {
			delete(all.of, all.nonces[0])
			all.nonces = all.nonces[1:]
		}
	}
	a.times++
	all.of[nonce] = a
	close(l.news)
	l.news = make(chan struct{})
}

func (l *listener) send(to netip.Addr, nonces []uint64) error {
	for _, nonce := range nonces {
		datagram := binary.BigEndian.AppendUint64(magic[:len(magic):len(magic)], nonce)
		datagram = binary.BigEndian.AppendUint64(datagram, uint64(time.Now().UnixNano()))
		if _, err := l.conn.WriteToUDPAddrPort(datagram, netip.AddrPortFrom(to, ProbePort)); err != nil {
			return fmt.Errorf("send a probe to %s: %w", to, err)
		}
	}
	return nil
}

// count is what has arrived of the nonces, in the order in which they were sent, and a channel that is closed at the
// next arrival.
func (l *listener) count(from netip.Addr, nonces []uint64) (Arrived, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found Arrived
	all := l.arrived[from]
	if all == nil {
		return found, l.news
	}
	var took []time.Duration
	overtaking := all.count + 1 // the first to arrive of those that were sent later
	for _, nonce := range slices.Backward(nonces) {
		a, ok := all.of[nonce]
		if !ok {
			continue
		}
		found.Count++
		took = append(took, a.took)
		if a.times > 1 {
			found.Twice++
		}
		if a.order > overtaking {
			found.Late++
		}
		overtaking = min(overtaking, a.order)
	}
	if len(took) > 0 {
		slices.Sort(took)
		found.Delay = took[len(took)/2]
	}
	return found, l.news
}

const (
	// fenceBound is how long a fence may take; nothing but a machine out of breath needs that long.
	fenceBound = 200 * time.Millisecond
	// fenceGrace is for what another CPU is still carrying when the fence is through.
	fenceGrace = 3 * time.Millisecond
)

// received counts the nonces that have arrived. It returns when all have, or after wait. All that had come to the
// socket by then is counted, though it may not have been read: a datagram to oneself queues up behind it.
func (l *listener) received(ctx context.Context, from netip.Addr, nonces []uint64, wait time.Duration) (Arrived, error) {
	found, err := l.await(ctx, from, nonces, wait)
	if err != nil || found.Count == len(nonces) {
		return found, err
	}
	l.mu.Lock()
	l.fences++
	fence := []uint64{l.fences}
	l.mu.Unlock()
	self := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if err := l.send(self, fence); err != nil {
		return found, err
	}
	if _, err := l.await(ctx, self, fence, fenceBound); err != nil {
		return found, err
	}
	return l.await(ctx, from, nonces, fenceGrace)
}

func (l *listener) await(ctx context.Context, from netip.Addr, nonces []uint64, wait time.Duration) (Arrived, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		found, news := l.count(from, nonces)
		if found.Count == len(nonces) {
			return found, nil
		}
		select {
		case <-news:
		case <-timer.C:
			found, _ = l.count(from, nonces)
			return found, nil
		case <-ctx.Done():
			return found, ctx.Err()
		}
	}
}

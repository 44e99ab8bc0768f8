package packet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// ProbePort is the UDP port where every agent listens for probes.
const ProbePort = 4900

// remembered is how many nonces of one sender are kept.
const remembered = 1024

var magic = []byte("coup")

// listener counts the probes that arrive in its network namespace.
type listener struct {
	conn *net.UDPConn
	done chan struct{}

	mu      sync.Mutex
	arrived map[netip.Addr][]uint64 // the last nonces of each sender, oldest first
	news    chan struct{}           // closed at the next arrival
}

// listen opens the listener in the calling thread's network namespace.
func listen() (*listener, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{Port: ProbePort})
	if err != nil {
		return nil, fmt.Errorf("listen for probes: %w", err)
	}
	l := &listener{conn: conn, done: make(chan struct{}), arrived: map[netip.Addr][]uint64{}, news: make(chan struct{})}
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
		if err == nil && n == len(magic)+8 && string(buffer[:len(magic)]) == string(magic) {
			l.note(from.Addr().Unmap(), binary.BigEndian.Uint64(buffer[len(magic):]))
		}
	}
}

func (l *listener) note(from netip.Addr, nonce uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := append(l.arrived[from], nonce)
	if len(kept) > remembered {
		kept = kept[len(kept)-remembered:]
	}
	l.arrived[from] = kept
	close(l.news)
	l.news = make(chan struct{})
}

func (l *listener) send(to netip.Addr, nonces []uint64) error {
	for _, nonce := range nonces {
		datagram := binary.BigEndian.AppendUint64(magic[:len(magic):len(magic)], nonce)
		if _, err := l.conn.WriteToUDPAddrPort(datagram, netip.AddrPortFrom(to, ProbePort)); err != nil {
			return fmt.Errorf("send a probe to %s: %w", to, err)
		}
	}
	return nil
}

// count is how many of the nonces have arrived, and a channel that is closed at the next arrival.
func (l *listener) count(from netip.Addr, nonces []uint64) (int, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	arrived := map[uint64]bool{}
	for _, nonce := range l.arrived[from] {
		arrived[nonce] = true
	}
	n := 0
	for _, nonce := range nonces {
		if arrived[nonce] {
			n++
		}
	}
	return n, l.news
}

func (l *listener) received(ctx context.Context, from netip.Addr, nonces []uint64, wait time.Duration) (int, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		n, news := l.count(from, nonces)
		if n == len(nonces) {
			return n, nil
		}
		select {
		case <-news:
		case <-timer.C:
			n, _ = l.count(from, nonces)
			return n, nil
		case <-ctx.Done():
			return n, ctx.Err()
		}
	}
}

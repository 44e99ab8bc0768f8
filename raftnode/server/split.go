package server

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// split hands the connections of one listener to two servers, by their first bytes: HTTP/2, as gRPC begins it, and
// TLS, which only gRPC has here, to the one, all else to the other.
type split struct {
	listener   net.Listener
	grpc, http *half
}

// half is a listener for one of the servers. With either, the listener itself is closed.
type half struct {
	split  *split
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	err    error // why there are no more; set before closed is
}

// sniffTimeout is how long a client may take to send the first bytes.
const sniffTimeout = 5 * time.Second

// acceptPause is how long to wait after a connection could not be accepted for want of something that may come back.
const acceptPause = 10 * time.Millisecond

func newSplit(l net.Listener) *split {
	s := &split{listener: l}
	s.grpc, s.http = s.half(), s.half()
	go s.accept()
	return s
}

func (s *split) half() *half {
	return &half{split: s, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (s *split) accept() {
	for {
		c, err := s.listener.Accept()
		var temporary interface{ Temporary() bool }
		switch {
		case err == nil:
			go s.sort(c)
		case errors.As(err, &temporary) && temporary.Temporary():
			time.Sleep(acceptPause)
		default:
			s.grpc.end(err)
			s.http.end(err)
			return
		}
	}
}

// sort gives a connection to the server that its first bytes are for.
func (s *split) sort(c net.Conn) {
	first := make([]byte, 3)
	c.SetReadDeadline(time.Now().Add(sniffTimeout))
	if _, err := io.ReadFull(c, first); err != nil {
		c.Close()
		return
	}
	c.SetReadDeadline(time.Time{})
	to := s.http
	if string(first) == "PRI" || first[0] == tlsHandshake {
		to = s.grpc
	}
	select {
	case to.conns <- &sniffed{Conn: c, first: first}:
	case <-to.closed:
		c.Close()
	}
}

// tlsHandshake is the first byte of a connection that begins with TLS.
const tlsHandshake = 0x16

func (h *half) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, h.err
	}
}

func (h *half) end(err error) {
	h.once.Do(func() {
		h.err = err
		close(h.closed)
	})
}

func (h *half) Close() error {
	h.end(net.ErrClosed)
	return h.split.listener.Close()
}

func (h *half) Addr() net.Addr { return h.split.listener.Addr() }

// sniffed is a connection of which the first bytes were read.
type sniffed struct {
	net.Conn
	first []byte
}

func (c *sniffed) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

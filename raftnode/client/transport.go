package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
)

// transport sends a request at most once and knows, when it fails, whether any of it may have left
// this process.
type transport struct {
	http *http.Transport
}

// unsentError wraps a failure before the first byte of a request was written.
type unsentError struct{ err error }

func (e *unsentError) Error() string { return "nothing was sent: " + e.err.Error() }
func (e *unsentError) Unwrap() error { return e.err }

func newTransport(o Options) *transport {
	dialer := &net.Dialer{Timeout: o.DialTimeout}
	return &transport{http: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &conn{Conn: c}, nil
		},
		DisableCompression:  true,
		MaxIdleConnsPerHost: o.MaxIdleConnections,
	}}
}

// once is a body that net/http cannot rewind. Without it, net/http sends an idempotent request again
// when a kept connection breaks, and nobody is told.
type once struct{ io.Reader }

func (once) Close() error { return nil }

// roundTrip sends one request and reads its whole answer. An error that is an *unsentError promises
// that no byte of the request was written, or will be.
func (t *transport) roundTrip(ctx context.Context, method, url, query string, body []byte) (status int, content []byte, err error) {
	var used usedConn
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: used.got})
	if query != "" {
		url += "?" + query
	}
	request, err := http.NewRequestWithContext(ctx, method, url, once{bytes.NewReader(body)})
	if err != nil {
		return 0, nil, &unsentError{err}
	}
	if body != nil {
		request.ContentLength = int64(len(body))
		request.Header.Set("Content-Type", "application/json")
	}
	// RoundTrip, unlike a Client, follows no redirect.
	response, err := t.http.RoundTrip(request)
	if err != nil {
		if used.untouched() {
			return 0, nil, &unsentError{err}
		}
		return 0, nil, err
	}
	defer response.Body.Close()
	content, err = readAll(response.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("reading the answer: %w", err)
	}
	return response.StatusCode, content, nil
}

// usedConn remembers the connection that a request was given, and how much had been written to it.
type usedConn struct {
	mu     sync.Mutex
	conn   *conn
	writes uint64
	lost   bool // more than one connection, or one that is not ours: nothing can be said
}

func (u *usedConn) got(info httptrace.GotConnInfo) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c, ours := info.Conn.(*conn)
	if !ours || u.conn != nil {
		u.lost = true
		return
	}
	u.conn, u.writes = c, c.begun()
}

// untouched tells whether nothing of the request was written. If so, nothing will be: the connection
// takes no more.
func (u *usedConn) untouched() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.lost {
		return false
	}
	return u.conn == nil || u.conn.seal(u.writes)
}

// conn counts the writes that were begun on a connection.
type conn struct {
	net.Conn
	mu     sync.Mutex
	writes uint64
	sealed bool
}

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.sealed {
		c.mu.Unlock()
		return 0, net.ErrClosed
	}
	c.writes++
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *conn) begun() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

// seal refuses all further writes if none was begun since there were as many as given.
func (c *conn) seal(writes uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writes != writes {
		return false
	}
	c.sealed = true
	return true
}

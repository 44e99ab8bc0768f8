// Package client asks nodes, over HTTP or over gRPC, and classes whatever goes wrong as definite (nothing was
// changed, and never will be) or not. It sends every request at most once: only a definite refusal
// by a node that is not the leader makes it ask another node.
//
// The scheme of a node's URL says how it is asked about keys and sessions. By http://HOST:PORT each request under way
// has a connection of its own. By grpc://HOST:PORT, or grpcs:// with TLS, all requests of a client share one stream
// to the node, in frames of all that waits; that costs both sides a fraction. All else goes by HTTP, at the same port.
package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"coup/raftnode/api"
	"coup/raftnode/api/apipb"
)

// Options tune a client. The zero value is useful.
type Options struct {
	// Timeout bounds one operation with all its redirects. Zero is 5 s, negative is no bound but the
	// caller's context.
	Timeout time.Duration
	// DialTimeout bounds one attempt to connect. Zero is 1 s.
	DialTimeout time.Duration
	// MaxRedirects is how many times an operation moves on to the node that is said to lead. Zero is
	// 3, negative is none.
	MaxRedirects int
	// MaxIdleConnections is how many connections to each node are kept for reuse by HTTP. Zero is 256.
	MaxIdleConnections int
	// FollowURLs lets an operation move on to a leader of which the client was not told, at the URL that the
	// refusing node gives: right where clients reach nodes as nodes reach each other.
	FollowURLs bool
	// TLS is for nodes with the scheme grpcs. A node proves to be itself by a certificate whose DNS name is its id, as
	// on the bus. Nil: there are none such.
	TLS *tls.Config
}

// DefaultRedirects is how many times an operation moves on, unless the options say otherwise.
const DefaultRedirects = 3

// Client asks the nodes of one cluster. It is safe for concurrent use.
type Client struct {
	options   Options
	transport *transport

	mu    sync.RWMutex
	nodes map[string]*url.URL
	links map[string]*link // by node and URL
}

// Result is what a node answered to an operation that succeeded.
type Result struct {
	Value    string // the key's value afterwards
	Found    bool   // of a read: the key is there. True for a write and a cas, false for a delete
	Revision uint64 // index of the entry that made Value, or that deleted the key; 0 for a key never seen
	Index    uint64 // the node's applied index when it answered
	Term     uint64 // the node's term then
	Node     string // who answered
	// Repeated: an earlier attempt in the same session took effect, and this is what it was answered.
	Repeated bool
}

// New makes a client of nodes, which maps each node's id to the URL at which this client reaches it.
func New(nodes map[string]string, o Options) (*Client, error) {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = time.Second
	}
	if o.MaxRedirects == 0 {
		o.MaxRedirects = DefaultRedirects
	}
	if o.MaxIdleConnections == 0 {
		o.MaxIdleConnections = 256
	}
	c := &Client{nodes: make(map[string]*url.URL), links: make(map[string]*link), options: o, transport: newTransport(o)}
	for id, raw := range nodes {
		if err := c.Learn(id, raw); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Learn tells the client where a node is reached, also one that it knew at another URL.
func (c *Client) Learn(node, raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("client: node %s: %w", node, err)
	}
	if !slices.Contains(schemes, u.Scheme) || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return fmt.Errorf("client: node %s: %q is not of the form http://HOST:PORT, grpc:// or grpcs://", node, raw)
	}
	if u.Scheme == "grpcs" && c.options.TLS == nil {
		return fmt.Errorf("client: node %s: %s needs Options.TLS", node, raw)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[node] = &url.URL{Scheme: u.Scheme, Host: u.Host}
	return nil
}

var schemes = []string{"http", "grpc", "grpcs"}

func (c *Client) at(node string) (base *url.URL, known bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	base, known = c.nodes[node]
	return base, known
}

// Close drops idle connections. Operations under way go on.
func (c *Client) Close() {
	c.transport.http.CloseIdleConnections()
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, l := range c.links {
		l.closeIdle()
	}
}

// Read is a linearizable read. A key that is absent is no error: Found is false.
func (c *Client) Read(ctx context.Context, node, key string) (Result, error) {
	return c.read(ctx, node, key, apipb.Consistency_LINEARIZABLE)
}

// LeaseRead is a read that the leader's lease answers where nodes allow that (--lease-drift): linearizable as long as
// their clocks keep the bound. Elsewhere it is Read.
func (c *Client) LeaseRead(ctx context.Context, node, key string) (Result, error) {
	return c.read(ctx, node, key, apipb.Consistency_LEASE)
}

// FollowerRead is a linearizable read that the named node answers, whoever leads.
func (c *Client) FollowerRead(ctx context.Context, node, key string) (Result, error) {
	return c.read(ctx, node, key, apipb.Consistency_FOLLOWER)
}

// Stale reads the named node's own state, which may be any number of writes behind.
func (c *Client) Stale(ctx context.Context, node, key string) (Result, error) {
	return c.read(ctx, node, key, apipb.Consistency_STALE)
}

func (c *Client) read(ctx context.Context, node, key string, how apipb.Consistency) (Result, error) {
	answer, err := c.operate(ctx, node, &apipb.Request{Op: apipb.Op_READ, Key: key, Consistency: how})
	if err != nil {
		var refused *Error
		if errors.As(err, &refused) {
			if absent, ok := refused.Absent(); ok {
				return absent, nil
			}
		}
	}
	return result(answer.Answer, true, err)
}

// Write sets key to value.
func (c *Client) Write(ctx context.Context, node, key, value string) (Result, error) {
	answer, err := c.operate(ctx, node, write(key, value, place{}))
	return result(answer.Answer, true, err)
}

// CAS sets key to value if it holds expect. Otherwise the error is of type api.CASMismatch, or
// api.KeyNotFound when the key is absent.
func (c *Client) CAS(ctx context.Context, node, key, expect, value string) (Result, error) {
	answer, err := c.operate(ctx, node, cas(key, expect, value, place{}))
	return result(answer.Answer, true, err)
}

// Delete removes key. When it is absent the error is of type api.KeyNotFound.
func (c *Client) Delete(ctx context.Context, node, key string) (Result, error) {
	answer, err := c.operate(ctx, node, remove(key, place{}))
	return result(answer.Answer, false, err)
}

// Status asks the named node, and no other, what it says of itself.
func (c *Client) Status(ctx context.Context, node string) (api.Status, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	var s api.Status
	if err := c.exchange(ctx, node, http.MethodGet, "/raft/status", "", nil, false, &s); err != nil {
		return api.Status{}, err
	}
	if s.ID == "" {
		return api.Status{}, &Error{Type: BadReply, Message: "the status names no node", Definite: true, Node: node}
	}
	return s, nil
}

// follow asks a node, and goes on to the leader as long as it is definitely refused. last is the node that was
// asked last.
func (c *Client) follow(node string, ask func(node string) *Error) (last string, err *Error) {
	for hops := 0; ; hops++ {
		err := ask(node)
		if err == nil {
			return node, nil
		}
		leader := err.Elsewhere()
		if hops >= c.options.MaxRedirects || leader == "" || !c.knows(leader, err.LeaderURL) {
			return node, err
		}
		node = leader
	}
}

// knows tells whether the client can ask a node that another says is at url.
func (c *Client) knows(node, url string) bool {
	if _, known := c.at(node); known {
		return true
	}
	return c.options.FollowURLs && url != "" && c.Learn(node, url) == nil
}

func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.options.Timeout < 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.options.Timeout)
}

// maxReply bounds what is read of an answer, in bytes. It is above what any node sends.
const maxReply = 16 << 20

// exchange sends one request, once, and decodes its answer into reply.
func (c *Client) exchange(ctx context.Context, node, method, path, query string, body []byte, effect bool, reply any) *Error {
	base, ok := c.at(node)
	if !ok {
		return &Error{Type: UnknownNode, Message: "no such node", Definite: true, Node: node}
	}
	status, content, err := c.transport.roundTrip(ctx, method, "http://"+base.Host+path, query, body)
	if err != nil {
		return Failed(node, effect, err)
	}
	if status == http.StatusOK {
		if err := json.Unmarshal(content, reply); err != nil {
			return &Error{Type: BadReply, Message: "a success that cannot be read: " + err.Error(), Definite: !effect, Node: node, Status: status, Err: err}
		}
		return nil
	}
	return refusal(node, effect, status, content)
}

func readAll(r io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxReply+1))
	if err == nil && len(content) > maxReply {
		err = fmt.Errorf("an answer of more than %d bytes", maxReply)
	}
	return content, err
}

func result(a api.Answer, found bool, err error) (Result, error) {
	if err != nil {
		return Result{}, err
	}
	return Answered(a, found), nil
}

// Answered is what a node's answer means to its client. found is false of a deletion.
func Answered(a api.Answer, found bool) Result {
	return Result{Value: a.Value, Found: found, Revision: a.Revision, Index: a.Index, Term: a.Term, Node: string(a.Node), Repeated: a.Repeated}
}

// Absent is the result of a read that a node refused with this error because there is no such key; ok
// tells whether it did.
func (e *Error) Absent() (r Result, ok bool) {
	if e.Type != api.KeyNotFound {
		return Result{}, false
	}
	return Result{Revision: e.Revision, Index: e.Index, Term: e.Term, Node: e.Node}, true
}

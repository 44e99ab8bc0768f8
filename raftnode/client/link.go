package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"coup/raftnode/api/apipb"
)

// link is the way to one node by gRPC: a stream that all requests share, opened when there is something to ask and
// closed when there was nothing for a while. What waits while a frame is written goes out with the next.
type link struct {
	address string
	secured credentials.TransportCredentials
	dialer  net.Dialer

	mu      sync.Mutex
	running bool
	queue   []*call          // not sent; some may be over
	sent    map[uint64]*call // and not answered
	last    uint64           // the highest ID given out
	closing bool             // the stream is to end as soon as it is idle
	wake    chan struct{}    // holds one while there may be something to do
}

// call is one request on its way. The link's mutex guards it.
type call struct {
	request *apipb.Request
	done    chan ended // has room for one
	over    bool       // nobody waits any more
}

type ended struct {
	answer *apipb.Answer
	err    error
}

const (
	// requestBytes is more than a request takes beside its strings.
	requestBytes = 256
	// linkIdle is how long a stream is kept that nobody uses.
	linkIdle = time.Minute
	// linkWindow is how many bytes of answers are taken in before they are looked at.
	linkWindow = 1 << 20
	// pingEvery is after what silence a node is asked whether it is there, and pingTimeout how long it may take to say so.
	// Sent data that is not acknowledged for that long ends the connection, too.
	pingEvery, pingTimeout = 10 * time.Second, 3 * time.Second
)

var errLinkClosed = errors.New("the stream has ended")

// link is that to a node at a URL.
func (c *Client) link(node string, base *url.URL) *link {
	key := node + " " + base.Scheme + " " + base.Host
	c.mu.RLock()
	l := c.links[key]
	c.mu.RUnlock()
	if l != nil {
		return l
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.links[key]; l != nil {
		return l
	}
	l = &link{
		address: base.Host, secured: insecure.NewCredentials(), dialer: net.Dialer{Timeout: c.options.DialTimeout},
		sent: make(map[uint64]*call), wake: make(chan struct{}, 1),
	}
	if base.Scheme == "grpcs" {
		secured := c.options.TLS.Clone()
		secured.ServerName = node
		l.secured = credentials.NewTLS(secured)
	}
	c.links[key] = l
	return l
}

// ask sends a request and waits for its answer. An error that is an *unsentError promises that nothing of it was
// sent, or will be.
func (l *link) ask(ctx context.Context, r *apipb.Request) (*apipb.Answer, error) {
	if err := ctx.Err(); err != nil {
		return nil, &unsentError{err}
	}
	c := &call{request: r, done: make(chan ended, 1)}
	l.mu.Lock()
	l.last++
	r.Id = l.last
	l.queue = append(l.queue, c)
	if !l.running {
		l.running = true
		go l.run()
	}
	l.mu.Unlock()
	l.rouse()
	select {
	case e := <-c.done:
		return e.answer, e.err
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case e := <-c.done:
		return e.answer, e.err
	default:
	}
	c.over = true
	if _, left := l.sent[r.Id]; left {
		delete(l.sent, r.Id)
		return nil, ctx.Err()
	}
	return nil, &unsentError{ctx.Err()}
}

func (l *link) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// closeIdle ends the stream, as soon as nothing is under way.
func (l *link) closeIdle() {
	l.mu.Lock()
	l.closing = l.running
	l.mu.Unlock()
	l.rouse()
}

// run connects as long as there is something to ask.
func (l *link) run() {
	for l.busy() {
		useful, err := l.connect()
		l.fail(useful, err)
	}
}

// busy tells whether something waits. If nothing does the link runs no longer.
func (l *link) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = len(l.queue) > 0
	l.closing = l.closing && l.running
	return l.running
}

// fail ends what was sent. What was not goes on to the next stream, but where this one was of no use.
func (l *link) fail(useful bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, c := range l.sent {
		delete(l.sent, id)
		c.done <- ended{err: err}
	}
	if useful {
		return
	}
	for _, c := range l.queue {
		if !c.over {
			c.done <- ended{err: &unsentError{err}}
		}
	}
	l.queue = nil
}

// connect opens a stream and serves it until it breaks, or is idle for long. useful says that the node answered on it.
func (l *link) connect() (useful bool, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var dialed atomic.Bool
	conn, err := grpc.NewClient("passthrough:///"+l.address,
		grpc.WithTransportCredentials(l.secured),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			// A second connection would be for sending again what was sent on the first.
			if dialed.Swap(true) {
				return nil, errLinkClosed
			}
			return l.dialer.DialContext(ctx, "tcp", address)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: time.Hour, Multiplier: 1, MaxDelay: time.Hour}, MinConnectTimeout: 2 * l.dialer.Timeout,
		}),
		grpc.WithInitialWindowSize(linkWindow),
		grpc.WithInitialConnWindowSize(linkWindow),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(apipb.MaxAnswers)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout}),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
		grpc.WithIdleTimeout(0),
	)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	stream, err := apipb.NewAPIClient(conn).Exchange(ctx)
	if err != nil {
		return false, err
	}
	broken := make(chan error, 1)
	go func() {
		var err error
		useful, err = l.hear(stream)
		broken <- err
		cancel()
	}()
	finished := l.speak(ctx, stream)
	cancel()
	err = <-broken
	return useful || finished, fmt.Errorf("%w: %w", errLinkClosed, err)
}

// speak sends what waits until the stream breaks, or is of no more use: finished tells that.
func (l *link) speak(ctx context.Context, stream apipb.API_ExchangeClient) (finished bool) {
	l.rouse()
	idle := time.NewTimer(linkIdle)
	defer idle.Stop()
	var frame apipb.Requests
	for {
		select {
		case <-l.wake:
		case <-idle.C:
			if l.rests() {
				return true
			}
			idle.Reset(linkIdle)
		case <-ctx.Done():
			return false
		}
		// Whoever is about to ask gets to join the frame.
		runtime.Gosched()
		if done, err := l.send(stream, &frame); done || err != nil {
			return done
		}
	}
}

// rests tells whether nothing is under way.
func (l *link) rests() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) == 0 && len(l.sent) == 0
}

// send sends all that waits, in frames, as far as the node takes so much at a time. done says that the stream is to end.
func (l *link) send(stream apipb.API_ExchangeClient, frame *apipb.Requests) (done bool, err error) {
	for {
		frame.Requests = frame.Requests[:0]
		size, taken := 0, 0
		l.mu.Lock()
		for _, c := range l.queue {
			if size > 0 && size+c.size() > apipb.FrameBytes || len(l.sent) >= apipb.FrameRequests {
				break
			}
			l.queue[taken] = nil
			taken++
			if c.over {
				continue
			}
			size += c.size()
			l.sent[c.request.Id] = c
			frame.Requests = append(frame.Requests, c.request)
		}
		if l.queue = l.queue[taken:]; len(l.queue) == 0 {
			l.queue = nil
		}
		done = l.closing && len(l.sent) == 0
		l.mu.Unlock()
		if len(frame.Requests) == 0 {
			return done, nil
		}
		if err := stream.SendMsg(frame); err != nil {
			return false, err
		}
		clear(frame.Requests)
	}
}

func (c *call) size() int {
	return requestBytes/4 + len(c.request.Key) + len(c.request.Value) + len(c.request.Expect)
}

// hear takes answers until the stream breaks. useful says that there were any.
func (l *link) hear(stream apipb.API_ExchangeClient) (useful bool, err error) {
	var frame apipb.Answers
	for {
		if err := stream.RecvMsg(&frame); err != nil {
			return useful, err
		}
		useful = true
		l.mu.Lock()
		for _, a := range frame.Answers {
			if c := l.sent[a.Id]; c != nil {
				delete(l.sent, a.Id)
				c.done <- ended{answer: a}
			}
		}
		waiting := len(l.queue) > 0 || l.closing
		l.mu.Unlock()
		if waiting {
			l.rouse()
		}
	}
}

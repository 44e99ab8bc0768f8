package packet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"coup/cluster"
)

// request is the body of every control call; each call uses the fields that it needs.
type request struct {
	Peers  []netip.Addr  `json:"peers,omitempty"`
	Peer   netip.Addr    `json:"peer"`
	Nonces []uint64      `json:"nonces,omitempty"`
	Wait   time.Duration `json:"wait_ns,omitempty"`
	Fresh  bool          `json:"fresh,omitempty"`

	Degradation cluster.Degradation `json:"degradation"`
}

type reply struct {
	Error    string               `json:"error,omitempty"`
	Dropped  []Dropped            `json:"dropped,omitempty"`
	Count    int                  `json:"count,omitempty"`
	Arrived  Arrived              `json:"arrived"`
	Passage  cluster.Passage      `json:"passage,omitempty"`
	Features []cluster.Capability `json:"features,omitempty"`
}

// Serve runs the Agent of this process's network namespace behind an HTTP control server on
// address, e.g. ":4901", until ctx is done; that is not an error.
func Serve(ctx context.Context, address string) error {
	agent, err := New()
	if err != nil {
		return err
	}
	defer agent.Close()
	socket, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("packet agent: %w", err)
	}
	server := &http.Server{Handler: Handler(agent), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(socket); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("packet agent: %w", err)
	}
	return nil
}

// Handler answers control calls from a Client with what the endpoint does.
func Handler(e Endpoint) http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, do func(ctx context.Context, q request) (reply, error)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			var q request
			var a reply
			err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&q)
			if err == nil {
				a, err = do(r.Context(), q)
			}
			if err != nil {
				a = reply{Error: err.Error()}
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(a)
		})
	}
	handle("/cut", func(ctx context.Context, q request) (reply, error) { return reply{}, e.Cut(ctx, q.Peers) })
	handle("/restore", func(ctx context.Context, q request) (reply, error) { return reply{}, e.Restore(ctx, q.Peers) })
	handle("/list", func(ctx context.Context, _ request) (reply, error) {
		list, err := e.List(ctx)
		return reply{Dropped: list}, err
	})
	handle("/send", func(ctx context.Context, q request) (reply, error) {
		return reply{}, e.Send(ctx, q.Peer, q.Nonces)
	})
	handle("/received", func(ctx context.Context, q request) (reply, error) {
		found, err := e.Received(ctx, q.Peer, q.Nonces, q.Wait)
		return reply{Arrived: found}, err
	})
	handle("/features", func(ctx context.Context, _ request) (reply, error) {
		features, err := e.Features(ctx)
		return reply{Features: features}, err
	})
	handle("/disturb", func(ctx context.Context, q request) (reply, error) {
		return reply{}, e.Disturb(ctx, q.Peers, q.Degradation)
	})
	handle("/calm", func(ctx context.Context, q request) (reply, error) {
		return reply{}, e.Calm(ctx, q.Peers, q.Degradation.Kind)
	})
	handle("/damaged", func(ctx context.Context, _ request) (reply, error) {
		n, err := e.Damaged(ctx)
		return reply{Count: n}, err
	})
	handle("/connect", func(ctx context.Context, q request) (reply, error) { return reply{}, e.Connect(ctx, q.Peer) })
	handle("/talk", func(ctx context.Context, q request) (reply, error) {
		passage, err := e.Talk(ctx, q.Peer, q.Fresh)
		return reply{Passage: passage}, err
	})
	return mux
}

// Client is the Endpoint behind a control server at URL.
type Client struct {
	URL  string
	HTTP *http.Client
}

var _ Endpoint = (*Client)(nil)

// Cut implements Endpoint.
func (c *Client) Cut(ctx context.Context, from []netip.Addr) error {
	_, err := c.call(ctx, "/cut", request{Peers: from})
	return err
}

// Restore implements Endpoint.
func (c *Client) Restore(ctx context.Context, from []netip.Addr) error {
	_, err := c.call(ctx, "/restore", request{Peers: from})
	return err
}

// List implements Endpoint.
func (c *Client) List(ctx context.Context) ([]Dropped, error) {
	a, err := c.call(ctx, "/list", request{})
	return a.Dropped, err
}

// Send implements Endpoint.
func (c *Client) Send(ctx context.Context, to netip.Addr, nonces []uint64) error {
	_, err := c.call(ctx, "/send", request{Peer: to, Nonces: nonces})
	return err
}

// Received implements Endpoint.
func (c *Client) Received(ctx context.Context, from netip.Addr, nonces []uint64, wait time.Duration) (Arrived, error) {
	a, err := c.call(ctx, "/received", request{Peer: from, Nonces: nonces, Wait: wait})
	return a.Arrived, err
}

// Features implements Endpoint.
func (c *Client) Features(ctx context.Context) ([]cluster.Capability, error) {
	a, err := c.call(ctx, "/features", request{})
	return a.Features, err
}

// Disturb implements Endpoint.
func (c *Client) Disturb(ctx context.Context, peers []netip.Addr, d cluster.Degradation) error {
	_, err := c.call(ctx, "/disturb", request{Peers: peers, Degradation: d})
	return err
}

// Calm implements Endpoint.
func (c *Client) Calm(ctx context.Context, peers []netip.Addr, kind cluster.Disturbance) error {
	_, err := c.call(ctx, "/calm", request{Peers: peers, Degradation: cluster.Degradation{Kind: kind}})
	return err
}

// Damaged implements Endpoint.
func (c *Client) Damaged(ctx context.Context) (int, error) {
	a, err := c.call(ctx, "/damaged", request{})
	return a.Count, err
}

// Connect implements Endpoint.
func (c *Client) Connect(ctx context.Context, to netip.Addr) error {
	_, err := c.call(ctx, "/connect", request{Peer: to})
	return err
}

// Talk implements Endpoint.
func (c *Client) Talk(ctx context.Context, to netip.Addr, fresh bool) (cluster.Passage, error) {
	a, err := c.call(ctx, "/talk", request{Peer: to, Fresh: fresh})
	return a.Passage, err
}

func (c *Client) call(ctx context.Context, path string, q request) (reply, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return reply{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	response, err := c.HTTP.Do(r)
	if err != nil {
		return reply{}, fmt.Errorf("packet agent: %w", err)
	}
	defer response.Body.Close()
	var a reply
	if response.StatusCode != http.StatusOK {
		return reply{}, fmt.Errorf("packet agent: %s: %s", path, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		return reply{}, fmt.Errorf("packet agent: %s: %w", path, err)
	}
	if a.Error != "" {
		return reply{}, errors.New(a.Error)
	}
	return a, nil
}

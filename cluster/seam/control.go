// Package seam reaches the seams of real nodes by their HTTP API, in the same way in all environments that have processes.
package seam

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"coup/cluster"
	"coup/raftnode/faultfs"
	"coup/raftnode/seams"
)

// Flag starts a node with seams.
const Flag = "--unsafe-fault-seams"

// askBound is how long one question may take: a node answers it whatever its disk does.
const askBound = 2 * time.Second

// Control is the part of a cluster.Breaker that needs no process. Safe for concurrent use.
type Control struct {
	client *http.Client
	off    bool
	nodes  func() []cluster.Node

	mu      sync.Mutex
	excuses map[string]string
}

// New makes a control of nodes, which are asked for anew each time. on says that they were started with Flag.
func New(on bool, nodes func() []cluster.Node) *Control {
	return &Control{client: &http.Client{Timeout: askBound}, off: !on, nodes: nodes, excuses: map[string]string{}}
}

// Breakable is defined by cluster.Breaker.
func (c *Control) Breakable() error {
	if c.off {
		return errors.New("the nodes were started without " + Flag)
	}
	return nil
}

// BreakDisk is defined by cluster.Breaker.
func (c *Control) BreakDisk(ctx context.Context, node string, f faultfs.Faults) (seams.Report, error) {
	return c.ask(ctx, node, http.MethodPut, "/disk", f)
}

// BreakClock is defined by cluster.Breaker.
func (c *Control) BreakClock(ctx context.Context, node string, f seams.ClockFaults) (seams.Report, error) {
	return c.ask(ctx, node, http.MethodPut, "/clock", f)
}

// Seams is defined by cluster.Breaker.
func (c *Control) Seams(ctx context.Context, node string) (seams.Report, error) {
	return c.ask(ctx, node, http.MethodGet, "", nil)
}

func (c *Control) ask(ctx context.Context, node, method, path string, faults any) (r seams.Report, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("seams of %s: %w", node, err)
		}
	}()
	if err := c.Breakable(); err != nil {
		return r, err
	}
	nodes := c.nodes()
	at := slices.IndexFunc(nodes, func(n cluster.Node) bool { return n.ID == node })
	if at < 0 {
		return r, errors.New("no such node")
	}
	body, err := json.Marshal(faults)
	if err != nil {
		return r, err
	}
	request, err := http.NewRequestWithContext(ctx, method, nodes[at].ClientURL+seams.Prefix+path, bytes.NewReader(body))
	if err != nil {
		return r, err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return r, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	switch {
	case err != nil:
		return r, err
	case response.StatusCode != http.StatusOK:
		return r, fmt.Errorf("HTTP status %d: %.100s", response.StatusCode, content)
	}
	return r, json.Unmarshal(content, &r)
}

// Excuse is defined by cluster.Breaker.
func (c *Control) Excuse(node, words string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if words == "" {
		delete(c.excuses, node)
		return
	}
	c.excuses[node] = words
}

// Excused tells whether a death is one that was to be.
func (c *Control) Excused(d cluster.Death) bool {
	c.mu.Lock()
	words := c.excuses[d.Node]
	c.mu.Unlock()
	return words != "" && strings.Contains(strings.Join(d.Log, "\n"), words)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"coup/raftnode/api"
	"coup/raftnode/client"
	"coup/raftnode/gossip"
	"coup/raftnode/raft"
)

// places are where nodes are: as the configuration says, and as this node was told when it was started.
type places struct {
	started map[raft.NodeID]peer
	log     *slog.Logger

	mu      sync.Mutex
	members map[raft.NodeID]peer
}

// configure takes in a configuration. Members whose address cannot be read have none.
func (p *places) configure(c raft.Configuration) map[raft.NodeID]gossip.Addresses {
	members, addresses := make(map[raft.NodeID]peer), make(map[raft.NodeID]gossip.Addresses)
	for _, id := range c.Members() {
		addresses[id] = gossip.Addresses{}
		text := c.Addresses[id]
		if text == "" {
			continue
		}
		place, err := parsePlace(text, defaultPorts)
		if err != nil {
			p.log.Warn("a member's address in the configuration cannot be read", "member", id, "address", text, "error", err)
			continue
		}
		members[id], addresses[id] = place, place.addresses()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.members = members
	return addresses
}

// seeds are where gossip may be found.
func (p *places) seeds() map[raft.NodeID][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	seeds := make(map[raft.NodeID][]string)
	for _, all := range []map[raft.NodeID]peer{p.members, p.started} {
		for id, place := range all {
			seeds[id] = append(seeds[id], place.gossipAddress())
		}
	}
	return seeds
}

// neighbours asks other nodes by their HTTP API.
type neighbours struct {
	self      raft.NodeID
	directory *gossip.Directory
	client    *client.Client
}

// askTimeout bounds a question to a neighbour.
const askTimeout = time.Second

func newNeighbours(self raft.NodeID, d *gossip.Directory) (*neighbours, error) {
	c, err := client.New(nil, client.Options{
		Timeout: askTimeout, DialTimeout: askTimeout / 2, MaxIdleConnections: 1, FollowURLs: true,
	})
	return &neighbours{self: self, directory: d, client: c}, err
}

// Status is what a node says of itself.
func (n *neighbours) Status(ctx context.Context, id raft.NodeID) (s api.Status, err error) {
	err = n.each(id, func() (err error) {
		s, err = n.client.Status(ctx, string(id))
		return err
	})
	return s, err
}

// Members is who is a member, by the log of a leader that a quorum has confirmed. Any node may know who leads.
func (n *neighbours) Members(ctx context.Context) (c api.Configuration, err error) {
	var refusals []string
	for _, id := range n.directory.Known() {
		if id == n.self {
			continue
		}
		err := n.each(id, func() (err error) {
			c, err = n.client.Members(ctx, string(id))
			return err
		})
		if err == nil {
			return c, nil
		}
		var refused *client.Error
		if errors.As(err, &refused) {
			err = errors.New(string(refused.Type))
		}
		refusals = append(refusals, fmt.Sprintf("%s: %v", id, err))
	}
	if len(refusals) == 0 {
		return c, errors.New("no other node is known")
	}
	return c, errors.New(strings.Join(refusals, ", "))
}

// each tries all URLs of a node until one is of use.
func (n *neighbours) each(id raft.NodeID, ask func() error) error {
	err := errors.New("nobody knows where it is")
	for _, url := range n.directory.ClientURLs(id) {
		if err = n.client.Learn(string(id), url); err != nil {
			continue
		}
		if err = ask(); err == nil {
			return nil
		}
	}
	return err
}

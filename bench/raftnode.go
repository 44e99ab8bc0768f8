package main

import (
	"context"
	"fmt"
	"strings"

	"coup/raftnode/client"
)

// raftnode is the node of this repository.
type raftnode struct {
	binary string
	scheme string // how its clients ask: grpc or http
	shared int    // connections for all clients by gRPC

	profiled bool
}

func (r raftnode) name() string {
	if r.scheme == "http" {
		return "HTTP"
	}
	return "raftnode"
}

func (r raftnode) program() string { return r.binary }

func (r raftnode) command(node address, all []address) []string {
	var peers []string
	for _, a := range all {
		peers = append(peers, fmt.Sprintf("%s=127.0.0.1:%d/%d/%d", a.name, a.peers, a.clients, a.third))
	}
	args := []string{r.binary, "--id", node.name, "--peers", strings.Join(peers, ","), "--bootstrap", "--data", node.dir,
		"--listen-http", node.client(), "--listen-bus", node.peer(), "--listen-gossip", loopback(node.third)}
	if r.profiled {
		args = append(args, "--pprof", loopback(node.fourth))
	}
	return args
}

// connections is one for each client by HTTP/1.1, which has one request at a time on a connection.
func (r raftnode) connections(clients int) int {
	if r.scheme == "http" {
		return clients
	}
	return min(r.shared, clients)
}

func (r raftnode) connect(node address) (connection, error) {
	c, err := client.New(map[string]string{node.name: r.scheme + "://" + node.client()}, client.Options{Timeout: -1})
	return raftnodeConnection{c, node.name}, err
}

// raftnodeConnection knows one node only, so that no request moves on to another.
type raftnodeConnection struct {
	client *client.Client
	node   string
}

func (c raftnodeConnection) write(ctx context.Context, key, value string) error {
	_, err := c.client.Write(ctx, c.node, key, value)
	return err
}

func (c raftnodeConnection) read(ctx context.Context, key string) (string, error) {
	result, err := c.client.Read(ctx, c.node, key)
	if err == nil && !result.Found {
		err = fmt.Errorf("%s is absent", key)
	}
	return result.Value, err
}

func (c raftnodeConnection) standing(ctx context.Context) (standing, error) {
	s, err := c.client.Status(ctx, c.node)
	return standing{self: string(s.ID), leader: string(s.Leader), applied: s.Applied}, err
}

func (c raftnodeConnection) close() error {
	c.client.Close()
	return nil
}

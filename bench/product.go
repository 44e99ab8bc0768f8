package main

import (
	"context"
	"fmt"
	"net"
	"time"
)

// product is a replicated key-value store that can be measured.
type product interface {
	name() string
	// program is the path of what is run.
	program() string
	// command is what starts node as one of the first members of a cluster of all, or starts it again.
	command(node address, all []address) []string
	// connections is how many connections so many clients share.
	connections(clients int) int
	// connect is a connection of its own to one node. Nothing need be there yet.
	connect(node address) (connection, error)
}

// connection asks one node, for any number of clients. What is asked ends with ctx.
type connection interface {
	write(ctx context.Context, key, value string) error
	// read is linearizable. A key that is absent is an error.
	read(ctx context.Context, key string) (string, error)
	standing(ctx context.Context) (standing, error)
	close() error
}

// standing is what a node says of itself. How nodes are named in it is the product's own affair.
type standing struct {
	self, leader string
	applied      uint64
}

// address is where a node is: its name, its folder, and its ports on the loopback interface.
type address struct {
	name, dir      string
	clients, peers int
	third, fourth  int // only raftnode listens at these, for gossip and for its profiler
}

func (a address) client() string { return loopback(a.clients) }
func (a address) peer() string   { return loopback(a.peers) }

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// addresses finds ports that are free. They are kept until all are found, so that none is found twice.
func addresses(n int, dir string) ([]address, error) {
	var all []address
	var kept []net.Listener
	defer func() {
		for _, l := range kept {
			l.Close()
		}
	}()
	free := func() (int, error) {
		l, err := net.Listen("tcp", loopback(0))
		if err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		kept = append(kept, l)
		return l.Addr().(*net.TCPAddr).Port, nil
	}
	for i := range n {
		a := address{name: fmt.Sprintf("n%d", i+1)}
		a.dir = fmt.Sprintf("%s/%s", dir, a.name)
		for _, port := range []*int{&a.clients, &a.peers, &a.third, &a.fourth} {
			var err error
			if *port, err = free(); err != nil {
				return nil, err
			}
		}
		all = append(all, a)
	}
	return all, nil
}

// The bounds on what is waited for.
const (
	agreementBound = 30 * time.Second
	pollInterval   = 20 * time.Millisecond
	askBound       = 2 * time.Second
)

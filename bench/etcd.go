package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// etcd is the store of the same name, as it is without a flag beyond those that say who is where.
type etcd struct {
	binary string
	shared int // connections for all clients; 0 for one each
}

func (etcd) name() string { return "etcd" }

func (e etcd) program() string { return e.binary }

// etcdVersion is what this program was linked with; the server is of the same module version.
func etcdVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "go.etcd.io/etcd/client/v3" {
				return m.Version
			}
		}
	}
	return "of an unknown version"
}

func (e etcd) command(node address, all []address) []string {
	var cluster []string
	for _, a := range all {
		cluster = append(cluster, a.name+"=http://"+a.peer())
	}
	return []string{e.binary, "--name", node.name, "--data-dir", node.dir,
		"--listen-client-urls", "http://" + node.client(), "--advertise-client-urls", "http://" + node.client(),
		"--listen-peer-urls", "http://" + node.peer(), "--initial-advertise-peer-urls", "http://" + node.peer(),
		"--initial-cluster", strings.Join(cluster, ","), "--initial-cluster-state", "new"}
}

func (e etcd) connections(clients int) int {
	if e.shared == 0 {
		return clients
	}
	return min(e.shared, clients)
}

func (etcd) connect(node address) (connection, error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{node.client()}, Logger: zap.NewNop()})
	return etcdConnection{c, node.client()}, err
}

type etcdConnection struct {
	client   *clientv3.Client
	endpoint string
}

func (c etcdConnection) write(ctx context.Context, key, value string) error {
	_, err := c.client.Put(ctx, key, value)
	return err
}

func (c etcdConnection) read(ctx context.Context, key string) (string, error) {
	r, err := c.client.Get(ctx, key)
	if err != nil {
		return "", err
	}
	if len(r.Kvs) != 1 {
		return "", fmt.Errorf("%s is absent", key)
	}
	return string(r.Kvs[0].Value), nil
}

func (c etcdConnection) standing(ctx context.Context) (standing, error) {
	s, err := c.client.Status(ctx, c.endpoint)
	if err != nil {
		return standing{}, err
	}
	member := func(id uint64) string {
		if id == 0 {
			return ""
		}
		return strconv.FormatUint(id, 16)
	}
	return standing{self: member(s.Header.MemberId), leader: member(s.Leader), applied: s.RaftAppliedIndex}, nil
}

func (c etcdConnection) close() error { return c.client.Close() }

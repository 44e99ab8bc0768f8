package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"coup/raftnode/actionlog"
	"coup/raftnode/bus"
	"coup/raftnode/gossip"
	"coup/raftnode/membership"
	"coup/raftnode/raft"
	"coup/raftnode/replica"
	"coup/raftnode/server"
	"coup/raftnode/store"
	"coup/version"
)

// graceful is how long clients' requests under way may take once the node was told to stop.
const graceful = 2 * time.Second

// run is a node from its start to its end. It returns nil when ctx was done and all is closed. After
// an error the process must end at once: nothing that was not durable has been said, and nothing more
// may be.
func run(ctx context.Context, s settings) (err error) {
	var tell func(actionlog.Action)
	if s.actionLog != "" {
		actions, err := actionlog.OpenStream(s.actionLog)
		if err != nil {
			return fmt.Errorf("--action-log: %w", err)
		}
		tell = actions.Tell
		defer func() { stopLog(actions, s, err) }()
	}
	clients, err := net.Listen("tcp", s.listenHTTP)
	if err != nil {
		return fmt.Errorf("API: %w", err)
	}
	defer clients.Close()
	if s.pprof != "" {
		profiling, err := net.Listen("tcp", s.pprof)
		if err != nil {
			return fmt.Errorf("profiler: %w", err)
		}
		server := profiles()
		go server.Serve(profiling)
		defer server.Close()
	}
	where := &places{started: s.peers, log: s.log}
	g, err := gossip.Start(gossipOptions(s, where.seeds))
	if err != nil {
		return err
	}

	disk, faults := seamsOf(s)
	db, err := openStore(s, disk)
	if err != nil {
		return err
	}

	started := make(map[raft.NodeID]gossip.Addresses)
	for id, p := range s.peers {
		started[id] = p.addresses()
	}
	directory := gossip.NewDirectory(started, g)
	others, err := newNeighbours(s.id, directory)
	if err != nil {
		return err
	}
	standing := membership.New(membershipOptions(s, others))
	metrics := server.NewMetrics()
	loop := server.NewLoop(metrics)
	messages := bus.NewGRPC(bus.Options{
		ID: s.id, Handler: loop.Receive, Resolver: directory, Logger: s.log, FirstID: random(), TLS: s.tls,
	})
	api := server.New(server.Options{
		ID: s.id, Loop: loop, Metrics: metrics, ClientURL: directory.ClientURL, BusStats: messages.Stats,
		Logger: s.log, Version: version.Self(), PID: os.Getpid(), RequestTimeout: s.requestTimeout,
		Standing: standing.Standing, CheckAddress: checkPlace, ClientTLS: s.clientTLS, Faults: faults.handler,
	})
	failed := make(chan error, 3)
	serve := func(what string, f func(net.Listener) error, l net.Listener) {
		if err := f(l); err != nil {
			failed <- fmt.Errorf("%s: %w", what, err)
		}
	}
	go serve("API", api.Serve, clients)
	stop := func() error {
		patience, cancel := context.WithTimeout(context.Background(), graceful)
		defer cancel()
		return api.Shutdown(patience)
	}

	s.log.Info("node starts", "version", version.Self(), "http", s.listenHTTP, "bus", s.listenBus,
		"gossip", s.listenGossip, "data", s.data, "seed", s.seed, "pid", os.Getpid())
	switch err := standing.Begin(ctx, db); {
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		s.log.Info("node stops before it began")
		return errors.Join(stop(), messages.Close(), g.Close(), db.Close())
	case err != nil:
		return fmt.Errorf("%s: %w", s.data, err)
	}
	peers, err := bus.Listen(ctx, s.listenBus)
	if err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	defer peers.Close()
	config := replicaConfig(s)
	config.Store, config.Bus, config.Actions = metrics.Store(db), loop.Bus(messages), tell
	config.Members = func(c raft.Configuration) {
		for _, id := range directory.Configure(where.configure(c)) {
			messages.Drop(id)
		}
	}
	r, err := replica.New(config)
	if err != nil {
		return err
	}
	logDisagreements(s, r.Status().Configuration)

	ticks, stopTicks := faults.ticks()
	defer stopTicks()
	turning, stopLoop := context.WithCancel(context.Background())
	defer stopLoop()
	turned := make(chan struct{})
	go func() {
		defer close(turned)
		if err := loop.Run(turning, r, ticks); err != nil {
			failed <- err
		}
	}()
	go serve("bus", messages.Serve, peers)
	go standing.Watch(turning, loop)
	s.log.Info("node takes part")

	select {
	case err := <-failed:
		s.log.Error("node stops at once", "error", err)
		return err
	case <-ctx.Done():
	}
	s.log.Info("node stops")
	if err := handOver(api); err != nil {
		s.log.Warn("leadership was not handed over", "error", err)
	}
	err = stop()
	stopLoop()
	<-turned
	select {
	case late := <-failed:
		return late
	default:
	}
	return errors.Join(err, messages.Close(), g.Close(), db.Close())
}

// handOver has another lead before this node stops. A transfer is given up by itself, after an election time-out.
func handOver(api *server.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), graceful)
	defer cancel()
	return api.HandOver(ctx)
}

// openStore opens the directory of a node, which must be its own.
func openStore(s settings, disk vfs.FS) (*store.Pebble, error) {
	db, err := store.OpenPebble(s.data, disk, s.log)
	if err != nil {
		return nil, err
	}
	return db, claim(disk, s.data, s.id)
}

// replicaConfig is what the settings say of a replica.
func replicaConfig(s settings) replica.Config {
	return replica.Config{
		ID: s.id, Upstreams: s.upstreams, Seed: s.seed, Logger: s.log,
		ElectionTicks: s.electionTicks, HeartbeatTicks: s.heartbeatTicks, Tick: s.tick,
		PromotionLag: s.promotionLag, LeaseDrift: s.leaseDrift, MaxLeaderTicks: s.maxLeaderTicks, AtMaxReign: s.atMaxReign,
		Snapshots: s.snapshots,
	}
}

func logDisagreements(s settings, c raft.Configuration) {
	if len(c.Voters) == 0 {
		return // it was told of none yet
	}
	for _, d := range s.disagreements(c) {
		s.log.Warn("the store wins over the command line", "difference", d)
	}
}

// stopLog ends the action log with why the node ends. That it cannot be written to is no reason for the node to fail.
func stopLog(actions *actionlog.Stream, s settings, why error) {
	text := "it was told to"
	if why != nil {
		text = why.Error()
	}
	actions.Tell(actionlog.Action{Kind: actionlog.Stop, Node: s.id, Text: text})
	if err := actions.Close(); err != nil {
		s.log.Error("action log", "error", err)
	}
}

func membershipOptions(s settings, others membership.Peers) membership.Options {
	o := membership.Options{ID: s.id, Join: s.join, Peers: others, Logger: s.log, Disagreements: s.disagreements}
	if !s.bootstrap {
		return o
	}
	o.Addresses = make(map[raft.NodeID]string)
	for id, p := range s.peers {
		if id == s.id {
			p = s.self
		}
		o.Founders = append(o.Founders, id)
		o.Addresses[id] = p.String()
	}
	slices.Sort(o.Founders)
	return o
}

// checkPlace says why a member cannot be at an address.
func checkPlace(text string) error {
	_, err := parsePlace(text, defaultPorts)
	return err
}

func gossipOptions(s settings, seeds func() map[raft.NodeID][]string) gossip.Options {
	return gossip.Options{
		ID: s.id, Listen: s.listenGossip, Advertise: s.self.gossipAddress(), Seeds: seeds, Logger: s.log,
		Self: s.self.addresses(), Key: s.gossipKey,
	}
}

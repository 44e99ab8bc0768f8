package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"coup/raftnode/actionlog"
	"coup/raftnode/bus"
	"coup/raftnode/faultfs"
	"coup/raftnode/gossip"
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
		return fmt.Errorf("HTTP API: %w", err)
	}
	defer clients.Close()
	peers, err := bus.Listen(ctx, s.listenBus)
	if err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	defer peers.Close()
	g, err := gossip.Start(gossipOptions(s))
	if err != nil {
		return err
	}

	disk := vfs.Default
	if s.loseUnsynced {
		s.log.Warn("UNSAFE: un-synced writes stay in this process and are lost when it is killed")
		disk = faultfs.New(disk)
	}
	db, err := store.OpenPebble(s.data, disk, s.log)
	if err != nil {
		return err
	}

	directory := gossip.Directory{Configured: make(map[raft.NodeID]gossip.Addresses), Discovered: g.Lookup}
	for id, p := range s.peers {
		directory.Configured[id] = gossip.Addresses{Bus: p.busAddress(), Client: p.httpAddress()}
	}
	metrics := server.NewMetrics()
	loop := server.NewLoop(metrics)
	messages := bus.NewGRPC(bus.Options{
		ID: s.id, Handler: loop.Receive, Resolver: directory, Logger: s.log, FirstID: random(),
	})
	r, err := replica.New(replica.Config{
		ID: s.id, Voters: slices.Collect(maps.Keys(s.peers)),
		Store: metrics.Store(db), Bus: loop.Bus(messages),
		Seed: s.seed, ElectionTicks: s.electionTicks, HeartbeatTicks: s.heartbeatTicks, Logger: s.log,
		Tick: s.tick, Actions: tell,
	})
	if err != nil {
		return err
	}
	api := server.New(server.Options{
		ID: s.id, Loop: loop, Metrics: metrics, ClientURL: directory.ClientURL, BusStats: messages.Stats,
		Logger: s.log, Version: version.Self(), PID: os.Getpid(), RequestTimeout: s.requestTimeout,
	})

	ticks, stopTicks := server.Every(s.tick)
	defer stopTicks()
	turning, stopLoop := context.WithCancel(context.Background())
	defer stopLoop()
	failed := make(chan error, 3)
	turned := make(chan struct{})
	go func() {
		defer close(turned)
		if err := loop.Run(turning, r, ticks); err != nil {
			failed <- err
		}
	}()
	serve := func(what string, f func(net.Listener) error, l net.Listener) {
		if err := f(l); err != nil {
			failed <- fmt.Errorf("%s: %w", what, err)
		}
	}
	go serve("bus", messages.Serve, peers)
	go serve("HTTP API", api.Serve, clients)
	s.log.Info("node started", "version", version.Self(), "http", s.listenHTTP, "bus", s.listenBus,
		"gossip", s.listenGossip, "data", s.data, "seed", s.seed, "pid", os.Getpid())

	select {
	case err := <-failed:
		s.log.Error("node stops at once", "error", err)
		return err
	case <-ctx.Done():
	}
	s.log.Info("node stops")
	patience, cancel := context.WithTimeout(context.Background(), graceful)
	defer cancel()
	err = api.Shutdown(patience)
	stopLoop()
	<-turned
	select {
	case late := <-failed:
		return late
	default:
	}
	return errors.Join(err, messages.Close(), g.Close(), db.Close())
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

func gossipOptions(s settings) gossip.Options {
	seeds := make(map[raft.NodeID]string)
	for id, p := range s.peers {
		seeds[id] = p.gossipAddress()
	}
	return gossip.Options{
		ID: s.id, Listen: s.listenGossip, Advertise: s.self.gossipAddress(), Seeds: seeds, Logger: s.log,
		Self: gossip.Addresses{Bus: s.self.busAddress(), Client: s.self.httpAddress()},
	}
}

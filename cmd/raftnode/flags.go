package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"coup/raftnode/raft"
)

// flags are the command line as it was given.
type flags struct {
	id, peers, data, advertise          string
	listenHTTP, listenBus, listenGossip string
	tick, requestTimeout                time.Duration
	electionTicks, heartbeatTicks       int
	seed, logLevel, logFormat           string
	loseUnsynced                        bool
	actionLog                           string
}

// settings are what a node is started with, checked.
type settings struct {
	id                                  raft.NodeID
	peers                               map[raft.NodeID]peer
	self                                peer // where peers and clients reach this node
	data                                string
	listenHTTP, listenBus, listenGossip string
	tick, requestTimeout                time.Duration
	electionTicks, heartbeatTicks       int
	seed                                uint64
	loseUnsynced                        bool
	actionLog                           string // file; empty for none
	log                                 *slog.Logger
}

func (f *flags) register(s *pflag.FlagSet) {
	s.StringVar(&f.id, "id", "", "this node's name, for the whole life of the cluster")
	s.StringVar(&f.peers, "peers", "", "the first members, this one included: ID=HOST[:BUS[/HTTP[/GOSSIP]]],...")
	s.StringVar(&f.data, "data", "", "directory of the log and the hard state; made when missing")
	s.StringVar(&f.advertise, "advertise", "", "host at which peers reach this node (default: its host in --peers)")
	s.StringVar(&f.listenHTTP, "listen-http", ":4100", "address of the HTTP API")
	s.StringVar(&f.listenBus, "listen-bus", ":4200", "address of the message bus, for peers")
	s.StringVar(&f.listenGossip, "listen-gossip", ":4300", "address of the gossip, TCP and UDP, for peers")
	s.DurationVar(&f.tick, "tick", 50*time.Millisecond, "unit of the replica's time")
	s.IntVar(&f.electionTicks, "election-ticks", 10, "a follower campaigns after N to 2N-1 ticks of silence")
	s.IntVar(&f.heartbeatTicks, "heartbeat-ticks", 2, "ticks between a leader's heartbeats")
	s.DurationVar(&f.requestTimeout, "request-timeout", 4*time.Second, "how long a client's request may wait")
	s.StringVar(&f.seed, "seed", "", "number that randomises elections (default: from the system)")
	s.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	s.StringVar(&f.logFormat, "log-format", "text", "text or json")
	s.StringVar(&f.actionLog, "action-log", "", "file that all the node does is appended to, one JSON object a line (default: none)")
	s.BoolVar(&f.loseUnsynced, "unsafe-lose-unsynced", false, "for tests: keep un-synced writes in the process, so that they die with it")
}

// settings checks the flags. Its errors are one line each and name the flag.
func (f *flags) settings() (settings, error) {
	s := settings{
		id: raft.NodeID(f.id), data: f.data,
		listenHTTP: f.listenHTTP, listenBus: f.listenBus, listenGossip: f.listenGossip,
		tick: f.tick, requestTimeout: f.requestTimeout,
		electionTicks: f.electionTicks, heartbeatTicks: f.heartbeatTicks, loseUnsynced: f.loseUnsynced,
		actionLog: f.actionLog,
	}
	if err := checkID(f.id); err != nil {
		return s, fmt.Errorf("--id: %w", err)
	}
	var own ports
	for _, l := range []struct {
		flag, address string
		port          *int
	}{
		{"listen-http", f.listenHTTP, &own.http},
		{"listen-bus", f.listenBus, &own.bus},
		{"listen-gossip", f.listenGossip, &own.gossip},
	} {
		_, port, err := net.SplitHostPort(l.address)
		if err == nil {
			*l.port, err = parsePort(port)
		}
		if err != nil {
			return s, fmt.Errorf("--%s: %w", l.flag, err)
		}
	}
	if f.peers == "" {
		return s, errors.New("--peers: name the first members, this node included")
	}
	var err error
	if s.peers, err = parsePeers(f.peers, own); err != nil {
		return s, fmt.Errorf("--peers: %w", err)
	}
	var named bool
	if s.self, named = s.peers[s.id]; !named {
		return s, fmt.Errorf("--peers: this node, %s, is not among them", s.id)
	}
	if f.advertise != "" {
		s.self.host = f.advertise
	}
	switch {
	case f.data == "":
		return s, errors.New("--data: name the directory of the log")
	case f.tick <= 0:
		return s, errors.New("--tick: it must be positive")
	case f.heartbeatTicks < 1:
		return s, errors.New("--heartbeat-ticks: it must be at least 1")
	case f.electionTicks <= f.heartbeatTicks:
		return s, errors.New("--election-ticks: it must exceed --heartbeat-ticks")
	case f.requestTimeout <= 0:
		return s, errors.New("--request-timeout: it must be positive")
	}
	if s.seed, err = parseSeed(f.seed); err != nil {
		return s, err
	}
	// Nodes that are given one seed must not campaign in step.
	name := fnv.New64a()
	name.Write([]byte(f.id))
	s.seed ^= name.Sum64()
	s.log, err = f.logger()
	return s, err
}

func parseSeed(text string) (uint64, error) {
	if text == "" {
		return random(), nil
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("--seed: %q is no number from 0 to 2^64-1", text)
	}
	return seed, nil
}

func random() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

func (f *flags) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, fmt.Errorf("--log-level: %q is not debug, info, warn or error", f.logLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	switch f.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, options)).With("node", f.id), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, options)).With("node", f.id), nil
	}
	return nil, fmt.Errorf("--log-format: %q is not text or json", f.logFormat)
}

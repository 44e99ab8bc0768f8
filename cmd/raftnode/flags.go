package main

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"coup/raftnode/bus"
	"coup/raftnode/raft"
	"coup/raftnode/replica"
	"coup/raftnode/server"
)

// flags are the command line as it was given.
type flags struct {
	id, peers, data, advertise          string
	listenHTTP, listenBus, listenGossip string
	tick, requestTimeout                time.Duration
	electionTicks, heartbeatTicks       int
	seed, logLevel, logFormat           string
	loseUnsynced, faultSeams            bool

	bootstrap, join, readOnly             bool
	upstreams                             string
	gossipKeyFile, tlsCert, tlsKey, tlsCA string

	clientTLSCert, clientTLSKey, clientTLSCA string

	maxLeaderTicks, leaseDrift       int
	atMaxReign                       string
	promotionLag, snapshotChunkBytes int
	snapshotEvery, snapshotKeep      uint64
	actionLog, pprof                 string
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
	loseUnsynced, faultSeams            bool

	bootstrap, join            bool
	upstreams                  []raft.NodeID // of a read-only peer; nil for any other
	gossipKey                  []byte        // nil for none
	tls                        *tls.Config   // of the bus; nil for none
	clientTLS                  *tls.Config   // of clients by gRPC; nil for none
	maxLeaderTicks, leaseDrift int
	atMaxReign                 raft.AtMaxReign
	promotionLag               int
	snapshots                  replica.Snapshots

	actionLog string // file; empty for none
	pprof     string // address; empty for none
	log       *slog.Logger
}

func (f *flags) register(s *pflag.FlagSet) {
	s.StringVar(&f.id, "id", "", "this node's name, for the whole life of the cluster")
	s.StringVar(&f.peers, "peers", "", "where nodes of the cluster are: ID=HOST[:BUS[/HTTP[/GOSSIP]]],...; with --bootstrap, its first members")
	s.BoolVar(&f.bootstrap, "bootstrap", false, "where the directory is empty, found a new cluster together with the other --peers")
	s.BoolVar(&f.join, "join", false, "where the directory is empty, wait to be made a member of the cluster of --peers")
	s.BoolVar(&f.readOnly, "read-only", false, "with --join: be a read-only peer, fed by followers")
	s.StringVar(&f.upstreams, "upstreams", "", "with --read-only: whom to ask first, ID,... (default: all of --peers)")
	s.StringVar(&f.data, "data", "", "directory of the log and the hard state; made when missing")
	s.StringVar(&f.advertise, "advertise", "", "host at which peers reach this node (default: its host in --peers)")
	s.StringVar(&f.listenHTTP, "listen-http", ":4100", "address of the API for clients: HTTP with JSON, and gRPC")
	s.StringVar(&f.listenBus, "listen-bus", ":4200", "address of the message bus, for peers")
	s.StringVar(&f.listenGossip, "listen-gossip", ":4300", "address of the gossip, TCP and UDP, for peers")
	s.DurationVar(&f.tick, "tick", server.DefaultTick, "unit of the replica's time")
	s.IntVar(&f.electionTicks, "election-ticks", raft.DefaultElectionTicks, "a follower campaigns after N to 2N-1 ticks of silence")
	s.IntVar(&f.heartbeatTicks, "heartbeat-ticks", 2, "ticks between a leader's heartbeats")
	s.DurationVar(&f.requestTimeout, "request-timeout", 4*time.Second, "how long a client's request may wait")
	s.IntVar(&f.maxLeaderTicks, "max-leader-ticks", 0, "a leader's reign ends after N ticks; 0 is never")
	s.StringVar(&f.atMaxReign, "at-max-reign", "abdicate", "what a leader does then: abdicate, or exit with code 4 to be started again")
	s.IntVar(&f.leaseDrift, "lease-drift", 0, "percentage by which clocks' rates may differ, 1 to 50: allows lease reads; the same on all nodes; 0 allows none")
	s.IntVar(&f.promotionLag, "promotion-lag", 64, "entries that a learner may be behind and still be promoted")
	s.Uint64Var(&f.snapshotEvery, "snapshot-every", 10_000, "entries from one snapshot to the next, with which the log is truncated; 0 takes them on request only")
	s.Uint64Var(&f.snapshotKeep, "snapshot-keep", 1_000, "entries behind a snapshot that stay in the log, for peers that are a little behind")
	s.IntVar(&f.snapshotChunkBytes, "snapshot-chunk-bytes", 256<<10, "about how large the pieces are in which snapshots are written and sent")
	s.StringVar(&f.gossipKeyFile, "gossip-key-file", "", "file with the key that encrypts the gossip: 16, 24 or 32 bytes in base64; the same on all nodes")
	s.StringVar(&f.tlsCert, "tls-cert", "", "PEM file with this node's certificate, whose DNS name is its --id: secures the bus")
	s.StringVar(&f.tlsKey, "tls-key", "", "PEM file with its key")
	s.StringVar(&f.tlsCA, "tls-ca", "", "PEM file with the authority that signs all nodes' certificates")
	s.StringVar(&f.clientTLSCert, "client-tls-cert", "", "PEM file with the certificate, whose DNS name is --id, that clients by gRPC are shown: secures their streams, and lets none in the clear")
	s.StringVar(&f.clientTLSKey, "client-tls-key", "", "PEM file with its key")
	s.StringVar(&f.clientTLSCA, "client-tls-ca", "", "PEM file with the authority that signs such clients' certificates")
	s.StringVar(&f.seed, "seed", "", "number that randomises elections (default: from the system)")
	s.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	s.StringVar(&f.logFormat, "log-format", "text", "text or json")
	s.StringVar(&f.actionLog, "action-log", "", "file that all the node does is appended to, one JSON object a line (default: none)")
	s.StringVar(&f.pprof, "pprof", "", "address at which Go's profiler is served, as 127.0.0.1:6060; not for strangers (default: none)")
	s.BoolVar(&f.loseUnsynced, "unsafe-lose-unsynced", false, "for tests: keep un-synced writes in the process, so that they die with it")
	s.BoolVar(&f.faultSeams, "unsafe-fault-seams", false, "for tests: as --unsafe-lose-unsynced, and have whoever reaches the HTTP API break disk and clock, at /faults")
}

// settings checks the flags. Its errors are one line each and name the flag.
func (f *flags) settings() (settings, error) {
	s := settings{
		id: raft.NodeID(f.id), data: f.data,
		listenHTTP: f.listenHTTP, listenBus: f.listenBus, listenGossip: f.listenGossip,
		tick: f.tick, requestTimeout: f.requestTimeout,
		electionTicks: f.electionTicks, heartbeatTicks: f.heartbeatTicks, loseUnsynced: f.loseUnsynced, faultSeams: f.faultSeams,
		actionLog: f.actionLog, pprof: f.pprof,
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
	if f.pprof != "" {
		if _, _, err := net.SplitHostPort(f.pprof); err != nil {
			return s, fmt.Errorf("--pprof: %w", err)
		}
	}
	if err := f.place(&s, own); err != nil {
		return s, err
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
	if err := f.reign(&s); err != nil {
		return s, err
	}
	if err := f.replicate(&s); err != nil {
		return s, err
	}
	if err := f.secure(&s); err != nil {
		return s, err
	}
	var err error
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

// place settles where this node and the others are, and how it begins.
func (f *flags) place(s *settings, own ports) (err error) {
	if f.peers == "" {
		return errors.New("--peers: name nodes of the cluster; with --bootstrap, its first members, this one included")
	}
	if s.peers, err = parsePeers(f.peers, own); err != nil {
		return fmt.Errorf("--peers: %w", err)
	}
	var named bool
	s.self, named = s.peers[s.id]
	s.bootstrap, s.join = f.bootstrap, f.join
	switch {
	case f.bootstrap && f.join:
		return errors.New("--join: a node either founds a cluster, by --bootstrap, or joins one")
	case f.bootstrap && !named:
		return fmt.Errorf("--peers: this node, %s, is not among the first members", s.id)
	case f.readOnly && !f.join:
		return errors.New("--read-only: a read-only peer begins with --join")
	case f.upstreams != "" && !f.readOnly:
		return errors.New("--upstreams: only a read-only peer, --read-only, has upstreams")
	case !named && f.advertise == "":
		return fmt.Errorf("--advertise: say where others reach this node, since %s is not among --peers", s.id)
	}
	if !named {
		s.self = peer{ports: own}
	}
	if f.advertise != "" {
		s.self.host = f.advertise
	}
	if f.readOnly {
		return f.hang(s)
	}
	return nil
}

// hang settles whom a read-only peer asks.
func (f *flags) hang(s *settings) error {
	for _, id := range slices.Sorted(maps.Keys(s.peers)) {
		if id != s.id && f.upstreams == "" {
			s.upstreams = append(s.upstreams, id)
		}
	}
	if f.upstreams != "" {
		for id := range strings.SplitSeq(f.upstreams, ",") {
			id = strings.TrimSpace(id)
			if err := checkID(id); err != nil {
				return fmt.Errorf("--upstreams: %w", err)
			}
			if raft.NodeID(id) == s.id {
				return errors.New("--upstreams: a node does not feed itself")
			}
			s.upstreams = append(s.upstreams, raft.NodeID(id))
		}
	}
	if len(s.upstreams) == 0 {
		return errors.New("--upstreams: name a node to be fed by")
	}
	return nil
}

// reign settles how long leaders lead, and what their word is good for.
func (f *flags) reign(s *settings) error {
	s.maxLeaderTicks, s.leaseDrift = f.maxLeaderTicks, f.leaseDrift
	switch {
	case f.maxLeaderTicks < 0:
		return errors.New("--max-leader-ticks: it must not be negative")
	case f.maxLeaderTicks > 0 && f.maxLeaderTicks <= f.electionTicks:
		return errors.New("--max-leader-ticks: it must exceed --election-ticks")
	case f.leaseDrift < 0 || f.leaseDrift > 50:
		return errors.New("--lease-drift: it must be from 0 to 50")
	}
	switch f.atMaxReign {
	case "abdicate":
		s.atMaxReign = raft.Abdicate
	case "exit":
		s.atMaxReign = raft.Exit
	default:
		return fmt.Errorf("--at-max-reign: %q is not abdicate or exit", f.atMaxReign)
	}
	return nil
}

// maxChunkBytes leaves a chunk room in a message of the bus.
const maxChunkBytes = 8 << 20

// replicate settles how peers are brought up to date.
func (f *flags) replicate(s *settings) error {
	switch {
	case f.promotionLag < 1:
		return errors.New("--promotion-lag: it must be at least 1")
	case f.snapshotChunkBytes < 1<<10 || f.snapshotChunkBytes > maxChunkBytes:
		return fmt.Errorf("--snapshot-chunk-bytes: it must be from %d to %d", 1<<10, maxChunkBytes)
	}
	s.promotionLag = f.promotionLag
	s.snapshots = replica.Snapshots{Every: f.snapshotEvery, Keep: f.snapshotKeep, ChunkBytes: f.snapshotChunkBytes}
	return nil
}

// secure reads keys and certificates.
func (f *flags) secure(s *settings) (err error) {
	if f.gossipKeyFile != "" {
		text, err := os.ReadFile(f.gossipKeyFile)
		if err != nil {
			return fmt.Errorf("--gossip-key-file: %w", err)
		}
		s.gossipKey, err = base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
		if n := len(s.gossipKey); err != nil || n != 16 && n != 24 && n != 32 {
			return errors.New("--gossip-key-file: it does not hold 16, 24 or 32 bytes in base64")
		}
	}
	if s.tls, err = secured("tls", f.tlsCert, f.tlsKey, f.tlsCA); err != nil {
		return err
	}
	s.clientTLS, err = secured("client-tls", f.clientTLSCert, f.clientTLSKey, f.clientTLSCA)
	return err
}

// secured reads the certificate, key and authority that three flags name, which begin alike. It is nil for none.
func secured(flags, cert, key, ca string) (*tls.Config, error) {
	switch {
	case cert == "" && key == "" && ca == "":
		return nil, nil
	case cert == "" || key == "" || ca == "":
		return nil, fmt.Errorf("--%[1]s-cert, --%[1]s-key, --%[1]s-ca: give all three or none", flags)
	}
	c, err := bus.MutualTLS(cert, key, ca)
	if err != nil {
		return nil, fmt.Errorf("--%[1]s-cert, --%[1]s-key, --%[1]s-ca: %[2]w", flags, err)
	}
	return c, nil
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

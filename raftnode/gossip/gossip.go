// Package gossip discovers where peers are. Each node tells its own addresses to the others through
// memberlist and remembers theirs, also those of nodes that seem dead. What it says may be stale or
// wrong: it is where to knock, never who is a member.
package gossip

import (
	"fmt"
	"log"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"coup/raftnode/raft"
)

// Options are what a node gossips with.
type Options struct {
	ID        raft.NodeID
	Listen    string    // host:port to bind, UDP and TCP; an empty host is every interface
	Advertise string    // host:port at which others reach Listen
	Self      Addresses // what others shall know of this node
	// Seeds tells where peers' gossip is expected to listen. Those that are not seen alive are joined
	// again and again, which is what brings two halves together after a partition. Nil knows of none.
	Seeds func() map[raft.NodeID][]string
	// Key encrypts and authenticates all that is said, by AES-GCM: 16, 24 or 32 bytes, the same on all
	// nodes. Nil leaves it in the clear.
	Key []byte
	// RejoinInterval is how often. Zero is 5 s.
	RejoinInterval time.Duration
	Logger         *slog.Logger // nil for none
}

// Gossip is a node's part in the conversation. It is safe for concurrent use.
type Gossip struct {
	o    Options
	list *memberlist.Memberlist
	stop chan struct{}
	done chan struct{}

	mu    sync.Mutex
	known map[raft.NodeID]Addresses
	alive map[raft.NodeID]bool
}

// Start binds Options.Listen and begins to gossip. That no peer answers is no error.
func Start(o Options) (*Gossip, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.RejoinInterval == 0 {
		o.RejoinInterval = 5 * time.Second
	}
	g := &Gossip{
		o: o, stop: make(chan struct{}), done: make(chan struct{}),
		known: make(map[raft.NodeID]Addresses), alive: make(map[raft.NodeID]bool),
	}
	c, err := g.configuration()
	if err != nil {
		return nil, err
	}
	if g.list, err = memberlist.Create(c); err != nil {
		return nil, fmt.Errorf("gossip: listening on %s: %w", o.Listen, err)
	}
	go g.rejoin()
	return g, nil
}

func (g *Gossip) configuration() (*memberlist.Config, error) {
	bindIP, bindPort, err := address(g.o.Listen)
	if err != nil {
		return nil, fmt.Errorf("gossip: address to listen on: %w", err)
	}
	advertiseIP, advertisePort, err := address(g.o.Advertise)
	if err != nil {
		return nil, fmt.Errorf("gossip: address to advertise: %w", err)
	}
	meta, err := g.o.Self.encode()
	if err != nil {
		return nil, err
	}
	// A failure detector that nobody depends on can afford to be slow.
	c := memberlist.DefaultLANConfig()
	c.Name = string(g.o.ID)
	c.BindAddr, c.BindPort = bindIP, bindPort
	c.AdvertiseAddr, c.AdvertisePort = advertiseIP, advertisePort
	c.TCPTimeout = 2 * time.Second
	c.ProbeInterval = 2 * time.Second
	c.GossipInterval = 500 * time.Millisecond
	c.DeadNodeReclaimTime = time.Second // a node may come back at another address
	c.EnableCompression = false
	c.SecretKey = g.o.Key
	c.Delegate = delegate{meta}
	c.Events = g
	c.Conflict = g
	c.PushPullInterval = 10 * time.Second
	c.Logger = log.New(quietWriter{g.o.Logger}, "", 0)
	return c, nil
}

// address splits host:port and turns the host into an IP, by name service if need be.
func address(hostPort string) (ip string, port int, err error) {
	host, service, err := net.SplitHostPort(hostPort)
	if err != nil {
		return "", 0, err
	}
	if port, err = strconv.Atoi(service); err != nil {
		return "", 0, fmt.Errorf("%s: the port is not a number", hostPort)
	}
	if host == "" {
		return "0.0.0.0", port, nil
	}
	found, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return "", 0, err
	}
	return found.String(), port, nil
}

// Lookup tells what is known of a peer, dead ones included.
func (g *Gossip) Lookup(id raft.NodeID) (Addresses, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a, ok := g.known[id]
	return a, ok
}

// Alive are the peers that seem alive, this node included, sorted.
func (g *Gossip) Alive() []raft.NodeID {
	g.mu.Lock()
	defer g.mu.Unlock()
	var ids []raft.NodeID
	for id := range g.alive {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Close says farewell, and stops.
func (g *Gossip) Close() error {
	close(g.stop)
	<-g.done
	// Nobody may be left to hear it.
	if err := g.list.Leave(500 * time.Millisecond); err != nil {
		g.o.Logger.Debug("gossip: leaving", "error", err)
	}
	return g.list.Shutdown()
}

func (g *Gossip) rejoin() {
	defer close(g.done)
	tick := time.NewTicker(g.o.RejoinInterval)
	defer tick.Stop()
	for {
		for _, seed := range g.unseen() {
			select {
			case <-g.stop:
				return
			default:
			}
			if _, err := g.list.Join([]string{seed}); err != nil {
				g.o.Logger.Debug("gossip: joining", "seed", seed, "error", err)
			}
		}
		select {
		case <-tick.C:
		case <-g.stop:
			return
		}
	}
}

func (g *Gossip) unseen() (seeds []string) {
	if g.o.Seeds == nil {
		return nil
	}
	all := g.o.Seeds()
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, places := range all {
		if id != g.o.ID && !g.alive[id] {
			seeds = append(seeds, places...)
		}
	}
	slices.Sort(seeds)
	return slices.Compact(seeds)
}

// NotifyJoin implements memberlist.EventDelegate.
func (g *Gossip) NotifyJoin(n *memberlist.Node) { g.learn(n) }

// NotifyUpdate implements memberlist.EventDelegate.
func (g *Gossip) NotifyUpdate(n *memberlist.Node) { g.learn(n) }

// NotifyLeave implements memberlist.EventDelegate. What was known of the node is kept: it may be
// alive behind a partition.
func (g *Gossip) NotifyLeave(n *memberlist.Node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.alive, raft.NodeID(n.Name))
}

// NotifyConflict implements memberlist.ConflictDelegate. A node that came back at another address, before it was missed
// at the old one, is to be found there at once.
func (g *Gossip) NotifyConflict(_, other *memberlist.Node) {
	a, err := decodeAddresses(other.Meta)
	if err != nil || other.Name == string(g.o.ID) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known[raft.NodeID(other.Name)] = a
}

func (g *Gossip) learn(n *memberlist.Node) {
	a, err := decodeAddresses(n.Meta)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alive[raft.NodeID(n.Name)] = true
	if err != nil {
		g.o.Logger.Debug("gossip: addresses not understood", "peer", n.Name, "error", err)
		return
	}
	g.known[raft.NodeID(n.Name)] = a
}

// delegate tells memberlist this node's addresses, and nothing else.
type delegate struct{ meta []byte }

func (d delegate) NodeMeta(int) []byte             { return d.meta }
func (delegate) NotifyMsg([]byte)                  {}
func (delegate) GetBroadcasts(int, int) [][]byte   { return nil }
func (delegate) LocalState(bool) []byte            { return nil }
func (delegate) MergeRemoteState(_ []byte, _ bool) {}

// quietWriter passes memberlist's lines on: its errors as information, as no harm comes of them, the
// rest for those who debug.
type quietWriter struct{ log *slog.Logger }

func (w quietWriter) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if rest, isError := strings.CutPrefix(text, "[ERR] "); isError {
		w.log.Info(rest)
		return len(line), nil
	}
	_, rest, _ := strings.Cut(text, "] ")
	w.log.Debug(rest)
	return len(line), nil
}

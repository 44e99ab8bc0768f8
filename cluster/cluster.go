// Package cluster says what an environment must offer: start, stop and reach nodes, and break them
// through small capability interfaces. An environment implements Cluster and those capabilities
// that it has; a fault asks for the ones it needs by type assertion.
package cluster

import (
	"context"
	"time"
)

// Node is one member as the suite reaches it.
type Node struct {
	ID        string // "n1", "n2", ...
	ClientURL string // where the suite's clients reach its HTTP API; no fault ever cuts this path
	Address   string // its address on the network that faults cut
	// Wiped is how often its disk was emptied, by Grower.Remove: each time it forgot all that it had promised.
	Wiped int
}

// Options are what every environment needs to start a cluster.
type Options struct {
	Run           string // the run's name, unique; labels all that is made
	Nodes         int
	Binary        string   // path of the static raftnode binary to run
	LoseUnsynced  bool     // start nodes with the file-system seam: un-synced data dies with the process
	Seams         bool     // start nodes so that a Breaker can break them; un-synced data dies with the process, too
	ActionLog     bool     // each node logs what it does, for Dir/nodes/<id>/actions.ndjson
	NodeArguments []string // further arguments for every node
	Dir           string   // the run folder; a node's logs go to Dir/nodes/<id>/
	Progress      func(string)
}

// Cluster is a set of running nodes. Its methods may be called concurrently, but calls about one
// node must not overlap.
type Cluster interface {
	// Environment is "docker" or "netns".
	Environment() string
	// Nodes are those that are there now, whether their processes live or not, in the order of their
	// numbers, n1 first. Nothing but a Grower changes them. Whoever keeps them asks again from time to time,
	// and does not wait for a node that is none of them any more.
	Nodes() []Node
	// Collect copies logs, and the data directories too when data is set, into the run folder.
	Collect(ctx context.Context, data bool) error
	// Close removes everything that was made. It is idempotent, works on a cluster that is half
	// broken, and must be given a context that is still alive.
	Close(ctx context.Context) error
}

// ProcessState is how a node's process stands, as the environment, not the node, says.
type ProcessState struct {
	State string `json:"state"` // running, paused or dead
	PID   int    `json:"pid"`   // as the machine counts; 0 when dead
}

// Killer can end a node by SIGKILL and start it again on the same data, address and network.
type Killer interface {
	Kill(ctx context.Context, node string) error
	Restart(ctx context.Context, node string) error
	Process(ctx context.Context, node string) (ProcessState, error)
}

// Stopper can end a node as its operator would, by SIGTERM, so that it may hand over what it has to.
// Killer.Restart starts it again.
type Stopper interface {
	// Stop returns when the process has ended. One that ends otherwise than with code 0 is a Death.
	Stop(ctx context.Context, node string) error
	Process(ctx context.Context, node string) (ProcessState, error)
}

// Grower can start further nodes, and take nodes away, while the cluster runs. That makes nobody a member, and
// nobody cease to be one: it is for the caller to order that of the cluster, and to wipe no disk before its
// node is proven to be no member.
type Grower interface {
	// Add starts a node that joins the cluster of all the others: it waits to be made a member. An empty name
	// stands for the next that was never used, with an empty disk and an address and client URL of its own. Any other must
	// be that of a node that Remove took away: it is where it was, and begins on what is left of its disk.
	Add(ctx context.Context, name string) (Node, error)
	// Remove takes a node, whose process must be dead, from Nodes. wipe empties its disk; otherwise that is kept,
	// and collected as those of the others are.
	Remove(ctx context.Context, node string, wipe bool) error
}

// Pauser can freeze a node's process and thaw it.
type Pauser interface {
	Pause(ctx context.Context, node string) error
	Resume(ctx context.Context, node string) error
	Process(ctx context.Context, node string) (ProcessState, error)
}

// Link is one direction between two nodes.
type Link struct {
	From string `json:"from"`
	To   string `json:"to"`
}

func (l Link) String() string { return l.From + ">" + l.To }

// Probe is what was seen on a link: of Sent datagrams, Received came through.
type Probe struct {
	Link
	Sent     int           `json:"sent"`
	Received int           `json:"received"`
	Took     time.Duration `json:"took_ns"`
}

// Partitioner can cut directed links between nodes by dropping packets in the receiver's network
// namespace. Cutting a link twice is an error, and so is restoring one that is not cut. Both leave
// every rule that they did not make alone.
type Partitioner interface {
	Cut(ctx context.Context, links []Link) error
	Restore(ctx context.Context, links []Link) error
	// Probe sends datagrams over each link and counts what arrives. It is independent of the rules:
	// it sees what the network does, not what was asked of it.
	Probe(ctx context.Context, links []Link) ([]Probe, error)
}

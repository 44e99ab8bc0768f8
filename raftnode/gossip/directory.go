package gossip

import (
	"maps"
	"slices"
	"sync"

	"coup/raftnode/raft"
)

// Directory tells where nodes are. What the members' configuration says comes first, then what a node says of
// itself by gossip, then what this node was told when it was started. All three are only where to knock.
// It is safe for concurrent use.
type Directory struct {
	started    map[raft.NodeID]Addresses
	discovered Discovered // nil for none

	mu      sync.Mutex
	members map[raft.NodeID]Addresses
}

// Discovered is what gossip knows; *Gossip is one.
type Discovered interface {
	Lookup(raft.NodeID) (Addresses, bool)
	Alive() []raft.NodeID
}

// NewDirectory is one that knows of no configuration yet. started is what this node was told when it was started.
func NewDirectory(started map[raft.NodeID]Addresses, discovered Discovered) *Directory {
	return &Directory{started: started, discovered: discovered}
}

// Configure replaces what the configuration says, and tells who was in it and is no longer. Members of which it does not
// say where they are have the zero Addresses.
func (d *Directory) Configure(members map[raft.NodeID]Addresses) (dropped []raft.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.members {
		if _, stays := members[id]; !stays {
			dropped = append(dropped, id)
		}
	}
	d.members = maps.Clone(members)
	return dropped
}

// all is what is known of a node, what is to be tried first at the front.
func (d *Directory) all(id raft.NodeID) (found []Addresses) {
	d.mu.Lock()
	if a, ok := d.members[id]; ok {
		found = append(found, a)
	}
	d.mu.Unlock()
	if d.discovered != nil {
		if a, ok := d.discovered.Lookup(id); ok {
			found = append(found, a)
		}
	}
	if a, ok := d.started[id]; ok {
		found = append(found, a)
	}
	return found
}

// Addresses are where a node's bus may listen, what is to be tried first at the front.
func (d *Directory) Addresses(id raft.NodeID) []string {
	return distinct(d.all(id), func(a Addresses) string { return a.Bus })
}

// ClientURLs are where a node's HTTP API may be, likewise.
func (d *Directory) ClientURLs(id raft.NodeID) []string {
	urls := distinct(d.all(id), func(a Addresses) string { return a.Client })
	for i := range urls {
		urls[i] = "http://" + urls[i]
	}
	return urls
}

func distinct(all []Addresses, field func(Addresses) string) (found []string) {
	for _, a := range all {
		if s := field(a); s != "" && !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	return found
}

// ClientURL is where clients are sent that look for a node: what a node that seems alive says of itself comes
// first here, since a client tries no second address. It is empty when nothing is known.
func (d *Directory) ClientURL(id raft.NodeID) string {
	if d.discovered != nil && slices.Contains(d.discovered.Alive(), id) {
		if a, ok := d.discovered.Lookup(id); ok && a.Client != "" {
			return "http://" + a.Client
		}
	}
	if urls := d.ClientURLs(id); len(urls) > 0 {
		return urls[0]
	}
	return ""
}

// Known are all nodes of which anything is known, sorted.
func (d *Directory) Known() []raft.NodeID {
	d.mu.Lock()
	ids := slices.Collect(maps.Keys(d.members))
	d.mu.Unlock()
	ids = slices.AppendSeq(ids, maps.Keys(d.started))
	if d.discovered != nil {
		ids = append(ids, d.discovered.Alive()...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

package invariant

import (
	"hash/crc32"
	"slices"
)

// contents is what both a fake node and its fake disk hold.
type contents struct {
	term    uint64
	vote    NodeID
	base    Mark
	entries []Mark
}

func (d *contents) Term() uint64      { return d.term }
func (d *contents) Vote() NodeID      { return d.vote }
func (d *contents) BaseIndex() uint64 { return d.base.Index }
func (d *contents) LastIndex() uint64 { return d.base.Index + uint64(len(d.entries)) }

func (d *contents) Entry(index uint64) (term uint64, checksum uint32, found bool) {
	switch {
	case index == d.base.Index:
		return d.base.Term, d.base.Checksum, true
	case index < d.base.Index || index > d.LastIndex():
		return 0, 0, false
	}
	m := d.entries[index-d.base.Index-1]
	return m.Term, m.Checksum, m.Index == index
}

// append adds an entry whose checksum follows from the one before it.
func (d *contents) append(term uint64) {
	last, _ := markAt(d, d.LastIndex())
	next := Mark{Index: last.Index + 1, Term: term}
	next.Checksum = crc32.ChecksumIEEE([]byte{byte(last.Checksum), byte(last.Checksum >> 8), byte(last.Checksum >> 16), byte(last.Checksum >> 24), byte(term)})
	d.entries = append(d.entries, next)
}

// cut drops the entries after index.
func (d *contents) cut(index uint64) { d.entries = slices.Clip(d.entries[:index-d.base.Index]) }

// compact makes the log start after index.
func (d *contents) compact(index uint64) {
	d.entries, d.base = d.entries[index-d.base.Index:], d.entries[index-d.base.Index-1]
}

type fakeNode struct {
	contents
	leads          bool
	commit         uint64
	applied        uint64
	first          Configuration // that of the base
	configurations []gathered    // oldest first
	forced         int           // how many of configurations are disregarded, the newest first
	peers          []peer
}

func (n *fakeNode) Leads() bool     { return n.leads }
func (n *fakeNode) Commit() uint64  { return n.commit }
func (n *fakeNode) Applied() uint64 { return n.applied }

func (n *fakeNode) force() (uint64, Configuration) {
	if k := len(n.configurations) - n.forced; k > 0 {
		return n.configurations[k-1].index, n.configurations[k-1].Configuration
	}
	return n.base.Index, n.first
}

func (n *fakeNode) Configuration() Configuration {
	_, c := n.force()
	return c
}

func (n *fakeNode) ConfigurationIndex() uint64 {
	index, _ := n.force()
	return index
}

func (n *fakeNode) Configurations(after uint64, yield func(uint64, Configuration)) {
	for _, g := range n.configurations[:len(n.configurations)-n.forced] {
		if g.index > after {
			yield(g.index, g.Configuration)
		}
	}
}

func (n *fakeNode) Peers(yield func(NodeID, uint64, uint64, uint64)) {
	for _, p := range n.peers {
		yield(p.id, p.match, p.next, p.epoch)
	}
}

// cluster is fake nodes, and a Checker that looks at them. It keeps the first violation.
type cluster struct {
	*Checker
	nodes map[NodeID]*fakeNode
	disks map[NodeID]*contents
	err   error
}

func voters(ids ...NodeID) Configuration { return Configuration{Voters: ids} }

func joint(next, old []NodeID) Configuration { return Configuration{Voters: next, Outgoing: old} }

func newCluster(ids ...NodeID) *cluster {
	w := &cluster{Checker: New(), nodes: map[NodeID]*fakeNode{}, disks: map[NodeID]*contents{}}
	for _, id := range ids {
		w.join(id, voters(ids...))
	}
	return w
}

// join starts a new, empty node.
func (w *cluster) join(id NodeID, first Configuration) {
	w.disks[id] = &contents{}
	w.nodes[id] = &fakeNode{first: first}
	w.start(id)
}

func (w *cluster) note(err error) {
	if w.err == nil {
		w.err = err
	}
}

// start begins a life from what is on the disk.
func (w *cluster) start(id NodeID) {
	n, d := w.nodes[id], w.disks[id]
	n.contents = contents{d.term, d.vote, d.base, slices.Clone(d.entries)}
	n.leads, n.commit, n.applied, n.peers = false, d.base.Index, d.base.Index, nil
	n.configurations = slices.DeleteFunc(slices.Clone(n.configurations), func(g gathered) bool { return g.index > d.LastIndex() })
	w.note(w.Start(id, n, d))
}

func (w *cluster) save(id NodeID) {
	n := w.nodes[id]
	*w.disks[id] = contents{n.term, n.vote, n.base, slices.Clone(n.entries)}
}

// step saves a node and looks at it.
func (w *cluster) step(id NodeID) {
	w.save(id)
	w.note(w.Step(id))
}

// elect has all nodes but the candidate give it their votes of a term.
func (w *cluster) elect(id NodeID, term uint64) {
	for voter := range w.nodes {
		if voter != id {
			w.granted[grant{voter, term}] = id
		}
	}
}

// lead makes a node leader of a term, with a first entry of its own.
func (w *cluster) lead(id NodeID, term uint64) *fakeNode {
	n := w.nodes[id]
	n.term, n.vote, n.leads = term, id, true
	w.elect(id, term)
	n.append(term)
	w.step(id)
	return n
}

// copy makes a node follow another: its term, and its log up to index, which it may have committed.
func (w *cluster) copy(from, to NodeID, index, commit uint64) *fakeNode {
	a, b := w.nodes[from], w.nodes[to]
	if b.term != a.term {
		b.term, b.vote = a.term, ""
	}
	b.leads, b.peers = false, nil
	b.base = a.base
	b.entries = slices.Clone(a.entries[:index-a.base.Index])
	b.configurations = slices.DeleteFunc(slices.Clone(a.configurations), func(g gathered) bool { return g.index > index })
	b.commit = commit
	w.step(to)
	return b
}

// agree makes everybody hold and commit the leader's log.
func (w *cluster) agree(leader NodeID, ids ...NodeID) {
	last := w.nodes[leader].LastIndex()
	for _, id := range ids {
		w.copy(leader, id, last, w.nodes[id].commit)
	}
	for _, id := range append([]NodeID{leader}, ids...) {
		w.nodes[id].commit = last
		w.step(id)
	}
}

// configure appends a configuration to a leader's log, and looks.
func (w *cluster) configure(id NodeID, c Configuration) {
	n := w.nodes[id]
	n.append(n.term)
	n.configurations = append(n.configurations, gathered{n.LastIndex(), c})
	w.step(id)
}

// apply applies the entries up to index, with states that follow from them.
func (w *cluster) apply(id NodeID, from, to uint64) {
	for index := from; index <= to; index++ {
		m, _ := markAt(w.nodes[id], index)
		w.note(w.Apply(id, m, 1000+index))
		w.nodes[id].applied = index
	}
}

func (w *cluster) mark(id NodeID, index uint64) Mark {
	m, _ := markAt(w.nodes[id], index)
	return m
}

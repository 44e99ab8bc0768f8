package sim

import (
	"slices"
	"time"

	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/replica"
)

// past is what each key held as of each entry that anybody applied, and a client that asks any node for what it has
// applied, however old that is: the answer must be just what the log says as of the entry that it names.
type past struct {
	dice   dice
	every  time.Duration // between two reads, on average; 0 for none
	last   uint64        // the latest entry that anybody applied
	since  uint64        // before it, or where a key was not written since, nothing is known; 0 when all is
	keys   []string      // in order of their first write
	values map[string][]version
}

// version is what a key holds from an entry on.
type version struct {
	index uint64
	value string
	found bool
}

func newPast(o Options) past {
	p := past{dice: newDice(o.Seed, "stale reads"), values: map[string][]version{}}
	if every := pick(&p.dice, 20*time.Millisecond, 100*time.Millisecond, 500*time.Millisecond); slices.Contains(o.Trouble, "operator") {
		p.every = every
	}
	return p
}

func (w *World) beginStale() {
	if p := &w.past; p.every > 0 {
		w.schedule(event{at: w.now + p.dice.between(0, 2*p.every), kind: evStale})
	}
}

// writes is what an entry that nobody was seen to apply does to a key; no key when it does nothing to any.
func (p *past) writes(e *raft.Entry, r *fsm.Result) (key string, v version) {
	if e.Index <= p.last || e.Type != raft.EntryCommand || r.Code != fsm.OK || r.Repeated {
		return "", version{}
	}
	c, err := fsm.Decode(e.Data)
	if err != nil {
		return "", version{}
	}
	return c.Key, version{e.Index, c.Value, c.Op != fsm.Delete}
}

// note takes in what the first node to apply an entry is seen to make of it. That the others make the same of it is I5.
func (p *past) note(index uint64, key string, v version) {
	if index <= p.last {
		return
	}
	p.last = index
	if key == "" {
		return
	}
	versions, known := p.values[key]
	if !known {
		p.keys = append(p.keys, key)
	}
	p.values[key] = append(versions, v)
}

// skip takes in that a node has come to an entry by a snapshot. Who took that may have died before anybody saw it
// apply what it covers.
func (p *past) skip(to uint64) {
	if to <= p.last {
		return
	}
	p.last, p.since, p.keys = to, to+1, p.keys[:0]
	clear(p.values)
}

// as is what a key held as of an entry.
func (p *past) as(key string, index uint64) (v version) {
	versions := p.values[key]
	for i := len(versions) - 1; i >= 0; i-- {
		if versions[i].index <= index {
			return versions[i]
		}
	}
	return version{}
}

// askStale sends a stale read to some node, whatever it is to the cluster.
func (w *World) askStale() {
	p := &w.past
	if p.every == 0 {
		return
	}
	w.schedule(event{at: w.now + p.dice.between(0, 2*p.every), kind: evStale})
	w.schedule(event{at: w.now + w.clients.latency(w), kind: evStaleAsk, node: uint8(p.dice.below(len(w.nodes)))})
}

// readStale reads what a node has applied, however old. It is committed, never gets older, and is what the key held.
func (w *World) readStale(n *node) {
	p := &w.past
	if len(p.keys) == 0 {
		return
	}
	key := p.keys[p.dice.below(len(p.keys))]
	w.options.Script.readsStale(n, key)
	r, err := n.replica.Stale(key)
	if err != nil {
		w.fail("node", "%s cannot read %s: %v", n.id, key, err)
		return
	}
	w.judgeStale(n, key, r)
}

// judgeStale judges the answer to a stale read.
func (w *World) judgeStale(n *node, key string, r replica.Result) {
	p := &w.past
	was := p.as(key, r.Index)
	known := p.since == 0 || was.index > 0
	switch {
	case r.Index < n.stale:
		w.fail("stale", "%s answers a read as of entry %d, and had answered as of %d.", n.id, r.Index, n.stale)
	case !w.options.Unchecked && r.Index > w.check.Committed():
		w.fail("stale", "%s answers a read as of entry %d, and nobody committed more than %d.", n.id, r.Index, w.check.Committed())
	case known && was.found != (r.Code == fsm.OK) || known && was.found && (r.Value != was.value || r.Revision != was.index):
		w.fail("stale", "%s answers a read of %s as of entry %d with %q, written by entry %d, and it held %q, by entry %d.",
			n.id, key, r.Index, r.Value, r.Revision, was.value, was.index)
	}
	n.stale = r.Index
	if n.readOnly {
		w.reached.ReadOnlyReads++
	} else {
		w.reached.StaleReads++
	}
	w.trace.mix(uint64(w.now) ^ r.Index<<8 ^ uint64(n.index))
}

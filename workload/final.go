package workload

import (
	"math/rand/v2"
	"time"

	"coup/history"
)

// FinalReadOptions shape the final reads. Zero values stand for the defaults.
type FinalReadOptions struct {
	Seed         uint64
	Nodes        []string      // to ask; at least one
	Keys         []string      // to read
	FirstProcess int           // Registers.UnusedProcess
	Concurrency  int           // default 10
	Pause        time.Duration // before a key is read again after a read that failed; default 100 ms
	Until        time.Duration // nothing is invoked from then on, since the run began; default Never
}

// FinalReads reads each key, again and again, until one read of it is ok.
type FinalReads struct {
	options FinalReadOptions
	slots   *slots
	queue   []finalRead // not in flight, by time
	missing map[string]bool
}

type finalRead struct {
	key string
	at  time.Duration // not before
}

// NewFinalReads returns a generator that is ready from time 0 on.
func NewFinalReads(options FinalReadOptions) *FinalReads {
	if options.Concurrency <= 0 {
		options.Concurrency = 10
	}
	if options.Pause <= 0 {
		options.Pause = 100 * time.Millisecond
	}
	if options.Until <= 0 {
		options.Until = Never
	}
	random := rand.New(rand.NewPCG(options.Seed, finalReadsStream))
	g := &FinalReads{
		options: options,
		slots:   newSlots(options.FirstProcess, options.Concurrency, options.Nodes, random),
		missing: make(map[string]bool),
	}
	for _, key := range options.Keys {
		if !g.missing[key] {
			g.missing[key] = true
			g.queue = append(g.queue, finalRead{key: key})
		}
	}
	return g
}

// Missing are the keys that no read was ok of, yet.
func (g *FinalReads) Missing() []string {
	var keys []string
	for _, key := range g.options.Keys {
		if g.missing[key] {
			keys = append(keys, key)
		}
	}
	return keys
}

// Next implements Generator. It is Done when every key was read, or time is up.
func (g *FinalReads) Next(now time.Duration) Next {
	if len(g.missing) == 0 || now >= g.options.Until {
		return Next{Kind: Done}
	}
	if len(g.queue) == 0 {
		return Next{Kind: Wait, At: g.options.Until}
	}
	read := g.queue[0]
	if now < read.at {
		return Next{Kind: Wait, At: min(read.at, g.options.Until)}
	}
	process, node, free := g.slots.take()
	if !free {
		return Next{Kind: Wait, At: g.options.Until}
	}
	g.queue = g.queue[1:]
	return Next{Kind: Invoke, Op: Op{Process: process, F: history.Read, Key: read.key, Node: node}}
}

// Ask implements Generator.
func (g *FinalReads) Ask(nodes []string) { g.slots.ask(nodes) }

// Completed implements Generator.
func (g *FinalReads) Completed(e history.Event) {
	if !g.missing[e.Key] || !g.slots.release(e.Process, e.Type == history.Info) {
		return
	}
	if e.Type == history.OK {
		delete(g.missing, e.Key)
		return
	}
	g.slots.move(e.Process)
	g.queue = append(g.queue, finalRead{key: e.Key, at: e.Time + g.options.Pause})
}

var (
	_ Generator = (*Registers)(nil)
	_ Generator = (*FinalReads)(nil)
)

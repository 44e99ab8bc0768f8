package workload

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"coup/history"
)

// RegisterOptions shape a load on registers. Zero values stand for the defaults.
type RegisterOptions struct {
	Seed        uint64
	Nodes       []string      // to ask; at least one
	Rate        float64       // operations a second, of all clients together; default 100
	Concurrency int           // logical clients, each with at most one operation in flight; default 10
	Until       time.Duration // nothing is invoked from then on, since the run began; default Never
	Keys        int           // keys in use at a time; default 5
	KeyPrefix   string        // that all keys begin with; default "k"
	OpsPerKey   int           // after which a key is retired; default 200
	OpenPerKey  int           // writes and cas of unknown outcome that a key may gather; default 3
}

func (o RegisterOptions) withDefaults() RegisterOptions {
	if o.Rate <= 0 {
		o.Rate = 100
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 10
	}
	if o.Until <= 0 {
		o.Until = Never
	}
	if o.Keys <= 0 {
		o.Keys = 5
	}
	if o.KeyPrefix == "" {
		o.KeyPrefix = "k"
	}
	if o.OpsPerKey <= 0 {
		o.OpsPerKey = 200
	}
	if o.OpenPerKey <= 0 {
		o.OpenPerKey = 3
	}
	return o
}

// The mix of operations, in percent; what is neither is a cas.
const (
	readPercent  = 40
	writePercent = 30
)

// A cas mostly expects the value last known, on a key that nobody else is changing, so that most of
// them succeed; the rest are races and refusals, which are evidence too.
const (
	quietKeyPercent  = 80
	latestPercent    = 90
	rememberedPerKey = 4
)

// Registers reads, writes and compares-and-sets registers. A written value is never written again to
// the same key. A key is replaced after a bounded number of operations, or of unknown outcomes, so
// that checking it stays cheap: at no time are more than OpenPerKey of its writes and cas in flight
// or of unknown outcome.
type Registers struct {
	options RegisterOptions
	random  *rand.Rand
	slots   *slots
	next    time.Duration // nothing before
	all     []*register   // in the order of their creation
	active  []*register
	byKey   map[string]*register
}

// register is a key and what the generator knows of it.
type register struct {
	key     string
	value   int64         // the one last asked to be written; they count from 1
	known   []history.Int // lately seen to be held, oldest first
	ops     int
	pending int // writes and cas in flight
	open    int // writes and cas of unknown outcome
}

// NewRegisters returns a generator that is ready from time 0 on.
func NewRegisters(options RegisterOptions) *Registers {
	options = options.withDefaults()
	random := rand.New(rand.NewPCG(options.Seed, registersStream))
	g := &Registers{
		options: options,
		random:  random,
		slots:   newSlots(0, options.Concurrency, options.Nodes, random),
		byKey:   make(map[string]*register),
	}
	for range options.Keys {
		g.active = append(g.active, g.create())
	}
	return g
}

func (g *Registers) create() *register {
	r := &register{key: fmt.Sprintf("%s%d", g.options.KeyPrefix, len(g.all)+1)}
	g.all = append(g.all, r)
	g.byKey[r.key] = r
	return r
}

// retire replaces a key by a new one.
func (g *Registers) retire(r *register) {
	if at := slices.Index(g.active, r); at >= 0 {
		g.active[at] = g.create()
	}
}

// Written are the keys that a write was asked of, in the order of their creation.
func (g *Registers) Written() []string {
	var keys []string
	for _, r := range g.all {
		if r.value > 0 {
			keys = append(keys, r.key)
		}
	}
	return keys
}

// UnusedProcess is a number from which on no process was ever used.
func (g *Registers) UnusedProcess() int { return g.slots.unused() }

// Next implements Generator.
func (g *Registers) Next(now time.Duration) Next {
	if now >= g.options.Until {
		return Next{Kind: Done}
	}
	if now < g.next {
		return Next{Kind: Wait, At: min(g.next, g.options.Until)}
	}
	process, node, free := g.slots.take()
	if !free {
		return Next{Kind: Wait, At: g.options.Until}
	}
	interval := time.Duration(float64(time.Second) / g.options.Rate)
	// A late call is made up for, but not a long stall: that would end in a burst.
	g.next = max(g.next, now-interval) + time.Duration(g.random.Int64N(int64(2*interval)))
	op := g.draw()
	op.Process, op.Node = process, node
	return Next{Kind: Invoke, Op: op}
}

// draw chooses what is done to which key.
func (g *Registers) draw() Op {
	switch roll := g.random.IntN(100); {
	case roll < readPercent:
		return g.ask(g.active[g.random.IntN(len(g.active))], history.Read)
	case roll < readPercent+writePercent:
		return g.change(history.Write)
	default:
		return g.change(history.CAS)
	}
}

// change draws a key that may be changed now; when there is none, a read takes the place.
func (g *Registers) change(f history.F) Op {
	var free, quiet []*register
	for _, r := range g.active {
		if r.open+r.pending < g.options.OpenPerKey {
			free = append(free, r)
			if r.pending == 0 && len(r.known) > 0 {
				quiet = append(quiet, r)
			}
		}
	}
	if len(free) == 0 {
		return g.ask(g.active[g.random.IntN(len(g.active))], history.Read)
	}
	if f == history.CAS && len(quiet) > 0 && g.random.IntN(100) < quietKeyPercent {
		free = quiet
	}
	r := free[g.random.IntN(len(free))]
	if len(r.known) == 0 && r.value == 0 {
		f = history.Write
	}
	return g.ask(r, f)
}

// ask makes an operation on a key, and replaces the key when it was its last.
func (g *Registers) ask(r *register, f history.F) Op {
	op := Op{F: f, Key: r.key}
	if f != history.Read {
		r.value++
		r.pending++
	}
	switch f {
	case history.Write:
		op.Value = history.Int(r.value)
	case history.CAS:
		op.Value = history.Pair{int64(g.expect(r)), r.value}
	}
	if r.ops++; r.ops >= g.options.OpsPerKey {
		g.retire(r)
	}
	return op
}

// expect draws what a cas expects. While nothing is known of a register, as when no write is
// answered, that is what was last asked to be written and may have been.
func (g *Registers) expect(r *register) history.Int {
	if len(r.known) == 0 {
		return history.Int(r.value - 1)
	}
	if g.random.IntN(100) < latestPercent {
		return r.known[len(r.known)-1]
	}
	return r.known[g.random.IntN(len(r.known))]
}

// Ask implements Generator.
func (g *Registers) Ask(nodes []string) { g.slots.ask(nodes) }

// Completed implements Generator.
func (g *Registers) Completed(e history.Event) {
	r := g.byKey[e.Key]
	if r == nil || !g.slots.release(e.Process, e.Type == history.Info) {
		return
	}
	if e.F != history.Read {
		r.pending--
		if e.Type == history.Info {
			if r.open++; r.open >= g.options.OpenPerKey {
				g.retire(r)
			}
		}
	}
	if e.Type != history.OK {
		return
	}
	switch held := e.Value.(type) {
	case history.Int:
		r.learn(held)
	case history.Pair:
		r.learn(history.Int(held[1]))
	}
}

// learn notes that the register held a value.
func (r *register) learn(held history.Int) {
	if n := len(r.known); n > 0 && r.known[n-1] == held {
		return
	}
	if r.known = append(r.known, held); len(r.known) > rememberedPerKey {
		r.known = r.known[1:]
	}
}

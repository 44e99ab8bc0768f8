package checker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"coup/history"
)

// Outcome is how checking one key ended.
type Outcome string

// The outcomes.
const (
	Linearizable    Outcome = "ok"
	NotLinearizable Outcome = "violation"
	Unknown         Outcome = "unknown" // a budget ran out
)

// LinearizabilityResult is how checking all keys ended.
type LinearizabilityResult struct {
	Keys    int         `json:"keys"`
	Ops     int         `json:"ops"` // that bear on the matter
	OK      int         `json:"ok"`  // keys
	Suspect []KeyResult `json:"suspect"`
}

// KeyResult is how checking a key ended that did not prove linearizable.
type KeyResult struct {
	Key     string  `json:"key"`
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason,omitempty"` // why it is unknown
	Ops     int     `json:"ops"`
	Open    int     `json:"open"` // of these, of unknown outcome
	// Explanation tells a violation in plain language, a line each. Only the first few broken keys have
	// one, and a page.
	Explanation []string `json:"explanation,omitempty"`
	Page        string   `json:"page,omitempty"` // file name of the drawing, in Options.Pages
	// Contested says that the order of revisions is a linearization all the same: a violation that
	// is none, so that one of the checkers is broken.
	Contested bool `json:"contested,omitempty"`
}

// Linearizability checks each key on its own, which is as good as checking all at once (Herlihy and
// Wing, Locality).
func Linearizability(ctx context.Context, evidence Evidence, options Options) LinearizabilityResult {
	options = options.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, options.Timeout)
	defer cancel()
	keys := byKey(evidence.Ops)
	results := checkKeys(ctx, keys, options)
	total := LinearizabilityResult{Keys: len(keys), Suspect: []KeyResult{}}
	explained := 0
	for i, r := range results {
		total.Ops += r.Ops
		if r.Outcome == Linearizable {
			total.OK++
			continue
		}
		if r.Outcome == NotLinearizable && explained < mostExplained {
			explained++
			broken := shrink(ctx, relevant(keys[i].ops), options.budget())
			r.Explanation = explain(broken)
			r.Page = draw(ctx, r.Key, broken, evidence, options)
		}
		total.Suspect = append(total.Suspect, r)
	}
	return total
}

// checkKeys checks the keys, by as many workers as the options say; a single one is the caller.
func checkKeys(ctx context.Context, keys []keyOps, options Options) []KeyResult {
	results := make([]KeyResult, len(keys))
	if options.Workers == 1 {
		for i, key := range keys {
			results[i] = checkKey(ctx, key, options)
		}
		return results
	}
	work := make(chan int)
	var workers sync.WaitGroup
	for range min(options.Workers, len(keys)) {
		workers.Go(func() {
			for i := range work {
				results[i] = checkKey(ctx, keys[i], options)
			}
		})
	}
	for i := range keys {
		work <- i
	}
	close(work)
	workers.Wait()
	return results
}

// mostExplained is how many broken keys are explained and drawn: when there are more, they broke
// together.
const mostExplained = 10

func checkKey(ctx context.Context, key keyOps, options Options) KeyResult {
	ops := relevant(key.ops)
	result := KeyResult{Key: key.key, Ops: len(ops)}
	for _, op := range ops {
		if op.Outcome == history.Info {
			result.Open++
		}
	}
	result.Outcome, result.Reason = search(ctx, ops, options.budget())
	switch {
	case result.Outcome == Unknown && certified(ops):
		result.Outcome, result.Reason = Linearizable, ""
	case result.Outcome == NotLinearizable:
		result.Contested = certified(ops)
	}
	return result
}

// relevant leaves out what says nothing: reads that did not succeed, what surely had no effect
// (unless it was a refusal, which tells what the register did not hold), and, where there are no
// refusals, what has an unknown outcome and wrote a value that was never seen. Such an operation can
// be taken out of any linearization: between it and the next write nothing looks at the register.
func relevant(ops []history.Op) []history.Op {
	refusals := slices.ContainsFunc(ops, isMismatch)
	seen := make(map[history.Int]bool)
	for _, op := range ops {
		if op.F == history.CAS {
			seen[history.Int(op.In.(history.Pair)[0])] = true
		}
		if held, read := op.Out.(history.Int); read {
			seen[held] = true
		}
	}
	var left []history.Op
	for _, op := range ops {
		keep := op.Outcome == history.OK || isMismatch(op)
		if op.Outcome == history.Info && op.F != history.Read {
			written, _ := after(op)
			keep = refusals || seen[written]
		}
		if keep {
			left = append(left, op)
		}
	}
	return left
}

// budget is what a search may cost.
type budget struct {
	time   time.Duration
	memory int64 // bytes
}

func (o Options) budget() budget {
	return budget{time: o.KeyTimeout, memory: o.MaxMemory / int64(o.Workers)}
}

// entryCost is what Porcupine remembers of a state beside the set of operations behind it, in bytes:
// slice headers, the boxed state and a share of the map.
const entryCost = 192

// search looks for a linearization of operations on one key.
func search(ctx context.Context, ops []history.Op, budget budget) (Outcome, string) {
	meter := newMeter(ctx, budget.memory, len(ops))
	result := porcupine.CheckOperationsTimeout(meter.model(), operations(ops, history.Never), budget.time)
	switch {
	case result == porcupine.Ok:
		return Linearizable, ""
	case meter.stopped.Load() && ctx.Err() != nil:
		return Unknown, "the time for all keys ran out"
	case meter.stopped.Load():
		return Unknown, fmt.Sprintf("%d MiB were not enough to search %d operations", budget.memory>>20, len(ops))
	case result == porcupine.Illegal:
		return NotLinearizable, ""
	}
	return Unknown, fmt.Sprintf("%v were not enough to search %d operations", budget.time, len(ops))
}

// meter stops a search that has cost too much. Porcupine remembers at most one entry for each step
// that the model allows, so counting those bounds its memory. Once stopped, the model allows nothing,
// and the search backs out within a few steps an operation; what it then answers means nothing. A
// search that timed out may still run for a moment after Porcupine has answered, hence the atomics.
type meter struct {
	ctx     context.Context
	left    atomic.Int64 // bytes
	cost    int64        // bytes an entry
	stopped atomic.Bool
}

func newMeter(ctx context.Context, memory int64, ops int) *meter {
	m := &meter{ctx: ctx, cost: entryCost + int64(8*((ops+63)/64))}
	m.left.Store(memory)
	return m
}

func (m *meter) model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return register{} },
		Step: func(state, input, _ any) (bool, any) {
			if m.stopped.Load() {
				return false, state
			}
			if m.left.Load() < 0 || m.ctx.Err() != nil {
				m.stopped.Store(true)
				return false, state
			}
			ok, next := state.(register).step(input.(history.Op))
			if ok {
				m.left.Add(-m.cost)
			}
			return ok, next
		},
		Hash: func(state any) uint64 {
			return uint64(state.(register).value) * 0x9e3779b97f4a7c15
		},
		DescribeOperation:         func(input, _ any) string { return label(input.(history.Op)) },
		DescribeState:             func(state any) string { return state.(register).String() },
		DescribeOperationMetadata: func(metadata any) string { return metadata.(string) },
	}
}

// operations puts a history into Porcupine's terms. What is of unknown outcome returns at the time
// open, which must not be before anything else.
func operations(ops []history.Op, open time.Duration) []porcupine.Operation {
	lanes := make(map[int]int)
	for _, op := range ops {
		lanes[op.Process] = 0
	}
	processes := make([]int, 0, len(lanes))
	for p := range lanes {
		processes = append(processes, p)
	}
	slices.Sort(processes)
	for i, p := range processes {
		lanes[p] = i
	}
	converted := make([]porcupine.Operation, len(ops))
	for i, op := range ops {
		converted[i] = porcupine.Operation{
			ClientId: lanes[op.Process], Input: op, Call: int64(op.Invoke), Return: int64(min(op.Return, open)),
			Metadata: details(op),
		}
	}
	return converted
}

// shrink returns the shortest beginning of the history that is not linearizable, as far as the budget
// allows. What had not ended by then is of unknown outcome. Its culprit, without which there would
// be a linearization, is the one that ends last.
func shrink(ctx context.Context, ops []history.Op, budget budget) []history.Op {
	var ends []time.Duration
	for _, op := range ops {
		if op.Return != history.Never {
			ends = append(ends, op.Return)
		}
	}
	slices.SortFunc(ends, cmp.Compare[time.Duration])
	// The beginning of a linearizable history is linearizable, so a binary search finds the place.
	at, _ := slices.BinarySearchFunc(ends, NotLinearizable, func(end time.Duration, _ Outcome) int {
		if outcome, _ := search(ctx, relevant(until(ops, end)), budget); outcome == NotLinearizable {
			return 0
		}
		return -1
	})
	if at == len(ends) {
		return ops
	}
	return relevant(until(ops, ends[at]))
}

// until is the history as it stood at a time.
func until(ops []history.Op, end time.Duration) []history.Op {
	var left []history.Op
	for _, op := range ops {
		if op.Invoke > end {
			continue
		}
		if op.Return > end {
			op.Outcome, op.Out, op.Return, op.Error = history.Info, nil, history.Never, ""
		}
		left = append(left, op)
	}
	return left
}

package checker

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"coup/history"
)

// What a drawing may hold: Porcupine's page grows with the square of the operations, and takes
// exponentially long in those of unknown outcome.
const (
	mostDrawn     = 400
	mostOpenDrawn = 12
	drawTimeout   = 20 * time.Second
)

// draw writes Porcupine's page of a broken, shrunk history, with faults and leaderships on the time
// axis, and returns its file name. It is empty when no page was wanted or could be made: a drawing
// decides nothing.
func draw(ctx context.Context, key string, ops []history.Op, evidence Evidence, options Options) string {
	ops = drawable(ops)
	if options.Pages == "" || len(ops) == 0 || len(ops) > mostDrawn {
		return ""
	}
	span := spanOf(ops)
	meter := newMeter(ctx, options.budget().memory, len(ops))
	model := meter.model()
	result, info := porcupine.CheckOperationsVerbose(model, operations(ops, span.To), min(drawTimeout, options.KeyTimeout))
	if meter.stopped.Load() || result != porcupine.Illegal {
		return ""
	}
	info.AddAnnotations(slices.Concat(faultAnnotations(evidence.Faults, span), leaderAnnotations(evidence.Observations, span)))
	name := url.PathEscape(key) + ".html"
	if err := os.MkdirAll(options.Pages, 0o755); err != nil {
		return ""
	}
	if err := porcupine.VisualizePath(newMeter(context.Background(), options.MaxMemory, len(ops)).model(), info, filepath.Join(options.Pages, name)); err != nil {
		return ""
	}
	return name
}

// drawable leaves out operations of unknown outcome until few are left, those first that nobody saw
// the effect of. What is broken with them is broken without.
func drawable(ops []history.Op) []history.Op {
	seen := make(map[history.Int]bool)
	for _, op := range ops {
		if held, present, looked := before(op); looked && present {
			seen[held] = true
		}
	}
	var open []history.Op
	for _, op := range ops {
		if op.Outcome == history.Info {
			open = append(open, op)
		}
	}
	rank := func(op history.Op) int {
		if written, _ := after(op); seen[written] {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(open, func(a, b history.Op) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Invoke, a.Invoke))
	})
	drop := make(map[int64]bool)
	for _, op := range open[min(len(open), mostOpenDrawn):] {
		drop[op.Index] = true
	}
	return slices.DeleteFunc(slices.Clone(ops), func(op history.Op) bool { return drop[op.Index] })
}

// spanOf is the time from the first invocation to just after the last end.
func spanOf(ops []history.Op) Span {
	span := Span{From: Never}
	for _, op := range ops {
		span.From, span.To = min(span.From, op.Invoke), max(span.To, op.Invoke)
		if op.Return != history.Never {
			span.To = max(span.To, op.Return)
		}
	}
	span.To += time.Millisecond
	return span
}

// faultAnnotations mark when faults were in force.
func faultAnnotations(faults []Fault, span Span) []porcupine.Annotation {
	var marks []porcupine.Annotation
	for _, f := range faults {
		if f.Attempt == Skipped || f.Begun > span.To || f.Cleared < span.From {
			continue
		}
		marks = append(marks, porcupine.Annotation{
			Tag: "faults", Start: int64(max(f.Begun, span.From)), End: int64(min(f.Cleared, span.To)),
			Description: f.Name, Details: fmt.Sprintf("%s of %v, proven in force at %s", f.Name, f.Targets, clock(f.From)),
			BackgroundColor: "#ffd6d6",
		})
	}
	return marks
}

// leaderAnnotations mark, for each node, from when to when it was known to lead a term.
func leaderAnnotations(observations []Observation, span Span) []porcupine.Annotation {
	type reign struct {
		node string
		term uint64
	}
	times := make(map[reign]Span)
	var order []reign
	for _, c := range leaderClaims(observations) {
		r := reign{c.node, c.term}
		if c.past {
			continue
		}
		known, seen := times[r]
		if !seen {
			known = Span{From: c.at}
			order = append(order, r)
		}
		known.To = c.at
		times[r] = known
	}
	var marks []porcupine.Annotation
	for _, r := range order {
		known := times[r]
		if known.From > span.To || known.To < span.From {
			continue
		}
		marks = append(marks, porcupine.Annotation{
			Tag: r.node, Start: int64(max(known.From, span.From)), End: int64(min(known.To, span.To)),
			Description: fmt.Sprintf("leads term %d", r.term), BackgroundColor: "#d6e6ff",
		})
	}
	return marks
}

// label is an operation as the page shows it.
func label(op history.Op) string {
	switch {
	case op.F == history.Read:
		return "read " + shown(op.Out)
	case op.F == history.Write && op.Outcome == history.Info:
		return "write " + shown(op.In) + "?"
	case op.F == history.Write:
		return "write " + shown(op.In)
	}
	pair := op.In.(history.Pair)
	text := fmt.Sprintf("cas %d to %d", pair[0], pair[1])
	switch op.Outcome {
	case history.Info:
		return text + "?"
	case history.Fail:
		return text + " refused"
	}
	return text
}

// details is what the page tells of an operation that is pointed at.
func details(op history.Op) string {
	text := describe(op)
	if op.Revision > 0 {
		text += fmt.Sprintf(", revision %d", op.Revision)
	}
	if op.Term > 0 {
		text += fmt.Sprintf(", term %d", op.Term)
	}
	if op.Error != "" {
		text += ": " + op.Error
	}
	return text
}

package sim

import (
	"fmt"
	"math/bits"
	"time"

	"coup/history"
	"coup/raftnode/actionlog"
	"coup/raftnode/raft"
	"coup/workload"
)

// trace keeps what has happened as one number.
type trace struct{ hash uint64 }

func newTrace() trace { return trace{0x9e3779b97f4a7c15} }

// mix takes a number in.
func (t *trace) mix(x uint64) {
	hi, lo := bits.Mul64(t.hash^x, 0xd6e8feb86659fd93)
	t.hash = bits.RotateLeft64(t.hash, 23) ^ hi ^ lo
}

func (t *trace) message(now time.Duration, m *raft.Message) {
	t.mix(uint64(now))
	t.mix(uint64(m.Type) | uint64(len(m.Entries))<<8 | uint64(m.Checksum)<<32)
	t.mix(m.ID)
	t.mix(m.Term)
	t.mix(m.Index<<32 ^ m.Commit)
	flags := m.ReadRound << 1
	if m.Reject {
		flags++
	}
	t.mix(flags)
	if n := len(m.Entries); n > 0 {
		t.mix(uint64(m.Entries[n-1].Checksum))
	}
}

// note takes in something else that happened to a node.
func (t *trace) note(now time.Duration, what string, n *node, detail uint64) {
	t.mix(uint64(now))
	t.mix(uint64(what[0]) | uint64(len(what))<<8 | uint64(n.index)<<16 | detail<<32)
}

// newLog begins the world's action log; nil where nobody wants one.
func newLog(w *World) *actionlog.Log {
	if w.options.Actions == nil {
		return nil
	}
	return actionlog.New(w.Now, w.options.Actions)
}

// tell puts an action into the log. Node is nil for what happens to no single one.
func (w *World) tell(n *node, a actionlog.Action) {
	if w.log == nil {
		return
	}
	if n != nil {
		a.Node = n.id
	}
	w.log.Add(a)
}

// remark tells what is of no other kind.
func (w *World) remark(n *node, format string, args ...any) {
	if w.log != nil {
		w.tell(n, actionlog.Action{Kind: actionlog.Note, Text: fmt.Sprintf(format, args...)})
	}
}

// tellMessage puts what becomes of a message into the log.
func (w *World) tellMessage(kind actionlog.Kind, n *node, m *raft.Message, why string) {
	if w.log != nil {
		w.tell(n, actionlog.Action{Kind: kind, Message: actionlog.Summary(m), Text: why})
	}
}

// actions is where a process tells what it does; nil where nobody wants to know. The world knows better who asked,
// and when what was said left.
func (n *node) actions() func(actionlog.Action) {
	if n.world.log == nil {
		return nil
	}
	return func(a actionlog.Action) {
		switch a.Kind {
		case actionlog.Send, actionlog.Request, actionlog.Answer:
			return
		case actionlog.Start:
		default:
			// What comes after a write happens once that is durable, and never where a crash comes first.
			if n.cursor > n.world.now {
				n.awaited = append(n.awaited, a)
				return
			}
		}
		n.world.log.Add(a)
	}
}

// tellAwaited tells what the process has done now that its writes are durable.
func (n *node) tellAwaited() {
	for _, a := range n.awaited {
		n.world.log.Add(a)
	}
	n.awaited = n.awaited[:0]
}

// tellLink tells that a link carries nothing more, for a while where that is known, or that it does again.
func (w *World) tellLink(from, to int, cut bool, d time.Duration) {
	if w.log == nil || from == to {
		return
	}
	a := actionlog.Action{Kind: actionlog.Heal, Peer: w.nodes[to].id}
	if cut {
		a.Kind = actionlog.Cut
	}
	if d > 0 {
		a.Text = fmt.Sprintf("for %v", d.Round(time.Millisecond))
	}
	w.tell(w.nodes[from], a)
}

// tellOrder tells what an operator had a node do, and what came of that.
func (w *World) tellOrder(n *node, o order, err error) {
	if w.log == nil {
		return
	}
	text := [...]string{orderTransfer: "is to hand leadership over", orderStepDown: "is to step down", orderSnapshot: "is to take a snapshot"}[o]
	if err != nil {
		text += ": " + err.Error()
	}
	w.tell(n, actionlog.Action{Kind: actionlog.Note, Text: text})
}

// clientName names who asks: a process of the workload, or one of the world's own.
func clientName(process int) string {
	if process < 0 {
		return "probe"
	}
	return fmt.Sprintf("p%d", process)
}

// asks tells what a client asks for, and ends how that ended.
func asks(op workload.Op) string {
	if op.Value == nil {
		return fmt.Sprintf("%s %s", op.F, op.Key)
	}
	return fmt.Sprintf("%s %s %v", op.F, op.Key, op.Value)
}

func ends(e history.Event) string {
	text := fmt.Sprintf("%s %s: %s", e.F, e.Key, e.Type)
	if e.F == history.Read && e.Value != nil {
		text += fmt.Sprintf(" %v", e.Value)
	}
	if e.Error != "" {
		text += " (" + e.Error + ")"
	}
	return text
}

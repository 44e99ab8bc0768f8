package actionlog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"coup/raftnode/raft"
)

// The sizes of a drawing, in pixels.
const (
	gutter    = 150.0 // number and time, left of all lanes
	rowHeight = 22.0
	header    = 92.0 // legend and names
	bandWidth = 18.0
	charWidth = 5.9 // of the labels' font, on average
)

// MaxDrawn is how many actions one drawing takes.
const MaxDrawn = 20_000

// ErrTooMany refuses to draw what nobody could read.
var ErrTooMany = fmt.Errorf("more than %d actions: choose some of them", MaxDrawn)

// ErrNothing refuses to draw nothing.
var ErrNothing = errors.New("no action is left to be shown")

// near is how far apart in time two actions of one row may be.
const near = time.Millisecond

// layout is where everything stands in a drawing: a column for each node, a row for what happened at about the same time
// on different nodes, and never two in one row of which one came about through the other.
type layout struct {
	view    View
	actions []Action
	lanes   []raft.NodeID
	clients bool // column 0 is theirs
	gap     float64
	rows    []row
	place   []float64 // of each action: y of its row, or, where it is not shown, of where it would be
	arrows  []arrow
	hidden  []bool // heartbeats that are folded
}

type row struct {
	first    int  // action
	banner   Kind // stands across; empty for a row of lanes
	busy     []bool
	taken    []bool // gaps: number i lies right of column i
	labels   []label
	marks    []mark
	folded   int // heartbeats
	lost     int // of them
	leader   raft.NodeID
	receipts map[int]int // by column: from which column something arrives
}

type label struct {
	column int
	gap    int
	right  bool // it stands right of its column
	node   raft.NodeID
	text   string
	kind   Kind
	sends  bool // it tells what is sent
}

type mark struct {
	column int
	kind   Kind
}

type arrow struct {
	from, to int // columns
	y1, y2   float64
	kind     string
	lost     bool
	half     bool // only one end of it is in the log
	action   int
}

func newLayout(actions []Action, v View) (*layout, error) {
	shown := v.Of(actions)
	switch {
	case len(shown) == 0:
		return nil, ErrNothing
	case len(shown) > MaxDrawn:
		return nil, ErrTooMany
	}
	l := &layout{view: v, actions: actions, lanes: v.lanes(shown), place: make([]float64, len(actions)), hidden: make([]bool, len(actions))}
	l.clients = slices.ContainsFunc(shown, func(a Action) bool { return a.Kind == Request || a.Kind == Answer })
	l.gap = max(150, min(230, 1000/float64(len(l.lanes))))
	l.build()
	return l, nil
}

// columns is how many there are.
func (l *layout) columns() int {
	if l.clients {
		return len(l.lanes) + 1
	}
	return len(l.lanes)
}

func (l *layout) column(id raft.NodeID) int {
	i := slices.Index(l.lanes, id)
	if i >= 0 && l.clients {
		i++
	}
	return i
}

func (l *layout) x(column int) float64 { return gutter + 24 + float64(column)*l.gap }

func (l *layout) width() float64 { return l.x(l.columns()) + 10 }

func y(row int) float64 { return header + (float64(row)+0.5)*rowHeight }

// build places all actions, one after the other.
func (l *layout) build() {
	passages := transits(l.actions)
	ends := map[int]int{}     // of an end: its transit
	starts := map[int][]int{} // of a Send: its transits
	for i, t := range passages {
		if t.end >= 0 {
			ends[t.end] = i
		}
		if t.send >= 0 {
			starts[t.send] = append(starts[t.send], i)
		}
	}
	l.fold(passages)
	sent := make([]int, len(l.actions)) // row of each Send
	for i := range l.actions {
		a := &l.actions[i]
		l.place[i] = header + float64(len(l.rows))*rowHeight
		if !l.view.shows(a) {
			continue
		}
		if l.hidden[i] {
			l.addFolded(a, i)
			continue
		}
		switch a.Kind {
		case Cut, Heal, Violation:
			l.addBanner(i)
		case Send:
			sent[i] = l.addSend(i)
			if of := starts[i]; len(of) == 0 || passages[of[0]].end < 0 || !l.view.shows(&l.actions[passages[of[0]].end]) {
				l.addArrow(i, l.column(a.Message.From), l.column(a.Message.To), y(sent[i]), y(sent[i]), arrow{half: true})
			}
		case Receive, Lose:
			send := -1
			if t, ok := ends[i]; ok {
				send = passages[t].send
			}
			l.addEnd(i, send, sent)
		case Duplicate:
			l.addMark(i, l.column(a.Message.From))
		case Request, Answer:
			l.addClient(i)
		case Note:
			if a.Node == "" {
				l.addBanner(i)
				break
			}
			l.addMark(i, l.column(a.Node))
		default:
			l.addMark(i, l.column(a.Node))
		}
	}
}

// fold finds the heartbeats that brought nothing new: neither to whom they came nor to who had the answer.
func (l *layout) fold(passages []transit) {
	for _, t := range passages {
		if t.send < 0 || t.end < 0 {
			continue
		}
		m := l.actions[t.send].Message
		if request(m.Type) != TypeName(raft.MsgHeartbeat) || l.brings(t.end) {
			continue
		}
		l.hidden[t.send], l.hidden[t.end] = true, true
	}
}

// brings tells whether something came of what arrived.
func (l *layout) brings(receive int) bool {
	if receive+1 == len(l.actions) || l.actions[receive].Kind == Lose {
		return false
	}
	a, next := &l.actions[receive], &l.actions[receive+1]
	return next.Node == a.Node && next.Time == a.Time && next.Kind != Send && next.Kind != Receive && next.Kind != Read
}

func (l *layout) last() *row {
	if len(l.rows) == 0 {
		return nil
	}
	return &l.rows[len(l.rows)-1]
}

func (l *layout) newRow(first int) *row {
	l.rows = append(l.rows, row{
		first: first, busy: make([]bool, l.columns()), taken: make([]bool, l.columns()), receipts: map[int]int{},
	})
	l.place[first] = y(len(l.rows) - 1)
	return l.last()
}

// fitting is the last row if something more of about the same time may stand there, above after; else a new one.
func (l *layout) fitting(i, column, after int) *row {
	r := l.last()
	if r != nil && r.banner == "" && r.folded == 0 && !r.busy[column] && len(l.rows)-1 > after &&
		l.actions[i].Time-l.actions[r.first].Time <= near {
		l.place[i] = y(len(l.rows) - 1)
		return r
	}
	return l.newRow(i)
}

func (l *layout) fits(text string) bool {
	return float64(utf8.RuneCountInString(text))*charWidth <= l.gap-bandWidth-14
}

// write puts a label beside a column, on that side if it is free, or on the other. It tells whether either was.
func (r *row) write(t label, right bool) bool {
	for _, t.right = range []bool{right, !right} {
		t.gap = t.column
		if !t.right {
			t.gap--
		}
		if t.gap >= 0 && !r.taken[t.gap] {
			r.taken[t.gap] = true
			r.labels = append(r.labels, t)
			return true
		}
	}
	return false
}

func (l *layout) addMark(i, column int) {
	a := &l.actions[i]
	text := a.short()
	r := l.last()
	if r != nil && r.banner == "" && r.folded == 0 && l.actions[r.first].Time == a.Time && r.busy[column] {
		if l.join(r, column, a, text) {
			l.place[i] = y(len(l.rows) - 1)
			return
		}
		r = nil
	} else {
		r = l.fitting(i, column, -1)
	}
	t := label{column: column, node: a.Node, text: text, kind: a.Kind}
	if r == nil || !r.write(t, true) {
		r = l.newRow(i)
		r.write(t, true)
	}
	l.place[i] = y(len(l.rows) - 1)
	r.busy[column] = true
	r.marks = append(r.marks, mark{column, a.Kind})
}

// join adds to what the row tells of a node, or begins that beside what has arrived there.
func (l *layout) join(r *row, column int, a *Action, text string) bool {
	for k := range r.labels {
		t := &r.labels[k]
		if t.column != column {
			continue
		}
		if t.kind == Commit && a.Kind == Apply {
			return true
		}
		both := t.text + " · " + text
		if t.sends || !l.fits(both) {
			return false
		}
		t.text, t.kind = both, a.Kind
		r.marks = append(r.marks, mark{column, a.Kind})
		return true
	}
	from, arrives := r.receipts[column]
	if !arrives || !r.write(label{column: column, node: a.Node, text: text, kind: a.Kind}, from < column) {
		return false
	}
	r.marks = append(r.marks, mark{column, a.Kind})
	return true
}

// addSend places what leaves; the same said to several nodes at once is said once. It returns the row.
func (l *layout) addSend(i int) int {
	a := &l.actions[i]
	from, to := l.column(a.Message.From), l.column(a.Message.To)
	t := label{column: from, node: a.Node, text: a.Message.short(), kind: Send, sends: true}
	if r := l.last(); r != nil && l.actions[r.first].Time == a.Time {
		for _, have := range r.labels {
			if have.sends && have.column == from && have.text == t.text {
				l.place[i] = y(len(l.rows) - 1)
				return len(l.rows) - 1
			}
		}
	}
	r := l.fitting(i, from, -1)
	if !r.write(t, to > from) {
		r = l.newRow(i)
		r.write(t, to > from)
	}
	r.busy[from] = true
	l.place[i] = y(len(l.rows) - 1)
	return len(l.rows) - 1
}

// addEnd places where a message arrives or is lost.
func (l *layout) addEnd(i, send int, sent []int) {
	a := &l.actions[i]
	m := a.Message
	from, to := l.column(m.From), l.column(m.To)
	known := send >= 0 && l.view.shows(&l.actions[send]) && !l.hidden[send]
	if a.Kind == Lose {
		l.addLoss(i, from, to, known, send, sent)
		return
	}
	after := -1
	if known {
		after = sent[send]
	}
	r := l.fitting(i, to, after)
	r.busy[to] = true
	r.receipts[to] = from
	at := len(l.rows) - 1
	l.place[i] = y(at)
	if known {
		l.addArrow(i, from, to, y(after), y(at), arrow{})
		return
	}
	l.addArrow(i, from, to, y(at), y(at), arrow{half: true})
	r.write(label{column: to, node: a.Node, text: m.short(), kind: Receive}, from > to)
}

func (l *layout) addLoss(i, from, to int, known bool, send int, sent []int) {
	a := &l.actions[i]
	if known && a.Time == l.actions[send].Time {
		l.addArrow(i, from, to, y(sent[send]), y(sent[send]), arrow{lost: true})
		l.place[i] = y(sent[send])
		return
	}
	r := l.newRow(i)
	at := len(l.rows) - 1
	begin := y(at)
	if known {
		begin = y(sent[send])
	}
	l.addArrow(i, from, to, begin, y(at), arrow{lost: true})
	r.busy[to] = true
	r.write(label{column: to, text: "✕ " + a.Text, kind: Lose}, from < to)
}

func (l *layout) addArrow(i, from, to int, y1, y2 float64, w arrow) {
	w.from, w.to, w.y1, w.y2, w.kind, w.action = from, to, y1, y2, l.actions[i].Message.Type, i
	l.arrows = append(l.arrows, w)
}

// addClient places what clients ask and are answered.
func (l *layout) addClient(i int) {
	a := &l.actions[i]
	to := l.column(a.Node)
	r := l.newRow(i)
	r.busy[0], r.busy[to] = true, true
	w := arrow{from: 0, to: to, y1: y(len(l.rows) - 1), y2: y(len(l.rows) - 1), kind: string(a.Kind), action: i}
	if a.Kind == Answer {
		w.from, w.to = to, 0
	}
	l.arrows = append(l.arrows, w)
	r.write(label{column: 0, text: a.short(), kind: a.Kind, sends: true}, true)
	r.receipts[to] = 0
}

// addBanner places what concerns all. Cuts of one moment are one.
func (l *layout) addBanner(i int) {
	a := &l.actions[i]
	if r := l.last(); r != nil && r.banner == a.Kind && (a.Kind == Cut || a.Kind == Heal) && l.actions[r.first].Time == a.Time {
		r.labels[0].text = strings.TrimSuffix(r.labels[0].text, because("", a.Text)) + because(fmt.Sprintf(" %s→%s", a.Node, a.Peer), a.Text)
		l.place[i] = y(len(l.rows) - 1)
		return
	}
	text := a.Text
	switch a.Kind {
	case Cut, Heal:
		text = because(fmt.Sprintf("%s %s→%s", a.Kind, a.Node, a.Peer), a.Text)
	case Violation:
		text = a.String()
	}
	for n, line := range wrap(text, int((l.width()-gutter-20)/charWidth)) {
		r := l.newRow(i)
		r.banner = a.Kind
		r.labels = []label{{text: line, kind: a.Kind, right: n > 0}}
	}
}

// addFolded counts a heartbeat, together with those before it since anything else happened.
func (l *layout) addFolded(a *Action, i int) {
	if a.Kind == Receive || a.Message.Type != TypeName(raft.MsgHeartbeat) {
		return
	}
	r := l.last()
	if r == nil || r.folded == 0 || r.leader != a.Message.From {
		if a.Kind == Lose {
			return // its sending is counted elsewhere
		}
		r = l.newRow(i)
		r.leader = a.Message.From
	}
	l.place[i] = y(len(l.rows) - 1)
	if a.Kind == Lose {
		r.lost++
		return
	}
	r.folded++
}

// wrap breaks a text into lines of at most so many letters, at spaces where it can.
func wrap(text string, width int) (lines []string) {
	for text = oneLine(text); utf8.RuneCountInString(text) > width; {
		letters := []rune(text)
		cut := width
		if at := strings.LastIndex(string(letters[:width]), " "); at > 0 {
			cut = utf8.RuneCountInString(string(letters[:width])[:at])
		}
		lines = append(lines, string(letters[:cut]))
		text = strings.TrimSpace(string(letters[cut:]))
	}
	return append(lines, text)
}

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
	rowHeight = 24.0
	header    = 86.0 // legend and names
	pad       = 12.0 // above the first row
	bandWidth = 18.0
	charWidth = 5.9 // of the labels' font, on average
	boldWidth = 6.5
)

// MaxDrawn is how many actions one drawing takes.
const MaxDrawn = 20_000

// ErrTooMany refuses to draw what nobody could read.
var ErrTooMany = fmt.Errorf("more than %d actions: choose some of them", MaxDrawn)

// ErrNothing refuses to draw nothing.
var ErrNothing = errors.New("no action is left to be shown")

// near is how far apart in time two actions of one row may be, and moment how far what a node does at one time: a real
// one is not done at once.
const (
	near   = time.Millisecond
	moment = 200 * time.Microsecond
)

// atOnce tells whether two actions, the later one second, are of one moment.
func atOnce(a, b *Action) bool { return b.Time-a.Time <= moment }

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
	hidden  []bool        // what is folded
	counts  map[int]count // of what is folded, by action
}

// count is what an action adds to those that are counted and not drawn.
type count struct{ sent, lost int }

type row struct {
	first    int  // action
	banner   Kind // stands across; empty for a row of lanes
	busy     []bool
	taken    []bool // gaps: number i lies right of column i
	labels   []label
	marks    []mark
	links    []link
	folded   int // requests of one type
	lost     int // of them
	asks     *Message
	receipts map[int]int // by column: from which column something arrives
}

// link is one direction between two nodes that is cut or healed, for a while or so.
type link struct{ from, to, text string }

// words tells of links, of both directions at once.
func words(links []link) string {
	var all []string
	told := map[link]bool{}
	for _, k := range links {
		back := link{k.to, k.from, k.text}
		if told[back] {
			continue
		}
		told[k] = true
		arrow := "→"
		if slices.Contains(links, back) {
			arrow = "↔"
		}
		all = append(all, because(k.from+arrow+k.to, k.text))
	}
	return strings.Join(all, ", ")
}

type label struct {
	column int
	gap    int
	right  bool // it stands right of its column
	node   raft.NodeID
	text   string
	kind   Kind
	sends  string // what is sent, and drawn from here; empty where nothing is
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
	l := &layout{view: v, actions: actions, lanes: v.lanes(shown), place: make([]float64, len(actions)), hidden: make([]bool, len(actions)), counts: map[int]count{}}
	l.clients = slices.ContainsFunc(shown, func(a Action) bool { return a.Kind == Request || a.Kind == Answer })
	l.gap = max(150, min(230, 1000/float64(max(1, len(l.lanes)))))
	if l.build(); len(l.rows) == 0 {
		return nil, ErrNothing
	}
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

func (l *layout) width() float64 { return max(500, l.x(l.columns())+10) }

func y(row int) float64 { return top(row) + rowHeight/2 }

// top is the upper edge of a row.
func top(row int) float64 { return header + pad + float64(row)*rowHeight }

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
		l.place[i] = top(len(l.rows))
		if len(l.rows) == 0 {
			l.place[i] = header
		}
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
			of := starts[i]
			half := len(of) == 0 || passages[of[0]].end < 0 || !l.view.shows(&l.actions[passages[of[0]].end])
			sent[i] = l.addSend(i, half)
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

// folds tells whether messages of a type are sent again and again, and mostly bring nothing new.
func folds(m *Message) bool {
	return request(m.Type) == TypeName(raft.MsgHeartbeat) || request(m.Type) == TypeName(raft.MsgFetch)
}

// fold finds what goes without saying: messages that brought nothing new, that they were lost, and that what is committed
// is applied.
func (l *layout) fold(passages []transit) {
	for _, t := range passages {
		at := max(t.send, t.end)
		if at < 0 || !folds(l.actions[at].Message) || t.end >= 0 && l.brings(t.end) {
			continue
		}
		l.hidden[at] = true
		if t.send >= 0 {
			l.hidden[t.send] = true
			l.counts[t.send] = count{sent: 1}
		} else {
			l.counts[t.end] = count{sent: 1}
		}
		if t.end >= 0 && l.actions[t.end].Kind == Lose {
			l.counts[t.end] = count{lost: 1}
		} else if t.unanswered && t.end < 0 {
			l.counts[t.send] = count{sent: 1, lost: 1}
		}
	}
	committed := map[raft.NodeID]*Action{}
	for i := range l.actions {
		a := &l.actions[i]
		switch commit := committed[a.Node]; {
		case a.Kind == Commit:
			committed[a.Node] = a
		case a.Kind == Apply && commit != nil && atOnce(commit, a), a.Kind == Unanswered && folds(a.Message):
			l.hidden[i] = true
		}
	}
}

// brings tells whether something came of what arrived.
func (l *layout) brings(receive int) bool {
	if receive+1 == len(l.actions) || l.actions[receive].Kind == Lose {
		return false
	}
	a, next := &l.actions[receive], &l.actions[receive+1]
	return next.Node == a.Node && atOnce(a, next) && next.Kind != Send && next.Kind != Receive && next.Kind != Read
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

// room is how many letters stand between two lanes.
func (l *layout) room() int { return int((l.gap - bandWidth - 12) / charWidth) }

func (l *layout) fits(text string) bool { return utf8.RuneCountInString(text) <= l.room() }

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
	if r != nil && r.banner == "" && r.folded == 0 && atOnce(&l.actions[r.first], a) && r.busy[column] {
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
		both := t.text + " · " + text
		if t.sends != "" || !l.fits(both) {
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

// addSend places what leaves; the same said to several nodes at once is said once. half: it is not known to arrive
// anywhere, so that it must say where it goes. It returns the row.
func (l *layout) addSend(i int, half bool) int {
	a := &l.actions[i]
	from, to := l.column(a.Message.From), l.column(a.Message.To)
	words := a.Message.short()
	at := l.fan(i, from, words)
	if at < 0 {
		r := l.fitting(i, from, -1)
		t := label{column: from, node: a.Node, text: words, kind: Send, sends: words}
		if !r.write(t, to > from) {
			r = l.newRow(i)
			r.write(t, to > from)
		}
		r.busy[from] = true
		at = len(l.rows) - 1
	}
	l.place[i] = y(at)
	if half {
		l.addArrow(i, from, to, y(at), y(at), arrow{half: true})
		for k := range l.rows[at].labels {
			if t := &l.rows[at].labels[k]; t.column == from && t.sends == words {
				t.text += " to " + string(a.Message.To)
			}
		}
	}
	return at
}

// fan is the row in which a node has just begun to say the same; -1 for none.
func (l *layout) fan(i, from int, words string) int {
	r := l.last()
	if r == nil || !atOnce(&l.actions[r.first], &l.actions[i]) {
		return -1
	}
	if slices.ContainsFunc(r.labels, func(t label) bool { return t.column == from && t.sends == words }) {
		return len(l.rows) - 1
	}
	return -1
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
	r.write(label{column: to, node: a.Node, text: fmt.Sprintf("%s: %s", m.From, m.short()), kind: Receive, sends: m.short()}, from > to)
}

func (l *layout) addLoss(i, from, to int, known bool, send int, sent []int) {
	a := &l.actions[i]
	if known && atOnce(&l.actions[send], a) {
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
	r.write(label{column: to, text: a.Text, kind: Lose}, from > to)
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
	r.write(label{column: 0, text: a.short(), kind: a.Kind, sends: a.short()}, true)
	r.receipts[to] = 0
}

// addBanner places what concerns all. Cuts of one moment are one.
func (l *layout) addBanner(i int) {
	a := &l.actions[i]
	text := a.Text
	switch a.Kind {
	case Cut, Heal:
		if r := l.last(); r != nil && r.banner == a.Kind && atOnce(&l.actions[r.first], a) {
			r.links = append(r.links, link{string(a.Node), string(a.Peer), a.Text})
			l.place[i] = y(len(l.rows) - 1)
			return
		}
	case Violation:
		text = a.String()
	}
	for n, line := range wrap(text, int((l.width()-gutter-40)/boldWidth)) {
		r := l.newRow(i)
		r.banner = a.Kind
		r.labels = []label{{text: line, kind: a.Kind, right: n > 0}}
		if a.Kind == Cut || a.Kind == Heal {
			r.links = []link{{string(a.Node), string(a.Peer), a.Text}}
		}
	}
}

// addFolded counts a request, together with its like since anything else happened.
func (l *layout) addFolded(a *Action, i int) {
	m := a.Message
	c, found := l.counts[i]
	if !found || m.Type != request(m.Type) {
		return
	}
	at := len(l.rows) - 1
	for at >= 0 && l.rows[at].folded > 0 && (l.rows[at].asks.From != m.From || l.rows[at].asks.Type != m.Type) {
		at--
	}
	if at < 0 || l.rows[at].folded == 0 {
		if c.sent == 0 {
			return // it was counted elsewhere
		}
		l.newRow(i).asks = m
		at = len(l.rows) - 1
	}
	l.rows[at].folded += c.sent
	l.rows[at].lost += c.lost
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

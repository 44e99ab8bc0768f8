package actionlog

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"coup/raftnode/raft"
)

// SVG draws a sequence diagram: a lane for each node, with its role and term as bands along it, and time downwards.
// Errors: ErrNothing, ErrTooMany, and those of w.
func SVG(w io.Writer, actions []Action, v View) error {
	l, err := newLayout(actions, v)
	if err != nil {
		return err
	}
	d := drawing{layout: l, out: bufio.NewWriter(w)}
	d.draw()
	return d.out.Flush()
}

type drawing struct {
	*layout
	out *bufio.Writer
}

func (d *drawing) put(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// style is all of a drawing's looks. Every state differs from every other in more than its hue, and in the dark, too.
const style = `<style>
svg{--paper:#fff;--ink:#1d2733;--quiet:#7b8794;--line:#e6eaee;--follower:#e3e9ef;--edge:#8fa1b3;--leader:#0b5394;--candidate:#e08e00;--say:#3d6fa5;--vote:#a0561a;--reply:#8493a3;--client:#2a7d6b;--lost:#c8322b;--good:#1f8a4c;--cut:#b26a00;background:var(--paper)}
@media(prefers-color-scheme:dark){svg{--paper:#12171d;--ink:#dfe6ee;--quiet:#8a97a5;--line:#222b35;--follower:#2b3744;--edge:#6d8196;--leader:#7db8f0;--candidate:#f0a830;--say:#7fb0e6;--vote:#e0a070;--reply:#76869a;--client:#5cc4ab;--lost:#ff6b61;--good:#58c98a;--cut:#e6a23c}}
text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--ink)}
.l{paint-order:stroke;stroke:var(--paper);stroke-width:3.5px;stroke-linejoin:round}
.e{text-anchor:end}.m{text-anchor:middle}
.t{font:10px ui-monospace,"DejaVu Sans Mono",Menlo,monospace;fill:var(--quiet);text-anchor:end}
.q{fill:var(--quiet);font-style:italic}.h{font-weight:600;font-size:13px}
.n{font-size:10px;font-weight:600;text-anchor:middle}.nl{fill:var(--paper)}
.g{stroke:var(--line)}
.follower{fill:var(--follower);stroke:var(--edge)}.leader{fill:var(--leader);stroke:var(--leader)}
.candidate{fill:url(#hatch);stroke:var(--candidate)}.pre-candidate{fill:url(#dots);stroke:var(--candidate)}
.paused{fill:url(#bars);stroke:var(--edge);stroke-dasharray:2 2}
.down{stroke:var(--lost);stroke-width:1.5;stroke-dasharray:1 5;stroke-linecap:round}.unknown{stroke:var(--edge);stroke-dasharray:4 4}
.a{fill:none;stroke-width:1.3}.say{stroke:var(--say)}.vote{stroke:var(--vote)}.reply{stroke:var(--reply);stroke-dasharray:5 3}.client{stroke:var(--client)}.lost{stroke:var(--lost)}.half{stroke-dasharray:2 3}
.x{stroke:var(--lost);stroke-width:2.2;fill:none}.bad{fill:var(--lost);font-weight:600}.good{fill:var(--good)}.asks{fill:var(--client)}
.cut{stroke:var(--cut);stroke-dasharray:6 4}.cutx{fill:var(--cut);font-weight:600}.heal{stroke:var(--good)}.healx{fill:var(--good);font-weight:600}
.v{fill:var(--lost)}.vx{fill:var(--paper);font-weight:700}
</style>
<defs>
<pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0H5V5H0Z" fill="var(--paper)"/><path d="M0 0V5" stroke="var(--candidate)" stroke-width="5"/></pattern>
<pattern id="dots" width="5" height="5" patternUnits="userSpaceOnUse"><path d="M0 0H5V5H0Z" fill="var(--paper)"/><circle cx="2.5" cy="2.5" r="1.2" fill="var(--candidate)"/></pattern>
<pattern id="bars" width="4" height="6" patternUnits="userSpaceOnUse"><path d="M0 0H4V6H0Z" fill="var(--paper)"/><path d="M0 1H4" stroke="var(--edge)" stroke-width="1.4"/></pattern>
`

func (d *drawing) draw() {
	height := top(len(d.rows)) + 34
	d.put(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img">`, d.width(), height, d.width(), height)
	d.put(`<title>What each node did, from %.3f s to %.3f s</title>`, d.actions[d.rows[0].first].Time.Seconds(), d.actions[d.rows[len(d.rows)-1].first].Time.Seconds())
	d.out.WriteString(style)
	for _, kind := range []string{"say", "vote", "reply", "client", "lost"} {
		d.put(`<marker id="%s" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 .5 8 4 0 7.5Z" fill="var(--%s)"/></marker>`, kind, kind)
	}
	d.put(`</defs><path d="M0 0H%.0fV%.0fH0Z" fill="var(--paper)"/>`, d.width(), height)
	d.legend()
	d.grid()
	for _, b := range d.bands() {
		d.band(b)
	}
	d.names(header - 14)
	d.names(height - 14)
	for _, a := range d.arrows {
		d.arrow(a)
	}
	for i := range d.rows {
		d.row(i)
	}
	d.put(`</svg>`)
}

// legend tells what is what.
func (d *drawing) legend() {
	x := 14.0
	word := func(text string) {
		d.put(`<text x="%.1f" y="24">%s</text>`, x, text)
		x += float64(len(text))*charWidth + 20
	}
	for _, look := range []string{raft.Follower.String(), raft.PreCandidate.String(), raft.Candidate.String(), raft.Leader.String(), "paused"} {
		d.put(`<rect class="%s" x="%.1f" y="13" width="14" height="14" rx="2"/>`, look, x)
		x += 20
		word(look)
	}
	d.put(`<path class="down" d="M%.1f 20h16"/>`, x)
	x += 22
	word("down")
	for _, kind := range [][2]string{{"say", "request"}, {"vote", "vote"}, {"reply", "answer"}} {
		d.put(`<path class="a %s" d="M%.1f 20h26" marker-end="url(#%s)"/>`, kind[0], x, kind[0])
		x += 32
		word(kind[1])
	}
	d.put(`<path class="a lost" d="M%.1f 20h16"/>`, x)
	d.cross(x+18, 20, 4)
	x += 28
	word("lost")
	d.put(`<text class="q" x="14" y="44">Numbers in lanes are terms. @ is the term of a message. Heartbeats and fetches that bring nothing new are counted, not drawn.</text>`)
}

func (d *drawing) grid() {
	for i := 0; i < len(d.rows); i++ {
		if i%2 == 1 {
			d.put(`<path d="M0 %.1fH%.0fv%.0fH0Z" fill="var(--line)" opacity=".35"/>`, y(i)-rowHeight/2, d.width(), rowHeight)
		}
	}
	if d.clients {
		d.put(`<path class="g" d="M%.1f %.1fV%.1f" stroke="var(--client)"/>`, d.x(0), header, top(len(d.rows)))
	}
}

func (d *drawing) names(at float64) {
	if d.clients {
		d.put(`<text class="h m asks" x="%.1f" y="%.1f">clients</text>`, d.x(0), at)
	}
	for _, id := range d.lanes {
		d.put(`<text class="h m" x="%.1f" y="%.1f">%s</text>`, d.x(d.column(id)), at, escape(string(id)))
	}
}

func (d *drawing) band(b band) {
	x, look := d.x(b.column), b.standing.look()
	if look == "down" || look == "unknown" {
		d.put(`<path class="%s" d="M%.1f %.1fV%.1f"/>`, look, x, b.from, b.to)
		return
	}
	d.put(`<rect class="%s" x="%.1f" y="%.1f" width="%.0f" height="%.1f" rx="2"/>`, look, x-bandWidth/2, b.from, bandWidth, b.to-b.from)
	if b.to-b.from < 17 {
		return
	}
	class := "n l"
	if look == raft.Leader.String() {
		class = "n nl"
	}
	d.put(`<text class="%s" x="%.1f" y="%.1f">%d</text>`, class, x, b.from+15, b.standing.term)
}

// ways is how an arrow looks.
func (a arrow) way() string {
	switch {
	case a.lost:
		return "lost"
	case a.kind == string(Request), a.kind == string(Answer):
		return "client"
	case a.kind != request(a.kind):
		return "reply"
	case a.kind == TypeName(raft.MsgVote), a.kind == TypeName(raft.MsgPreVote), a.kind == TypeName(raft.MsgTimeoutNow):
		return "vote"
	}
	return "say"
}

func (d *drawing) arrow(a arrow) {
	x1, x2 := d.x(a.from), d.x(a.to)
	side := math.Copysign(bandWidth/2, x2-x1)
	if x1, x2 = x1+side, x2-side; d.clients && a.from == 0 {
		x1 -= side
	} else if d.clients && a.to == 0 {
		x2 += side
	}
	way := a.way()
	d.put(`<g><title>%s</title>`, escape(d.title(&d.actions[a.action])))
	switch {
	case a.lost:
		x := x1 + math.Copysign(d.gap/2, x2-x1)
		if a.y1 != a.y2 {
			x = x2 + math.Copysign(0.7*d.gap, x1-x2) // beside it stands why
		}
		d.put(`<path class="a %s" d="M%.1f %.1fL%.1f %.1f"/>`, way, x1, a.y1, x, a.y2)
		d.cross(x, a.y2, 4.5)
	case a.half:
		if stub := math.Copysign(0.45*d.gap, x2-x1); d.actions[a.action].Kind == Send {
			x2 = x1 + stub
		} else {
			x1 = x2 - stub
		}
		d.put(`<path class="a half %s" d="M%.1f %.1fL%.1f %.1f" marker-end="url(#%s)"/>`, way, x1, a.y1, x2, a.y2, way)
	default:
		d.put(`<path class="a %s" d="M%.1f %.1fL%.1f %.1f" marker-end="url(#%s)"/>`, way, x1, a.y1, x2, a.y2, way)
	}
	d.put(`</g>`)
}

func (d *drawing) cross(x, y, r float64) {
	d.put(`<path class="x" d="M%.1f %.1fl%.1f %.1fm0 %.1fl%.1f %.1f"/>`, x-r, y-r, 2*r, 2*r, -2*r, -2*r, 2*r)
}

func (d *drawing) title(a *Action) string {
	return strings.TrimSpace(fmt.Sprintf("%d, %.6f s: %s %s", a.Number, a.Time.Seconds(), a.Node, a))
}

func (d *drawing) row(i int) {
	r := &d.rows[i]
	at := y(i)
	a := &d.actions[r.first]
	d.put(`<text class="t" x="48" y="%.1f">%d</text><text class="t" x="%.0f" y="%.1f">%.6f</text>`, at+3.5, a.Number, gutter-26, at+3.5, a.Time.Seconds())
	if r.folded > 0 {
		d.folded(r, at)
		return
	}
	if r.banner != "" {
		d.banner(r, at)
		return
	}
	for _, m := range r.marks {
		d.mark(m, at)
	}
	for _, t := range r.labels {
		d.label(t, at)
	}
}

func (d *drawing) folded(r *row, at float64) {
	text := fmt.Sprintf("%d× %s", r.folded, r.asks.Type)
	if r.lost > 0 {
		text += fmt.Sprintf(", %d lost", r.lost)
	}
	d.put(`<text class="q l" x="%.1f" y="%.1f">⋮ %s</text>`, d.x(d.column(r.asks.From))+bandWidth/2+7, at+3.5, text)
}

func (d *drawing) banner(r *row, at float64) {
	text := r.labels[0].text
	if r.links != nil {
		text = fmt.Sprintf("%s %s", r.banner, words(r.links))
	}
	left, right := gutter-8, d.width()-8
	room := int((right - left - 30) / boldWidth)
	behind := gutter + 12 + boldWidth*float64(min(room, utf8.RuneCountInString(text)))
	text = shorten(text, room)
	switch r.banner {
	case Violation:
		d.put(`<path class="v" d="M%.1f %.1fH%.1fV%.1fH%.1fZ"/><text class="vx" x="%.1f" y="%.1f">%s</text>`, left, at-rowHeight/2, right, at+rowHeight/2, left, left+10, at+4, text)
	case Cut, Heal:
		d.put(`<path class="%s" d="M%.1f %.1fh8M%.1f %.1fH%.1f"/><text class="%sx l" x="%.1f" y="%.1f">%s</text>`, r.banner, left, at, behind, at, right, r.banner, left+12, at+4, text)
	default:
		d.put(`<text class="q l" x="%.1f" y="%.1f">%s</text>`, left+10, at+4, text)
	}
}

func (d *drawing) mark(m mark, at float64) {
	x := d.x(m.column)
	switch m.kind {
	case Crash, Stop:
		d.cross(x, at, 7)
	case Start:
		d.put(`<circle cx="%.1f" cy="%.1f" r="5" fill="var(--paper)" stroke="var(--good)" stroke-width="2"/>`, x, at)
	case Commit:
		d.put(`<path class="good" d="M%.1f %.1fl5 5-5 5-5-5Z" stroke="var(--paper)"/>`, x, at-5)
	case Configuration:
		d.put(`<path d="M%.1f %.1fh9v9h-9Z" fill="var(--cut)" stroke="var(--paper)"/>`, x-4.5, at-4.5)
	case Disk, Truncate:
		d.put(`<path class="v" d="M%.1f %.1fl5.5 10h-11Z" stroke="var(--paper)"/>`, x, at-6)
	}
}

func (d *drawing) label(t label, at float64) {
	class := "l"
	switch t.kind {
	case Crash, Stop, Disk, Truncate, Lose:
		class += " bad"
	case Commit:
		class += " good"
	case Request, Answer:
		class += " asks"
	case Note, Unanswered:
		class += " q"
	case Configuration:
		class += " cutx"
	}
	x := d.x(t.column) + bandWidth/2 + 5
	if !t.right {
		class += " e"
		x -= bandWidth + 10
	}
	if t.sends != "" {
		at -= 4
	} else {
		at += 3.5
	}
	room := d.room()
	if strings.HasSuffix(class, "bad") || strings.HasSuffix(class, "cutx") {
		room = int((d.gap - bandWidth - 12) / boldWidth)
	}
	d.put(`<text class="%s" x="%.1f" y="%.1f">%s</text>`, class, x, at, shorten(t.text, room))
}

// shorten cuts a text, which then is told as a whole to who points at it.
func shorten(text string, room int) string {
	letters := []rune(oneLine(text))
	if len(letters) <= room {
		return escape(text)
	}
	return escape(string(letters[:room-1])) + "…<title>" + escape(text) + "</title>"
}

func escape(text string) string { return html.EscapeString(oneLine(text)) }

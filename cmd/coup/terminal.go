package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"coup/nemesis"
	"coup/runner"
)

// plainInterval is how often a progress line is printed where no line can be redrawn.
const plainInterval = 5 * time.Second

// redrawInterval is how often the live line is drawn again where it could be any number of times.
const redrawInterval = 100 * time.Millisecond

// terminal shows a run to a person. On a terminal the last line is live: redrawn in place, with
// what is permanent scrolling above it. Elsewhere everything is plain lines. Safe for concurrent
// use.
type terminal struct {
	mu     sync.Mutex
	out    io.Writer
	live   bool          // the last line can be redrawn
	colour bool          // escape sequences for colours are welcome
	width  func() int    // columns, asked before each drawing
	shown  bool          // a live line stands on the screen
	step   string        // under way; empty for none
	plain  time.Duration // of the latest plain progress line, since the run began
}

// newTerminal writes to f, as nicely as f and the environment allow.
func newTerminal(f *os.File) *terminal {
	fd := int(f.Fd())
	tty := term.IsTerminal(fd) && os.Getenv("TERM") != "dumb"
	return &terminal{
		out:    f,
		live:   tty,
		colour: tty && os.Getenv("NO_COLOR") == "",
		width: func() int {
			if columns, _, err := term.GetSize(fd); err == nil && columns > 0 {
				return columns
			}
			return 80
		},
	}
}

// style is the number of an SGR escape sequence.
type style string

const (
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	blue   style = "36"
)

// paint gives text a colour where colours are welcome.
func (t *terminal) paint(s style, text string) string {
	if !t.colour || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// Printf prints permanent text, as it is: the caller ends its lines.
func (t *terminal) Printf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.print(fmt.Sprintf(format, args...))
}

// print replaces the live line by permanent text.
func (t *terminal) print(text string) {
	t.erase()
	_, _ = io.WriteString(t.out, text)
}

func (t *terminal) erase() {
	if t.shown {
		_, _ = io.WriteString(t.out, "\r\x1b[2K")
		t.shown = false
	}
}

// draw makes text the live line, cut to the width of the terminal so that it never wraps.
func (t *terminal) draw(text string) {
	t.erase()
	_, _ = io.WriteString(t.out, t.paint(dim, shorten(text, t.width()-1)))
	t.shown = true
}

// Step implements runner.Observer.
func (t *terminal) Step(s runner.Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := s.Name
	if s.Detail != "" {
		text += ": " + s.Detail
	}
	switch s.State {
	case runner.StepBegan, runner.StepUnderWay:
		t.step = text
		if t.live {
			t.draw("  · " + text)
		}
	case runner.StepDone:
		t.step = ""
		t.line(t.paint(green, "✓"), text, seconds(s.Took))
	case runner.StepFailed:
		t.step = ""
		t.line(t.paint(red, "✗"), text, seconds(s.Took))
	}
}

// line prints a mark, a text and, at the right of it, how long that took.
func (t *terminal) line(mark, text, took string) {
	const column = 64
	if n := utf8.RuneCountInString(text); n < column {
		text += strings.Repeat(" ", column-n)
	}
	t.print(fmt.Sprintf("  %s %s %s\n", mark, text, t.paint(dim, fmt.Sprintf("%7s", took))))
}

// Fault implements runner.Observer.
func (t *terminal) Fault(e nemesis.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	word, colour := "fault", yellow
	switch e.Result {
	case nemesis.ResultSkipped:
		word, colour = "skip", dim
	case nemesis.ResultHealed:
		word, colour = "heal", green
	case nemesis.ResultIndeterminate, nemesis.ResultNotHealed:
		word, colour = "fault?", red
	}
	text := target(e)
	if e.Result != nemesis.ResultInstalled && e.Result != nemesis.ResultHealed {
		text += ": " + string(e.Result)
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	t.event(e.End, word, colour, text)
}

// target names a fault and what it hits, in few words.
func target(e nemesis.Event) string {
	return strings.TrimSpace(e.Fault + " " + strings.Join(e.Targets, " "))
}

// Leader implements runner.Observer.
func (t *terminal) Leader(l runner.Leadership) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.event(l.At, "leader", blue, fmt.Sprintf("%s leads in term %d", l.Node, l.Term))
}

// Note implements runner.Observer.
func (t *terminal) Note(at time.Duration, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.event(at, "note", bold, text)
}

// event prints one permanent line of the run's story.
func (t *terminal) event(at time.Duration, word string, colour style, text string) {
	stamp := fmt.Sprintf("%8s", seconds(at))
	t.print(fmt.Sprintf("  %s  %s %s\n", t.paint(dim, stamp), t.paint(colour, fmt.Sprintf("%-6s", word)), text))
}

// Progress implements runner.Observer.
func (t *terminal) Progress(p runner.Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := progress(p)
	if t.step != "" {
		text = "· " + t.step + "  " + text
	}
	if t.live {
		t.draw("  " + text)
		return
	}
	if p.Now-t.plain < plainInterval {
		return
	}
	t.plain = p.Now
	t.print("  " + text + "\n")
}

// Status shows how something stands that has no phases: as the live line, and where none can be
// redrawn every few seconds. since is how long it has been going on.
func (t *terminal) Status(since time.Duration, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	every := plainInterval
	if t.live {
		every = redrawInterval
	}
	if since-t.plain < every {
		return
	}
	t.plain = since
	if t.live {
		t.draw("  " + text)
		return
	}
	t.print("  " + text + "\n")
}

// progress is the live line.
func progress(p runner.Progress) string {
	var parts []string
	if p.Left > 0 {
		parts = append(parts, clock(p.Left)+" left")
	}
	parts = append(parts, count(p.OK)+" ok", count(p.Fail)+" fail", count(p.Info)+" info", fmt.Sprintf("%.0f/s", p.Rate))
	if p.Leader == "" {
		parts = append(parts, "no leader")
	} else {
		parts = append(parts, fmt.Sprintf("%s term %d", p.Leader, p.Term))
	}
	if p.Fault != "" {
		parts = append(parts, p.Fault)
	}
	return strings.Join(parts, "  ")
}

// clock writes a duration as minutes and seconds, rounded up.
func clock(d time.Duration) string {
	s := int((d + time.Second - 1) / time.Second)
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// seconds writes a duration as people read it: 12.3s.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

// count writes a number with its thousands set apart.
func count(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// shorten cuts text to at most width columns, with an ellipsis where something is missing.
func shorten(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	return string([]rune(text)[:width-1]) + "…"
}

// table lines up cells: the first column to the left, the others to the right. The first row is the
// heading.
func (t *terminal) table(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		var line strings.Builder
		line.WriteString("  ")
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				line.WriteString(cell + pad)
			} else {
				line.WriteString("  " + pad + cell)
			}
		}
		text := strings.TrimRight(line.String(), " ")
		if n == 0 {
			text = t.paint(dim, text)
		}
		b.WriteString(text + "\n")
	}
	return b.String()
}

package actionlog

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Mermaid writes a sequence diagram as Mermaid's text. A message stands where it arrives, or is lost. Heartbeats that bring
// nothing new are left out. Errors: ErrNothing, ErrTooMany, and those of w.
func Mermaid(w io.Writer, actions []Action, v View) error {
	l, err := newLayout(actions, v)
	if err == nil && len(l.lanes) == 0 {
		err = ErrNothing // Mermaid has nothing to put it over
	}
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, "sequenceDiagram")
	if l.clients {
		fmt.Fprintln(out, "    participant clients")
	}
	for _, id := range l.lanes {
		fmt.Fprintf(out, "    participant %s\n", plain(string(id)))
	}
	all := plain(string(l.lanes[0]))
	if n := len(l.lanes); n > 1 {
		all += "," + plain(string(l.lanes[n-1]))
	}
	var notes []string // of one node at one time
	about := func(a *Action) string {
		if a.Node == "" || a.Kind == Violation {
			return all
		}
		return plain(string(a.Node))
	}
	for i := range actions {
		a := &actions[i]
		if !v.shows(a) || l.hidden[i] {
			continue
		}
		switch a.Kind {
		case Send:
		case Receive:
			arrow := "->>"
			if a.Message.Type != request(a.Message.Type) {
				arrow = "-->>"
			}
			fmt.Fprintf(out, "    %s%s%s: %s\n", plain(string(a.Message.From)), arrow, plain(string(a.Message.To)), plain(a.Message.short()))
		case Lose:
			fmt.Fprintf(out, "    %s-x%s: %s\n", plain(string(a.Message.From)), plain(string(a.Message.To)), plain(because(a.Message.short(), a.Text)))
		case Request:
			fmt.Fprintf(out, "    clients->>%s: %s\n", about(a), plain(a.short()))
		case Answer:
			fmt.Fprintf(out, "    %s-->>clients: %s\n", about(a), plain(a.short()))
		default:
			notes = append(notes, a.short())
			if next := i + 1; next < len(actions) && l.sameMoment(i, next) {
				continue
			}
			fmt.Fprintf(out, "    Note over %s: %s\n", about(a), plain(strings.Join(notes, " · ")))
			notes = nil
		}
	}
	return out.Flush()
}

// sameMoment tells whether two actions go into one note.
func (l *layout) sameMoment(i, j int) bool {
	a, b := &l.actions[i], &l.actions[j]
	switch b.Kind {
	case Send, Receive, Lose, Request, Answer, Cut, Heal, Violation:
		return false
	}
	return a.Node != "" && a.Node == b.Node && atOnce(a, b) && !l.hidden[j] && a.Kind != Violation && l.view.shows(b)
}

// plain keeps out of a text what means something to Mermaid.
func plain(text string) string {
	return strings.NewReplacer(";", ",", "#", "no. ", "->", "→", "<", "(", ">", ")").Replace(oneLine(text))
}

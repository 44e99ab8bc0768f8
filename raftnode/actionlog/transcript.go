package actionlog

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Transcript writes one line an action: number, seconds, node, and what happened.
func Transcript(w io.Writer, actions []Action) error {
	var last uint64
	width := 1
	for i := range actions {
		last = max(last, actions[i].Number)
		width = max(width, len(actions[i].Node))
	}
	digits := len(fmt.Sprint(last))
	out := bufio.NewWriter(w)
	for i := range actions {
		a := &actions[i]
		fmt.Fprintf(out, "%*d  %11.6f  %-*s  %s\n", digits, a.Number, a.Time.Seconds(), width, oneLine(string(a.Node)), oneLine(a.String()))
	}
	return out.Flush()
}

// oneLine keeps a foreign text from breaking a line or a drawing.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

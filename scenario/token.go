package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Error is what is wrong in a line of a scenario, or with what it led to.
type Error struct {
	File         string // empty for a line that was typed
	Line, Column int    // from 1
	Text         string
	Suggestion   string // what was probably meant; empty when there is nothing near
	State        string // of the world then, for people; empty for an error in the text
}

func (e *Error) Error() string {
	text := e.Text
	switch {
	case e.File != "":
		text = fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, text)
	case e.Column > 1:
		text = fmt.Sprintf("column %d: %s", e.Column, text)
	}
	if e.Suggestion != "" {
		text += fmt.Sprintf("; did you mean %q?", e.Suggestion)
	}
	return text
}

// token is a word, a number, a quoted text or one of the marks.
type token struct {
	text   string
	column int
	quoted bool
}

// marks are tokens by themselves.
const marks = ",|()[]"

// maxLine bounds a line, in bytes.
const maxLine = 4096

// tokens splits a line. A # outside of quotes begins a comment.
func tokens(line string) ([]token, error) {
	if len(line) > maxLine {
		return nil, &Error{Column: 1, Text: fmt.Sprintf("the line has %d bytes; at most %d make sense", len(line), maxLine)}
	}
	var all []token
	for i := 0; i < len(line); {
		switch c := line[i]; {
		case c == '#':
			return all, nil
		case c == ' ' || c == '\t' || c == '\r':
			i++
		case strings.IndexByte(marks, c) >= 0:
			all = append(all, token{text: string(c), column: i + 1})
			i++
		case c == '"':
			quoted, err := strconv.QuotedPrefix(line[i:])
			if err != nil {
				return nil, &Error{Column: i + 1, Text: "the quotation mark has no end"}
			}
			text, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, &Error{Column: i + 1, Text: "the quoted text makes no sense"}
			}
			all = append(all, token{text: text, column: i + 1, quoted: true})
			i += len(quoted)
		default:
			end := i
			for end < len(line) && !ends(line[end]) {
				end++
			}
			if word := line[i:end]; strings.IndexFunc(word, unicode.IsControl) >= 0 {
				return nil, &Error{Column: i + 1, Text: "a control character"}
			}
			all = append(all, token{text: line[i:end], column: i + 1})
			i = end
		}
	}
	return all, nil
}

func ends(c byte) bool {
	return c == ' ' || c == '\t' || c == '\r' || c == '"' || c == '#' || strings.IndexByte(marks, c) >= 0
}

// nearest is the one of several words that is near to a wrong one; empty when none is.
func nearest(wrong string, words []string) string {
	best, least := "", 1+len(wrong)/3
	for _, w := range words {
		if d := distance(strings.ToLower(wrong), strings.ToLower(w)); d <= least {
			if d < least || best == "" {
				best, least = w, d
			}
		}
	}
	return best
}

// distance is how many letters must be put in, taken out or changed (Levenshtein).
func distance(a, b string) int {
	if len(a) > 40 || len(b) > 40 {
		return 40
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

package shrink

import (
	"fmt"
	"strings"
)

// Scenario is what is left as the text of a file. The remarks are comments below its title.
func (r Shrunk) Scenario(remarks ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n", r.Check, sentence(r.Text))
	for _, remark := range remarks {
		fmt.Fprintf(&b, "# %s\n", remark)
	}
	for _, line := range r.Lines {
		fmt.Fprintln(&b, line)
	}
	return b.String()
}

// sentence is a text on one line, with a full stop.
func sentence(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	return strings.TrimSuffix(text, ".") + "."
}

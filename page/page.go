// Package page puts measured figures into the pages of this repository: as tables, between markers, with
// what they were measured on.
package page

import (
	"fmt"
	"os"
	"strings"
)

// Write puts text between the markers of a page that bear the name. A page that is missing is
// made, with a title and a line above the markers; markers that are missing are put at its end.
func Write(path, title, name, line, text string) error {
	begin, end := fmt.Sprintf("<!-- %s: begin -->", name), fmt.Sprintf("<!-- %s: end -->", name)
	old, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		old = []byte("# " + title + "\n")
	} else if err != nil {
		return err
	}
	page := string(old)
	if !strings.Contains(page, begin) {
		page = strings.TrimRight(page, "\n") + "\n\n" + line + "\n\n" + begin + "\n" + end + "\n"
	}
	before, rest, _ := strings.Cut(page, begin)
	_, after, ends := strings.Cut(rest, end)
	if !ends {
		return fmt.Errorf("%s has no %s after %s to write between", path, end, begin)
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+text+end+after), 0o644)
}

// Table is a table as Markdown: the first row is the heading, the first column to the left, and the
// others to the right.
func Table(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		cells := make([]string, len(row))
		for j, cell := range row {
			cells[j] = strings.ReplaceAll(cell, "|", `\|`)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
		if i == 0 {
			b.WriteString("|---|" + strings.Repeat("---:|", len(row)-1) + "\n")
		}
	}
	return b.String()
}

package scenario

import (
	flags "flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"coup/sim"
)

var update = flags.Bool("update", false, "rewrite what is generated, or pinned, instead of comparing it")

const page = "../docs/scenarios.md"

// The page's tables are those of the language: what it does not list does not exist, and nothing is left out.
func TestReference(t *testing.T) {
	old, err := os.ReadFile(page)
	require.NoError(t, err)
	is := string(old)
	for section, text := range map[string]string{
		"verbs": verbTable(), "settings": settingTable(), "selectors": selectorTable(), "messages": messageTable(), "writes": "`" + strings.Join(sim.Writes(), "`, `") + "`\n",
		"node names":     nameTable(ownerNode, "NODE."),
		"cluster names":  nameTable(ownerCluster, "cluster."),
		"message names":  nameTable(ownerMessages, "messages."),
		"client names":   nameTable(ownerClient, "CLIENT."),
		"settings names": nameTable(ownerSettings, "settings."),
	} {
		begin, end := fmt.Sprintf("<!-- %s: begin -->\n", section), fmt.Sprintf("<!-- %s: end -->", section)
		before, rest, found := strings.Cut(is, begin)
		require.True(t, found, "%s is not in %s", begin, page)
		_, after, found := strings.Cut(rest, end)
		require.True(t, found, "%s is not in %s", end, page)
		is = before + begin + text + end + after
	}
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(is), 0o644))
		return
	}
	require.Equal(t, is, string(old), "the page is not up to date: go test ./scenario -run TestReference -update")
}

// Every example of the page is a scenario that passes. One that begins with "# fails:" fails, with what follows in its error.
func TestExamplesOfThePage(t *testing.T) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	blocks := strings.Split(string(text), "```")
	found := 0
	for i := 1; i < len(blocks); i += 2 {
		kind, example, _ := strings.Cut(blocks[i], "\n")
		if kind != "scenario" {
			continue
		}
		found++
		expected, fails := "", false
		if first, _, _ := strings.Cut(example, "\n"); strings.HasPrefix(first, "# fails: ") {
			expected, fails = strings.TrimPrefix(first, "# fails: "), true
		}
		t.Run(fmt.Sprintf("example %d", found), func(t *testing.T) {
			s, err := Parse("example", example)
			if fails && err != nil {
				require.ErrorContains(t, err, expected)
				return
			}
			require.NoError(t, err)
			r := s.Run(Options{})
			require.Equal(t, !fails, r.Passed, "%s\n%s\n%s", example, r.Error, r.State)
			require.Contains(t, r.Error, expected)
		})
	}
	require.Greater(t, found, 10)
}

func verbTable() string {
	var b strings.Builder
	for _, v := range verbs() {
		b.WriteString("**" + v.name + "** " + v.help + "\n\n")
		for _, u := range v.usage {
			b.WriteString("    " + u + "\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func settingTable() string {
	rows := [][2]string{}
	for _, s := range clusterSettings {
		rows = append(rows, [2]string{s.name, s.doc})
	}
	rows = append(rows, [2]string{"atMaxReign", "what a leader does then: `abdicate`, the default, or `exit`"})
	return markdownTable("setting", "meaning", rows)
}

func selectorTable() string {
	rows := [][2]string{{"0, raft-0", "one node"}, {"0, 2, leader", "several"}}
	for _, g := range groups {
		rows = append(rows, [2]string{g.name, g.doc})
	}
	return markdownTable("selector", "nodes", rows)
}

func messageTable() string {
	rows := [][2]string{}
	for _, k := range messageKinds {
		rows = append(rows, [2]string{k.name, k.doc})
	}
	return markdownTable("kind", "message", rows)
}

func nameTable(o owner, prefix string) string {
	rows := [][2]string{}
	for _, f := range fields(o) {
		rows = append(rows, [2]string{prefix + f.name, f.doc})
	}
	return markdownTable("name", "value", rows)
}

func markdownTable(first, second string, rows [][2]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | %s |\n|---|---|\n", first, second)
	for _, r := range rows {
		fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(r[0], "|", `\|`), strings.ReplaceAll(r[1], "|", `\|`))
	}
	return b.String()
}

package scenario

import (
	"fmt"
	"slices"
	"strings"
)

// topics are what there is help for beside verbs and commands.
var topics = []struct {
	name, doc string
	text      func() string
}{
	{"names", "all that can be seen of a world, and what can be set", helpNames},
	{"nodes", "the words that pick nodes", func() string { return helpWords(NodeWords()) }},
	{"messages", "the kinds of messages, and how to say which", helpMessages},
	{"settings", "what a cluster can be begun with", helpSettings},
}

func helpTopics() (names []string) {
	for _, t := range topics {
		names = append(names, t.name)
	}
	return append(append(names, verbNames()...), directiveNames()...)
}

// Help tells about a verb, a command or a topic; about everything, in short, where none is named.
func Help(topic string) (text string, ok bool) {
	if topic == "" {
		return helpOverview(), true
	}
	for _, t := range topics {
		if t.name == topic {
			return t.text(), true
		}
	}
	if v := find(topic); v != nil {
		return helpEntry(v.usage, v.help, examples[v.name]), true
	}
	if c := findDirective(token{text: topic}); c != nil {
		return helpEntry(c.usage, c.text, nil), true
	}
	return "", false
}

func helpEntry(usage []string, text string, example []string) string {
	var b strings.Builder
	for _, u := range usage {
		b.WriteString("  " + u + "\n")
	}
	b.WriteString(wrap(text, 100))
	if len(example) > 0 {
		b.WriteString("For example:\n")
	}
	for _, line := range example {
		b.WriteString("  " + line + "\n")
	}
	return b.String()
}

// helpFirst are the lines to begin with.
const helpFirst = `A world of Raft nodes in which nothing happens unless you say so. Begin with

  cluster of 3
  tick until cluster.hasLeader
  client hello
  tick 3
  print

and then break something. After each line you see what it changed. A line that fails changes nothing.
`

func helpOverview() string {
	var b strings.Builder
	b.WriteString(helpFirst)
	verbs := slices.DeleteFunc(verbNames(), func(v string) bool { return v == "expect" })
	b.WriteString("\nVerbs (help VERB tells more):\n" + indented(wrap(strings.Join(verbs, " "), 90)))
	var rows [][]string
	for _, c := range directives() {
		rows = append(rows, []string{"  " + c.usage[len(c.usage)-1], firstSentence(c.text)})
	}
	for _, t := range topics {
		rows = append(rows, []string{"  help " + t.name, t.doc})
	}
	b.WriteString("\nCommands:\n")
	table(&b, rows)
	return b.String()
}

func firstSentence(text string) string {
	before, _, _ := strings.Cut(text, ". ")
	before, _, _ = strings.Cut(before, ": `")
	return strings.TrimSuffix(before, ".")
}

func helpNames() string {
	var b strings.Builder
	b.WriteString("NODE is a number, raft-N or a word (help nodes); CLIENT is client or one that `new client` made; * is a word, # a number.\n" +
		"What is marked with = can be set. lastResponse.* is of the client who was answered last.\n")
	var rows [][]string
	for _, n := range Names() {
		mark := ""
		if n.Set {
			mark = "="
		}
		rows = append(rows, []string{n.Pattern, n.Kind, mark, n.Text})
	}
	table(&b, rows)
	return b.String()
}

func helpWords(words []Word) string {
	var rows [][]string
	for _, w := range words {
		rows = append(rows, []string{w.Name, w.Text})
	}
	var b strings.Builder
	table(&b, rows)
	return b.String()
}

func helpMessages() string {
	return "MESSAGES is a kind, and from whom to whom: append, vote from 1, heartbeat from leader to 0,2\n" + helpWords(MessageKinds())
}

func helpSettings() string {
	var b strings.Builder
	b.WriteString("cluster of N with SETTING VALUE, SETTING VALUE\n")
	var rows [][]string
	for _, s := range Settings() {
		rows = append(rows, []string{s.Name, fmt.Sprintf("%d to %d", s.Least, s.Most), s.Text})
	}
	rows = append(rows, []string{"atMaxReign", "", "what a leader does at the end of its reign: abdicate or exit"})
	table(&b, rows)
	b.WriteString("Those that can be set later on, for nodes that start from then on, are in `ls settings`.\n")
	return b.String()
}

// wrap breaks a text into lines of at most so many columns, where its words allow.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for i, w := range strings.Fields(text) {
		switch {
		case i == 0:
		case column+1+len(w) > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(w)
		column += len(w)
	}
	return b.String() + "\n"
}

func indented(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}

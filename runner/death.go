package runner

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"coup/checker"
	"coup/cluster"
	"coup/raftnode/server"
)

// NameProcesses is the checker that deaths of nodes are filed under.
const NameProcesses = "processes"

// nodeArguments are what every node is started with, beside what its environment adds.
func nodeArguments(o Options) []string {
	if o.MaxReign == 0 {
		return o.NodeFlags
	}
	ticks := max(1, int(o.MaxReign/server.DefaultTick))
	return append([]string{"--max-leader-ticks", strconv.Itoa(ticks), "--at-max-reign", "exit"}, o.NodeFlags...)
}

// exitReignOver is how a leader ends whose reign is over.
const exitReignOver = "exit status 4"

// byOwnHand tells whether a death is that of a leader that was told to end itself after its reign.
func byOwnHand(d cluster.Death, o Options) bool { return o.MaxReign > 0 && d.Exit == exitReignOver }

// What a node writes when it dies by itself, strongest first. A crash, a cut or a pause must never
// lead to the first or the last; what the machine refuses is not the node's fault.
var (
	confessions = []string{"broken invariant", "corrupt", "WARNING: DATA RACE"}
	refusals    = []string{
		"no space left on device", "no such file or directory", "input/output error", "address already in use",
		"too many open files", "cannot allocate memory", "out of memory", "permission denied", "read-only file system",
	}
	crashes = []string{"panic: ", "fatal error: "}
)

// judge says what a death that nobody asked for does to the verdict: a node that finds its own state
// broken, or that crashes, is a violation; one that the machine killed or would not serve voids the
// run. The log is all that the node wrote.
func judge(d cluster.Death, log []string) checker.Reason {
	reason := checker.Reason{Verdict: checker.Violation, Checker: NameProcesses, Details: d.Log}
	line := find(log, confessions)
	if line == "" {
		if line = find(log, refusals); line != "" {
			reason.Verdict = checker.Harness
		}
	}
	if line == "" {
		line = find(log, crashes)
	}
	if line == "" {
		reason.Verdict = checker.Harness
		line = "it wrote nothing of it"
		if len(log) > 0 {
			line = "its last line is " + log[len(log)-1]
		}
	}
	reason.Text = fmt.Sprintf("%s died, and nobody killed it (%s): %s", d.Node, d.Exit, brief(line))
	return reason
}

// find is the first line that holds one of the words.
func find(log, words []string) string {
	for _, word := range words {
		for _, line := range log {
			if strings.Contains(line, word) {
				return line
			}
		}
	}
	return ""
}

// longestLine is how much of a log's line a sentence can take, in bytes.
const longestLine = 200

func brief(line string) string {
	line = strings.TrimSpace(line)
	if len(line) > longestLine {
		line = strings.ToValidUTF8(line[:longestLine], "") + "..."
	}
	return line
}

// logOf reads a node's log in the run's folder; what cannot be read, the death itself tells.
func logOf(dir string, d cluster.Death) []string {
	paths, _ := filepath.Glob(filepath.Join(dir, "nodes", d.Node, "*.log"))
	var log []string
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			log = append(log, lines.Text())
		}
		_ = file.Close()
	}
	return append(log, d.Log...)
}

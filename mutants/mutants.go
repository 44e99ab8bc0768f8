// Package mutants builds nodes with a bug in them, so that the suite can show that it would have
// caught it. A mutant is a patch file: a few lines against the code, and a header that says which rule
// it breaks, what should notice, in what run, and how soon. The code itself holds no bug switch: the
// patched files exist only as an overlay of one build.
package mutants

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
)

// Mutant is one seeded bug.
type Mutant struct {
	Name     string        // the file's name without its ending
	Rule     string        // what it breaks; of a benign one, what it leaves whole
	Source   string        // where the bug is known from; may be empty
	Detector string        // what is expected to notice; empty of a benign one
	Benign   bool          // it changes the code and breaks no rule: nothing must notice
	Budget   time.Duration // from the start of the first run to the verdict
	Run      []string      // arguments of `coup run`, the environment and the seed left out; nil where only the simulator can show it
	Sweep    []string      // further arguments of `coup sweep`
	NoSweep  bool          // the simulator cannot show it: it is in code that no simulated node runs
	files    []*gitdiff.File
}

// defaultBudget is that of a mutant that gives none.
const defaultBudget = time.Minute

// Load reads every patch file of a folder, in order of name.
func Load(dir string) ([]Mutant, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.patch"))
	if err != nil {
		return nil, fmt.Errorf("list mutants: %w", err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("there are no mutants (*.patch) in %s", dir)
	}
	slices.Sort(paths)
	var all []Mutant
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read mutant: %w", err)
		}
		m, err := Parse(strings.TrimSuffix(filepath.Base(path), ".patch"), text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// Parse reads one patch file.
func Parse(name string, text []byte) (Mutant, error) {
	files, preamble, err := gitdiff.Parse(bytes.NewReader(text))
	if err != nil {
		return Mutant{}, fmt.Errorf("not a unified diff: %w", err)
	}
	if len(files) == 0 {
		return Mutant{}, errors.New("it changes no file")
	}
	m := Mutant{Name: name, Budget: defaultBudget, files: files}
	lines := bufio.NewScanner(strings.NewReader(preamble))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "rule":
			m.Rule = value
		case "detector":
			m.Detector = value
		case "budget":
			if m.Budget, err = time.ParseDuration(value); err != nil {
				return Mutant{}, fmt.Errorf("budget: %w", err)
			}
		case "run":
			m.Run = strings.Fields(value)
		case "sweep":
			m.Sweep = strings.Fields(value)
			m.NoSweep = value == "no"
		case "source":
			m.Source = value
		case "benign":
			m.Benign = value == "true"
		default:
			return Mutant{}, fmt.Errorf("the header knows rule, source, detector, benign, budget, run and sweep, not %q", line)
		}
	}
	switch {
	case m.Rule == "":
		return Mutant{}, errors.New("the header must give the rule")
	case m.Benign == (m.Detector != ""):
		return Mutant{}, errors.New("the header must give a detector, or else say benign: true")
	case m.Budget <= 0:
		return Mutant{}, errors.New("the budget must be above 0")
	case m.NoSweep && len(m.Run) == 0:
		return Mutant{}, errors.New("the header must give a run where it says sweep: no")
	}
	return m, nil
}

// The programs that a mutant can be built into.
const (
	Node  = "./cmd/raftnode"
	Suite = "./cmd/coup" // with the simulator, whose nodes have the bug
)

// Build makes a program at out from the module in root, with the bug in it. What it needs beside is
// made in the folder of out.
func (m Mutant) Build(ctx context.Context, root, program, out string) error {
	overlay, err := m.overlay(root, filepath.Dir(out))
	if err != nil {
		return fmt.Errorf("mutant %s: %w", m.Name, err)
	}
	if err := build(ctx, root, program, out, "-overlay", overlay); err != nil {
		return fmt.Errorf("mutant %s: %w", m.Name, err)
	}
	return nil
}

// BuildUnpatched makes a program at out as it is, in the same way as a mutant's.
func BuildUnpatched(ctx context.Context, root, program, out string) error {
	return build(ctx, root, program, out)
}

func build(ctx context.Context, root, program, out string, extra ...string) error {
	arguments := append([]string{"build", "-ldflags=-s -w"}, extra...)
	if program == Suite {
		// Half of the time goes into what only drives the nodes, and need not be quick itself.
		for _, driver := range []string{"cmd/coup", "scenario", "nemesis", "runner", "raftnode/actionlog", "raftnode/bus", "raftnode/client", "raftnode/server"} {
			arguments = append(arguments, "-gcflags=coup/"+driver+"=-N -l")
		}
	}
	command := exec.CommandContext(ctx, "go", append(arguments, "-o", out, program)...)
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, output)
	}
	return nil
}

// overlay writes the patched files into dir, and the file that tells `go build` to take them.
func (m Mutant) overlay(root, dir string) (string, error) {
	replace := map[string]string{}
	for i, f := range m.files {
		path := filepath.Join(root, filepath.FromSlash(changedFile(f)))
		source, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("the file that it changes: %w", err)
		}
		relocate(f, string(source))
		var patched bytes.Buffer
		if err := gitdiff.Apply(&patched, bytes.NewReader(source), f); err != nil {
			return "", fmt.Errorf("it no longer fits %s: %w", changedFile(f), err)
		}
		to := filepath.Join(dir, fmt.Sprintf("%s-%d.go", m.Name, i))
		if err := os.WriteFile(to, patched.Bytes(), 0o600); err != nil {
			return "", fmt.Errorf("write overlay: %w", err)
		}
		absolute, err := filepath.Abs(path)
		if err != nil {
			return "", fmt.Errorf("write overlay: %w", err)
		}
		replace[absolute] = to
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("write overlay: %w", err)
	}
	path := filepath.Join(dir, m.Name+".overlay.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", fmt.Errorf("write overlay: %w", err)
	}
	return path, nil
}

// relocate moves the fragments of a patch to where the lines that they are about now stand, as long as
// these are the same and stand in one place only: the code around them may have grown.
func relocate(f *gitdiff.File, source string) {
	lines := slices.Collect(strings.Lines(source))
	for _, fragment := range f.TextFragments {
		var old []string
		for _, l := range fragment.Lines {
			if l.Old() {
				old = append(old, l.Line)
			}
		}
		var found []int64
		for at := 0; len(old) > 0 && at+len(old) <= len(lines); at++ {
			if slices.Equal(lines[at:at+len(old)], old) {
				found = append(found, int64(at+1))
			}
		}
		if len(found) == 1 {
			fragment.OldPosition = found[0]
		}
	}
}

// changedFile is the path of the file, without the prefix by which a diff tells the sides apart.
func changedFile(f *gitdiff.File) string {
	return strings.TrimPrefix(strings.TrimPrefix(f.OldName, "a/"), "b/")
}

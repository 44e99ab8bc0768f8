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
	Rule     string        // what it breaks
	Detector string        // the checker that is expected to notice
	Budget   time.Duration // from the start of the first run to the verdict
	Run      []string      // arguments of `coup run`, the environment and the seed left out
	files    []*gitdiff.File
}

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
	m := Mutant{Name: name, files: files}
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
		default:
			return Mutant{}, fmt.Errorf("the header knows rule, detector, budget and run, not %q", line)
		}
	}
	switch {
	case m.Rule == "", m.Detector == "", m.Budget <= 0, len(m.Run) == 0:
		return Mutant{}, errors.New("the header must give rule, detector, budget and run")
	}
	return m, nil
}

// Build makes the node's binary at out from the module in root, with the bug in it. What it needs
// beside is made in the folder of out.
func (m Mutant) Build(ctx context.Context, root, out string) error {
	overlay, err := m.overlay(root, filepath.Dir(out))
	if err != nil {
		return fmt.Errorf("mutant %s: %w", m.Name, err)
	}
	return build(ctx, root, out, "-overlay", overlay)
}

// BuildUnpatched makes the node's binary at out as it is, in the same way as a mutant's.
func BuildUnpatched(ctx context.Context, root, out string) error { return build(ctx, root, out) }

func build(ctx context.Context, root, out string, extra ...string) error {
	arguments := append([]string{"build"}, extra...)
	command := exec.CommandContext(ctx, "go", append(arguments, "-o", out, "./cmd/raftnode")...)
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

// changedFile is the path of the file, without the prefix by which a diff tells the sides apart.
func changedFile(f *gitdiff.File) string {
	return strings.TrimPrefix(strings.TrimPrefix(f.OldName, "a/"), "b/")
}

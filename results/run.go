package results

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"coup/checker"
	"coup/history"
	"coup/nemesis"
)

// Info is run.json: what was run and how. It is rewritten whenever a phase begins, so that a killed
// run tells how far it came.
type Info struct {
	Schema      int               `json:"schema"` // 1
	Name        string            `json:"name"`
	Seed        uint64            `json:"seed"`
	Command     []string          `json:"command"`           // as typed
	Environment string            `json:"environment"`       // "docker", "netns" or "sim"
	Versions    map[string]string `json:"versions"`          // of "go", "coup", "raftnode"
	Options     json.RawMessage   `json:"options,omitempty"` // as they came out, defaults included
	Plan        []checker.Plan    `json:"plan"`              // one for each kind of fault
	Recipe      *Recipe           `json:"recipe,omitempty"`
	Stalls      []checker.Span    `json:"stalls,omitempty"` // see checker.Evidence
	Check       CheckOptions      `json:"check"`
	Started     time.Time         `json:"started"`
	Ended       *time.Time        `json:"ended,omitempty"` // missing of a run that was killed
	Timeline    checker.Timeline  `json:"timeline"`
	Problems    []string          `json:"problems,omitempty"` // failures of the suite itself, as sentences
	Findings    []checker.Reason  `json:"findings,omitempty"` // what the run noticed and no other file tells
}

// Recipe is the fixed schedule that a run followed.
type Recipe struct {
	Name            string        `json:"name"`
	ElectionTimeout time.Duration `json:"election_timeout_ns"` // of the nodes: the least silence after which one campaigns
}

// CheckOptions are what a run must have shown, kept so that checking it again asks the same. Zero
// values stand for the defaults of checker.Options.
type CheckOptions struct {
	MinOps        int  `json:"min_ops,omitempty"`
	MinBefore     int  `json:"min_before,omitempty"`
	AllowNoFaults bool `json:"allow_no_faults,omitempty"`
	Troubled      bool `json:"troubled,omitempty"`
}

// schema is the version of run.json and verdict.json.
const schema = 1

// The files of a run's folder.
const (
	fileInfo         = "run.json"
	fileHistory      = "history.jsonl"
	fileFaults       = "faults.jsonl"
	fileObservations = "nodes/status.jsonl"
	fileVerdict      = "verdict.json"
	fileSummary      = "summary.md"
	fileJUnit        = "junit.xml"
	dirPages         = "linearizability"
)

// Run is a run's folder while the run is under way. For use by one goroutine.
type Run struct {
	dir          string
	files        []*os.File
	history      *history.Writer
	faults       *json.Encoder
	observations *json.Encoder
}

// Create makes the folder <root>/<name>/<UTC time>, writes run.json into it, and points <root>/latest
// to it. An error says what to do.
func Create(root string, info Info) (*Run, error) {
	parent := filepath.Join(root, info.Name)
	dir, err := makeFolder(parent, info.Started)
	if err != nil {
		return nil, fmt.Errorf("results cannot be written to %s (%w): choose another folder with --results", root, err)
	}
	r := &Run{dir: dir}
	open := func(name string) *os.File {
		file, failure := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o644)
		if failure == nil {
			r.files = append(r.files, file)
		}
		err = errors.Join(err, failure)
		return file
	}
	events, faults, observations := open(fileHistory), open(fileFaults), open(fileObservations)
	if err == nil {
		err = r.Update(info)
	}
	if err == nil {
		err = pointTo(root, dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("results cannot be written to %s: %w", dir, err), r.Close())
	}
	r.history, r.faults, r.observations = history.NewWriter(events), json.NewEncoder(faults), json.NewEncoder(observations)
	return r, nil
}

// CreateSeries makes the folder <root>/<name>/<UTC time> for several runs, each of which Create makes in there.
func CreateSeries(root, name string, at time.Time) (string, error) {
	dir, err := makeFolder(filepath.Join(root, name), at)
	if err == nil {
		err = pointTo(root, dir)
	}
	if err != nil {
		return "", fmt.Errorf("results cannot be written to %s (%w): choose another folder with --results", root, err)
	}
	return filepath.Abs(dir)
}

// makeFolder makes a new folder that is named after the time. Runs of the same second are told apart
// by a number.
func makeFolder(parent string, at time.Time) (string, error) {
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	name := filepath.Join(parent, at.UTC().Format("20060102T150405Z"))
	for n := 1; ; n++ {
		dir := name
		if n > 1 {
			dir = fmt.Sprintf("%s-%d", name, n)
		}
		err := os.Mkdir(dir, 0o755)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err == nil {
			err = os.Mkdir(filepath.Join(dir, "nodes"), 0o755)
		}
		return dir, err
	}
}

// pointTo makes <root>/latest a link to dir, in one step.
func pointTo(root, dir string) error {
	target, err := filepath.Rel(root, dir)
	if err != nil {
		return err
	}
	link := filepath.Join(root, "latest")
	fresh := fmt.Sprintf("%s.%d", link, os.Getpid())
	if err := os.Symlink(target, fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, link); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return nil
}

// Dir is the run's folder.
func (r *Run) Dir() string { return r.dir }

// Update replaces run.json.
func (r *Run) Update(info Info) error {
	info.Schema = schema
	return WriteJSON(filepath.Join(r.dir, fileInfo), info)
}

// History appends an event and gives it its index.
func (r *Run) History(e *history.Event) error { return r.history.Append(e) }

// Fault appends what was done to the cluster. It is in the file when Fault returns.
func (r *Run) Fault(e nemesis.Event) error {
	if err := r.faults.Encode(e); err != nil {
		return fmt.Errorf("writing the faults: %w", err)
	}
	return nil
}

// Observation appends what a node said of itself. It is in the file when Observation returns.
func (r *Run) Observation(o checker.Observation) error {
	if err := r.observations.Encode(o); err != nil {
		return fmt.Errorf("writing the observations: %w", err)
	}
	return nil
}

// Flush hands the history to the file; to be called when the run goes idle.
func (r *Run) Flush() error { return r.history.Flush() }

// Close writes out everything. The folder stays. Closing twice does no harm.
func (r *Run) Close() error {
	var err error
	if r.history != nil && len(r.files) > 0 {
		err = r.history.Flush()
	}
	for _, file := range r.files {
		err = errors.Join(err, file.Close())
	}
	r.files = nil
	return err
}

// WriteJSON replaces a file in one step.
func WriteJSON(path string, v any) error {
	return writeWhole(path, func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(v)
	})
}

// writeWhole replaces a file in one step.
func writeWhole(path string, write func(io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	err = write(file)
	if err == nil {
		err = file.Chmod(0o644)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.Rename(file.Name(), path)
}

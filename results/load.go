package results

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"coup/checker"
	"coup/history"
	"coup/nemesis"
)

// Load reads what a run recorded. A last line that a killed run left half written is told as damage;
// any other damage, and a file that is missing, as a problem: the other files are evidence all the
// same. An error means that dir is no run's folder, or not of a kind that this program can read.
func Load(dir string) (Info, checker.Evidence, error) {
	info, err := loadInfo(filepath.Join(dir, fileInfo))
	if err != nil {
		return Info{}, checker.Evidence{}, err
	}
	evidence := checker.Evidence{
		Plan: info.Plan, Timeline: info.Timeline, Problems: info.Problems, Findings: info.Findings, Stalls: info.Stalls,
	}
	note := func(name string, torn bool, err error) {
		if torn {
			evidence.Damage = append(evidence.Damage, fmt.Sprintf("The last line of %s is cut short.", name))
		}
		if err != nil {
			evidence.Problems = append(evidence.Problems, fmt.Sprintf("The record is damaged: %v.", err))
		}
	}
	ops, torn, err := loadHistory(filepath.Join(dir, fileHistory))
	note(fileHistory, torn, err)
	evidence.Ops = ops
	if evidence.Timeline.Load == 0 && len(ops) > 0 {
		evidence.Timeline.Load = ops[0].Invoke // killed before it was written down
	}
	events, torn, err := readLines[nemesis.Event](filepath.Join(dir, fileFaults))
	note(fileFaults, torn, err)
	evidence.Faults, err = JoinFaults(events)
	note(fileFaults, false, err)
	evidence.Observations, torn, err = readLines[checker.Observation](filepath.Join(dir, fileObservations))
	note(fileObservations, torn, err)
	return info, evidence, nil
}

// LoadFaults reads what run.json says of a run, and what was done to its cluster. A last line that a killed run left
// half written is left out.
func LoadFaults(dir string) (Info, []nemesis.Event, error) {
	info, err := loadInfo(filepath.Join(dir, fileInfo))
	if err != nil {
		return Info{}, nil, err
	}
	events, _, err := readLines[nemesis.Event](filepath.Join(dir, fileFaults))
	return info, events, err
}

func loadInfo(path string) (Info, error) {
	var info Info
	text, err := os.ReadFile(path)
	if err != nil {
		return info, fmt.Errorf("%s is not the folder of a run: %w", filepath.Dir(path), err)
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return info, fmt.Errorf("%s: %w", path, err)
	}
	if info.Schema != schema {
		return info, fmt.Errorf("%s is of schema %d; this program reads schema %d", path, info.Schema, schema)
	}
	return info, nil
}

func loadHistory(path string) (ops []history.Op, torn bool, err error) {
	events, torn, err := history.ReadFile(path)
	if err != nil {
		return nil, torn, err
	}
	ops, err = history.Ops(events)
	var format *history.FormatError
	if errors.As(err, &format) {
		format.Path = path
	}
	return ops, torn, err
}

// readLines reads a file of one JSON value a line. A last line without its end is left out, and told.
func readLines[T any](path string) (values []T, torn bool, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer file.Close()
	return history.DecodeLines[T](file, path)
}

// JoinFaults puts the installing and the healing of each fault together. An error means that the
// events make no sense; those that do are joined all the same.
func JoinFaults(events []nemesis.Event) (faults []checker.Fault, err error) {
	at := make(map[int]int) // by ID
	for _, e := range events {
		i, known := at[e.ID]
		switch {
		case e.Phase == nemesis.Install && !known:
			at[e.ID] = len(faults)
			faults = append(faults, checker.Fault{
				ID: e.ID, Name: e.Fault, Targets: e.Targets, Attempt: checker.Attempt(e.Result), Healing: checker.Unhealed,
				Reason: e.Reason, Begun: e.Start, From: e.End, To: checker.Never, Cleared: checker.Never,
			})
		case e.Phase == nemesis.Heal && known && faults[i].Name == e.Fault && faults[i].Healing == checker.Unhealed:
			f := &faults[i]
			f.To = e.Start
			if e.Result == nemesis.ResultHealed {
				f.Healing, f.Cleared = checker.Healed, e.End
			} else {
				f.Healing, f.Reason = checker.NotHealed, e.Reason
			}
		case err == nil:
			err = fmt.Errorf("the %s of fault %d, %s, fits nothing before it", e.Phase, e.ID, e.Fault)
		}
	}
	return faults, err
}

package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"coup/checker"
	"coup/history"
	"coup/nemesis"
)

// Load reads what a run recorded. A line that a killed run left half written, and files that it never
// came to, are told as damage; any other damage is an error that names file and line.
func Load(dir string) (Info, checker.Evidence, error) {
	var info Info
	text, err := os.ReadFile(filepath.Join(dir, fileInfo))
	if err != nil {
		return info, checker.Evidence{}, fmt.Errorf("%s is not the folder of a run: %w", dir, err)
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return info, checker.Evidence{}, fmt.Errorf("%s: %w", filepath.Join(dir, fileInfo), err)
	}
	if info.Schema != 1 {
		return info, checker.Evidence{}, fmt.Errorf("%s is of schema %d; this program reads schema 1", filepath.Join(dir, fileInfo), info.Schema)
	}
	evidence := checker.Evidence{Plan: info.Plan, Timeline: info.Timeline, Problems: info.Problems, Findings: info.Findings}
	damage := func(name string) {
		evidence.Damage = append(evidence.Damage, fmt.Sprintf("The last line of %s is cut short.", name))
	}

	events, torn, err := history.ReadFile(filepath.Join(dir, fileHistory))
	if err == nil {
		evidence.Ops, err = history.Ops(events)
	}
	if err != nil {
		var format *history.FormatError
		if errors.As(err, &format) && format.Path == "" {
			format.Path = filepath.Join(dir, fileHistory)
		}
		return info, evidence, fmt.Errorf("damaged history: %w", err)
	}
	if torn {
		damage(fileHistory)
	}

	faults, torn, err := readLines[nemesis.Event](filepath.Join(dir, fileFaults))
	if err != nil {
		return info, evidence, err
	}
	if torn {
		damage(fileFaults)
	}
	evidence.Faults = joinFaults(faults)

	evidence.Observations, torn, err = readLines[checker.Observation](filepath.Join(dir, fileObservations))
	if err != nil {
		return info, evidence, err
	}
	if torn {
		damage(fileObservations)
	}
	return info, evidence, nil
}

// readLines reads a file of one JSON value a line. A last line without its end is left out, and told.
func readLines[T any](path string) (values []T, torn bool, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, false, err
	}
	for number := 1; len(data) > 0; number++ {
		line, rest, whole := bytes.Cut(data, []byte{'\n'})
		var value T
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&value); err != nil {
			if !whole {
				return values, true, nil
			}
			return nil, false, fmt.Errorf("%s, line %d: %w", path, number, err)
		}
		values = append(values, value)
		data = rest
	}
	return values, false, nil
}

// joinFaults puts the installing and the healing of each fault together.
func joinFaults(events []nemesis.Event) []checker.Fault {
	var faults []checker.Fault
	at := map[int]int{}
	for _, e := range events {
		if e.Phase == nemesis.Install {
			at[e.ID] = len(faults)
			faults = append(faults, checker.Fault{
				ID: e.ID, Name: e.Fault, Targets: e.Targets, Attempt: checker.Attempt(e.Result), Healing: checker.Unhealed,
				Reason: e.Reason, Begun: e.Start, From: e.End, To: checker.Never, Cleared: checker.Never,
			})
			continue
		}
		i, known := at[e.ID]
		if !known {
			continue
		}
		f := &faults[i]
		f.To = e.Start
		if e.Result == nemesis.ResultHealed {
			f.Healing, f.Cleared = checker.Healed, e.End
		} else {
			f.Healing, f.Reason = checker.NotHealed, e.Reason
		}
	}
	return faults
}

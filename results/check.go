package results

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"coup/checker"
)

// Verdict is verdict.json.
type Verdict struct {
	Schema int `json:"schema"` // 1
	checker.Report
}

// LoadVerdict reads what a run came to.
func LoadVerdict(dir string) (checker.Report, error) {
	text, err := os.ReadFile(filepath.Join(dir, fileVerdict))
	if err != nil {
		return checker.Report{}, fmt.Errorf("the verdict of %s: %w: `coup check` makes one", dir, err)
	}
	var v Verdict
	if err := json.Unmarshal(text, &v); err != nil {
		return checker.Report{}, fmt.Errorf("%s: %w", filepath.Join(dir, fileVerdict), err)
	}
	if v.Schema != schema {
		return checker.Report{}, fmt.Errorf("%s is of schema %d; this program reads schema %d", filepath.Join(dir, fileVerdict), v.Schema, schema)
	}
	return v.Report, nil
}

// Check judges what a run's folder holds, and writes verdict.json, summary.md, junit.xml and the pages
// of broken keys anew. It works on the folder of a killed run too, whose verdict is a violation or
// else inconclusive. An error means that the folder cannot be read or written.
func Check(ctx context.Context, dir string) (checker.Report, error) {
	info, evidence, err := Load(dir)
	if err != nil {
		return checker.Report{}, err
	}
	pages := filepath.Join(dir, dirPages)
	if err := os.RemoveAll(pages); err != nil {
		return checker.Report{}, err
	}
	report := checker.Check(ctx, evidence, checker.Options{
		MinOps: info.Check.MinOps, MinBefore: info.Check.MinBefore, AllowNoFaults: info.Check.AllowNoFaults,
		Troubled: info.Check.Troubled, Pages: pages,
	})
	if info.Recipe != nil {
		report.Recipe = &checker.Recipe{Name: info.Recipe.Name, ElectionTimeout: info.Recipe.ElectionTimeout, Steps: checker.Steps(evidence)}
	}
	return report, errors.Join(
		WriteJSON(filepath.Join(dir, fileVerdict), Verdict{schema, report}),
		writeWhole(filepath.Join(dir, fileSummary), func(w io.Writer) error { return writeSummary(w, info, evidence, report) }),
		writeWhole(filepath.Join(dir, fileJUnit), func(w io.Writer) error { return writeJUnit(w, info, report) }),
	)
}

package main

import (
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

	"golang.org/x/sys/unix"

	"coup/scenario"
)

// shrunkFolder, in the folder of scenarios, is of those that were made by shrinking what a mutant did: one for each,
// of its name.
const shrunkFolder = "mutants"

// The time that a program with a bug in it has: the bug may make it turn for ever.
const (
	allScenarios = 60 * time.Second
	oneScenario  = 3 * time.Second
)

// failing plays all scenarios in a program that has a bug, and tells which fail, by their names within the folder.
func (c *campaign) failing(ctx context.Context, program string) (failing []string, err error) {
	results, err := playIn(ctx, program, allScenarios, c.scenarios)
	if err == nil {
		return failed(results, c.scenarios), nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	// One of them brings the program down, or has no end.
	files, err := scenarioFiles([]string{c.scenarios})
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		results, err := playIn(ctx, program, oneScenario, file)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			failing = append(failing, scenarioName(file, c.scenarios))
		default:
			failing = append(failing, failed(results, c.scenarios)...)
		}
	}
	return failing, nil
}

// playIn has a program play scenarios. The error says that it came to no results.
func playIn(ctx context.Context, program string, limit time.Duration, what string) (results []scenario.Result, err error) {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	run := exec.CommandContext(bounded, program, "scenario", "--json", "--workers", "1", what)
	var output bytes.Buffer
	run.Stdout = &output
	if err := run.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	// Where it cannot be bounded, it runs all the same.
	_ = unix.Prlimit(run.Process.Pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: sweepMemory, Max: sweepMemory}, nil)
	var exit *exec.ExitError
	if err := run.Wait(); err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("run %s: %w", program, err)
	}
	if err := json.Unmarshal(output.Bytes(), &results); err != nil {
		return nil, fmt.Errorf("the results of %s: %w", what, err)
	}
	return results, nil
}

func failed(results []scenario.Result, folder string) (names []string) {
	for _, r := range results {
		if !r.Passed {
			names = append(names, scenarioName(r.File, folder))
		}
	}
	return names
}

// scenarioName is a file's name within the folder of scenarios: "election/single".
func scenarioName(file, folder string) string {
	return strings.TrimSuffix(filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(file, folder), "/")), ".txt")
}

// told are the scenarios that people wrote, of some.
func told(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return strings.HasPrefix(n, shrunkFolder+"/") })
}

// unplayed says what is wrong with how the scenarios met a mutant; empty when nothing is.
func (s specimen) unplayed(folder string) string {
	own := shrunkFolder + "/" + s.mutant.Name
	_, absent := os.Stat(filepath.Join(folder, own+".txt"))
	switch {
	case s.mutant.Benign && len(s.failing) > 0:
		return fmt.Sprintf("%s breaks no rule, and these scenarios fail: %s", s.mutant.Name, strings.Join(s.failing, ", "))
	case s.mutant.Benign:
		return ""
	case len(told(s.failing)) == 0:
		return s.mutant.Name + " makes no scenario fail"
	case absent == nil && !slices.Contains(s.failing, own):
		return "the scenario that was shrunk from it passes with " + s.mutant.Name
	}
	return ""
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"coup/scenario"
)

func newScenario() *cobra.Command {
	var asJSON, quiet bool
	var workers int
	cmd := &cobra.Command{
		Use:   "scenario FILES|FOLDERS...",
		Short: "play plain-text scenarios in the simulator",
		Long: `Plays each file, and each *.txt in a folder, in a simulated world of its own: all invariants are checked after
every line, and after the last the world is healed and must converge. docs/scenarios.md describes the language.
Exits with 1 when one fails, and with 254 when one makes no sense.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := scenarioFiles(args)
			if err != nil {
				return &usageError{err}
			}
			began := time.Now()
			parsed := make([]*scenario.Scenario, len(files))
			for i, file := range files {
				if parsed[i], err = parseScenario(file); err != nil {
					return &usageError{err}
				}
			}
			results := playScenarios(parsed, workers)
			failed := 0
			for _, r := range results {
				if !r.Passed {
					failed++
				}
			}
			if asJSON {
				out := json.NewEncoder(cmd.OutOrStdout())
				out.SetIndent("", "  ")
				err = out.Encode(results)
			} else {
				tellScenarios(cmd.OutOrStdout(), results, quiet, time.Since(began))
			}
			if err == nil && failed > 0 {
				return exitCode(1)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write results as JSON")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "name only what fails")
	cmd.Flags().IntVar(&workers, "workers", 2, "scenarios played at once")
	return cmd
}

// scenarioFiles finds the files that arguments mean, in order.
func scenarioFiles(args []string) (files []string, err error) {
	for _, arg := range args {
		before := len(files)
		err := filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && (path == arg || strings.HasSuffix(path, ".txt")) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(files) == before {
			return nil, fmt.Errorf("there is no scenario (*.txt) in %s", arg)
		}
	}
	return slices.Compact(files), nil
}

func parseScenario(file string) (*scenario.Scenario, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return scenario.Parse(file, string(text))
}

// playScenarios plays several at once, and tells of them in their order.
func playScenarios(all []*scenario.Scenario, workers int) []*scenario.Result {
	results := make([]*scenario.Result, len(all))
	next := make(chan int)
	var running sync.WaitGroup
	for range max(1, workers) {
		running.Go(func() {
			for i := range next {
				results[i] = all[i].Run(scenario.Options{})
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	running.Wait()
	return results
}

func tellScenarios(w io.Writer, results []*scenario.Result, quiet bool, took time.Duration) {
	failed := 0
	for _, r := range results {
		switch {
		case !r.Passed:
			failed++
			fmt.Fprintf(w, "FAIL  %s  %s\n      %s\n", r.File, r.Title, r.Error)
			indent(w, r.State)
			indent(w, r.Output)
		case !quiet:
			fmt.Fprintf(w, "pass  %-50s %5d ticks %6.1f ms\n", r.File, r.Ticks, float64(r.Took.Microseconds())/1000)
			indent(w, r.Output)
		}
	}
	fmt.Fprintf(w, "%d scenarios: %d passed, %d failed, in %.1f s\n", len(results), len(results)-failed, failed, took.Seconds())
}

func indent(w io.Writer, text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(w, "      %s", line)
	}
}

package main

import (
	"encoding/json"
	"errors"
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

	"coup/raftnode/actionlog"
	"coup/scenario"
)

func newScenario() *cobra.Command {
	var asJSON, quiet bool
	var workers int
	var diagrams, traces string
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
			if err := drawScenarios(parsed, diagrams, traces); err != nil {
				return err
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
	cmd.Flags().StringVar(&diagrams, "diagram", "", "draw a sequence diagram of each: the file (.svg or .mmd) for one scenario, a folder for several")
	cmd.Flags().StringVar(&traces, "trace", "", "write the action log of each: the file (.ndjson) for one scenario, a folder for several")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "name only what fails")
	cmd.Flags().IntVar(&workers, "workers", 2, "scenarios played at once")
	return cmd
}

// drawScenarios plays scenarios once more, and keeps what every node did: as diagrams, and as action logs.
func drawScenarios(all []*scenario.Scenario, diagrams, traces string) error {
	for _, kept := range []struct{ flag, to, format string }{{"diagram", diagrams, "svg"}, {"trace", traces, "ndjson"}} {
		if kept.to == "" {
			continue
		}
		format := strings.TrimPrefix(filepath.Ext(kept.to), ".")
		single := format == "svg" || format == "mmd" || format == "ndjson"
		if single && len(all) > 1 {
			return &usageError{fmt.Errorf("--%s: %s is one file, and there are %d scenarios; name a folder", kept.flag, kept.to, len(all))}
		}
		if !single {
			format = kept.format
		}
		for _, s := range all {
			path := kept.to
			if !single {
				path = filepath.Join(kept.to, strings.TrimSuffix(filepath.ToSlash(filepath.Clean(s.File)), ".txt")+"."+format)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					return err
				}
			}
			if err := keepActions(s, path, format); err != nil {
				return err
			}
		}
	}
	return nil
}

func keepActions(s *scenario.Scenario, path, format string) (err error) {
	var actions []actionlog.Action
	// What it comes to is told by the results.
	_ = s.Run(scenario.Options{Unhealed: true, Actions: func(a actionlog.Action) { actions = append(actions, a) }})
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	switch format {
	case "svg":
		return actionlog.SVG(file, actions, actionlog.View{})
	case "mmd":
		return actionlog.Mermaid(file, actions, actionlog.View{})
	}
	lines := actionlog.NewWriter(file)
	for _, a := range actions {
		if err := lines.Write(a); err != nil {
			return err
		}
	}
	return nil
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

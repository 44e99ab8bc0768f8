package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"coup/results"
	"coup/runner"
)

func newCheck() *cobra.Command {
	folder := runner.Defaults().Results
	cmd := &cobra.Command{
		Use:   "check [RUN]",
		Short: "Check the history of a run again",
		Long: `Check what a run recorded, and write its report again. RUN is the folder of a run, or latest, which
is also what is checked when it is left out. The history of a run that was killed is checked as far
as it goes.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "latest"
			if len(args) > 0 {
				name = args[0]
			}
			dir, err := findRun(folder, name)
			if err != nil {
				return &usageError{err}
			}
			t := newTerminal(os.Stdout)
			gentle, _, release := interrupts(cmd.Context(), t)
			defer release()
			t.Step(runner.Step{Name: "check", State: runner.StepBegan})
			begun := time.Now()
			report, err := results.Check(gentle, dir)
			if err != nil {
				t.Step(runner.Step{Name: "check", State: runner.StepFailed, Took: time.Since(begun)})
				return fmt.Errorf("check %s: %w", relative(dir), err)
			}
			t.Step(runner.Step{Name: "check", Detail: fmt.Sprintf("%d operations", report.Stats.Invoked), State: runner.StepDone, Took: time.Since(begun)})
			t.report(report)
			t.where(dir)
			if code := report.Verdict.ExitCode(); code != 0 {
				return exitCode(code)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&folder, "results", folder, "folder that keeps runs")
	return cmd
}

// findRun finds the folder of a run.
func findRun(folder, name string) (string, error) {
	dir := name
	if name == "latest" {
		dir = filepath.Join(folder, "runs", "latest")
	}
	dir, err := filepath.EvalSymlinks(dir)
	if os.IsNotExist(err) && name == "latest" {
		return "", fmt.Errorf("there is no run in %s yet: `coup verify` makes one", folder)
	}
	if os.IsNotExist(err) {
		return "", fmt.Errorf("there is no run at %s: give the folder of a run, or latest", name)
	}
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "run.json")); err != nil {
		return "", fmt.Errorf("%s is no run's folder: it has no run.json", relative(dir))
	}
	return filepath.Abs(dir)
}

// Command coup tries to overthrow the leader of a Raft cluster and then proves that nothing was
// lost.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"coup/cluster/netns"
)

// The exit codes that stand for no verdict. A verdict brings its own.
const (
	exitUsage   = 254 // the command line was wrong; nothing was done
	exitHarness = 255 // the suite itself failed
)

func main() {
	netns.Init()
	os.Exit(execute(os.Args[1:]))
}

// execute runs a command line and returns the exit code.
func execute(args []string) int {
	root, started := newRoot()
	root.SetArgs(args)
	err := root.Execute()
	if err == nil {
		return 0
	}
	var verdict exitCode
	if errors.As(err, &verdict) {
		return int(verdict)
	}
	fmt.Fprintln(os.Stderr, "coup:", err)
	var usage *usageError
	if errors.As(err, &usage) || !*started {
		return exitUsage
	}
	return exitHarness
}

// exitCode ends the program with a code after everything was said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError is a command line that cannot be followed.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// newRoot makes the command tree. What it returns beside it turns true when a command's own work
// begins: every error before that is about the command line.
func newRoot() (root *cobra.Command, started *bool) {
	started = new(bool)
	root = &cobra.Command{
		Use:   "coup",
		Short: "Overthrow the leader of a Raft cluster, then prove that nothing was lost",
		Long: `coup starts a Raft cluster, runs a workload against it while it kills leaders and cuts
networks, records every operation, checks that the history is linearizable, and answers with a
verdict and the evidence.

Exit codes: 0 pass, 1 violation, 2 inconclusive, 3 unavailable, 254 wrong usage, 255 the suite
itself failed.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRun:  func(*cobra.Command, []string) { *started = true },
	}
	root.AddCommand(
		newVerify(),
		newRun(),
		newReplay(),
		newBisect(),
		newSoak(),
		newSweep(),
		newScenario(),
		newShrink(),
		newJudge(),
		newRepl(),
		newCheck(),
		newDiagram(),
		newClean(),
		newDoctor(),
		newFaults(),
		newBench(),
		newMutants(),
		newVersion(),
		newPacketAgent(),
	)
	return root, started
}

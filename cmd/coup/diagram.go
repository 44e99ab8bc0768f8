package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"coup/raftnode/actionlog"
	"coup/raftnode/raft"
)

// diagramFlags are the command line of `coup diagram`.
type diagramFlags struct {
	from, to, format, out string
	nodes, kinds, without []string
}

// formats are what a diagram can be written as.
var formats = map[string]func(io.Writer, []actionlog.Action, actionlog.View) error{
	"svg":     actionlog.SVG,
	"mermaid": actionlog.Mermaid,
	"text": func(w io.Writer, actions []actionlog.Action, v actionlog.View) error {
		return actionlog.Transcript(w, v.Of(actions))
	},
}

func newDiagram() *cobra.Command {
	var f diagramFlags
	cmd := &cobra.Command{
		Use:   "diagram FILE...",
		Short: "Draw what each node did, from action logs",
		Long: `Read action logs, as --action-log has a run or a node write them, and show them as a sequence diagram
or as a transcript. Several files are merged by time. docs/action-log.md tells what is in them.`,
		Example: `  coup run --env sim --nodes 3 --duration 10s --action-log
  coup diagram results/runs/.../actions.ndjson --from 2.5s --to 4s -o election.svg
  coup diagram nodes/*/actions.ndjson --format text --without heartbeat`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error { return f.run(cmd, files) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "the first action, by its number or by its time, as 120 or 2.5s")
	flags.StringVar(&f.to, "to", "", "the last action, likewise")
	flags.StringSliceVar(&f.nodes, "nodes", nil, "only these nodes, and what they say to each other")
	flags.StringSliceVar(&f.kinds, "kinds", nil, "only these kinds of actions")
	flags.StringSliceVar(&f.without, "without", nil, "leave out these kinds of actions and types of messages")
	flags.StringVar(&f.format, "format", "svg", "svg, mermaid or text")
	flags.StringVarP(&f.out, "output", "o", "", "file to write; standard output when not given")
	return cmd
}

func (f *diagramFlags) run(cmd *cobra.Command, files []string) error {
	write := formats[f.format]
	if write == nil {
		return &usageError{fmt.Errorf("--format: %q: it must be svg, mermaid or text", f.format)}
	}
	view, err := f.view()
	if err != nil {
		return &usageError{err}
	}
	actions, err := readActions(files, cmd.ErrOrStderr())
	if err != nil {
		return &usageError{err}
	}
	if err := known(view.Nodes, actions); err != nil {
		return &usageError{err}
	}
	var drawn bytes.Buffer
	if err := write(&drawn, actions, view); err != nil {
		return &usageError{err}
	}
	if f.out == "" {
		_, err := drawn.WriteTo(cmd.OutOrStdout())
		return err
	}
	return os.WriteFile(f.out, drawn.Bytes(), 0o644)
}

// view makes of the flags what is to be shown.
func (f *diagramFlags) view() (v actionlog.View, err error) {
	if v.From, v.Since, err = bound("from", f.from); err != nil {
		return v, err
	}
	if v.To, v.Until, err = bound("to", f.to); err != nil {
		return v, err
	}
	for _, id := range f.nodes {
		v.Nodes = append(v.Nodes, raft.NodeID(id))
	}
	for _, k := range f.kinds {
		v.Kinds = append(v.Kinds, actionlog.Kind(k))
	}
	v.Without = f.without
	return v, v.Check()
}

// bound reads a number of an action or a time.
func bound(flag, text string) (number uint64, at time.Duration, err error) {
	if text == "" {
		return 0, 0, nil
	}
	if number, err = strconv.ParseUint(text, 10, 64); err == nil && number > 0 {
		return number, 0, nil
	}
	if at, err = time.ParseDuration(text); err == nil && at >= 0 {
		return 0, at, nil
	}
	return 0, 0, fmt.Errorf("--%s: %q is neither the number of an action, as 120, nor a time, as 2.5s", flag, text)
}

// readActions reads and merges logs.
func readActions(files []string, warn io.Writer) ([]actionlog.Action, error) {
	var logs [][]actionlog.Action
	for _, path := range files {
		log, torn, err := actionlog.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if torn {
			fmt.Fprintf(warn, "coup: %s: the last line was cut off, and is left out\n", path)
		}
		logs = append(logs, log)
	}
	if len(logs) == 1 && !slices.ContainsFunc(logs[0], func(a actionlog.Action) bool { return a.Began != 0 }) {
		return logs[0], nil // of a simulator, whose numbers stay
	}
	return actionlog.Merge(logs...), nil
}

// known refuses nodes of which no action tells.
func known(nodes []raft.NodeID, actions []actionlog.Action) error {
	for _, id := range nodes {
		if !slices.ContainsFunc(actions, func(a actionlog.Action) bool { return a.About(id) }) {
			return fmt.Errorf("--nodes: no action tells of %q", id)
		}
	}
	return nil
}

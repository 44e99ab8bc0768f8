package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"

	"github.com/spf13/cobra"

	"coup/scenario"
)

// newJudge plays lines for another program: it is how a program with a bug asks the one without. Each line of its input is a
// JSON list of lines, and each of its output what came of them.
func newJudge() *cobra.Command {
	return &cobra.Command{
		Use:    "judge",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, out := json.NewDecoder(bufio.NewReader(cmd.InOrStdin())), json.NewEncoder(cmd.OutOrStdout())
			for {
				var lines []string
				if err := in.Decode(&lines); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return fmt.Errorf("read lines: %w", err)
				}
				if err := out.Encode(scenario.Replay(lines, scenario.Options{})); err != nil {
					return fmt.Errorf("write what came of them: %w", err)
				}
			}
		},
	}
}

// judge is another program that plays lines.
type judge struct {
	process *exec.Cmd
	in      io.WriteCloser
	to      *json.Encoder
	from    *json.Decoder
}

func startJudge(ctx context.Context, program string) (*judge, error) {
	process := exec.CommandContext(ctx, program, "judge")
	in, err := process.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	out, err := process.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	if err := process.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return &judge{process, in, json.NewEncoder(in), json.NewDecoder(out)}, nil
}

func (j *judge) play(lines []string) (r scenario.Replayed, err error) {
	if err = j.to.Encode(lines); err == nil {
		err = j.from.Decode(&r)
	}
	if err != nil {
		err = fmt.Errorf("ask the program without the bug: %w", err)
	}
	return r, err
}

func (j *judge) close() {
	j.in.Close()
	_ = j.process.Wait() // it has said all it had to
}

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/peterh/liner"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"coup/scenario"
)

func newRepl() *cobra.Command {
	return &cobra.Command{
		Use:   "repl [FILE]",
		Short: "drive a simulated cluster by hand, line by line",
		Long: `Plays the language of coup scenario as it is typed: after each line it tells what that changed, and any line
can be undone. FILE is a scenario to begin with. help lists what can be typed; docs/repl.md is a tutorial.
Where standard input is no terminal, its lines are played without a prompt, errors go to standard error,
and the exit code is 1 when a line failed.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			session := scenario.NewSession(folder{})
			defer session.Close()
			r := &repl{session: session, out: cmd.OutOrStdout(), errors: cmd.ErrOrStderr()}
			if term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())) {
				r.terminal, r.errors = newTerminal(os.Stdout), r.out
			}
			for _, file := range args {
				if err := r.load(file); err != nil {
					return &usageError{err}
				}
			}
			if r.terminal != nil {
				return r.converse()
			}
			return r.pipe(cmd.InOrStdin())
		},
	}
}

// repl is a session at a terminal, or fed by a pipe.
type repl struct {
	session     *scenario.Session
	out, errors io.Writer
	terminal    *terminal // nil without
	failed      bool      // some line
}

// folder keeps a session's files where the program was started.
type folder struct{}

func (folder) Create(name string) (io.WriteCloser, error) { return os.Create(name) }
func (folder) Open(name string) (io.ReadCloser, error)    { return os.Open(name) }

// load begins with a scenario, as far as it plays.
func (r *repl) load(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	printed, err := r.session.Load(file, f)
	r.show(printed, err)
	return nil
}

// do plays a line and shows what came of it. It tells whether the session goes on.
func (r *repl) do(line string) bool {
	output, err := r.session.Do(line)
	if errors.Is(err, scenario.ErrQuit) {
		return false
	}
	r.show(output, err)
	return true
}

func (r *repl) show(output string, err error) {
	_, _ = io.WriteString(r.out, output)
	if err == nil {
		return
	}
	r.failed = true
	text, state := err.Error(), ""
	var e *scenario.Error
	if errors.As(err, &e) {
		state = e.State
		if r.terminal == nil && e.File == "" {
			text = fmt.Sprintf("line %d: %s", e.Line, text)
		}
	}
	if r.terminal != nil {
		text = r.terminal.paint(red, text)
	}
	fmt.Fprintf(r.errors, "%s\n%s", text, state)
	if broken := r.session.Broken(); broken != nil && r.terminal != nil {
		fmt.Fprintln(r.out, "The world stands still. undo takes that line back; print, ls and get look; save keeps it.")
	}
}

// maxTyped bounds a line of a pipe, in bytes.
const maxTyped = 1 << 20

// pipe plays all lines of a stream.
func (r *repl) pipe(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxTyped)
	for lines.Scan() && r.do(lines.Text()) {
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading standard input: %w", err)
	}
	if r.failed {
		return exitCode(1)
	}
	return nil
}

// converse plays what somebody types.
func (r *repl) converse() error {
	editor := liner.NewLiner()
	defer editor.Close()
	editor.SetCtrlCAborts(true)
	editor.SetTabCompletionStyle(liner.TabPrints)
	editor.SetWordCompleter(r.complete)
	remembered, err := typedFile()
	if err == nil {
		recall(editor, remembered)
		defer remember(editor, remembered)
	}
	fmt.Fprintln(r.out, "Raft nodes in a world where nothing happens unless you say so. help tells how; the tab key completes; quit ends.")
	for {
		line, err := editor.Prompt(r.prompt())
		switch {
		case errors.Is(err, liner.ErrPromptAborted):
			continue
		case errors.Is(err, io.EOF):
			fmt.Fprintln(r.out)
			return nil
		case err != nil:
			return fmt.Errorf("reading the terminal: %w", err)
		}
		if strings.TrimSpace(line) != "" {
			editor.AppendHistory(strings.TrimSpace(line))
		}
		if !r.do(line) {
			return nil
		}
	}
}

func (r *repl) prompt() string {
	if broken := r.session.Broken(); broken != nil {
		return fmt.Sprintf("coup (%s is broken)> ", broken.Check)
	}
	return "coup> "
}

// complete implements liner.WordCompleter.
func (r *repl) complete(line string, at int) (head string, words []string, tail string) {
	typed := []rune(line)
	before, tail := string(typed[:at]), string(typed[at:])
	begins, words := r.session.Complete(before)
	if verb, file, _ := strings.Cut(before, " "); verb == "load" || verb == "save" {
		begins = len(before) - len(file)
		words, _ = filepath.Glob(file + "*")
	}
	if len(words) == 1 && !strings.HasSuffix(words[0], ".") {
		words[0] += " "
	}
	return before[:begins], words, tail
}

// typedFile is where the lines that were typed are kept from one session to the next: as many as the editor keeps.
func typedFile() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "coup", "repl-history"), nil
}

// recall brings back what was typed in earlier sessions. Without a file there were none.
func recall(editor *liner.State, file string) {
	if f, err := os.Open(file); err == nil {
		_, _ = editor.ReadHistory(f)
		f.Close()
	}
}

// remember keeps what was typed. Where it cannot, nothing is lost that matters.
func remember(editor *liner.State, file string) {
	if os.MkdirAll(filepath.Dir(file), 0o700) != nil {
		return
	}
	if f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err == nil {
		_, _ = editor.WriteHistory(f)
		f.Close()
	}
}

// Command snapshot measures what the transfer of a large snapshot costs: three nodes hold values of so many bytes, a
// fourth is added while clients write, and it is told how long that takes, how much more memory sender and receiver
// then use, and what it does to the latency of the writes.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"coup/page"
)

// The exit codes.
const (
	exitFailure = 1 // something could not be measured
	exitUsage   = 2 // the command line was wrong; nothing was done
)

func init() {
	// The nodes end with the thread that started them, which must be one that lives as long as this process does.
	runtime.LockOSThread()
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := newRoot().ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "snapshot:", err)
	var failed failure
	if errors.As(err, &failed) {
		os.Exit(exitFailure)
	}
	os.Exit(exitUsage)
}

// failure is an error that is not about the command line.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// options are the command line.
type options struct {
	raftnode, dir, write string
	megabytes            int
	loaders, clients     int
	duration             time.Duration
}

// Values have a size drawn from here.
const (
	smallest = 256
	largest  = 4096
)

func newRoot() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Measure the transfer of a large snapshot",
		Long: `Measure the transfer of a large snapshot between nodes on this machine: how long it takes, how much more memory
sender and receiver use than before, and the latency of writes during it beside that without.`,
		Args:              cobra.NoArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if err := run(cmd.Context(), o); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.raftnode, "raftnode", "", "path of the raftnode binary; beside this program when not given")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "where the nodes' folders are made, and removed at the end")
	flags.StringVar(&o.write, "write", "", "page to write the table into, between its markers")
	flags.IntVar(&o.megabytes, "megabytes", 1024, fmt.Sprintf("MiB of values of %d to %d bytes that the nodes hold", smallest, largest))
	flags.IntVar(&o.loaders, "loaders", 128, "clients that write them")
	flags.IntVar(&o.clients, "clients", 8, "clients, each with one write at a time, during what is measured")
	flags.DurationVar(&o.duration, "duration", 20*time.Second, "how long writes are measured without a transfer")
	return cmd
}

// check fills in what was not given. Its errors are one line each and name the flag.
func (o *options) check() error {
	for _, v := range []struct {
		flag  string
		right bool
		want  string
	}{
		{"megabytes", o.megabytes >= 1 && o.megabytes <= 1<<14, "from 1 to 16384"},
		{"loaders", o.loaders >= 1 && o.loaders <= 1000, "from 1 to 1000"},
		{"clients", o.clients >= 1 && o.clients <= 1000, "from 1 to 1000"},
		{"duration", o.duration >= time.Second && o.duration <= 10*time.Minute, "from 1s to 10m"},
	} {
		if !v.right {
			return fmt.Errorf("--%s: it must be %s", v.flag, v.want)
		}
	}
	if o.raftnode == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		o.raftnode = filepath.Join(filepath.Dir(self), "raftnode")
	}
	if info, err := os.Stat(o.raftnode); err != nil {
		return fmt.Errorf("--raftnode: %w", err)
	} else if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("--raftnode: %s is no program", o.raftnode)
	}
	if info, err := os.Stat(o.dir); err != nil {
		return fmt.Errorf("--dir: %w", err)
	} else if !info.IsDir() {
		return fmt.Errorf("--dir: %s is no directory", o.dir)
	}
	return nil
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "coup-snapshot-")
	if err != nil {
		return err
	}
	machine, err := page.Machine(dir)
	if err != nil {
		return err
	}
	c := &cluster{binary: o.raftnode, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.lastWords())
		}
		err = errors.Join(err, c.close(), os.RemoveAll(dir))
	}()
	m, err := measure(ctx, o, c, func(format string, a ...any) {
		fmt.Printf("%s  "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, a...)...)
	})
	if err != nil {
		return err
	}
	text := m.text(o, machine)
	fmt.Printf("\n%s", text)
	if o.write == "" {
		return nil
	}
	return page.Write(o.write, "Performance", "snapshot", "`make bench-snapshot` measures the transfer of a snapshot and writes it here.", text)
}

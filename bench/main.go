// Command peers measures raftnode beside etcd: the same cells, on the same machine, in turns.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
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
	// The nodes end with the thread that started them, which must be one that lives as long as this
	// process does.
	runtime.LockOSThread()
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := newRoot().ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "peers:", err)
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
	raftnode, etcd, dir, write string
	nodes, clients             []int
	operations                 []string
	rounds                     int
	ours, etcdConnections      int // connections
	only                       []string
	load                       load
	kills                      int
	idle                       time.Duration
}

func newRoot() *cobra.Command {
	o := options{load: load{keys: 2000, valueSize: 256, duration: 3 * time.Second}}
	cmd := &cobra.Command{
		Use:   "peers",
		Short: "Measure raftnode beside etcd",
		Long: `Measure raftnode beside etcd on this machine, in turns: throughput and latency of synced writes and
linearizable reads, what the nodes use for it, how long the death of a leader is felt, and what idle
nodes use. Both have their own settings, and sync every write to disk on a majority.`,
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
	flags.StringVar(&o.etcd, "etcd", "", "path of the etcd binary; beside this program when not given")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "where the nodes' folders are made, and removed at the end")
	flags.StringVar(&o.write, "write", "", "page to write the tables into, between its markers")
	flags.IntSliceVar(&o.nodes, "nodes", []int{3, 5}, "sizes of the clusters; the death of a leader and idle nodes are measured with the last")
	flags.IntSliceVar(&o.clients, "clients", []int{1, 64, 256}, "numbers of clients, each with one operation at a time; none to leave out the load")
	flags.IntVar(&o.ours, "connections", 16, "connections that raftnode's clients share by gRPC, which carries many requests at a time")
	flags.IntVar(&o.etcdConnections, "etcd-connections", 16, "connections that etcd's clients share; 0 for one each, as raftnode's have by HTTP")
	flags.StringSliceVar(&o.only, "products", []string{"raftnode", "HTTP", "etcd"}, "what is measured: raftnode by gRPC, raftnode by HTTP, etcd")
	flags.StringSliceVar(&o.operations, "operations", []string{write, read}, "what clients do: write, read")
	flags.IntVar(&o.rounds, "rounds", 2, "how often raftnode and etcd take turns; the rounds of a cell are added")
	flags.DurationVar(&o.load.duration, "duration", o.load.duration, "how long a cell is measured in each round")
	flags.StringVar(&o.load.profiles, "profiles", "", "folder for profiles of raftnode's leader in each cell, in the last round, for go tool pprof; none when not given")
	flags.IntVar(&o.load.keys, "keys", o.load.keys, "how many keys there are, all written beforehand")
	flags.IntVar(&o.load.valueSize, "value-size", o.load.valueSize, "bytes in a value")
	flags.IntVar(&o.kills, "kills", 30, "leaders of each that are killed; 0 for none")
	flags.DurationVar(&o.idle, "idle", 20*time.Second, "how long idle nodes are measured; 0 for not at all")
	return cmd
}

// check fills in what was not given. Its errors are one line each and name the flag.
func (o *options) check() error {
	within := func(values []int, low, high int) bool {
		return !slices.ContainsFunc(values, func(v int) bool { return v < low || v > high })
	}
	for _, v := range []struct {
		flag  string
		right bool
		want  string
	}{
		{"nodes", len(o.nodes) > 0 && within(o.nodes, 1, 9), "a list of numbers from 1 to 9"},
		{"nodes", o.kills == 0 || o.nodes[len(o.nodes)-1] >= 3, "at least 3 at its end, or --kills 0"},
		{"clients", within(o.clients, 1, 1000), "a list of numbers from 1 to 1000"},
		{"connections", o.ours >= 1 && o.ours <= 1000, "from 1 to 1000"},
		{"products", len(o.only) > 0 && !slices.ContainsFunc(o.only, func(s string) bool { return s != "raftnode" && s != "HTTP" && s != "etcd" }), "a list of raftnode, HTTP and etcd"},
		{"etcd-connections", o.etcdConnections >= 0 && o.etcdConnections <= 1000, "from 0 to 1000"},
		{"operations", len(o.operations) > 0 && !slices.ContainsFunc(o.operations, func(s string) bool { return s != write && s != read }), "a list of write and read"},
		{"rounds", o.rounds >= 1 && o.rounds <= 100, "from 1 to 100"},
		{"duration", o.load.duration >= 100*time.Millisecond && o.load.duration <= 10*time.Minute, "from 100ms to 10m"},
		{"keys", o.load.keys >= 1 && o.load.keys <= 1_000_000, "from 1 to 1000000"},
		{"value-size", o.load.valueSize >= 1 && o.load.valueSize <= 1<<19, "from 1 to 524288"},
		{"kills", o.kills >= 0 && o.kills <= 30, "from 0 to 30"},
		{"idle", o.idle == 0 || o.idle >= time.Second && o.idle <= 10*time.Minute, "from 1s to 10m, or 0"},
	} {
		if !v.right {
			return fmt.Errorf("--%s: it must be %s", v.flag, v.want)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, binary := range []struct {
		flag string
		path *string
	}{{"raftnode", &o.raftnode}, {"etcd", &o.etcd}} {
		if *binary.path == "" {
			*binary.path = filepath.Join(filepath.Dir(self), binary.flag)
		}
		if info, err := os.Stat(*binary.path); err != nil {
			return fmt.Errorf("--%s: %w", binary.flag, err)
		} else if info.IsDir() || info.Mode()&0o111 == 0 {
			return fmt.Errorf("--%s: %s is no program", binary.flag, *binary.path)
		}
	}
	if o.load.profiles != "" {
		if info, err := os.Stat(o.load.profiles); err != nil {
			return fmt.Errorf("--profiles: %w", err)
		} else if !info.IsDir() {
			return fmt.Errorf("--profiles: %s is no directory", o.load.profiles)
		}
	}
	if info, err := os.Stat(o.dir); err != nil {
		return fmt.Errorf("--dir: %w", err)
	} else if !info.IsDir() {
		return fmt.Errorf("--dir: %s is no directory", o.dir)
	}
	return nil
}

// products are those that were asked for.
func (o options) products() (chosen []product) {
	for _, p := range []product{raftnode{o.raftnode, "grpc", o.ours, o.load.profiles != ""}, raftnode{o.raftnode, "http", 0, o.load.profiles != ""}, etcd{o.etcd, o.etcdConnections}} {
		if slices.Contains(o.only, p.name()) {
			chosen = append(chosen, p)
		}
	}
	return chosen
}

func run(ctx context.Context, o options) (err error) {
	if err := removeLeftovers(o.dir); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, folderName(os.Getpid())+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	machine, err := page.Machine(dir)
	if err != nil {
		return err
	}
	begun := time.Now()
	m := &measurer{
		options: o, dir: dir, products: o.products(),
		say: func(format string, a ...any) { fmt.Printf(format+"\n", a...) },
	}
	if err := m.all(ctx); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: %w", ctx.Err())
		}
		return err
	}
	text := m.text(machine)
	fmt.Printf("\n%s\ntook %v\n", text, time.Since(begun).Round(time.Second))
	if o.write == "" {
		return nil
	}
	return page.Write(o.write, "Performance", "peers", "`make bench-peers` measures raftnode beside etcd and writes it here.", text)
}

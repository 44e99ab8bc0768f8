package runner

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/nemesis"
)

// Catches a run that cannot come to all of its faults although nobody asked for it to be so short, and one whose
// duration or interval is not what somebody asked for.
func TestFit(t *testing.T) {
	many := make([]nemesis.Fault, 0, 40)
	for i := range 40 {
		many = append(many, &fakeFault{name: fmt.Sprint("stop", i)})
	}
	for _, c := range []struct {
		faults             int
		duration, interval bool
		wantDuration       time.Duration
		wantInterval       time.Duration
		fits               bool
	}{
		{0, false, false, 60 * time.Second, 7 * time.Second, true},
		{6, false, false, 60 * time.Second, 7 * time.Second, true},
		{16, false, false, 75 * time.Second, 4500 * time.Millisecond, true},
		{16, true, false, 60 * time.Second, 3550 * time.Millisecond, true},
		{40, false, false, 183 * time.Second, 4500 * time.Millisecond, true},
		{40, true, false, 60 * time.Second, 2500 * time.Millisecond, false},
		{40, false, true, 283 * time.Second, 7 * time.Second, true},
		{16, true, true, 60 * time.Second, 7 * time.Second, false},
	} {
		for seed := range uint64(20) {
			o := Defaults()
			o.Seed = seed
			faults := many[:c.faults]
			o.Fit(faults, c.duration, c.interval)
			require.Equal(t, c.wantDuration, o.Duration, c)
			require.Equal(t, c.wantInterval, o.Interval, c)
			require.Equal(t, c.fits, o.Validate(faults) == nil, c)
		}
	}
}

// needy is a fault that leaves a majority, and so needs one.
type needy struct{ fakeFault }

func (needy) KeepsQuorum() bool { return true }

// Catches a value that would start a run which cannot work or proves nothing, and a refusal that
// names the wrong option.
func TestValidate(t *testing.T) {
	stop := &fakeFault{name: "stop"}
	kill := &needy{fakeFault{name: "kill-leader"}}
	for _, test := range []struct {
		name   string
		change func(*Options)
		faults []nemesis.Fault
		option string // refused; empty when all is well
	}{
		{"defaults", func(*Options) {}, []nemesis.Fault{stop, kill}, ""},
		{"no faults", func(*Options) {}, nil, ""},
		{"one node without faults", func(o *Options) { o.Nodes = 1 }, nil, ""},
		{"two nodes and a fault that needs no quorum", func(o *Options) { o.Nodes = 2 }, []nemesis.Fault{stop}, ""},
		{"four nodes", func(o *Options) { o.Nodes = 4 }, []nemesis.Fault{kill}, ""},
		{"no node", func(o *Options) { o.Nodes = 0 }, nil, "nodes"},
		{"fewer than no node", func(o *Options) { o.Nodes = -3 }, nil, "nodes"},
		{"too many nodes", func(o *Options) { o.Nodes = 1000 }, nil, "nodes"},
		{"one node and a new leader", func(o *Options) { o.Nodes = 1 }, []nemesis.Fault{kill}, "faults"},
		{"two nodes and a new leader", func(o *Options) { o.Nodes = 2 }, []nemesis.Fault{kill}, "faults"},
		{"no rate", func(o *Options) { o.Rate = 0 }, nil, "rate"},
		{"negative rate", func(o *Options) { o.Rate = -1 }, nil, "rate"},
		{"rate that is no number", func(o *Options) { o.Rate = math.NaN() }, nil, "rate"},
		{"endless rate", func(o *Options) { o.Rate = math.Inf(1) }, nil, "rate"},
		{"no client", func(o *Options) { o.Concurrency = 0 }, nil, "concurrency"},
		{"no key", func(o *Options) { o.Keys = 0 }, nil, "keys"},
		{"no duration", func(o *Options) { o.Duration = 0 }, nil, "duration"},
		{"negative duration", func(o *Options) { o.Duration = -time.Minute }, nil, "duration"},
		{"all of it warm-up", func(o *Options) { o.Duration = o.WarmUp }, nil, "duration"},
		{"negative warm-up", func(o *Options) { o.WarmUp = -1 }, nil, "warm-up"},
		{"too short for the faults", func(o *Options) { o.Duration = 8 * time.Second }, []nemesis.Fault{stop, kill}, "duration"},
		{"no interval", func(o *Options) { o.Interval = 0 }, nil, "interval"},
		{"a window as long as the interval", func(o *Options) { o.Window = o.Interval }, nil, "window"},
		{"a negative window", func(o *Options) { o.Window = -1 }, nil, "window"},
		{"no time-out", func(o *Options) { o.OpTimeout = 0 }, nil, "op-timeout"},
		{"no name", func(o *Options) { o.Name = "" }, nil, "name"},
		{"a name that leaves the folder", func(o *Options) { o.Name = "../x" }, nil, "name"},
		{"a name that is the folder", func(o *Options) { o.Name = ".." }, nil, "name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := Defaults()
			test.change(&o)
			err := o.Validate(test.faults)
			if test.option == "" {
				require.NoError(t, err)
				return
			}
			var refused *OptionError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, test.option, refused.Option)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// Catches a run of an hour that finds out at its end that nothing could be kept.
func TestWritable(t *testing.T) {
	dir := t.TempDir()
	o := Defaults()
	o.Results = filepath.Join(dir, "new", "results")
	require.NoError(t, o.Writable())
	left, err := os.ReadDir(o.Results)
	require.NoError(t, err)
	require.Empty(t, left, "the attempt leaves nothing behind")

	o.Results = filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(o.Results, nil, 0o644))
	var refused *OptionError
	require.ErrorAs(t, o.Writable(), &refused)
	require.Equal(t, "results", refused.Option)
}

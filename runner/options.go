package runner

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"coup/nemesis"
)

// Options are what a person chooses of a run. The zero value of no field is a default: start from
// Defaults.
type Options struct {
	Name        string        `json:"name"`        // the folder of the run's kind, under the results folder
	Environment string        `json:"environment"` // docker, netns or sim
	Nodes       int           `json:"nodes"`
	Duration    time.Duration `json:"duration_ns"` // of the workload under faults
	WarmUp      time.Duration `json:"warm_up_ns"`  // of the workload before the first fault
	Rate        float64       `json:"rate"`        // operations a second that are asked for, in all
	Concurrency int           `json:"concurrency"` // clients
	Keys        int           `json:"keys"`        // keys in use at a time
	Seed        uint64        `json:"seed"`
	Faults      []string      `json:"faults"` // each as nemesis.Spell has it; none for a run without
	// Recipe names the fixed schedule that takes the place of one that is drawn; empty for none.
	Recipe  string   `json:"recipe,omitempty"`
	Trouble []string `json:"trouble,omitempty"` // what goes wrong by itself in a simulated world, all along
	Store   string   `json:"store,omitempty"`   // what a simulated node keeps its log in: memory or pebble
	// Schedule is what is done to the cluster instead of what Seed would draw; nil for that. The names in it are
	// those in Faults.
	Schedule     []nemesis.Planned `json:"schedule,omitempty"`
	Interval     time.Duration     `json:"interval_ns"` // from one fault to the next, on average
	Window       time.Duration     `json:"window_ns"`   // how long a fault is in force, on average; 0 for what suits Interval
	OpTimeout    time.Duration     `json:"op_timeout_ns"`
	API          string            `json:"api,omitempty"`        // by which real nodes are asked about registers: HTTP or GRPC
	LoseUnsynced bool              `json:"lose_unsynced"`        // what a node has not synced dies with its process
	ActionLog    bool              `json:"action_log,omitempty"` // what each node does is logged, in the run's folder
	// MaxReign is how long a leader leads before it ends itself, to be started again; 0 for no end.
	MaxReign  time.Duration `json:"max_reign_ns,omitempty"`
	KeyPrefix string        `json:"key_prefix,omitempty"` // that all keys begin with; "k" when empty
	NodeFlags []string      `json:"node_flags"`           // further arguments for every node
	Results   string        `json:"-"`                    // the results folder
	Binary    string        `json:"-"`                    // path of the raftnode binary
	Repeat    string        `json:"repeat"`               // the command line that runs the same again
}

// The APIs by which real nodes are asked.
const (
	HTTP = "http"
	GRPC = "grpc"
)

// Defaults are what a run takes that nobody chose anything for. The operation time-out is somewhat
// longer than an election takes, so that a client waits for a new leader once.
func Defaults() Options {
	return Options{
		Name:         "run",
		Nodes:        5,
		Duration:     60 * time.Second,
		WarmUp:       3 * time.Second,
		Rate:         200,
		Concurrency:  10,
		Keys:         10,
		Interval:     7 * time.Second,
		OpTimeout:    1500 * time.Millisecond,
		API:          HTTP,
		LoseUnsynced: true,
		Results:      "results",
	}
}

// OptionError refuses an option's value.
type OptionError struct {
	Option  string // the flag's name without dashes
	Problem string // what is wrong, and what would be right
}

func (e *OptionError) Error() string { return fmt.Sprintf("--%s: %s", e.Option, e.Problem) }

// The bounds of what a run may be asked for.
const (
	maxNodes       = 25
	maxConcurrency = 1000
	maxRate        = 100_000
	maxKeys        = 10_000
	minDuration    = time.Second
	maxDuration    = 30 * 24 * time.Hour
	minOpTimeout   = 10 * time.Millisecond
	maxOpTimeout   = time.Minute
	minReign       = 2 * time.Second
)

// Validate refuses what makes no run, or one that could prove nothing. The error is an *OptionError.
func (o Options) Validate(faults []nemesis.Fault) error {
	refuse := func(option, format string, args ...any) error {
		return &OptionError{Option: option, Problem: fmt.Sprintf(format, args...)}
	}
	switch {
	case !validName(o.Name):
		return refuse("name", "%q cannot name a folder: use letters, digits, dots, dashes and underscores", o.Name)
	case o.Nodes < 1 || o.Nodes > maxNodes:
		return refuse("nodes", "%d is no size of a cluster: it must be from 1 to %d, best an odd number", o.Nodes, maxNodes)
	case math.IsNaN(o.Rate) || o.Rate <= 0 || o.Rate > maxRate:
		return refuse("rate", "%v operations a second: it must be above 0 and at most %d", o.Rate, maxRate)
	case o.Concurrency < 1 || o.Concurrency > maxConcurrency:
		return refuse("concurrency", "%d clients: it must be from 1 to %d", o.Concurrency, maxConcurrency)
	case o.Keys < 1 || o.Keys > maxKeys:
		return refuse("keys", "%d keys: it must be from 1 to %d", o.Keys, maxKeys)
	case o.OpTimeout < minOpTimeout || o.OpTimeout > maxOpTimeout:
		return refuse("op-timeout", "%v: it must be from %v to %v", o.OpTimeout, minOpTimeout, maxOpTimeout)
	case o.API != HTTP && o.API != GRPC:
		return refuse("api", "there is no API %q: use %s or %s", o.API, HTTP, GRPC)
	case o.Duration < minDuration || o.Duration > maxDuration:
		return refuse("duration", "%v: it must be from %v to %v", o.Duration, minDuration, maxDuration)
	case o.WarmUp < 0:
		return refuse("warm-up", "%v: it cannot be negative", o.WarmUp)
	case o.WarmUp >= o.Duration:
		return refuse("duration", "%v leaves no time after the warm-up of %v", o.Duration, o.WarmUp)
	case o.MaxReign != 0 && o.MaxReign < minReign:
		return refuse("max-reign", "%v: no leader would come to anything: it must be at least %v, or 0 for no end", o.MaxReign, minReign)
	case o.Interval <= 0:
		return refuse("interval", "%v: it must be above 0", o.Interval)
	case o.Window < 0 || o.Window >= o.Interval:
		return refuse("window", "%v: it must be below the interval of %v, or 0 for what suits that", o.Window, o.Interval)
	}
	if o.Recipe != "" {
		_, err := nemesis.FindRecipe(o.Recipe)
		if err != nil {
			return refuse("recipe", "%v", err)
		}
		return nil
	}
	for _, fault := range faults {
		if fault.KeepsQuorum() && o.Nodes < 3 {
			return refuse("faults", "%s needs at least 3 nodes: with %d, no majority remains to go on. Use --nodes 3 or --faults none",
				fault.Name(), o.Nodes)
		}
	}
	kinds := map[string]bool{}
	for _, planned := range planFaults(o, faults) {
		kinds[planned.Fault] = true
	}
	if len(kinds) < len(faults) {
		return refuse("duration", "%v is too short for %d kinds of fault, one every %v: only %d would come. Make it longer, or the interval shorter, or choose fewer faults",
			o.Duration, len(faults), o.Interval, len(kinds))
	}
	return nil
}

// How short Fit makes the interval. A window then lasts for an election and for operations after it; where time is not
// given, also for clients to give up those that a node swallowed.
const (
	minInterval  = 2500 * time.Millisecond
	easyInterval = 4500 * time.Millisecond
)

// Fit makes room for all faults, where a person has not chosen the duration or the interval: first the interval becomes
// shorter, then the duration longer.
func (o *Options) Fit(faults []nemesis.Fault, durationChosen, intervalChosen bool) {
	slots := 0
	for _, f := range faults {
		slots += nemesis.Weight(f)
	}
	if slots == 0 {
		return
	}
	if !intervalChosen {
		least := easyInterval
		if durationChosen {
			least = minInterval
		}
		each := ((o.Duration - o.WarmUp) / time.Duration(slots)).Truncate(50 * time.Millisecond)
		if short := max(each, least, o.Window+time.Second); short < o.Interval {
			o.Interval = short
			if o.Window == 0 {
				// The shorter it is, the more of it goes to the election.
				o.Window = (short * 7 / 10).Truncate(50 * time.Millisecond)
			}
		}
	}
	if !durationChosen {
		o.Duration = max(o.Duration, o.WarmUp+time.Duration(slots)*o.Interval)
	}
}

// validName tells whether a name is good for one folder.
func validName(name string) bool {
	if name == "" || len(name) > 64 || strings.Trim(name, ".") == "" {
		return false
	}
	for _, r := range name {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", r) {
			return false
		}
	}
	return true
}

// Writable tells why runs cannot be kept in the results folder. It makes the folder where it is
// missing. The error is an *OptionError.
func (o Options) Writable() error {
	if err := os.MkdirAll(o.Results, 0o755); err != nil {
		return &OptionError{Option: "results", Problem: fmt.Sprintf("no folder for results can be made there: %v", err)}
	}
	probe, err := os.CreateTemp(o.Results, ".writable-*")
	if err != nil {
		return &OptionError{Option: "results", Problem: fmt.Sprintf("nothing can be written there: %v", err)}
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

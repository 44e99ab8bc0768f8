package nemesis_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/cluster"
	"coup/cluster/netns"
	"coup/docker"
	"coup/nemesis"
	"coup/raftnode/faultfs"
	"coup/raftnode/seams"
)

// puppets are three nodes, all of whose disks take at once what they take at all, and of which the test says how they take it when they are broken. Nothing else is done to them.
type puppets struct {
	since    time.Time
	report   seams.Report
	state    cluster.ProcessState
	excuse   string
	deaf     bool             // orders change nothing
	obey     func(p *puppets) // after an order that was taken; nil for nothing
	seen     func(time.Duration) time.Duration
	refused  error // of Restart
	immortal bool  // Kill does nothing
	patient  bool  // time passes, and proofs are tried again
}

func (*puppets) Environment() string                 { return "puppets" }
func (*puppets) Nodes() []cluster.Node               { return []cluster.Node{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}} }
func (*puppets) Collect(context.Context, bool) error { return nil }
func (*puppets) Close(context.Context) error         { return nil }
func (p *puppets) Sequential() bool                  { return !p.patient }
func (*puppets) Breakable() error                    { return nil }
func (p *puppets) Excuse(_, words string)            { p.excuse = words }
func (p *puppets) Restart(context.Context, string) error {
	if p.refused == nil {
		p.state = cluster.ProcessState{State: "running", PID: 2}
		p.report.Disk.Faults = faultfs.Faults{}
	}
	return p.refused
}

func (p *puppets) Kill(context.Context, string) error {
	if !p.immortal {
		p.state = cluster.ProcessState{State: "dead"}
	}
	return nil
}

func (p *puppets) Process(context.Context, string) (cluster.ProcessState, error) { return p.state, nil }

func (p *puppets) BreakDisk(_ context.Context, _ string, f faultfs.Faults) (seams.Report, error) {
	before := p.report
	if !p.deaf {
		p.report.Disk.Faults = f
		if p.obey != nil {
			p.obey(p)
		}
	}
	return before, nil
}

func (p *puppets) BreakClock(_ context.Context, _ string, f seams.ClockFaults) (seams.Report, error) {
	p.report.Clock.Faults = f
	return p.report, nil
}

func (p *puppets) Seams(context.Context, string) (seams.Report, error) {
	now := time.Since(p.since)
	p.report.Clock.True, p.report.Clock.Seen = now, p.seen(now)
	p.report.Clock.Offset = p.report.Clock.Seen - now
	return p.report, nil
}

func puppet() *puppets {
	return &puppets{
		since: time.Now(), state: cluster.ProcessState{State: "running", PID: 1},
		seen: func(now time.Duration) time.Duration { return now },
	}
}

func dies(p *puppets) {
	if p.report.Disk.Faults != (faultfs.Faults{}) {
		p.state = cluster.ProcessState{State: "dead"}
	}
}

func waits(p *puppets) {
	p.report.Disk.Counts.SyncsDelayed++
	p.report.Disk.Counts.SyncsWaiting = 0
	if p.report.Disk.Faults != (faultfs.Faults{}) {
		p.report.Disk.Counts.SyncsWaiting = 1
	}
}

func install(t *testing.T, name string, p *puppets) (nemesis.Installed, nemesis.Outcome) {
	faults, err := nemesis.Parse(name)
	require.NoError(t, err)
	require.Len(t, faults, 1)
	return faults[0].Install(t.Context(), p, n1Leads{}, rand.New(rand.NewPCG(1, 1)))
}

// Catches a fault of disk or clock that counts as proven although nothing came of it: orders that are not followed, a node
// that takes a failed fsync for a success, a clock that goes on as if nothing were. One that is as it should be is proven.
func TestSeamedFaultsAreProven(t *testing.T) {
	for _, c := range []struct {
		name, fault string
		puppet      func(*puppets)
		want        string // in the reason; empty for a fault that is installed
	}{
		{"a node that ends", "fail-fsync", func(p *puppets) { p.obey = dies }, ""},
		{"a node that goes on after a failed fsync", "fail-fsync", func(*puppets) {}, "should be dead"},
		{"a node that goes on with a full disk", "full-disk", func(*puppets) {}, "should be dead"},
		{"a disk that waits", "slow-fsync", func(p *puppets) { p.obey = waits }, ""},
		{"a disk to which nothing is written", "slow-fsync", func(*puppets) {}, "came to no fsync"},
		{"a clock that goes right", "clock-rate", func(*puppets) {}, "at the rate"},
		{"a clock that does not jump", "jump-clock", func(*puppets) {}, "moved by"},
		{"a clock that does not strobe", "strobe-clock", func(*puppets) {}, "to and fro by"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := puppet()
			p.patient = strings.Contains(c.fault, "clock")
			c.puppet(p)
			installed, out := install(t, c.fault, p)
			require.NotNil(t, installed, "what may be half in force must be healed")
			if c.want == "" {
				require.Equal(t, nemesis.ResultInstalled, out.Result, out.Reason)
				return
			}
			require.Equal(t, nemesis.ResultIndeterminate, out.Result)
			require.Contains(t, out.Reason, c.want)
		})
	}
}

// Catches a healing that counts as proven although the disk is still broken, an fsync still waits, the node never came back,
// or it was never gone.
func TestHealingOfSeamsIsProven(t *testing.T) {
	for _, c := range []struct {
		name, fault string
		obey        func(*puppets)
		after       func(*puppets) // once it is installed
		want        string
	}{
		{"a node that came back", "fail-fsync", dies, func(*puppets) {}, ""},
		{"a node that does not come back", "fail-write", dies, func(p *puppets) { p.refused = errors.New("no") }, "no"},
		{"a node that was never gone", "torn-write", dies, func(p *puppets) {
			p.state, p.immortal = cluster.ProcessState{State: "running", PID: 1}, true
		}, "still has pid 1"},
		{"a node that went on, and is killed", "full-disk", dies, func(p *puppets) {
			p.state = cluster.ProcessState{State: "running", PID: 1}
		}, ""},
		{"a disk that is still broken", "slow-fsync", waits, func(p *puppets) { p.deaf = true }, "not whole"},
		{"an fsync that still waits", "slow-fsync", waits, func(p *puppets) { p.obey = nil }, "not whole"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := puppet()
			p.obey = c.obey
			installed, out := install(t, c.fault, p)
			require.Equal(t, nemesis.ResultInstalled, out.Result, out.Reason)
			c.after(p)
			healed := installed.Heal(t.Context())
			if c.want == "" {
				require.Equal(t, nemesis.ResultHealed, healed.Result, healed.Reason)
				require.Empty(t, p.excuse, "from now on a death is one that nobody asked for")
				return
			}
			require.Equal(t, nemesis.ResultNotHealed, healed.Result)
			require.Contains(t, healed.Reason, c.want)
		})
	}
}

// Catches a run that breaks nodes by surprise: only who asks for faults of disk and clock has them, by their groups or names.
func TestSeamedFaultsMustBeAskedFor(t *testing.T) {
	weighted, err := nemesis.Parse("torn-write:3")
	require.NoError(t, err)
	require.True(t, nemesis.NeedsSeams(weighted[0]), "a weight changes nothing")
	for list, want := range map[string][]nemesis.Fault{
		"all": slices.Concat(nemesis.All(), nemesis.Real()), "disk,clock": nemesis.Seamed(), "all,disk,clock": nemesis.Every(),
	} {
		found, err := nemesis.Parse(list)
		require.NoError(t, err)
		require.Equal(t, want, found)
	}
	for _, f := range slices.Concat(nemesis.All(), nemesis.Real()) {
		require.False(t, nemesis.NeedsSeams(f))
	}
	for _, f := range nemesis.Seamed() {
		require.True(t, nemesis.NeedsSeams(f))
		require.NoError(t, f.Check(netns.Prospect(t.Context(), 3)), "they would be started with seams")
		require.NoError(t, f.Check(docker.Prospect(t.Context(), 3)))
		require.ErrorContains(t, f.Check(unbreakable{puppet()}), "without seams")
		require.ErrorContains(t, f.Check(struct{ cluster.Cluster }{puppet()}), "use docker or netns")
		require.True(t, strings.HasPrefix(f.Check(few{puppet()}).Error(), f.Name()+" needs at least 3 nodes"))
	}
}

type unbreakable struct{ *puppets }

func (unbreakable) Breakable() error { return errors.New("without seams") }

type few struct{ *puppets }

func (few) Nodes() []cluster.Node { return []cluster.Node{{ID: "n1"}} }

package nemesis

import (
	"context"
	"fmt"
	"time"

	"coup/cluster"
	"coup/raftnode/faultfs"
	"coup/raftnode/seams"
)

// disk breaks the disk under one node, the leader or another, while it runs.
type disk struct {
	name    string
	summary string
	draw    func(rng Rand) faultfs.Faults
	// ends are the words with which a node must end by itself, and which its log must hold; empty when it is to live on.
	ends string
}

var (
	slowSync = &disk{
		name: "slow-fsync", summary: "let each fsync of one node limp, or hang",
		draw: func(rng Rand) faultfs.Faults {
			if rng.IntN(2) == 0 {
				return faultfs.Faults{SyncTakes: time.Hour} // until it is healed
			}
			return faultfs.Faults{SyncTakes: time.Duration(20+rng.IntN(200)) * time.Millisecond}
		},
	}
	failSync = &disk{
		name: "fail-fsync", summary: "fail each fsync of one node, which must end; it starts again later", ends: "injected: fsync",
		draw: func(Rand) faultfs.Faults { return faultfs.Faults{SyncFails: true} },
	}
	failWrite = &disk{
		name: "fail-write", summary: "fail each write of one node, which must end; it starts again later", ends: "injected: write",
		draw: func(Rand) faultfs.Faults { return faultfs.Faults{WriteFails: true} },
	}
	fullDisk = &disk{
		name: "full-disk", summary: "let the disk of one node fill up, which must end it; it starts again later, with space", ends: "no space left on device",
		draw: func(rng Rand) faultfs.Faults {
			room := int64(rng.IntN(8 << 10))
			return faultfs.Faults{Room: &room}
		},
	}
	tornWrite = &disk{
		name: "torn-write", summary: "SIGKILL one node in the middle of an fsync, which leaves some of the sectors; it starts again later", ends: "injected: torn write",
		draw: func(rng Rand) faultfs.Faults {
			seed := uint64(rng.IntN(1 << 30))
			return faultfs.Faults{Tear: &seed}
		},
	}
)

func (d *disk) Name() string      { return d.name }
func (d *disk) Summary() string   { return d.summary }
func (d *disk) KeepsQuorum() bool { return true }
func (d *disk) Needs() string     { return "at least 3 nodes, which are started with seams" }
func (d *disk) Proof() string {
	return "what the node says of its disk: fsyncs that were held up, or an end in the words of that error; later it runs on a disk that does nothing wrong"
}

func (d *disk) Check(c cluster.Cluster) error {
	_, err := breaker(c, d.name)
	return err
}

func (d *disk) Install(ctx context.Context, c cluster.Cluster, view View, rng Rand) (Installed, Outcome) {
	b, node, skipped := victim(ctx, c, view, rng, d.name)
	if skipped.Result != "" {
		return nil, skipped
	}
	broken := &brokenDisk{disk: d, broken: broken{manner: mannerOf(c), breaker: b, node: node}}
	outcome := Outcome{Result: ResultInstalled, Targets: []string{node}}
	var err error
	if broken.was, err = b.Process(ctx, node); err == nil {
		if d.ends != "" {
			b.Excuse(node, d.ends)
		}
		outcome.Seams, err = broken.begin(ctx, d.draw(rng))
	}
	if err == nil && d.ends != "" {
		outcome.Processes, err = broken.inState(ctx, b, outcome.Targets, "dead")
	}
	if err != nil {
		outcome.Result, outcome.Reason = ResultIndeterminate, err.Error()
	}
	return broken, outcome
}

// brokenDisk is a disk that is broken.
type brokenDisk struct {
	broken
	disk *disk
	was  cluster.ProcessState // before
}

// begin breaks the disk. Where the node is to live on, it proves that an fsync has been held up.
func (b *brokenDisk) begin(ctx context.Context, f faultfs.Faults) (map[string]seams.Report, error) {
	before, err := b.breaker.BreakDisk(ctx, b.node, f)
	if err != nil || b.disk.ends != "" {
		return map[string]seams.Report{b.node: before}, err
	}
	return b.shows(ctx, func(now seams.Report) error {
		if now.Disk.Counts.SyncsDelayed <= before.Disk.Counts.SyncsDelayed {
			return fmt.Errorf("%s came to no fsync", b.node)
		}
		return nil
	})
}

// Heal implements Installed. The proof is that the node runs, that its disk does nothing wrong, and that no fsync is held up
// any more; of one that had to end, that its process is another. If it has not ended, it is killed first, so that what it took for
// durable is lost as it would be, and missed.
func (b *brokenDisk) Heal(ctx context.Context) Outcome {
	ctx, cancel := b.healing(ctx)
	defer cancel()
	outcome := Outcome{Result: ResultHealed, Targets: []string{b.node}}
	err := b.putDown(ctx)
	if err == nil {
		err = b.revive(ctx)
	}
	if err == nil {
		outcome.Processes, err = b.inState(ctx, b.breaker, outcome.Targets, "running")
	}
	if now := outcome.Processes[b.node]; err == nil && b.disk.ends != "" && now.PID == b.was.PID {
		err = fmt.Errorf("%s still has pid %d, on a disk that failed", b.node, now.PID)
	}
	if err == nil {
		outcome.Seams, err = b.heal(ctx)
	}
	if err != nil {
		outcome.Result, outcome.Reason = ResultNotHealed, err.Error()
		return outcome
	}
	b.breaker.Excuse(b.node, "")
	return outcome
}

// putDown kills a node that had to end and has not.
func (b *brokenDisk) putDown(ctx context.Context) error {
	state, err := b.breaker.Process(ctx, b.node)
	if err != nil || b.disk.ends == "" || state.PID != b.was.PID {
		return err
	}
	return b.breaker.Kill(ctx, b.node)
}

func (b *brokenDisk) heal(ctx context.Context) (map[string]seams.Report, error) {
	return b.shows(ctx, func(now seams.Report) (err error) {
		if now.Disk.Faults != (faultfs.Faults{}) {
			now, err = b.breaker.BreakDisk(ctx, b.node, faultfs.Faults{})
		}
		if err == nil && (now.Disk.Faults != faultfs.Faults{} || now.Disk.Counts.SyncsWaiting > 0) {
			err = fmt.Errorf("the disk of %s is not whole: %+v", b.node, now.Disk)
		}
		return err
	})
}

// broken is a node of which disk or clock is.
type broken struct {
	manner
	breaker cluster.Breaker
	node    string
}

// shows waits, for a bounded time, until what the node says of its disk and clock is as it should be.
func (b broken) shows(ctx context.Context, as func(seams.Report) error) (map[string]seams.Report, error) {
	var last seams.Report
	err := b.prove(ctx, func(ctx context.Context) (err error) {
		if last, err = b.breaker.Seams(ctx, b.node); err != nil {
			return err
		}
		return as(last)
	})
	return map[string]seams.Report{b.node: last}, err
}

// revive starts the node unless it runs. That a process has ended may be known a little before it can be started again.
func (b broken) revive(ctx context.Context) error {
	return b.prove(ctx, func(ctx context.Context) error {
		state, err := b.breaker.Process(ctx, b.node)
		if err != nil || state.State != "dead" {
			return err
		}
		return b.breaker.Restart(ctx, b.node)
	})
}

// victim draws the node to break: the leader in half of the cases. Where there is none, the outcome says why.
func victim(ctx context.Context, c cluster.Cluster, view View, rng Rand, fault string) (b cluster.Breaker, node string, skipped Outcome) {
	b, err := breaker(c, fault)
	if err != nil {
		return nil, "", Outcome{Result: ResultSkipped, Reason: err.Error()}
	}
	leader, reason := currentLeader(ctx, view)
	if leader == "" {
		return nil, "", Outcome{Result: ResultSkipped, Reason: reason}
	}
	if rng.IntN(2) == 0 {
		return b, leader, Outcome{}
	}
	return b, shuffled(without(ids(c), leader), rng)[0], Outcome{}
}

func breaker(c cluster.Cluster, fault string) (cluster.Breaker, error) {
	if n := len(c.Nodes()); n < 3 {
		return nil, fmt.Errorf("%s needs at least 3 nodes, so that a majority remains: this cluster has %d", fault, n)
	}
	b, ok := c.(cluster.Breaker)
	if !ok {
		return nil, fmt.Errorf("%s needs real disks and clocks, which the %s environment has not: use docker or netns", fault, c.Environment())
	}
	if err := b.Breakable(); err != nil {
		return nil, fmt.Errorf("%s: %w", fault, err)
	}
	return b, nil
}

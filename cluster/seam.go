package cluster

import (
	"context"

	"coup/raftnode/faultfs"
	"coup/raftnode/seams"
)

// Breaker can break the disk and the clock of a node's process while it runs, through seams in the node that
// Options.Seams has it started with. Each call about what is wrong takes the place of all that was wrong before; zero
// faults make it whole. A node that is started again is whole.
type Breaker interface {
	// Breakable tells why nodes cannot be broken: they were not started with seams.
	Breakable() error
	BreakDisk(ctx context.Context, node string, f faultfs.Faults) (seams.Report, error)
	BreakClock(ctx context.Context, node string, f seams.ClockFaults) (seams.Report, error)
	// Seams tells how disk and clock of a node stand, by the node.
	Seams(ctx context.Context, node string) (seams.Report, error)
	// Excuse says that the node may end by itself from now on, if the last lines of its log say so in these words; then a
	// Watcher does not report its death. Empty words end that.
	Excuse(node, words string)
	Killer
}

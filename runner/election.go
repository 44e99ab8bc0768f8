package runner

import (
	"io"
	"time"

	"github.com/spf13/pflag"

	"coup/raftnode/raft"
	"coup/raftnode/server"
)

// ElectionTimeout is how long a follower that is started with these arguments hears nothing of a leader before it campaigns, at
// least. Arguments that make no sense, the node will refuse.
func ElectionTimeout(nodeFlags []string) time.Duration {
	flags := pflag.NewFlagSet("raftnode", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.SetOutput(io.Discard)
	tick := flags.Duration("tick", server.DefaultTick, "")
	ticks := flags.Int("election-ticks", raft.DefaultElectionTicks, "")
	_ = flags.Parse(nodeFlags)
	return time.Duration(*ticks) * *tick
}

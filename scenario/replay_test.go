package scenario

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/history"
	"coup/runner"
	"coup/sim"
	"coup/workload"
)

// recorded is a run that goes by itself for a while, with clients that write and read.
func recorded(t *testing.T, o sim.Options) (lines []string, seen runner.Round) {
	var script sim.Script
	o.Script = &script
	w, err := sim.New(o)
	require.NoError(t, err)
	defer w.Close()
	until := func(at time.Duration) {
		for w.Now() < at && w.Wait(at) {
		}
		require.NoError(t, w.Err())
	}
	until(4 * time.Second)
	for i := range 40 {
		op := workload.Op{Process: i, F: history.Write, Key: "k", Value: history.Int(int64(i)), Node: fmt.Sprintf("n%d", 1+i%o.Nodes)}
		if i%4 == 3 {
			op.F, op.Value = history.Read, nil
		}
		w.Submit(op, func(runner.Completion) {})
		until(w.Now() + 50*time.Millisecond)
	}
	until(w.Now() + time.Second)
	w.Observe(func(r runner.Round) { seen, lines = r, script.Lines() })
	until(w.Now() + 500*time.Millisecond)
	require.NotEmpty(t, lines)
	return lines, seen
}

// A recorder that leaves something out, or a world driven by hand that does something else with it, comes to other terms
// and logs.
func TestAScriptLeadsToTheSame(t *testing.T) {
	for name, o := range map[string]sim.Options{
		"nothing goes wrong": {Seed: 1, Nodes: 3},
		"five nodes":         {Seed: 2, Nodes: 5},
		"messages are lost":  {Seed: 3, Nodes: 3, Trouble: []string{"messages"}},
		"nodes crash":        {Seed: 4, Nodes: 5, Trouble: []string{"crashes"}},
		"clocks and pauses":  {Seed: 5, Nodes: 3, Trouble: []string{"clocks", "pauses"}},
	} {
		t.Run(name, func(t *testing.T) {
			lines, seen := recorded(t, o)
			text := "# It leads to the same."
			for i, played := range Replay(lines, Options{Unhealed: true}).Played {
				if played {
					text += "\n" + lines[i]
				} else {
					require.Regexp(t, "^client ", lines[i], "what clients ask for may be refused, and nothing else")
				}
			}
			up := 0
			for i, n := range seen.Nodes {
				if n.Error != "" {
					continue
				}
				up++
				text += fmt.Sprintf("\ncheck %d.state is %s and %d.term is %d and %d.commit is %d and %d.applied is %d", i, n.Role, i, n.Term, i, n.Commit, i, n.Applied)
			}
			require.Positive(t, up)
			sc, err := Parse(name, text)
			require.NoError(t, err)
			r := sc.Run(Options{})
			require.True(t, r.Passed, "%s\n%s", r.Error, r.State)
		})
	}
}

// A script that changes what happens would show other runs than those that fail.
func TestAScriptChangesNothing(t *testing.T) {
	hash := func(script *sim.Script) uint64 {
		w, err := sim.New(sim.Options{Seed: 7, Nodes: 5, Trouble: sim.Troubles(), Script: script})
		require.NoError(t, err)
		defer w.Close()
		for w.Now() < 10*time.Second && w.Wait(10*time.Second) {
		}
		return w.TraceHash()
	}
	require.Equal(t, hash(nil), hash(&sim.Script{}))
}

// Lines that cannot be played are passed over, and told.
func TestReplayPassesOver(t *testing.T) {
	lines := []string{
		"cluster of 3", "campaign 0", "deliver append from 0 to 1", "client s1 write x 1 at 0", "deliver all",
		"client write x 1 at 1", "start 2", "deliver nothing at all", "crash 1", "campaign 1",
	}
	r := Replay(lines, Options{})
	require.Empty(t, r.Check, r.Text)
	require.Equal(t, []bool{true, true, false, false, true, false, false, false, true, false}, r.Played)
}

// A panic of a node is the node's failure, and not the end of the program.
func TestBlame(t *testing.T) {
	require.True(t, nodes([]byte("goroutine 1\npanic({0x1})\n\t/usr/panic.go:1\ncoup/raftnode/raft.(*Raft).Tick()\n\tx.go:1\ncoup/sim.x()\n")))
	require.False(t, nodes([]byte("goroutine 1\npanic({0x1})\n\t/usr/panic.go:1\ncoup/sim.x()\n\tx.go:1\ncoup/raftnode/raft.x()\n")))
}

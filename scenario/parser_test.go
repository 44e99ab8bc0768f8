package scenario

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestErrorsSayWhereAndWhat(t *testing.T) {
	for _, c := range []struct{ name, text, expected string }{
		{"nothing", "# a title\n", `f:1:1: there is no statement`},
		{"no cluster", "tick 3", `f:1:1: a scenario begins with "cluster of 3"`},
		{"two clusters", "cluster of 3\ncluster of 3", `f:2:1: there is a cluster already`},
		{"no nodes", "cluster of 0", `f:1:12: the number of nodes must be from 1 to 25, and 0 is not`},
		{"unknown verb", "cluster of 3\ntikc 3", `f:2:1: expected a verb, found "tikc"; did you mean "tick"?`},
		{"unknown setting", "cluster of 3 with electionTick 5", `f:1:19: expected a setting, found "electionTick"; did you mean "electionTicks"?`},
		{"unknown node", "cluster of 3\ncrash 3", `f:2:7: there is no raft-3; the last is raft-2, and ` + "`new raft-3` makes the next"},
		{"unknown selector", "cluster of 3\ncrash leadr", `f:2:7: expected a node, found "leadr"; did you mean "leader"?`},
		{"unknown name", "cluster of 3\ncheck 0.log.lastIdx is 3", `f:2:9: nothing is called "log.lastIdx" in "0.log.lastIdx"; did you mean "log.lastIndex"?`},
		{"unknown owner", "cluster of 3\ncheck clster.hasLeader", `f:2:7: "clster.hasLeader" is no name`},
		{"no comparison", "cluster of 3\ncheck 0.state", `f:2:14: expected a comparison of 0.state, such as is, is not, >= or contains, found the end of the line`},
		{"order of texts", "cluster of 3\ncheck 0.state >= leader", `f:2:15: ">=" needs a number before it`},
		{"number wanted", "cluster of 3\ncheck 0.term is high", `f:2:17: expected a number, found "high"`},
		{"unknown message", "cluster of 3\ndrop apend", `f:2:6: expected a kind of message, found "apend"; did you mean "append"?`},
		{"unknown write", "cluster of 3\nfail votes of 1", `f:2:6: expected a kind of write, found "votes"; did you mean "vote"?`},
		{"unknown check", "cluster of 3\nexpect violation I17", `f:2:18: expected a check such as I16, found "I17"`},
		{"too much", "cluster of 3\nheal 0 to 1 now", `f:2:13: expected the end of the line, found "now"`},
		{"what cannot be set", "cluster of 3\nset 0.term to 5", `f:2:5: 0.term cannot be set; what can be: NODE.leaderTimeout`},
		{"a name that means something", "cluster of 3\nlet leader be 0", `f:2:5: "leader" cannot be a word to remember something by: it means something else`},
		{"no end of a quotation", "cluster of 3\nclient \"x", `f:2:8: the quotation mark has no end`},
		{"node out of turn", "cluster of 3\nnew raft-5", `f:2:5: expected raft-3, the next node, or client, found "raft-5"`},
		{"pinned too early", "> x", `f:1:1: expected output, and no statement before it`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Parse("f", c.text)
			text := ""
			if err != nil {
				text = err.Error()
			} else {
				text = s.Run(Options{}).Error
			}
			require.Contains(t, text, c.expected)
		})
	}
}

// What goes wrong as a scenario is played says where, and shows the world.
func TestFailures(t *testing.T) {
	for _, c := range []struct{ name, text, expected string }{
		{"a check", "cluster of 3\ncheck 0.state is leader", `f:2:1: raft-0.state is follower`},
		{"a wait", "cluster of 3\ntick until 0.term is 7 within 3", `f:2:1: not within 3 ticks: raft-0.term is 0`},
		{"a node that is down", "cluster of 3\ncrash 0\ncheck 0.term is 0", `f:3:1: raft-0 is down`},
		{"a refusal", "cluster of 3\nclient x at 0", `f:2:1: not the leader, and none is known in term 0`},
		{"a clock beyond all bounds", "cluster of 3\nset 0.clock to 1000\nset 0.clock to 1001", `f:3:1: a clock runs at 1000 percent at most`},
		{"what was to fail", "cluster of 3\ntry tick", `f:2:1: it succeeded, and was to fail`},
		{"another error", "cluster of 3\ntry client x at 0 expecting moon", `which does not contain "moon"`},
		{"no message", "cluster of 3\ndeliver append from 0 to 1", `f:2:1: no append from 0 to 1 is under way`},
		{"pinned output", "cluster of 3\nprint 0.term\n> raft-0.term is 1", `line 1 of what it prints is "raft-0.term is 0", and "raft-0.term is 1" is pinned`},
		{"a violation that does not come", "cluster of 3\nexpect violation I1", `I1 was to be broken, and is not`},
		{"no quorum", "cluster of 3\ncrash all\nwipe 1, 2\nstart all", `after the last line and healing: L1: no leader`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Parse("f", c.text)
			require.NoError(t, err)
			r := s.Run(Options{})
			require.False(t, r.Passed)
			require.Contains(t, r.Error, c.expected)
		})
	}
}

// The same text does the same, always.
func TestAScenarioIsDeterministic(t *testing.T) {
	for _, file := range files(t) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		play := func() string {
			s, err := Parse(file, string(text)+"\nprint\nprint logs")
			require.NoError(t, err)
			return s.Run(Options{Unhealed: true}).Output
		}
		require.Equal(t, play(), play(), file)
	}
}

// No text brings the parser down, and none makes it read a line otherwise than where it says.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"cluster of 3 with seed 7, leaseDrift 10 on pebble\ntick until all, 0.log.lastIndex >= 1.commit + 2 and not 0.alive within 5",
		"cluster of 5\npartition 0, 1 | others\nlet old be leader\ntry client \"add\" at old expecting no leader",
		"cluster of 1\nclient write x 1\nclient add 0 as learner and remove 0 at 0\n> pinned\ndrop next 3 append-reply from leader to a follower",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("f", text)
		if err == nil {
			for _, l := range s.Lines {
				require.NotEmpty(t, l.Text)
			}
			return
		}
		wrong, ok := err.(*Error)
		require.True(t, ok, "%T", err)
		require.Positive(t, wrong.Line)
		require.Positive(t, wrong.Column)
	})
}

package shrink

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A number is a node in one place and a value, a count or a key in another: what takes them for each other makes another
// scenario of it.
func TestNodesOfALine(t *testing.T) {
	for line, want := range map[string][]int{
		"cluster of 5 with seed 3":                  nil,
		"tick 5":                                    nil,
		"tick 1 5":                                  {1},
		"tick 1,2 5":                                {1, 2},
		"tick until 2.state is leader":              {2},
		"campaign 3":                                {3},
		"deliver 2nd last append from 0 to 4":       {0, 4},
		"deliver all among 0,1":                     {0, 1},
		"deliver all":                               nil,
		"crash 1 keeping 3":                         {1},
		"crash 1 before log":                        {1},
		"hang write of 2":                           {2},
		"fail write of 2 keeping it":                {2},
		"set 1.disk.full to true":                   {1},
		"set 1.leaderTimeout to 0":                  {1},
		"give up 0 to 1":                            {0, 1},
		"give up oldest 0 to 1":                     {0, 1},
		"client write 1 2 at 0":                     {0},
		"client cas 1 2 3 at 0":                     {0},
		"client read 1 by lease at 3":               {3},
		"client add 3 as learner and remove 1 at 0": {3, 1, 0},
		"client transfer to 2 at 1":                 {2, 1},
		"client s1 open session for 6 ticks at 2":   {2},
		"new raft-3":                                {3},
		"new raft-3 read-only from 0,1":             {3, 0, 1},
		"new client s1":                             nil,
		"partition 0,1 | 2":                         {0, 1, 2},
		"perhaps campaign 1":                        {1},
	} {
		require.Equal(t, want, nodesOf(line), line)
	}
}

func TestWithoutANode(t *testing.T) {
	require.Equal(t, []string{
		"cluster of 2 with seed 1",
		"campaign 0",
		"deliver all among 0",
		"tick 1 3",
		"client write x 2 at 1",
		"new raft-2",
	}, without([]string{
		"cluster of 3 with seed 1",
		"campaign 0",
		"deliver all among 0,1",
		"crash 1",
		"deliver append from 0 to 1",
		"tick 2 3",
		"client write x 2 at 2",
		"new raft-3",
	}, 1))
}

func TestJoinLines(t *testing.T) {
	for _, x := range []struct{ a, b, both string }{
		{"tick 1 3", "tick 1 4", "tick 1 7"},
		{"tick 3", "tick 4", "tick 7"},
		{"tick 1 3", "tick 2 4", "tick 1,2 4"},
		{"crash 1", "crash 2", "crash 1,2"},
		{"crash 1 keeping 2", "crash 2", ""},
		{"start 1", "crash 2", ""},
		{"deliver last append from 0 to 1", "deliver append from 0 to 2", "deliver all append from 0 to 1,2"},
		{"deliver append-reply from 1 to 0", "deliver append-reply from 2 to 0", "deliver all append-reply from 1,2 to 0"},
		{"deliver append from 0 to 1", "deliver append from 1 to 2", ""},
	} {
		both, ok := joinLines(x.a, x.b)
		require.Equal(t, x.both != "", ok, "%s; %s", x.a, x.b)
		if ok {
			require.Equal(t, x.both, both)
		}
	}
}

func TestNumbered(t *testing.T) {
	require.Equal(t, []string{"cluster of 3", "campaign 0", "deliver vote from 0 to 1", "new raft-3", "crash 3"},
		numbered([]string{"cluster of 3", "campaign 2", "deliver vote from 2 to 0", "new raft-3", "crash 3"}))
}

func TestValues(t *testing.T) {
	require.Equal(t, []string{"new client c1", "client c1 write x 1 at 0", "client read x by lease at 1", "client cas x 1 2 at 0", "client read stale at 1"},
		values([]string{"new client s12", "client s12 write session 812 at 0", "client read session by lease at 1", "client cas session 812 7 at 0", "client read stale at 1"}))
}

package checker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/history"
)

func leading(node string, term uint64, ms int) Observation {
	return Observation{Asked: at(ms), Time: at(ms + 1), Node: node, Role: "leader", Term: term}
}

func following(node string, term uint64, ms int) Observation {
	return Observation{Asked: at(ms), Time: at(ms + 1), Node: node, Role: "follower", Term: term}
}

// rewound is what a node says after it was wiped.
func rewound(o Observation) Observation {
	o.Wiped = 1
	return o
}

func reigned(o Observation, terms ...uint64) Observation {
	for _, term := range terms {
		o.Reigns = append(o.Reigns, Reign{Term: term, Over: true})
	}
	return o
}

func answered(op history.Op, node string, term uint64) history.Op {
	op.Node, op.Term = node, term
	return op
}

// Catches two leaders of a term, however late that comes out, and false alarms.
func TestLeaders(t *testing.T) {
	for name, c := range map[string]struct {
		evidence Evidence
		broken   string
	}{
		"nobody ever led": {Evidence{Observations: []Observation{following("n1", 1, 1)}}, ""},
		"a leader after another": {Evidence{Observations: []Observation{
			leading("n1", 1, 1), leading("n2", 2, 2), leading("n1", 1, 2), reigned(leading("n1", 3, 9), 1),
		}}, ""},
		"two at once": {Evidence{Observations: []Observation{leading("n1", 4, 1), leading("n2", 4, 50)}},
			"Term 4 had two leaders: n1 said that it was the leader at 0.002 s, and n2 said that it was the leader at 0.051 s."},
		"one told only later": {Evidence{Observations: []Observation{leading("n1", 4, 1), reigned(following("n3", 9, 90), 2, 4)}},
			"Term 4 had two leaders: n1 said that it was the leader at 0.002 s, and n3 said that it had been the leader at 0.091 s."},
		"a leader falls back": {Evidence{Observations: []Observation{leading("n1", 4, 1), following("n1", 3, 50)}},
			"n1 fell back: it said that it was the leader of term 4 at 0.002 s, and was in term 3 at 0.051 s."},
		"a leader falls back, as an answer shows": {Evidence{
			Observations: []Observation{leading("n1", 4, 1)}, Ops: []history.Op{answered(write(1, 50, 51, 1), "n1", 3)},
		}, "n1 fell back: it said that it was the leader of term 4 at 0.002 s, and was in term 3 at 0.051 s."},
		"an old answer that came late": {Evidence{Observations: []Observation{
			leading("n1", 4, 10), {Asked: at(5), Time: at(20), Node: "n1", Role: "follower", Term: 3},
		}}, ""},
		"a leader that was removed and wiped": {Evidence{Observations: []Observation{leading("n1", 4, 1), rewound(following("n1", 0, 50))}}, ""},
		"one that falls back after that": {Evidence{Observations: []Observation{rewound(leading("n1", 4, 1)), rewound(following("n1", 0, 50))}},
			"n1 fell back: it said that it was the leader of term 4 at 0.002 s, and was in term 0 at 0.051 s."},
		"silence is no term 0": {Evidence{Observations: []Observation{leading("n1", 4, 1), {Asked: at(9), Time: at(10), Node: "n1", Error: "refused"}}}, ""},
		"a deposed leader answers from its successor's term": {Evidence{
			Observations: []Observation{leading("n2", 5, 1)}, Ops: []history.Op{answered(write(1, 50, 51, 1), "n1", 5)},
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			finding := Leaders(c.evidence)
			if c.broken == "" {
				require.Empty(t, finding.Broken)
				return
			}
			require.Equal(t, []string{c.broken}, finding.Broken)
		})
	}
}

func numbered(op history.Op, revision uint64) history.Op {
	op.Revision = revision
	return op
}

func on(op history.Op, key string) history.Op {
	op.Key = key
	return op
}

// Catches nodes that contradict themselves on what stands where in the log.
func TestRevisions(t *testing.T) {
	for name, c := range map[string]struct {
		ops    []history.Op
		broken []string
	}{
		"in order": {[]history.Op{
			readNothing(1, 0, 1), numbered(write(1, 2, 3, 1), 5), numbered(read(2, 4, 5, 1), 5), numbered(cas(1, 6, 7, 1, 2), 9), numbered(read(2, 8, 9, 2), 9),
		}, nil},
		"concurrent, in either order": {[]history.Op{numbered(write(1, 1, 9, 1), 6), numbered(write(2, 1, 9, 2), 5), numbered(read(3, 2, 8, 2), 5)}, nil},
		"keys apart":                  {[]history.Op{numbered(write(1, 1, 2, 1), 6), numbered(on(write(2, 3, 4, 1), "l"), 5)}, nil},
		"none known":                  {[]history.Op{write(1, 1, 2, 1), write(1, 3, 4, 2), read(1, 5, 6, 2)}, nil},
		"two writes at one": {[]history.Op{numbered(write(1, 1, 2, 1), 5), numbered(on(write(2, 1, 2, 1), "l"), 5)}, []string{
			"Two writes have revision 5: process 1 wrote 1 through n1, 0.001 s to 0.002 s, and process 2 wrote 1 through n1, 0.001 s to 0.002 s."}},
		"a read of another": {[]history.Op{numbered(write(1, 1, 9, 1), 5), numbered(read(2, 2, 8, 1), 6)}, []string{
			"The value 1 of k has two revisions: process 1 wrote 1 through n1, 0.001 s to 0.009 s, revision 5, and process 2 read 1 through n1, 0.002 s to 0.008 s, revision 6."}},
		"two reads differ": {[]history.Op{maybeWrite(1, 1, 1), numbered(read(2, 2, 8, 1), 6), numbered(read(3, 2, 8, 1), 7)}, []string{
			"The value 1 of k has two revisions: process 2 read 1 through n1, 0.002 s to 0.008 s, revision 6, and process 3 read 1 through n1, 0.002 s to 0.008 s, revision 7."}},
		"back in time": {[]history.Op{numbered(write(1, 1, 2, 1), 5), numbered(write(1, 3, 4, 2), 4)}, []string{
			"Revisions of k go back: process 1 wrote 1 through n1, 0.001 s to 0.002 s, revision 5, and afterwards process 1 wrote 2 through n1, 0.003 s to 0.004 s, revision 4."}},
		"an acknowledged write vanishes": {[]history.Op{numbered(write(1, 1, 2, 1), 5), readNothing(1, 3, 4)}, []string{
			"Revisions of k go back: process 1 wrote 1 through n1, 0.001 s to 0.002 s, revision 5, and afterwards process 1 read nothing through n1, 0.003 s to 0.004 s, revision 0."}},
		"a refusal from the past": {[]history.Op{numbered(write(1, 1, 2, 1), 5), numbered(refusedCAS(2, 3, 4, 7, 8), 3)}, []string{
			"Revisions of k go back: process 1 wrote 1 through n1, 0.001 s to 0.002 s, revision 5, and afterwards process 2 could not change 7 to 8, for it held another value, through n1, 0.003 s to 0.004 s, revision 3."}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.broken, Revisions(c.ops).Broken)
		})
	}
}

// Catches percentiles, counts and gaps that are not what they are called.
func TestSummarise(t *testing.T) {
	var ops []history.Op
	for i := range 100 { // latencies of 1 to 100 ms, one each 100 ms from 1 s on
		ops = append(ops, read(1, 1000+100*i, 1000+100*i+i+1, 1))
	}
	ops = append(ops, write(2, 1000, 1001, 1), failed(write(2, 5000, 5001, 2)), maybeWrite(3, 1000, 3), read(4, 25_000, 25_001, 1))
	stats := Summarise(Evidence{Ops: ops, Timeline: Timeline{Load: at(1000), Quiet: at(21_000), Final: at(22_000), End: at(30_000)}})
	require.Equal(t, 104, stats.Invoked)
	require.Equal(t, 102, stats.OK)
	require.InDelta(t, 101.0/20, stats.Throughput, 0.001)
	require.Len(t, stats.Ops, 2, "no cas was invoked")
	reads := stats.Ops[0]
	require.Equal(t, history.Read, reads.F)
	require.InEpsilon(t, at(50), reads.P50, 0.03)
	require.InEpsilon(t, at(99), reads.P99, 0.03)
	require.InEpsilon(t, at(100), reads.Max, 0.01)
	require.Equal(t, OpStats{F: history.Write, Invoked: 3, OK: 1, Fail: 1, Info: 1}, OpStats{
		F: stats.Ops[1].F, Invoked: stats.Ops[1].Invoked, OK: stats.Ops[1].OK, Fail: stats.Ops[1].Fail, Info: stats.Ops[1].Info,
	})
	require.Equal(t, Span{From: at(11_000), To: at(21_000)}, stats.Gap)

	require.Equal(t, Stats{}, Summarise(Evidence{}))
	hour := write(1, 0, int(time.Hour.Milliseconds()), 1)
	require.InEpsilon(t, longestLatency, Summarise(Evidence{Ops: []history.Op{hour}}).Ops[0].Max, 0.01)
}

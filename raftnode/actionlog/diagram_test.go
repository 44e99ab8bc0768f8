package actionlog

import (
	"bytes"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/raft"
)

var update = flag.Bool("update", false, "write the golden files anew")

// scene is an election in which one vote is lost, an append, and the leader's crash.
func scene() []Action {
	var all []Action
	now := time.Duration(0)
	log := New(func() time.Duration { return now }, func(a Action) { all = append(all, a) })
	members := &raft.Configuration{Voters: []raft.NodeID{"n1", "n2", "n3"}}
	for _, id := range members.Voters {
		log.Add(Action{Kind: Start, Node: id, Configuration: members})
	}
	message := func(kind Kind, m Message, why string) {
		node := m.From
		if kind == Receive {
			node = m.To
		}
		log.Add(Action{Kind: kind, Node: node, Message: &m, Text: why})
		now += 400 * time.Microsecond
	}
	now = 500 * time.Millisecond
	log.Add(Action{Kind: Term, Node: "n1", Term: 1})
	log.Add(Action{Kind: Role, Node: "n1", Term: 1, Role: "candidate", Text: "time-out"})
	message(Send, Message{Type: "vote", From: "n1", To: "n2", ID: 1, Term: 1}, "")
	message(Send, Message{Type: "vote", From: "n1", To: "n3", ID: 2, Term: 1}, "")
	message(Lose, Message{Type: "vote", From: "n1", To: "n3", ID: 2, Term: 1}, "dropped")
	message(Receive, Message{Type: "vote", From: "n1", To: "n2", ID: 1, Term: 1}, "")
	log.Add(Action{Kind: Vote, Node: "n2", Term: 1, Vote: "n1"})
	message(Send, Message{Type: "vote-reply", From: "n2", To: "n1", ID: 1, Term: 1}, "")
	message(Receive, Message{Type: "vote-reply", From: "n2", To: "n1", ID: 1, Term: 1}, "")
	log.Add(Action{Kind: Role, Node: "n1", Term: 1, Role: "leader", Leader: "n1", Text: "vote-reply of n2"})
	for id := uint64(3); id < 6; id++ {
		message(Send, Message{Type: "heartbeat", From: "n1", To: "n2", ID: id, Term: 1}, "")
		message(Receive, Message{Type: "heartbeat", From: "n1", To: "n2", ID: id, Term: 1}, "")
	}
	log.Add(Action{Kind: Request, Node: "n1", Client: "p1", Text: "write k1 <5>"})
	message(Send, Message{Type: "append", From: "n1", To: "n2", ID: 9, Term: 1, Entries: []Run{{1, 2, 1}}}, "")
	message(Receive, Message{Type: "append", From: "n1", To: "n2", ID: 9, Term: 1, Entries: []Run{{1, 2, 1}}}, "")
	log.Add(Action{Kind: Append, Node: "n2", Term: 1, Entries: []Run{{1, 2, 1}}})
	log.Add(Action{Kind: Cut, Node: "n1", Peer: "n2"})
	log.Add(Action{Kind: Cut, Node: "n2", Peer: "n1"})
	log.Add(Action{Kind: Crash, Node: "n1", Text: "before its write was durable"})
	log.Add(Action{Kind: Violation, Text: "I1: n1 & n2 both lead term 1"})
	return all
}

// Catches what a person would no longer understand.
func TestWhatAPersonReads(t *testing.T) {
	for name, write := range map[string]func(*bytes.Buffer) error{
		"scene.svg": func(b *bytes.Buffer) error { return SVG(b, scene(), View{}) },
		"scene.mmd": func(b *bytes.Buffer) error { return Mermaid(b, scene(), View{}) },
		"scene.txt": func(b *bytes.Buffer) error { return Transcript(b, scene()) },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			require.NoError(t, write(&b))
			if *update {
				require.NoError(t, os.WriteFile("testdata/"+name, b.Bytes(), 0o644))
			}
			want, err := os.ReadFile("testdata/" + name)
			require.NoError(t, err)
			require.Equal(t, string(want), b.String())
		})
	}
}

// Catches two labels in one place, and an arrow that ends above where it begins.
func TestNothingIsDrawnOverAnother(t *testing.T) {
	l, err := newLayout(scene(), View{})
	require.NoError(t, err)
	for i, r := range l.rows {
		seen := map[int]bool{}
		for _, label := range r.labels {
			require.False(t, r.banner == "" && seen[label.gap], "row %d, gap %d", i, label.gap)
			seen[label.gap] = true
		}
	}
	for _, a := range l.arrows {
		require.True(t, a.y1 < a.y2 || a.y1 == a.y2 && (a.lost || a.half || a.kind == string(Request)), "%+v", a)
	}
}

// Catches a view that shows what was not asked for, and a name that is taken though there is nothing of it.
func TestAViewShowsWhatWasAskedFor(t *testing.T) {
	all := scene()
	for name, c := range map[string]struct {
		view View
		want int
	}{
		"all":                {View{}, len(all)},
		"by number":          {View{From: 2, To: 3}, 2},
		"by time":            {View{Until: time.Millisecond}, 3},
		"of one kind":        {View{Kinds: []Kind{Crash}}, 1},
		"without one kind":   {View{Kinds: []Kind{Start, Crash}, Without: []string{"start"}}, 1},
		"without heartbeats": {View{Without: []string{"heartbeat"}}, len(all) - 6},
		"of one node":        {View{Nodes: []raft.NodeID{"n3"}}, 2},
		"with its replies":   {View{Kinds: []Kind{Send}, Without: []string{"vote"}}, 4},
		"between some nodes": {View{Nodes: []raft.NodeID{"n2", "n3"}, Kinds: []Kind{Send, Cut}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, c.view.Check())
			require.Len(t, c.view.Of(all), c.want)
		})
	}
	require.ErrorContains(t, View{Kinds: []Kind{"elect"}}.Check(), `no kind "elect"`)
	require.ErrorContains(t, View{Without: []string{"beat"}}.Check(), `"beat"`)
	require.ErrorIs(t, SVG(&bytes.Buffer{}, all, View{From: 1000}), ErrNothing)
	require.ErrorIs(t, SVG(&bytes.Buffer{}, make([]Action, MaxDrawn+1), View{}), ErrTooMany)
}

// Catches logs that are put on different clocks, or whose numbers repeat.
func TestMergeGoesByTheMachinesClock(t *testing.T) {
	late := []Action{{Number: 1, Time: 0, Began: 2000, Kind: Start, Node: "n2"}, {Number: 2, Time: 50, Kind: Stop, Node: "n2"}}
	early := []Action{{Number: 1, Time: 0, Began: 1000, Kind: Start, Node: "n1"}, {Number: 2, Time: 1020, Kind: Stop, Node: "n1"}}
	require.Equal(t, []Action{
		{Number: 1, Time: 0, Began: 1000, Kind: Start, Node: "n1"}, {Number: 2, Time: 1000, Kind: Start, Node: "n2"},
		{Number: 3, Time: 1020, Kind: Stop, Node: "n1"}, {Number: 4, Time: 1050, Kind: Stop, Node: "n2"},
	}, Merge(late, early))
	require.Empty(t, Merge())
}

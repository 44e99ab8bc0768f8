package scenario

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// shelf keeps files in memory.
type shelf map[string]*bytes.Buffer

type kept struct{ *bytes.Buffer }

func (kept) Close() error { return nil }

func (s shelf) Create(name string) (io.WriteCloser, error) {
	s[name] = &bytes.Buffer{}
	return kept{s[name]}, nil
}

func (s shelf) Open(name string) (io.ReadCloser, error) {
	if s[name] == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(bytes.NewReader(s[name].Bytes())), nil
}

// session is one in which lines were played that all succeed.
func session(t *testing.T, lines ...string) *Session {
	s := NewSession(shelf{})
	t.Cleanup(s.Close)
	for _, l := range lines {
		do(t, s, l)
	}
	return s
}

func do(t *testing.T, s *Session, line string) string {
	t.Helper()
	output, err := s.Do(line)
	require.NoError(t, err, line)
	return output
}

// elected is a cluster with a leader and an entry.
var elected = []string{"cluster of 3", "set 2.leaderTimeout to 0", "tick until 2.state is leader", "client foo", "tick 5"}

// stale breaks I16: a leader whose followers' clocks ran ahead answers a read by lease.
var stale = []string{
	"cluster of 3 with leaseDrift 10", "tick until cluster.hasLeader", "let old be leader", "client a", "tick 6", "isolate old",
	"tick 0 30", "tick 1 30", "tick bus 3", "campaign 0", "tick bus 8", "client b at 0", "tick bus 6",
}

// everything is all that can be seen of a session.
func everything(t *testing.T, s *Session) string {
	all := do(t, s, "history") + do(t, s, "print") + do(t, s, "print logs") + do(t, s, "ls")
	for _, h := range append(s.heads(), "settings") {
		all += do(t, s, "ls "+h) + do(t, s, "ls "+h+".") + h
	}
	return all
}

// Catches a line that leaves something behind when it is undone.
func TestUndoRestoresExactly(t *testing.T) {
	for _, line := range []string{
		"tick", "tick 40", "client bar", "client bar baz", "crash leader", "crash 0,1", "isolate leader", "hold every append", "drop next 3 append",
		"let x be leader", "new client bob", "new raft-3", "set 0.leaderTimeout to 1", "set 0.disk.full to true", "campaign 0", "pause 2",
		"fail log of 2", "hang log of 2", "set settings.leaseDrift to 5", "check cluster.hasLeader", "client open session", "duplicate every message",
		"try client x at 0", "end without healing",
	} {
		t.Run(line, func(t *testing.T) {
			s := session(t, elected...)
			before := everything(t, s)
			do(t, s, line)
			undone, err := s.Undo(1)
			require.NoError(t, err)
			require.Equal(t, []string{line}, undone)
			require.Equal(t, before, everything(t, s))
			// What follows is as if it had never been.
			twin := session(t, elected...)
			for _, l := range []string{"client more", "tick 30", "crash leader", "tick 60"} {
				require.Equal(t, do(t, twin, l), do(t, s, l), l)
			}
		})
	}
}

func TestUndoSeveral(t *testing.T) {
	s := session(t, elected...)
	require.Equal(t, "undone: tick 5\nundone: client foo\n", do(t, s, "undo 2"))
	require.Equal(t, elected[:3], s.Lines())
	_, err := s.Undo(4)
	require.EqualError(t, err, "3 lines can be undone, and not 4")
	do(t, s, "undo 3")
	require.Empty(t, s.Lines())
	_, err = s.Do("undo")
	require.EqualError(t, err, "there is nothing to undo")
	do(t, s, "cluster of 5")
}

// Catches a line that failed and has changed something all the same.
func TestWhatFailsChangesNothing(t *testing.T) {
	for line, want := range map[string]string{
		"tick until 0.term is 99 within 20":   "not within 20 ticks: raft-0.term is 1",
		"crash 0,0,1,2,raft-9":                "column 15: there is no raft-9; the last is raft-2, and `new raft-3` makes the next",
		"client x at 0":                       "not the leader; the leader of term 1 is raft-2",
		"check 0.state is leader":             "raft-0.state is follower",
		"tick untli cluster.hasLeader":        `column 6: expected a number of ticks, found "untli"`,
		"tikc":                                `expected a verb or a command, found "tikc"; did you mean "tick"?`,
		"udno":                                `expected a verb or a command, found "udno"; did you mean "undo"?`,
		"set 0.leaderTimeot 3":                `column 7: nothing is called "leaderTimeot" in "0.leaderTimeot"; did you mean "leaderTimeout"?`,
		"set 0.term 3":                        "column 5: 0.term cannot be set; what can be: NODE.leaderTimeout",
		"let x be leader.trm":                 `did you mean "term"?`,
		"new client 0":                        `column 12: "0" cannot be the name of a client`,
		"tick 100000":                         "a session has 20000 ticks, and no more are left",
		"tick until 0.term is 9 within 50000": "a session has 20000 ticks, and no more are left",
		"cluster of 3":                        "there is a cluster already",
		`client "x`:                           "column 8: the quotation mark has no end",
		"> raft-0":                            "lines that pin what is printed belong into files",
		"expect violation I1":                 "a session expects nothing",
		"get 0":                               `column 5: expected a name such as leader.term, found "0"`,
		"get":                                 "column 4: expected a name such as leader.term, found the end of the line",
		"ls nobody":                           `column 4: expected a node, found "nobody"`,
		"ls followers":                        "followers are 2 nodes; one at a time",
		"ls 0.nothing":                        `column 4: nothing is called "nothing" in "0.nothing"`,
		"undo 6":                              "column 6: a number of lines must be from 1 to 5, and 6 is not",
		"undo x":                              `column 6: expected a number of lines, found "x"`,
		"help me":                             `column 6: expected a verb, a command or a topic, found "me"`,
		"load nowhere":                        "open nowhere: file does not exist",
		"save":                                "column 5: expected the name of a file, found the end of the line",
		"settle down":                         `column 8: expected the end of the line, found "down"`,
		"quit now":                            `column 6: expected the end of the line, found "now"`,
		"crash 2 before":                      "column 15: expected a kind of write, found the end of the line",
		"try tick expecting something":        "it succeeded, and was to fail",
		strings.Repeat("x", maxLine+1):        "the line has 4097 bytes; at most 4096 make sense",
	} {
		t.Run(line[:min(len(line), 30)], func(t *testing.T) {
			s := session(t, elected...)
			before := everything(t, s)
			_, err := s.Do(line)
			require.ErrorContains(t, err, want)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Positive(t, e.Line)
			require.Equal(t, before, everything(t, s))
		})
	}
}

func TestBeforeThereIsAWorld(t *testing.T) {
	s := session(t)
	for line, want := range map[string]string{
		"tick": `a scenario begins with "cluster of 3"`, "ls": "no world yet", "get 0.term": "no world yet", "settle": "no world yet",
		"save x": "there is nothing to save", "print": `begins with "cluster of 3"`,
	} {
		_, err := s.Do(line)
		require.ErrorContains(t, err, want, line)
	}
	for _, line := range []string{"help", "history", "", "  ", "# nothing"} {
		do(t, s, line)
	}
	_, err := s.Do("quit")
	require.ErrorIs(t, err, ErrQuit)
}

// Catches a session that goes on as if nothing had happened after an invariant broke, or cannot go back.
func TestAfterAViolation(t *testing.T) {
	s := session(t, stale...)
	before := everything(t, s)
	_, err := s.Do("client read by lease at old")
	require.ErrorContains(t, err, "I16 is broken: a read was answered as of entry")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.State, "raft-0  leader")
	require.Equal(t, "I16", s.Broken().Check)
	for _, line := range []string{"tick", "client x", "check cluster.hasLeader", "settle"} {
		_, err := s.Do(line)
		require.ErrorContains(t, err, "I16 is broken", line)
	}
	for _, line := range []string{"print", "ls", "ls 0", "get 0.term", "history", "help"} {
		require.NotEmpty(t, do(t, s, line))
	}
	do(t, s, "undo")
	require.Nil(t, s.Broken())
	require.Equal(t, before, everything(t, s))
	do(t, s, "tick")
}

// Catches a scenario that does not do what the session did.
func TestWhatIsSavedPasses(t *testing.T) {
	for _, c := range []struct {
		name   string
		lines  []string
		remark string
		fails  string // the last line, with an error that contains it
	}{
		{"a plain session", append(elected[:5:5], "isolate leader", "tick 60", "client bar"), "", ""},
		{"names and quotes", []string{"cluster of 3", "new client bob", "tick until cluster.hasLeader", `client bob write "a key" "#1"`, "let x be leader", "crash x"}, "", ""},
		{"a cluster alone", []string{"cluster of 1"}, "", ""},
		{"without healing", append(elected[:5:5], "end without healing"), "", ""},
		{"no convergence", append(elected[:5:5], "crash all", "wipe all"), "it does not converge after healing: L1: no leader", ""},
		{"a violation", append(stale[:len(stale):len(stale)], "client read by lease at old"), "its last line breaks I16: ", "I16 is broken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := shelf{}
			s := NewSession(files)
			defer s.Close()
			for i, l := range c.lines {
				_, err := s.Do(l)
				if i == len(c.lines)-1 && c.fails != "" {
					require.ErrorContains(t, err, c.fails)
					break
				}
				require.NoError(t, err, l)
			}
			_, err := s.Do("check 0.term is 77") // is in no file
			require.Error(t, err)
			told := do(t, s, "save it.txt What it shows")
			require.Contains(t, told, c.remark)
			saved := files["it.txt"].String()
			require.NotContains(t, saved, "77")
			sc, err := Parse("it.txt", saved)
			require.NoError(t, err)
			require.Equal(t, "What it shows", sc.Title)
			r := sc.Run(Options{})
			require.True(t, r.Passed, "%s\n%s", r.Error, saved)

			again := NewSession(files)
			defer again.Close()
			_, err = again.Do("load it.txt")
			if c.fails != "" {
				require.ErrorContains(t, err, c.fails)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, s.Lines(), again.Lines())
			require.Equal(t, everything(t, s), everything(t, again))
		})
	}
}

func TestLoad(t *testing.T) {
	for _, c := range []struct {
		name, text string
		err        string
		lines      int // afterwards; those of before where nothing changes
	}{
		{"plays", "# x\ncluster of 3\n\ntick 3\nprint cluster.time\n> cluster.time is 3\n", "", 3},
		{"makes no sense", "cluster of 3\ntikc\n", `file:2:1: expected a verb, found "tikc"; did you mean "tick"?`, len(elected)},
		{"fails", "cluster of 3\ntick 3\ncheck cluster.time is 4\ntick\n", "file:3:1: cluster.time is 3", 2},
		{"another output is pinned", "cluster of 3\nprint cluster.time\n> cluster.time is 3\n", "file:2:1: line 1 of what it prints", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := session(t, elected...)
			_, err := s.Load("file", strings.NewReader(c.text))
			if c.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.err)
			}
			require.Len(t, s.Lines(), c.lines)
		})
	}
}

func TestSettleIsOnACopy(t *testing.T) {
	s := session(t, append(elected[:5:5], "isolate leader", "tick 60", "end without healing")...)
	before := everything(t, s)
	require.Contains(t, do(t, s, "settle"), "it converges")
	require.Equal(t, before, everything(t, s))
	s = session(t, append(elected[:5:5], "crash all", "wipe all")...)
	before = everything(t, s)
	_, err := s.Do("settle")
	require.ErrorContains(t, err, "L1: no leader")
	require.Equal(t, before, everything(t, s))
}

func TestWhatALineTells(t *testing.T) {
	s := session(t, elected[:4]...)
	require.Equal(t, "raft-2  log 1..1@1 > 1..2@1\n", s.stage.changes(func() []glance { s := session(t, elected[:3]...); return s.stage.glance() }(), &s.lines[3].Line))
	told := do(t, s, "tick 5")
	require.Contains(t, told, "client  write data foo: ok\n")
	require.Contains(t, told, "data none > foo")
	require.Equal(t, "raft-2  leader > down\n", do(t, s, "crash 2"))
	require.Equal(t, "raft-0  paused\n", do(t, s, "pause 0"))
	require.Equal(t, "raft-0  no longer paused\n", do(t, s, "resume 0"))
	require.Equal(t, "raft-3  follower, term 0, log empty, commit 0, data none\n", do(t, s, "new raft-3"))
	require.Empty(t, do(t, s, "hold every append"))
}

func TestComplete(t *testing.T) {
	s := session(t, append(elected[:5:5], "new client bob", "let old be leader")...)
	for line, want := range map[string]string{
		"":                             "new tick check client try perhaps set let campaign cut isolate partition heal drop hold duplicate delay deliver release give crash start wipe pause resume fail hang flush corrupt print end help ls get undo history save load settle quit",
		"t":                            "tick try",
		"tick u":                       "until",
		"tick until le":                "leader.",
		"tick until leader.lo":         "leader.log.",
		"tick until leader.log.t":      "leader.log.terms",
		"check 0.log.":                 "0.log.firstIndex 0.log.lastIndex 0.log.lastTerm 0.log.terms 0.log.commands 0.log.1 0.log.2",
		"check leader.peers.":          "leader.peers.0. leader.peers.1.",
		"check leader.peers.0.":        "leader.peers.0.match leader.peers.0.next leader.peers.0.state leader.peers.0.inFlight",
		"check cluster.hasLeader a":    "and",
		"check 0.log.commands does no": "not",
		"set 0.":                       "0.leaderTimeout 0.clock 0.disk.",
		"set 0.disk.":                  "0.disk.full",
		"set 0.disk.full to t":         "true",
		"set settings.l":               "settings.leaseDrift",
		"client b":                     "bob",
		"client r":                     "read remove retry",
		"client read by ":              "lease follower",
		"client foo at l":              "leader learners",
		"crash o":                      "others old",
		"crash 0,":                     "0 1 2 leader follower followers candidate all voters learners others down old",
		"crash 0 k":                    "keeping",
		"crash 0 before v":             "vote",
		"drop e":                       "every",
		"drop every app":               "append append-reply",
		"drop every append f":          "from",
		"drop every append from 0 t":   "to",
		"try cr":                       "crash",
		"ls ob":                        "",
		"ls ol":                        "old.",
		"get bob.p":                    "bob.pending",
		"get bob.lastResponse.o":       "bob.lastResponse.ok",
		"help n":                       "names nodes new",
		"new ":                         "client raft-3 3",
		"partition 0 ":                 ", |",
		"let x b":                      "be",
		"print ":                       "nodes messages logs 0. 1. 2. leader. follower. old. client. bob. cluster. messages. settings.",
		"undo ":                        "",
		"nonsense ":                    "",
		`client "a `:                   "",
		"tick # t":                     "",
	} {
		begins, words := s.Complete(line)
		require.Equal(t, want, strings.Join(words, " "), line)
		require.LessOrEqual(t, begins, len(line))
	}
	_, words := NewSession(nil).Complete("c")
	require.Equal(t, []string{"cluster"}, words)
}

// Catches a word that completion offers, and the language does not take.
func TestWhatIsCompletedIsTaken(t *testing.T) {
	s := session(t, elected...)
	_, verbs := s.Complete("")
	for _, v := range verbs {
		_, ok := Help(v)
		require.True(t, ok, v)
		_, next := s.Complete(v + " ")
		for _, w := range next {
			before := len(s.Lines())
			_, err := s.Do(v + " " + w)
			if len(s.Lines()) > before {
				do(t, s, "undo")
			}
			if err != nil && !errors.Is(err, ErrQuit) {
				require.NotContains(t, err.Error(), "found "+`"`+w+`"`, "%s %s", v, w)
			}
		}
	}
}

// Catches a command that hides a verb.
func TestCommandsAreNoVerbs(t *testing.T) {
	for _, name := range directiveNames() {
		require.Nil(t, find(name), name)
	}
	for _, topic := range append(helpTopics(), "") {
		text, ok := Help(topic)
		require.True(t, ok, topic)
		require.NotEmpty(t, text)
	}
}

// Catches a line that makes the session panic, grow without bound or lie about what it remembers.
func FuzzSession(f *testing.F) {
	f.Add(strings.Join(elected, "\n"))
	f.Add(strings.Join(append(stale, "client read by lease at old", "undo", "tick"), "\n"))
	f.Add("cluster of 3\nduplicate every message\ntick 9\nduplicate all message\nundo 2\nsettle\nls 0\nhistory")
	for _, v := range Verbs() {
		f.Add(strings.Join(append(elected[:5:5], v.Example...), "\n"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := NewSession(shelf{})
		defer s.Close()
		s.stage.most = 200
		lines := strings.Split(text, "\n")
		for _, line := range lines[:min(len(lines), 20)] {
			if strings.Contains(line, "pebble") || strings.Contains(line, "0000") {
				continue // slow, and no other
			}
			before := s.Lines()
			_, _ = s.Complete(line)
			_, err := s.Do(line)
			s.stage.most = 200
			if err != nil && s.Broken() == nil && !strings.Contains(line, "load") {
				require.Equal(t, before, s.Lines(), line)
			}
		}
		if len(s.Lines()) > 0 && s.Broken() == nil {
			state := s.stage.state()
			require.NoError(t, s.replay())
			require.Equal(t, state, s.stage.state())
		}
	})
}

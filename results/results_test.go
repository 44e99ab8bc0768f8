package results

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/checker"
	"coup/history"
	"coup/nemesis"
)

var started = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func info() Info {
	return Info{
		Name: "nightly", Seed: 42, Command: []string{"coup", "verify"}, Environment: "netns", Started: started,
		Plan: []checker.Plan{{Fault: "kill-leader", Count: 1, KeepsQuorum: true}},
	}
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// record plays a run into a new folder: a register under load, one fault, a final read. The value
// that each read finds is shifted by stale.
func record(t *testing.T, stale int64) (*Run, Info) {
	t.Helper()
	i := info()
	run, err := Create(filepath.Join(t.TempDir(), "runs"), i)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, run.Close()) })
	value := int64(0)
	op := func(at int, f history.F, in history.Value, revision uint64) {
		e := history.Event{Time: ms(at), Process: 1, Type: history.Invoke, F: f, Key: "k1", Value: in, Node: "n1"}
		require.NoError(t, run.History(&e))
		e.Time, e.Type, e.Revision, e.Term = ms(at+5), history.OK, revision, 1
		if f == history.Read {
			e.Value = history.Int(value)
			if stale > 0 {
				e.Value, e.Revision = history.Int(value-stale), 0
			}
		}
		require.NoError(t, run.History(&e))
	}
	for at := 1000; at < 20_000; at += 100 {
		op(at, history.Write, history.Int(value+1), uint64(at))
		op(at+10, history.CAS, history.Pair{value + 1, value + 2}, uint64(at+1))
		value += 2
		op(at+20, history.Read, nil, uint64(at+1))
	}
	op(21_000, history.Read, nil, 19_901)
	fault := nemesis.Event{ID: 1, Fault: "kill-leader", Phase: nemesis.Install, Start: ms(8000), End: ms(8100)}
	fault.Result, fault.Targets = nemesis.ResultInstalled, []string{"n1"}
	require.NoError(t, run.Fault(fault))
	fault.Phase, fault.Start, fault.End, fault.Result = nemesis.Heal, ms(12_000), ms(12_500), nemesis.ResultHealed
	require.NoError(t, run.Fault(fault))
	require.NoError(t, run.Observation(checker.Observation{Asked: ms(900), Time: ms(901), Node: "n1", Role: "leader", Term: 1}))
	ended := started.Add(22 * time.Second)
	i.Ended = &ended
	i.Timeline = checker.Timeline{Load: ms(1000), Quiet: ms(20_500), Final: ms(20_900), End: ms(22_000)}
	require.NoError(t, run.Update(i))
	require.NoError(t, run.Flush())
	return run, i
}

func verdictOf(t *testing.T, dir string) Verdict {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, fileVerdict))
	require.NoError(t, err)
	var v Verdict
	require.NoError(t, json.Unmarshal(text, &v))
	return v
}

// Catches a part of a run that is lost on the way from the recorder through the folder to the checkers.
func TestARunIsRecordedAndChecked(t *testing.T) {
	run, i := record(t, 0)
	report, err := Check(t.Context(), run.Dir())
	require.NoError(t, err)
	require.Equal(t, checker.Pass, report.Verdict, "%v", report.Reasons)
	require.Equal(t, 571, report.Stats.Invoked)

	require.Equal(t, Verdict{1, report}, verdictOf(t, run.Dir()))
	loaded, evidence, err := Load(run.Dir())
	require.NoError(t, err)
	i.Schema = 1
	require.Equal(t, i, loaded)
	require.Equal(t, []checker.Fault{{
		ID: 1, Name: "kill-leader", Targets: []string{"n1"}, Attempt: checker.Installed, Healing: checker.Healed,
		Begun: ms(8000), From: ms(8100), To: ms(12_000), Cleared: ms(12_500),
	}}, evidence.Faults)
	require.Equal(t, []checker.Observation{{Asked: ms(900), Time: ms(901), Node: "n1", Role: "leader", Term: 1}}, evidence.Observations)

	summary := text(t, run.Dir(), fileSummary)
	for _, want := range []string{
		"# coup: pass", "nightly on netns, seed 42", "| linearizability | pass |", "| kill-leader | 1/1 | 3.9 s |",
		"| 8.0 s | kill-leader | n1 | installed | at 12.5 s |", "`coup verify`, with `--seed 42`",
	} {
		require.Contains(t, summary, want)
	}
	require.NoDirExists(t, filepath.Join(run.Dir(), dirPages))

	again, err := Check(t.Context(), run.Dir())
	require.NoError(t, err)
	require.Equal(t, report, again)
	leftovers, err := filepath.Glob(filepath.Join(run.Dir(), ".new-*"))
	require.NoError(t, err)
	require.Empty(t, leftovers)
}

func text(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	return string(data)
}

type suite struct {
	Tests    int `xml:"tests,attr"`
	Failures int `xml:"failures,attr"`
	Errors   int `xml:"errors,attr"`
	Cases    []struct {
		Name    string `xml:"name,attr"`
		Class   string `xml:"classname,attr"`
		Failure *struct {
			Type string `xml:"type,attr"`
			Text string `xml:",chardata"`
		} `xml:"failure"`
		Error *struct {
			Type string `xml:"type,attr"`
		} `xml:"error"`
	} `xml:"testcase"`
}

func junitOf(t *testing.T, dir string) suite {
	t.Helper()
	var s suite
	require.NoError(t, xml.Unmarshal([]byte(text(t, dir, fileJUnit)), &s))
	require.Len(t, s.Cases, s.Tests)
	return s
}

// Catches a violation that does not reach the reports.
func TestAViolationIsReported(t *testing.T) {
	run, _ := record(t, 2)
	report, err := Check(t.Context(), run.Dir())
	require.NoError(t, err)
	require.Equal(t, checker.Violation, report.Verdict)
	require.FileExists(t, filepath.Join(run.Dir(), dirPages, "k1.html"))
	summary := text(t, run.Dir(), fileSummary)
	require.Contains(t, summary, "# coup: violation")
	require.Contains(t, summary, "(linearizability/k1.html)")
	require.Contains(t, summary, "k1 is not linearizable.")

	junit := junitOf(t, run.Dir())
	require.Equal(t, 1, junit.Failures)
	require.Zero(t, junit.Errors)
	failed := junit.Cases[0]
	require.Equal(t, "linearizability", failed.Name)
	require.Equal(t, "coup.nightly.netns.checker", failed.Class)
	require.Equal(t, "violation", failed.Failure.Type)
	require.Contains(t, failed.Failure.Text, "Process 1 read 0 from n1 at 1.025 s, although nobody ever wrote 0 to k1.")
	fault := junit.Cases[len(junit.Cases)-1]
	require.Equal(t, "kill-leader", fault.Name)
	require.Nil(t, fault.Failure)
}

// cut takes the end off a file.
func cut(t *testing.T, dir, name string, bytes int64) {
	t.Helper()
	path := filepath.Join(dir, name)
	stat, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, stat.Size()-bytes))
}

// Catches a check that cannot read what a killed run left, or that judges it like a whole one.
func TestAKilledRunIsChecked(t *testing.T) {
	for stale, want := range []checker.Verdict{checker.Inconclusive, checker.Violation, checker.Violation} {
		run, _ := record(t, int64(stale))
		require.NoError(t, run.Update(info())) // it never came to write down how far it was
		for _, name := range []string{fileHistory, fileFaults, fileObservations} {
			cut(t, run.Dir(), name, 10)
		}
		report, err := Check(t.Context(), run.Dir())
		require.NoError(t, err)
		require.Equal(t, want, report.Verdict, "%v", report.Reasons)
		require.Equal(t, want, verdictOf(t, run.Dir()).Verdict)
		var reasons []string
		for _, r := range report.Reasons {
			require.Contains(t, []checker.Verdict{checker.Violation, checker.Inconclusive}, r.Verdict, r.Text)
			reasons = append(reasons, r.Text)
		}
		require.Contains(t, reasons, "The run was cut short during the workload; what it recorded until 21.000 s was checked.")
		require.Contains(t, reasons, "The last line of history.jsonl is cut short.")
		require.Contains(t, reasons, "The last line of faults.jsonl is cut short.")
		require.Contains(t, reasons, "The last line of nodes/status.jsonl is cut short.")
		junit := junitOf(t, run.Dir())
		require.NotZero(t, junit.Errors+junit.Failures)
	}
}

// Catches damage that passes in silence: whatever is damaged, the verdict is not pass and says where.
func TestDamageIsAFailureOfTheSuite(t *testing.T) {
	spoil := func(name, old, new string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			before := text(t, dir, name)
			after := strings.Replace(before, old, new, 1)
			require.NotEqual(t, before, after)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(after), 0o600))
		}
	}
	for name, c := range map[string]struct {
		damage func(*testing.T, string)
		want   string
	}{
		"a line of the history":    {spoil(fileHistory, `"type":"ok"`, `"type":"okay"`), "history.jsonl, line 2: unknown type \"okay\""},
		"the order of the history": {spoil(fileHistory, `"index":3`, `"index":4`), "history.jsonl, line 4: index 4, where 3 should stand"},
		"a line of the faults":     {spoil(fileFaults, `"phase":"install"`, `"face":"install"`), "faults.jsonl, line 1: json: unknown field \"face\""},
		"the sense of the faults":  {spoil(fileFaults, `"id":1`, `"id":2`), "the heal of fault 1, kill-leader, fits nothing before it"},
		"an observation":           {spoil(fileObservations, `{`, `[`), "status.jsonl, line 1"},
		"a file is missing": {func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, fileHistory)))
		}, "history.jsonl: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			run, _ := record(t, 0)
			c.damage(t, run.Dir())
			report, err := Check(t.Context(), run.Dir())
			require.NoError(t, err)
			require.Equal(t, checker.Harness, report.Verdict)
			require.Contains(t, report.Reasons[0].Text, c.want)
		})
	}
}

func TestCheckRefusesWhatIsNoRun(t *testing.T) {
	_, err := Check(t.Context(), t.TempDir())
	require.ErrorContains(t, err, "is not the folder of a run")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, fileInfo), []byte(`{"schema": 2}`), 0o600))
	_, err = Check(t.Context(), dir)
	require.ErrorContains(t, err, "schema 2; this program reads schema 1")
}

// Catches runs that overwrite each other, and a link that leads elsewhere than to the latest run.
func TestCreateMakesFoldersAndTheLink(t *testing.T) {
	root := filepath.Join(t.TempDir(), "results", "runs")
	var dirs []string
	for range 3 {
		run, err := Create(root, info())
		require.NoError(t, err)
		require.NoError(t, run.Close())
		require.NoError(t, run.Close())
		dirs = append(dirs, run.Dir())
		latest, err := filepath.EvalSymlinks(filepath.Join(root, "latest"))
		require.NoError(t, err)
		dir, err := filepath.EvalSymlinks(run.Dir())
		require.NoError(t, err)
		require.Equal(t, dir, latest)
	}
	require.Equal(t, []string{
		filepath.Join(root, "nightly", "20260504T030201Z"),
		filepath.Join(root, "nightly", "20260504T030201Z-2"),
		filepath.Join(root, "nightly", "20260504T030201Z-3"),
	}, dirs)
}

// Catches a run that starts although nothing of it could be kept, and an error that helps nobody.
func TestCreateSaysWhatToDoWhereItCannotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Create(file, info())
	require.ErrorContains(t, err, "choose another folder with --results")
	require.NotContains(t, err.Error(), "\n")
}

// Catches what a killed runner would lose beyond its last unflushed events.
func TestRecordsAreInTheFilesAtOnce(t *testing.T) {
	run, err := Create(filepath.Join(t.TempDir(), "runs"), info())
	require.NoError(t, err)
	defer run.Close()
	require.NoError(t, run.Fault(nemesis.Event{ID: 1, Fault: "pause", Phase: nemesis.Install}))
	require.NoError(t, run.Observation(checker.Observation{Node: "n1", Error: "refused"}))
	require.Contains(t, text(t, run.Dir(), fileFaults), `"fault":"pause"`)
	require.Contains(t, text(t, run.Dir(), fileObservations), `"error":"refused"`)
	e := history.Event{Time: time.Second, Type: history.Invoke, F: history.Read, Key: "k1", Node: "n1"}
	require.NoError(t, run.History(&e))
	require.Contains(t, text(t, run.Dir(), fileHistory), `"key":"k1"`)
}

func TestTableCellsHoldAnyText(t *testing.T) {
	require.Equal(t, `a \| b c`, cell("a | b\nc"))
}

// Catches figures of a recipe that get lost on the way to the verdict or to the summary, and that change the verdict.
func TestARecipeIsMeasured(t *testing.T) {
	run, i := record(t, 0)
	i.Recipe = &Recipe{Name: "growth", ElectionTimeout: 500 * time.Millisecond}
	require.NoError(t, run.Update(i))
	report, err := Check(t.Context(), run.Dir())
	require.NoError(t, err)
	require.Equal(t, checker.Pass, report.Verdict)
	require.Equal(t, "growth", report.Recipe.Name)
	require.Equal(t, 600*time.Millisecond, report.Recipe.Steps[0].Took, "100 ms to install it, 500 ms to heal it")
	require.Equal(t, report.Recipe, verdictOf(t, run.Dir()).Recipe)
	summary := text(t, run.Dir(), fileSummary)
	require.Contains(t, summary, "## The recipe growth, step by step")
	require.Contains(t, summary, "| kill-leader | 0.60s |")
	require.Contains(t, summary, "An election time-out is 500ms; no step should leave clients without an ok for more than two, 1s.")
}

package nemesis

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/cluster"
)

func spelled(faults []Fault) string {
	var all []string
	for _, f := range faults {
		all = append(all, Spell(f))
	}
	return strings.Join(all, ",")
}

// Catches a grammar that takes what it should refuse, or understands something else.
func TestChoose(t *testing.T) {
	for list, want := range map[string]string{
		"loss=5%":                           "loss=5%",
		"loss=0.05":                         "loss=5%",
		"loss=20%":                          "loss", // as it is by itself
		"rate=200/s:3":                      "rate=200/s:3",
		"delay=120ms":                       "delay=120ms",
		"half-open=refuse":                  "half-open=refuse",
		"split:2, kill-leader":              "kill-leader,split:2",
		"link,-delay,-reorder":              "loss,duplicate,corrupt,rate,slow,half-open",
		"kill:2,kill-all":                   "kill-leader:2,kill-all",
		"kill-all,kill:2":                   "kill-leader:2,kill-all",
		"leader,kill-leader":                "kill-leader,isolate-leader,pause-leader,stop-leader,remove-leader",
		"none":                              "",
		"split,split":                       "split",
		"all,-network,-process,-membership": "",
		"partition,-split:":                 "",
		"one-way,loss = 30% : 2 ":           "one-way,loss=30%:2",
	} {
		s, err := Choose(list)
		if want == "" && list != "none" {
			require.Error(t, err, list)
			continue
		}
		require.NoError(t, err, list)
		require.Equal(t, want, spelled(s.Faults()), list)
	}
	for list, problem := range map[string]string{
		"split=2":             "split takes no value: leave =2 out",
		"network=20%":         "network is a group, and takes no value",
		"loss=120%":           `loss: "120%" is not a share from 1% to 90%`,
		"loss=":               "a value is missing",
		"rate=5":              `rate: "5" is not packets a second from 1/s to 500/s`,
		"delay=1h":            `delay: "1h" is not a time from 20ms to 500ms`,
		"half-open=shut":      `half-open: "shut" is neither silence nor refuse`,
		"split:0":             "a weight is a number from 1 to 9",
		"split:many":          "a weight is a number from 1 to 9",
		"none,split":          "none goes with nothing else",
		"-none":               "none is said alone",
		"loss=5%,loss=6%":     "loss comes twice, as loss=5% and as loss=6%: leave one of them out",
		"split,-split":        "split is chosen and taken away again",
		"-split,split":        "split is taken away and chosen again",
		"-split":              "all that is chosen is taken away again",
		"all,-loss=5%":        "neither value nor weight",
		"netwrok":             `there is no fault "netwrok" (did you mean "network"?)`,
		"split,,loss":         `there is no fault ""`,
		"process,-processs:3": "neither value nor weight",
	} {
		_, err := Choose(list)
		require.ErrorContains(t, err, problem, list)
		require.NotContains(t, err.Error(), "\n")
	}
}

// Catches a plan in which a weight weighs nothing.
func TestWeightsShapeThePlan(t *testing.T) {
	s, err := Choose("kill-leader,split:3")
	require.NoError(t, err)
	count := map[string]int{}
	for _, p := range Plan(random(1), s.Faults(), Timing{End: 1000 * time.Second, Interval: time.Second}) {
		count[p.Fault]++
	}
	require.InDelta(t, 3*count["kill-leader"], count["split"], 4)
	require.Greater(t, count["kill-leader"], 200)
}

// lacking is a cluster that cannot delay.
type lacking struct{ *fake }

func (lacking) Degrades(_ context.Context, d cluster.Disturbance) error {
	if d == cluster.Delay || d == cluster.Reorder {
		return errors.New("this kernel lacks sch_netem")
	}
	return nil
}

// Catches a group that fails for one of its faults, and a fault asked for by name that is dropped in silence.
func TestAGroupMeansWhatCanBeHad(t *testing.T) {
	on := func(list string, c cluster.Cluster) ([]Fault, []LeftOut, error) {
		s, err := Choose(list)
		require.NoError(t, err)
		return s.On(c)
	}
	faults, left, err := on("link", lacking{newFake(5)})
	require.NoError(t, err)
	require.Equal(t, "loss,duplicate,corrupt,rate,slow,half-open", spelled(faults))
	require.Len(t, left, 2)
	require.Equal(t, "delay", left[0].Fault.Name())
	require.EqualError(t, left[0].Reason, "delay cannot be had in fake: this kernel lacks sch_netem")

	_, _, err = on("link,delay", lacking{newFake(5)})
	require.ErrorContains(t, err, "this kernel lacks sch_netem")
	_, _, err = on("partition", newFake(2))
	require.ErrorContains(t, err, "needs at least 3 nodes")
	faults, left, err = on("partition", newFake(3))
	require.NoError(t, err)
	require.Equal(t, "majorities-ring", left[0].Fault.Name())
	require.NotEmpty(t, faults)
	faults, left, err = on("none", newFake(3))
	require.NoError(t, err)
	require.Empty(t, faults)
	require.Empty(t, left)
}

// Catches a fault whose parameter cannot be said again as it is shown, and one that hides its default.
func TestSettingsAreSpelledAsTheyAreRead(t *testing.T) {
	for _, f := range All() {
		a, ok := f.(Adjustable)
		if !ok {
			continue
		}
		require.NotEmpty(t, a.Parameter(), f.Name())
		if a.Setting() == "" {
			continue
		}
		again, err := a.With(a.Setting())
		require.NoError(t, err, f.Name())
		require.Equal(t, a.Setting(), again.(Adjustable).Setting())
	}
}

// Whatever is typed is refused in one line, or means the same when it is spelled out and read again.
func FuzzChoose(f *testing.F) {
	for _, seed := range []string{"all", "none", "network,-loss", "loss=20%:2", "split:2", "rate=7/s", "delay=50ms", "half-open=silence", "loss=1e-2", "loss=NaN", " , ", "-", "=", ":"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		s, err := Choose(list)
		if err != nil {
			require.Empty(t, s.Faults())
			require.NotContains(t, err.Error(), "\n")
			return
		}
		if len(s.Faults()) == 0 {
			return
		}
		again, err := Choose(spelled(s.Faults()))
		require.NoError(t, err, spelled(s.Faults()))
		require.Equal(t, spelled(s.Faults()), spelled(again.Faults()))
	})
}

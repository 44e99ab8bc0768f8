package nemesis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A schedule holds what was done to the cluster, and nothing that was not.
func TestScheduleOfEvents(t *testing.T) {
	seed := uint64(7)
	event := func(id int, fault string, phase Phase, start time.Duration, result Result) Event {
		return Event{ID: id, Seed: &seed, Fault: fault, Phase: phase, Start: start, End: start + time.Second, Outcome: Outcome{Result: result}}
	}
	plan, err := Schedule([]Event{
		event(1, "split", Install, 5*time.Second, ResultInstalled),
		event(1, "split", Heal, 9*time.Second, ResultHealed),
		event(2, "kill-leader", Install, 12*time.Second, ResultSkipped),
		event(3, "one-way", Install, 15*time.Second, ResultIndeterminate),
		event(3, "one-way", Heal, 19*time.Second, ResultHealed),
		event(4, "split", Install, 25*time.Second, ResultInstalled),
	}, 2*time.Second, time.Minute)
	require.NoError(t, err)
	require.Equal(t, []Planned{
		{ID: 1, Seed: 7, Fault: "split", At: 3 * time.Second, HealAt: 7 * time.Second},
		{ID: 3, Seed: 7, Fault: "one-way", At: 13 * time.Second, HealAt: 17 * time.Second},
		{ID: 4, Seed: 7, Fault: "split", At: 23 * time.Second, HealAt: time.Minute},
	}, plan)
}

package seams

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"coup/raftnode/faultfs"
)

// stopped is a clock of which the test moves the true time.
func stopped() (c *Clock, pass func(time.Duration)) {
	var now time.Duration
	return &Clock{tick: 10 * time.Millisecond, now: func() time.Duration { return now }}, func(d time.Duration) { now += d }
}

// Would catch ticks that fall, ticks that are lost or counted twice when faults come and go, and a clock that is not
// healed.
func TestClock(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name         string
		faults       ClockFaults
		during       []int // ticks 50 ms, 100 ms, ... after it was set at 100 ms
		healed       int   // ticks 100 ms after it was healed at 300 ms
		healedOffset time.Duration
	}{
		{"nothing", ClockFaults{}, []int{15, 20, 25, 30}, 40, 0},
		{"forwards", ClockFaults{Jump: time.Second}, []int{115, 120, 125, 130}, 140, time.Second},
		{"backwards", ClockFaults{Jump: -120 * ms}, []int{10, 10, 13, 18}, 28, -120 * ms},
		{"far backwards", ClockFaults{Jump: -time.Hour}, []int{10, 10, 10, 10}, 20, -200 * ms},
		{"fast", ClockFaults{Rate: 4}, []int{30, 50, 70, 90}, 100, 600 * ms},
		{"slow", ClockFaults{Rate: 0.1}, []int{10, 11, 11, 12}, 22, -180 * ms},
		{"strobe", ClockFaults{Strobe: 80 * ms, Period: 50 * ms}, []int{23, 23, 33, 33}, 43, 30 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock, pass := stopped()
			ticks, stop := clock.Ticks()
			defer stop()
			pass(100 * ms)
			require.Equal(t, 10, ticks.Passed())
			require.NoError(t, clock.Set(c.faults))
			for _, want := range c.during {
				pass(50 * ms)
				require.Equal(t, want, ticks.Passed())
			}
			require.Equal(t, c.faults, clock.Report().Faults)
			require.NoError(t, clock.Set(ClockFaults{}))
			pass(100 * ms)
			require.Equal(t, c.healed, ticks.Passed())
			require.InDelta(t, c.healedOffset, clock.Report().Offset, float64(clock.tick))
		})
	}
	clock, _ := stopped()
	for _, wrong := range []ClockFaults{{Rate: -1}, {Rate: 1e9}, {Strobe: time.Second}, {Strobe: -1, Period: 1}} {
		require.Error(t, clock.Set(wrong))
	}
}

// Would catch a control that does nothing, or takes what it does not understand for no fault at all.
func TestControl(t *testing.T) {
	fs, disk := faultfs.NewBreakable(vfs.NewMem(), func(string) {})
	clock, _ := stopped()
	server := httptest.NewServer(Handler(disk, clock))
	defer server.Close()
	ask := func(method, path, body string) (int, Report) {
		request, err := http.NewRequest(method, server.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		response, err := server.Client().Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		data, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		var r Report
		if response.StatusCode == http.StatusOK {
			require.NoError(t, json.Unmarshal(data, &r))
		}
		return response.StatusCode, r
	}
	code, r := ask(http.MethodPut, "/faults/disk", `{"write_fails":true}`)
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, faultfs.Faults{WriteFails: true}, r.Disk.Faults)
	_, err := fs.Create("a", vfs.WriteCategoryUnspecified)
	require.Error(t, err)
	code, r = ask(http.MethodPut, "/faults/clock", `{"jump_ns":3000000000}`)
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, 3*time.Second, r.Clock.Offset)
	require.Equal(t, 300, r.Clock.Ticks)
	for _, c := range []struct{ method, path, body string }{
		{http.MethodPut, "/faults/disk", `{"wrote_fails":true}`},
		{http.MethodPut, "/faults/disk", `{}{}`},
		{http.MethodPut, "/faults/disk", ``},
		{http.MethodPut, "/faults/clock", `{"rate":-1}`},
		{http.MethodPut, "/faults/clock", `{"rate":` + strings.Repeat("1", maxBody) + `}`},
	} {
		code, _ = ask(c.method, c.path, c.body)
		require.Equal(t, http.StatusBadRequest, code, c.body)
	}
	code, r = ask(http.MethodGet, "/faults", "")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, faultfs.Faults{WriteFails: true}, r.Disk.Faults, "what was refused changed nothing")
	require.EqualValues(t, 1, r.Disk.Counts.WritesFailed)
	_, r = ask(http.MethodPut, "/faults/disk", `{}`)
	require.Zero(t, r.Disk.Faults)
}

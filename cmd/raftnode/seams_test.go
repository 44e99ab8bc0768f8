package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/raftnode/faultfs"
	"coup/raftnode/seams"
)

// withSeams has a node take orders to break.
const withSeams = "--unsafe-fault-seams"

// breakPart breaks a node's "disk" or "clock", or heals it, and tells how both stand then.
func (n *node) breakPart(t testing.TB, part string, faults any) (r seams.Report) {
	t.Helper()
	body, err := json.Marshal(faults)
	require.NoError(t, err)
	return n.askSeams(t, http.MethodPut, "/"+part, body)
}

func (n *node) askSeams(t testing.TB, method, path string, body []byte) (r seams.Report) {
	t.Helper()
	request, err := http.NewRequest(method, "http://"+n.host+":4100"+seams.Prefix+path, bytes.NewReader(body))
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.NoError(t, json.NewDecoder(response.Body).Decode(&r))
	return r
}

// ended waits until the node has ended by itself, and tells how.
func (n *node) ended(t testing.TB) *exec.ExitError {
	t.Helper()
	done := make(chan error, 1)
	process := n.process
	go func() { done <- process.Wait() }()
	select {
	case err := <-done:
		n.process = nil
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		return exit
	case <-time.After(30 * time.Second):
		t.Fatal("it lives on")
		return nil
	}
}

// Would catch a seam that is there in a node that nobody asked to have one.
func TestNoSeamsUnlessAskedFor(t *testing.T) {
	for _, arguments := range [][]string{nil, {"--unsafe-lose-unsynced"}} {
		cluster := startCluster(t, 1, arguments...)
		cluster.leader(t, "")
		n := cluster.nodes["n1"]
		for _, ask := range []struct{ method, path, body string }{
			{http.MethodGet, "/faults", ""},
			{http.MethodPut, "/faults/disk", `{"sync_fails":true}`},
			{http.MethodPut, "/faults/clock", `{"jump_ns":1}`},
		} {
			request, err := http.NewRequest(ask.method, "http://"+n.host+":4100"+ask.path, bytes.NewReader([]byte(ask.body)))
			require.NoError(t, err)
			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
			require.Equal(t, http.StatusNotFound, response.StatusCode, ask.path)
		}
		_, err := cluster.client.Write(t.Context(), "n1", "k", "v")
		require.NoError(t, err)
		require.NotContains(t, n.log(t), "can break the disk")
	}
}

// A leader whose disk fails ends, says why, and has lied to nobody: what was acknowledged is there, the others go on, and
// on a disk that is whole again it comes back.
func TestLeaderWithABrokenDiskEnds(t *testing.T) {
	room, seed := int64(2000), uint64(7)
	for _, c := range []struct {
		name   string
		faults faultfs.Faults
		signal syscall.Signal
		says   string
	}{
		{"a failed fsync", faultfs.Faults{SyncFails: true}, 0, "injected: fsync of"},
		{"a failed write", faultfs.Faults{WriteFails: true}, 0, "injected: write to"},
		{"a full disk", faultfs.Faults{Room: &room}, 0, "no space left on device"},
		{"a torn write", faultfs.Faults{Tear: &seed}, syscall.SIGKILL, "injected: torn write"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cluster := startCluster(t, 3, withSeams)
			ctx := t.Context()
			first := cluster.leader(t, "")
			_, err := cluster.client.Write(ctx, first, "k", "before")
			require.NoError(t, err)
			n := cluster.nodes[first]
			require.Contains(t, n.log(t), "can break the disk")
			n.breakPart(t, "disk", c.faults)
			written := 0
			for err == nil && written < 1000 {
				if _, err = cluster.client.Write(ctx, first, "k", fmt.Sprint(written)); err == nil {
					written++
				}
			}
			require.Error(t, err, "the node takes writes that it cannot keep")
			exit := n.ended(t)
			status := exit.Sys().(syscall.WaitStatus)
			if c.signal != 0 {
				require.Equal(t, c.signal, status.Signal())
			} else {
				require.Equal(t, exitFailure, status.ExitStatus(), n.log(t))
			}
			require.Contains(t, n.log(t), c.says)
			// Only a disk that is not full yet takes some.
			require.Equal(t, c.faults.Room != nil, written > 0)

			second := cluster.leader(t, first)
			_, err = cluster.client.Write(ctx, second, "k", "after")
			require.NoError(t, err)
			n.start(t)
			eventually(t, func() bool {
				stale, err := cluster.client.Stale(ctx, first, "k")
				return err == nil && stale.Value == "after"
			})
		})
	}
}

// A full disk that is not full any more before anything was refused has cost nothing.
func TestFullDiskThatIsEmptiedInTime(t *testing.T) {
	cluster := startCluster(t, 1, withSeams)
	leader := cluster.leader(t, "")
	room := int64(1 << 20)
	n := cluster.nodes[leader]
	n.breakPart(t, "disk", faultfs.Faults{Room: &room})
	_, err := cluster.client.Write(t.Context(), leader, "k", "v")
	require.NoError(t, err)
	r := n.breakPart(t, "disk", faultfs.Faults{})
	require.Zero(t, r.Disk.Counts.BytesRefused)
	_, err = cluster.client.Write(t.Context(), leader, "k", "w")
	require.NoError(t, err)
}

// A leader whose fsync hangs takes nothing in and sends no heartbeats: it must not stay leader, or nobody could write. When
// the fsync ends it follows, with nothing lost.
func TestLeaderWithAHangingDiskIsReplaced(t *testing.T) {
	cluster := startCluster(t, 3, withSeams)
	ctx := t.Context()
	first := cluster.leader(t, "")
	n := cluster.nodes[first]
	n.breakPart(t, "disk", faultfs.Faults{SyncTakes: time.Hour})
	hanging := make(chan error, 1)
	go func() {
		_, err := cluster.client.Write(ctx, first, "k", "hangs")
		hanging <- err
	}()
	eventually(t, func() bool {
		return n.askSeams(t, http.MethodGet, "", nil).Disk.Counts.SyncsWaiting > 0
	})
	second := cluster.leader(t, first)
	_, err := cluster.client.Write(ctx, second, "l", "goes on")
	require.NoError(t, err)
	<-hanging // its fate is the client's time-out or an answer; the log says which
	r := n.breakPart(t, "disk", faultfs.Faults{})
	require.Positive(t, r.Disk.Counts.SyncsDelayed)
	eventually(t, func() bool {
		stale, err := cluster.client.Stale(ctx, first, "l")
		return err == nil && stale.Value == "goes on"
	})
	_, err = cluster.client.Write(ctx, cluster.leader(t, ""), "l", "whole")
	require.NoError(t, err)
	require.NotContains(t, n.log(t), "stops at once")
}

// A node's clock is what it is told. A follower whose clock runs fast or jumps campaigns, and where the others hear their
// leader it deposes nobody; a leader whose clock stands still sends no heartbeats, and is deposed.
func TestClockOfANodeGoesWrong(t *testing.T) {
	cluster := startCluster(t, 3, withSeams)
	ctx := t.Context()
	first := cluster.leader(t, "")
	before, err := cluster.client.Status(ctx, first)
	require.NoError(t, err)
	for id, n := range cluster.nodes {
		if id != first {
			r := n.breakPart(t, "clock", seams.ClockFaults{Jump: time.Minute, Rate: 20})
			require.GreaterOrEqual(t, r.Clock.Offset, time.Minute)
			break
		}
	}
	for i := range 20 {
		_, err := cluster.client.Write(ctx, first, "k", fmt.Sprint(i))
		require.NoError(t, err)
	}
	after, err := cluster.client.Status(ctx, first)
	require.NoError(t, err)
	require.Equal(t, "leader", string(after.Role))
	require.Equal(t, before.Term, after.Term)

	n := cluster.nodes[first]
	n.breakPart(t, "clock", seams.ClockFaults{Rate: 0.001})
	second := cluster.leader(t, first)
	_, err = cluster.client.Write(ctx, second, "k", "deposed")
	require.NoError(t, err)
	n.breakPart(t, "clock", seams.ClockFaults{})
	eventually(t, func() bool {
		s, err := cluster.client.Status(ctx, first)
		return err == nil && s.Term > before.Term && s.Role == "follower"
	})
}

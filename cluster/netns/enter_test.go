package netns

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/cluster"
)

// actVariable makes the test binary act as a command that enters.
const actVariable = "COUP_NETNS_TEST"

// act is such a command: outside it enters; inside it plays its role.
func act(role string) int {
	if !Inside() {
		code, err := Enter()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 99
		}
		return code
	}
	switch role {
	case "exit":
		return 42
	case "signal":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
		fmt.Println("ready")
		fmt.Println((<-signals).String())
		return 3
	case "cluster":
		c, err := Start(context.Background(), cluster.Options{
			Nodes: 1, Binary: os.Getenv("NODE"), Dir: os.Getenv("DIR"), NodeArguments: []string{"--extra", os.Getenv("MARK")},
		})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("ready", c.(*local).temp)
		select {}
	}
	return 98
}

func actor(role string, environment ...string) *exec.Cmd {
	c := exec.Command("/proc/self/exe")
	c.Env = append(append(os.Environ(), actVariable+"="+role), environment...)
	c.Stderr = os.Stderr
	return c
}

// Catches an exit code, and with it a verdict, that is lost on the way out.
func TestEnterReturnsTheExitCode(t *testing.T) {
	needNamespaces(t)
	err := actor("exit").Run()
	var failed *exec.ExitError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, 42, failed.ExitCode())
}

// Catches a signal to the command that never reaches the run inside.
func TestEnterForwardsSignals(t *testing.T) {
	needNamespaces(t)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		c := actor("signal")
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		lines := bufio.NewScanner(out)
		require.True(t, lines.Scan())
		require.NoError(t, c.Process.Signal(s))
		require.True(t, lines.Scan())
		require.Equal(t, s.String(), lines.Text())
		require.Error(t, c.Wait())
		require.Equal(t, 3, c.ProcessState.ExitCode())
	}
}

// Catches nodes that outlive a command killed by SIGKILL, and leavings that Clean does not find or
// takes from a run that is alive.
func TestNothingOutlivesTheCommand(t *testing.T) {
	needNamespaces(t)
	node := buildNode(t)
	t.Setenv("TMPDIR", t.TempDir()) // what other runs left is none of this test's business
	mark := fmt.Sprintf("mark-%d-%d", os.Getpid(), time.Now().UnixNano())
	c := actor("cluster", "NODE="+node, "DIR="+t.TempDir(), "MARK="+mark)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	temp, ok := strings.CutPrefix(lines.Text(), "ready ")
	require.True(t, ok, lines.Text())
	require.Eventually(t, func() bool { return alive(mark) }, 10*time.Second, 10*time.Millisecond)

	removed, err := Clean(t.Context())
	require.NoError(t, err)
	require.NotContains(t, removed, temp)
	require.DirExists(t, temp)

	require.NoError(t, c.Process.Kill())
	require.Error(t, c.Wait())
	require.Eventually(t, func() bool { return !alive(mark) }, 10*time.Second, 10*time.Millisecond, "a node outlives its command")
	removed, err = Clean(t.Context())
	require.NoError(t, err)
	require.Contains(t, removed, temp)
	require.NoDirExists(t, temp)
}

// alive says whether a process runs whose command line holds the mark.
func alive(mark string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if line, err := os.ReadFile(file); err == nil && bytes.Contains(line, []byte(mark)) {
			return true
		}
	}
	return false
}

// Catches an environment that is reported usable though the trial failed, and the other way round.
func TestCapabilities(t *testing.T) {
	needNamespaces(t)
	names := map[string]bool{}
	for _, c := range Capabilities(t.Context()) {
		names[c.Name] = c.OK
		require.NotEmpty(t, c.Detail)
		require.Equal(t, c.OK, c.Remedy == "", c.Name)
	}
	require.NoError(t, Available(t.Context()))
	for _, name := range []string{"namespaces", "links", "nf_tables"} {
		require.True(t, names[name], name)
	}
	require.Contains(t, names, "sch_netem")
}

// Catches a cluster started where its processes would outlive the run.
func TestStartOutside(t *testing.T) {
	saved := owner
	owner = nil
	defer func() { owner = saved }()
	_, err := Start(t.Context(), cluster.Options{Nodes: 1})
	require.ErrorIs(t, err, ErrOutside)
}

// Catches process states that are read from a stranger where /proc is the machine's own: pids
// there are others than in our PID namespace.
func TestProcDirOfAnOuterProc(t *testing.T) {
	proc := t.TempDir()
	add := func(outer int, nspid, namespace string) {
		dir := filepath.Join(proc, strconv.Itoa(outer))
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "ns"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "status"), []byte("Name:\tx\nNSpid:\t"+nspid+"\n"), 0o644))
		require.NoError(t, os.Symlink(namespace, filepath.Join(dir, "ns/pid")))
	}
	add(700, "700\t1", "pid:[2]")
	add(801, "801\t7", "pid:[3]")
	add(901, "901\t7", "pid:[2]")
	add(7, "7", "pid:[1]")
	require.NoError(t, os.Symlink("700", filepath.Join(proc, "self")))

	dir, err := procDir(proc, 7)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(proc, "901"), dir)
	_, err = procDir(proc, 8)
	require.ErrorIs(t, err, os.ErrNotExist)
}

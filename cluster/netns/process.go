package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"coup/cluster"
)

// process is one life of a node.
type process struct {
	cmd     *exec.Cmd
	killed  atomic.Bool   // we sent SIGKILL
	stopped atomic.Bool   // we sent SIGTERM
	done    chan struct{} // closed when it has ended and was reaped
}

// startProcess starts cmd in the namespace, in a process group of its own, and calls died if it
// ends otherwise than by kill, or by stop with code 0.
func startProcess(ns *namespace, cmd *exec.Cmd, died func(*os.ProcessState)) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := ns.do(cmd.Start); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		killed := p.killed.Load() && status.Signaled() && status.Signal() == syscall.SIGKILL
		stopped := p.stopped.Load() && status.Exited() && status.ExitStatus() == 0
		if !killed && !stopped {
			died(cmd.ProcessState)
		}
	}()
	return p, nil
}

func (p *process) dead() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends it by SIGKILL and returns when it is gone.
func (p *process) kill(ctx context.Context) error {
	p.killed.Store(true)
	return p.end(ctx, syscall.SIGKILL)
}

// stop ends it by SIGTERM and returns when it is gone.
func (p *process) stop(ctx context.Context) error {
	p.stopped.Store(true)
	if err := p.end(ctx, syscall.SIGTERM); err != nil {
		return err
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("told to stop, it ended otherwise: %v", p.cmd.ProcessState)
	}
	return nil
}

// end sends it a signal that should end it, and returns when it is gone.
func (p *process) end(ctx context.Context, signal syscall.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("it was sent the signal %q, but it lives: %w", signal, ctx.Err())
	}
}

// freeze stops it, or lets it go on, and returns when that shows.
func (p *process) freeze(ctx context.Context, stop bool) error {
	signal, want := syscall.SIGCONT, "running"
	if stop {
		signal, want = syscall.SIGSTOP, "paused"
	}
	if err := p.cmd.Process.Signal(signal); err != nil {
		return err
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := p.state()
		if err != nil {
			return err
		}
		if now.State == want {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return os.ErrProcessDone
		case <-ctx.Done():
			return fmt.Errorf("it is %s and not %s: %w", now.State, want, ctx.Err())
		}
	}
}

func (p *process) state() (cluster.ProcessState, error) {
	if p.dead() {
		return cluster.ProcessState{State: "dead"}, nil
	}
	pid := p.cmd.Process.Pid
	letter, err := stateOf(pid)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESRCH), letter == 'Z', letter == 'X':
		return cluster.ProcessState{State: "dead"}, nil
	case err != nil:
		return cluster.ProcessState{}, err
	case letter == 'T':
		return cluster.ProcessState{State: "paused", PID: pid}, nil
	}
	return cluster.ProcessState{State: "running", PID: pid}, nil
}

// stateOf is the state letter of /proc/<pid>/stat.
func stateOf(pid int) (byte, error) {
	dir, err := procDir("/proc", pid)
	if err != nil {
		return 0, err
	}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0, err
	}
	// The command's name, in brackets, may hold anything.
	rest := bytes.TrimLeft(stat[bytes.LastIndexByte(stat, ')')+1:], " ")
	if len(rest) == 0 {
		return 0, fmt.Errorf("state of process %d: /proc tells too little", pid)
	}
	return rest[0], nil
}

// procDir is where proc shows the process that has this pid in our PID namespace. When proc is of
// an outer namespace, pids differ there; each process's status names all that it has.
func procDir(proc string, pid int) (string, error) {
	self, err := os.Readlink(filepath.Join(proc, "self"))
	if err != nil {
		return "", err
	}
	if self == strconv.Itoa(os.Getpid()) {
		return filepath.Join(proc, strconv.Itoa(pid)), nil
	}
	here, err := os.Readlink(filepath.Join(proc, "self/ns/pid"))
	if err != nil {
		return "", err
	}
	dirs, err := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	if err != nil {
		return "", err
	}
	for _, dir := range dirs {
		status, err := os.ReadFile(filepath.Join(dir, "status"))
		if err != nil || innermostPID(string(status)) != pid {
			continue
		}
		if there, err := os.Readlink(filepath.Join(dir, "ns/pid")); err == nil && there == here {
			return dir, nil
		}
	}
	return "", fs.ErrNotExist
}

// innermostPID is the last pid in the NSpid line of a /proc/<pid>/status.
func innermostPID(status string) int {
	for line := range strings.Lines(status) {
		if pids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(pids)
			if len(fields) > 0 {
				pid, _ := strconv.Atoi(fields[len(fields)-1])
				return pid
			}
		}
	}
	return 0
}

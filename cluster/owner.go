package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Owner is the process that answers for what a run has made. Its start time tells it from a later
// process with the same pid, and its namespace from one that counts pids apart.
type Owner struct {
	PID       int
	Started   uint64 // clock ticks since the machine booted
	Namespace uint64 // of its pid
}

// Self is the calling process as the owner.
func Self() (Owner, error) {
	started, err := startTime(os.Getpid())
	if err != nil {
		return Owner{}, err
	}
	namespace, err := pidNamespace()
	return Owner{PID: os.Getpid(), Started: started, Namespace: namespace}, err
}

// ParseOwner reads what String wrote.
func ParseOwner(s string) (Owner, error) {
	fields := strings.Split(s, "-")
	if len(fields) != 3 {
		return Owner{}, fmt.Errorf("%q names no process", s)
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil || pid <= 0 {
		return Owner{}, fmt.Errorf("%q names no process", s)
	}
	started, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return Owner{}, fmt.Errorf("%q names no process", s)
	}
	namespace, err := strconv.ParseUint(fields[2], 10, 64)
	if err != nil {
		return Owner{}, fmt.Errorf("%q names no process", s)
	}
	return Owner{PID: pid, Started: started, Namespace: namespace}, nil
}

// String is "<pid>-<start time>-<namespace>", fit for file names and labels.
func (o Owner) String() string { return fmt.Sprintf("%d-%d-%d", o.PID, o.Started, o.Namespace) }

// Alive says whether the process runs on this machine. When it cannot tell, it says yes: so of a
// process in another PID namespace, whose pids mean nothing in this one.
func (o Owner) Alive() bool {
	if here, err := pidNamespace(); err != nil || here != o.Namespace {
		return true
	}
	if errors.Is(syscall.Kill(o.PID, 0), syscall.ESRCH) {
		return false
	}
	started, err := startTime(o.PID)
	return err != nil || started == o.Started
}

// pidNamespace is the number of this process's PID namespace.
func pidNamespace() (uint64, error) {
	var stat syscall.Stat_t
	if err := syscall.Stat("/proc/self/ns/pid", &stat); err != nil {
		return 0, fmt.Errorf("PID namespace: %w", err)
	}
	return stat.Ino, nil
}

func startTime(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("start time of process %d: %w", pid, err)
	}
	// The command's name, in brackets, may hold anything; field 22 is the 20th after it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("start time of process %d: /proc tells too little", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

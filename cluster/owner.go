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
// process with the same pid.
type Owner struct {
	PID     int
	Started uint64 // clock ticks since the machine booted
}

// Self is the calling process as the owner.
func Self() (Owner, error) {
	started, err := startTime(os.Getpid())
	return Owner{PID: os.Getpid(), Started: started}, err
}

// ParseOwner reads what String wrote.
func ParseOwner(s string) (Owner, error) {
	pid, started, _ := strings.Cut(s, "-")
	p, err := strconv.Atoi(pid)
	if err != nil || p <= 0 {
		return Owner{}, fmt.Errorf("%q names no process", s)
	}
	t, err := strconv.ParseUint(started, 10, 64)
	if err != nil {
		return Owner{}, fmt.Errorf("%q names no process", s)
	}
	return Owner{PID: p, Started: t}, nil
}

// String is "<pid>-<start time>", fit for file names and labels.
func (o Owner) String() string { return fmt.Sprintf("%d-%d", o.PID, o.Started) }

// Alive says whether the process runs on this machine. When it cannot tell, it says yes.
func (o Owner) Alive() bool {
	if errors.Is(syscall.Kill(o.PID, 0), syscall.ESRCH) {
		return false
	}
	started, err := startTime(o.PID)
	return err != nil || started == o.Started
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

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// clockTick is the unit of processor time in /proc, the same on all Linux machines that Go runs on.
const clockTick = 10 * time.Millisecond

// processorTime is what a process has used so far, in user and in kernel mode.
func processorTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything. Fields 14 and 15, counted from the pid, follow.
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q is too short", pid, b)
	}
	var sum time.Duration
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		sum += time.Duration(ticks) * clockTick
	}
	return sum, nil
}

// residentSet is a process's memory, in bytes, files that it maps included; own is what is in no file of that.
func residentSet(pid int) (all, own int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, 0, err
	}
	var size, resident, shared int64
	if _, err := fmt.Sscan(string(b), &size, &resident, &shared); err != nil {
		return 0, 0, fmt.Errorf("/proc/%d/statm: %w", pid, err)
	}
	page := int64(os.Getpagesize())
	return resident * page, (resident - shared) * page, nil
}

// processorTime is that of all nodes together.
func (c *cluster) processorTime() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range c.pids() {
		used, err := processorTime(pid)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

func (c *cluster) pids() []int {
	var pids []int
	for _, n := range c.nodes {
		if n.command != nil {
			pids = append(pids, n.command.Process.Pid)
		}
	}
	return pids
}

// memory is what nodes held at most, in bytes.
type memory struct {
	node int64 // one of them
	own  int64 // likewise, without the files that it maps
	sum  int64 // all, at one time
}

func (m memory) or(other memory) memory {
	return memory{max(m.node, other.node), max(m.own, other.own), max(m.sum, other.sum)}
}

func (c *cluster) memory() (memory, error) {
	var m memory
	for _, pid := range c.pids() {
		rss, own, err := residentSet(pid)
		if err != nil {
			return memory{}, err
		}
		m.node = max(m.node, rss)
		m.own = max(m.own, own)
		m.sum += rss
	}
	return m, nil
}

// memoryInterval is how often memory is looked at.
const memoryInterval = 200 * time.Millisecond

// watchMemory looks at the nodes' memory until peak is called, which tells the most there was.
func (c *cluster) watchMemory() (peak func() (memory, error)) {
	var most memory
	var failed error
	done := make(chan struct{})
	var watching sync.WaitGroup
	look := func() bool {
		var now memory
		now, failed = c.memory()
		most = most.or(now)
		return failed == nil
	}
	watching.Go(func() {
		ticker := time.NewTicker(memoryInterval)
		defer ticker.Stop()
		for look() {
			select {
			case <-ticker.C:
			case <-done:
				look()
				return
			}
		}
	})
	return func() (memory, error) {
		close(done)
		watching.Wait()
		return most, failed
	}
}

package page

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine tells what the figures were measured on; dir is where the nodes' data was.
func Machine(dir string) (string, error) {
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return "", fmt.Errorf("ask for the kernel's version: %w", err)
	}
	fsync, err := measureFsync(dir)
	if err != nil {
		return "", fmt.Errorf("measure fsync: %w", err)
	}
	return fmt.Sprintf("%s, %d CPUs, Linux %s, fsync of 4 KiB takes %s (median of %d)",
		CPU(), runtime.NumCPU(), unix.ByteSliceToString(uname.Release[:]), fsync.Round(time.Microsecond), fsyncs), nil
}

// CPU is the processor's name.
func CPU() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return runtime.GOARCH
}

// fsyncs is how many are measured.
const fsyncs = 101

// measureFsync is the median time of appending 4 KiB to a file and syncing it.
func measureFsync(dir string) (time.Duration, error) {
	file, err := os.CreateTemp(dir, "coup-fsync-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	block := make([]byte, 4096)
	var took []time.Duration
	for range fsyncs {
		begun := time.Now()
		if _, err := file.Write(block); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

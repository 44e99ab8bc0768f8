package packet

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// checksums tells what a network namespace has dropped for a wrong checksum.
type checksums struct{ counters *os.File }

// openChecksums opens the calling thread's network namespace.
func openChecksums() *checksums {
	// Without it damage cannot be seen, and nothing else needs it.
	counters, _ := os.Open("/proc/thread-self/net/netstat")
	return &checksums{counters}
}

func (c *checksums) close() {
	if c.counters != nil {
		_ = c.counters.Close()
	}
}

// wrong is how many packets the namespace has dropped because the checksum of their header was wrong.
func (c *checksums) wrong() (int, error) {
	if c.counters == nil {
		return 0, errors.New("the kernel's counters, /proc/net/netstat, cannot be read here")
	}
	if _, err := c.counters.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	text, err := io.ReadAll(c.counters)
	if err != nil {
		return 0, fmt.Errorf("read the kernel's counters: %w", err)
	}
	// Each protocol has a line of names and then one of figures.
	var names []string
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] != "IpExt:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		at := slices.Index(names, "InCsumErrors")
		if at < 0 || at >= len(fields) {
			break
		}
		n, err := strconv.Atoi(fields[at])
		if err != nil {
			return 0, fmt.Errorf("read the kernel's counters: %w", err)
		}
		return n, nil
	}
	return 0, errors.New("the kernel does not count wrong checksums")
}

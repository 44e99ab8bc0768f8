//go:build !linux

package bus

import "syscall"

// setUserTimeout does nothing where the kernel cannot; the bus's own time-outs remain.
func setUserTimeout(_, _ string, _ syscall.RawConn) error { return nil }

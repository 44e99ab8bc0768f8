// Package netns runs a cluster as plain processes, each in a network namespace of its own, joined
// by a bridge, all inside namespaces that the run makes for itself. It needs Linux with user
// namespaces, or root, and nothing installed.
//
// The command re-executes itself as pid 1 of new namespaces (Enter) and starts the cluster in there
// (Start). However that process ends, the kernel ends the nodes and takes back the networks.
package netns

import (
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"coup/cluster"
)

// ErrOutside says that Start was called in a process that Enter did not make.
var ErrOutside = errors.New("netns: not inside the run's namespaces")

// variable tells a re-executed process what it is for.
const (
	variable = "COUP_NETNS"
	forCheck = "check" // otherwise the owner of the run
)

// owner is the process outside that called Enter; nil outside.
var owner *cluster.Owner

// Init must be the first thing that main (and TestMain) does. It returns at once, unless this
// process is one that this package re-executed: then it first finishes the set-up of its
// namespaces, or, in a process made only to try something, tries it and exits.
func Init() {
	purpose := os.Getenv(variable)
	if purpose == "" || os.Getpid() != 1 {
		return
	}
	os.Unsetenv(variable)
	if purpose == forCheck {
		os.Exit(check(os.Stdout))
	}
	if err := settle(purpose); err != nil {
		fmt.Fprintf(os.Stderr, "netns: %v\n", err)
		os.Exit(255)
	}
}

// Inside says whether this process is pid 1 of namespaces that Enter made.
func Inside() bool { return owner != nil }

func settle(purpose string) error {
	o, err := cluster.ParseOwner(purpose)
	if err != nil {
		return err
	}
	// Where a fresh /proc is not permitted the machine's own serves; see process.go.
	_ = mountProc()
	if err := loopbackUp(); err != nil {
		return err
	}
	// Stopping it would stop the clock of a run but not its nodes.
	signal.Ignore(unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU)
	owner = &o
	return nil
}

func mountProc() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"coup/cluster"
)

// Enter runs this very command line again in new namespaces, with the same standard streams and
// terminal, forwards SIGINT, SIGTERM and SIGHUP to it, and returns its exit code. Everything in
// there dies with this process, however it ends.
func Enter() (code int, err error) {
	self, err := cluster.Self()
	if err != nil {
		return 0, err
	}
	// The kernel kills the child when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	terminal := openTerminal()
	defer terminal.takeBack()

	child, err := startInside(self.String(), func(c *exec.Cmd) {
		c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
		terminal.giveTo(c)
	})
	if err != nil {
		return 0, err
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-signals:
				_ = child.Process.Signal(s)
			case <-done:
				return
			}
		}
	}()
	err = child.Wait()
	if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) {
		return 0, fmt.Errorf("netns: wait for the command inside: %w", err)
	}
	if status := child.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return child.ProcessState.ExitCode(), nil
}

// startInside starts this executable with its arguments as pid 1 of new namespaces, in a process
// group of its own, for that purpose.
func startInside(purpose string, prepare func(*exec.Cmd)) (*exec.Cmd, error) {
	var failures []error
	for _, in := range identities() {
		c := exec.Command("/proc/self/exe")
		c.Args = os.Args
		c.Env = append(os.Environ(), variable+"="+purpose)
		c.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  in.flags | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
			UidMappings: in.users,
			GidMappings: in.groups,
			Pdeathsig:   syscall.SIGKILL,
			Setpgid:     true,
		}
		prepare(c)
		err := c.Start()
		if err == nil {
			return c, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", in.name, err))
	}
	return nil, fmt.Errorf("netns: make namespaces: %w", errors.Join(failures...))
}

// identity is a way of being allowed to make the other namespaces.
type identity struct {
	name          string
	flags         uintptr
	users, groups []syscall.SysProcIDMap
}

// identities are the ways to try, best first. Root keeps every id that it has, so that in there it
// may write where it may write outside.
func identities() []identity {
	user, group := os.Geteuid(), os.Getegid()
	alone := identity{
		name: "user namespace", flags: unix.CLONE_NEWUSER,
		users:  []syscall.SysProcIDMap{{ContainerID: 0, HostID: user, Size: 1}},
		groups: []syscall.SysProcIDMap{{ContainerID: 0, HostID: group, Size: 1}},
	}
	if user != 0 {
		return []identity{alone}
	}
	full := identity{name: "user namespace with all ids", flags: unix.CLONE_NEWUSER}
	full.users, full.groups = everyID("/proc/self/uid_map"), everyID("/proc/self/gid_map")
	return []identity{full, alone, {name: "as root"}}
}

// everyID maps each id of this user namespace to itself.
func everyID(path string) (all []syscall.SysProcIDMap) {
	extents, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(extents)) {
		var inside, outside, size int
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err == nil {
			all = append(all, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: size})
		}
	}
	return all
}

// terminal is the controlling terminal while this process is in its foreground. The child's process
// group takes the foreground, so that each Ctrl-C reaches it once, and never the nodes.
type terminal struct{ file *os.File }

func openTerminal() terminal {
	file, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return terminal{}
	}
	group, err := unix.IoctlGetInt(int(file.Fd()), unix.TIOCGPGRP)
	if err != nil || group != unix.Getpgrp() {
		_ = file.Close()
		return terminal{}
	}
	// A process group in the background is stopped when it touches the terminal's foreground.
	signal.Ignore(unix.SIGTTOU)
	return terminal{file: file}
}

func (t terminal) giveTo(c *exec.Cmd) {
	if t.file != nil {
		c.SysProcAttr.Foreground = true
		c.SysProcAttr.Ctty = int(t.file.Fd())
	}
}

func (t terminal) takeBack() {
	if t.file != nil {
		_ = unix.IoctlSetPointerInt(int(t.file.Fd()), unix.TIOCSPGRP, unix.Getpgrp())
		signal.Reset(unix.SIGTTOU)
		_ = t.file.Close()
	}
}

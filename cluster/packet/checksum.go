package packet

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// checksums has a network namespace's interfaces compute the checksums of what they send. Virtual interfaces leave them
// out, and whoever receives believes such a packet unseen: one that was damaged on the way would reach the process, as
// no network of flesh and blood would have it. Not safe for concurrent use.
type checksums struct {
	netlink *netlink.Handle
	socket  int
	snmp    *os.File // of the namespace
	peers   []netip.Addr
	changed []string // interfaces that compute because of us
}

// openChecksums opens the calling thread's network namespace.
func openChecksums() (*checksums, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		handle.Close()
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	// Without it damage cannot be seen, and nothing else needs it.
	snmp, _ := os.Open("/proc/thread-self/net/snmp")
	return &checksums{netlink: handle, socket: socket, snmp: snmp}, nil
}

func (c *checksums) close() error {
	c.netlink.Close()
	if c.snmp != nil {
		_ = c.snmp.Close()
	}
	return unix.Close(c.socket)
}

// compute has checksums computed for as long as one of the peers needs it.
func (c *checksums) compute(peers []netip.Addr) error {
	if _, err := c.wrong(); err != nil {
		return err
	}
	for _, p := range peers {
		if slices.Contains(c.peers, p) {
			return fmt.Errorf("checksums for %s: they are computed already", p)
		}
	}
	if len(c.peers) == 0 {
		links, err := c.netlink.LinkList()
		if err != nil {
			return fmt.Errorf("list the interfaces: %w", err)
		}
		for _, link := range links {
			name := link.Attrs().Name
			if link.Attrs().Flags&net.FlagLoopback != 0 {
				continue
			}
			if offloads, err := c.offload(name, ethtoolGetTxChecksum, 0); err != nil || offloads == 0 {
				continue // it never leaves them out
			}
			if _, err := c.offload(name, ethtoolSetTxChecksum, 0); err != nil {
				return errors.Join(fmt.Errorf("have %s compute checksums: %w", name, err), c.revert())
			}
			c.changed = append(c.changed, name)
		}
	}
	c.peers = append(c.peers, peers...)
	return nil
}

// leave takes that back for the peers.
func (c *checksums) leave(peers []netip.Addr) error {
	for _, p := range peers {
		if !slices.Contains(c.peers, p) {
			return fmt.Errorf("checksums for %s: they are not computed", p)
		}
	}
	c.peers = slices.DeleteFunc(c.peers, func(p netip.Addr) bool { return slices.Contains(peers, p) })
	if len(c.peers) > 0 {
		return nil
	}
	return c.revert()
}

func (c *checksums) revert() error {
	var failures []error
	for _, name := range c.changed {
		_, err := c.offload(name, ethtoolSetTxChecksum, 1)
		failures = append(failures, err)
	}
	c.changed = nil
	return errors.Join(failures...)
}

const (
	ethtoolGetTxChecksum = 0x16
	ethtoolSetTxChecksum = 0x17
)

// offload asks, or tells, an interface whether it leaves checksums out.
func (c *checksums) offload(name string, command, value uint32) (uint32, error) {
	setting := struct{ command, value uint32 }{command, value}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&setting)}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return 0, errno
	}
	return setting.value, nil
}

// wrong is how many TCP segments and UDP datagrams the namespace has dropped for a wrong checksum.
func (c *checksums) wrong() (total int, err error) {
	if c.snmp == nil {
		return 0, errors.New("the kernel's counters, /proc/net/snmp, cannot be read here")
	}
	if _, err := c.snmp.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	text, err := io.ReadAll(c.snmp)
	if err != nil {
		return 0, fmt.Errorf("read the kernel's counters: %w", err)
	}
	// Each protocol has a line of names and then one of figures.
	var names []string
	found := 0
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] != "Tcp:" && fields[0] != "Udp:" {
			continue
		}
		if len(names) == 0 {
			names = fields
			continue
		}
		if at := slices.Index(names, "InCsumErrors"); at > 0 && at < len(fields) {
			n, err := strconv.Atoi(fields[at])
			if err != nil {
				return 0, fmt.Errorf("read the kernel's counters: %w", err)
			}
			total += n
			found++
		}
		names = nil
	}
	if found < 2 {
		return 0, errors.New("the kernel does not count wrong checksums")
	}
	return total, nil
}

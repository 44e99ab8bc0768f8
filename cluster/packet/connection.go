package packet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"coup/cluster"
)

// talkPatience is how long an echo may take. On a whole link it needs well under a millisecond.
const talkPatience = 300 * time.Millisecond

// connections answers those of other agents with what they say, and keeps its own to them.
type connections struct {
	namespace *os.File
	inode     uint64 // of the namespace
	listener  net.Listener
	group     sync.WaitGroup

	mu       sync.Mutex
	accepted map[net.Conn]bool
	standing map[netip.Addr]*standing
	closed   bool
}

// standing is a connection that is kept.
type standing struct {
	mu   sync.Mutex
	conn net.Conn
	word uint64 // the last that was sent
}

// openConnections listens in the calling thread's network namespace.
func openConnections() (*connections, error) {
	namespace, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open the network namespace: %w", err)
	}
	c := &connections{namespace: namespace, accepted: map[net.Conn]bool{}, standing: map[netip.Addr]*standing{}}
	if c.inode, err = here(); err == nil {
		c.listener, err = net.Listen("tcp4", fmt.Sprintf(":%d", ProbePort))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for connections: %w", err), namespace.Close())
	}
	c.group.Go(c.accept)
	return c, nil
}

func (c *connections) close() error {
	c.mu.Lock()
	c.closed = true
	err := errors.Join(c.listener.Close(), c.namespace.Close())
	for conn := range c.accepted {
		_ = conn.Close()
	}
	for _, s := range c.standing {
		_ = s.conn.Close()
	}
	c.mu.Unlock()
	c.group.Wait()
	return err
}

func (c *connections) accept() {
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		if c.closed {
			_ = conn.Close()
		} else {
			c.accepted[conn] = true
			c.group.Go(func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
				c.mu.Lock()
				defer c.mu.Unlock()
				delete(c.accepted, conn)
			})
		}
		c.mu.Unlock()
	}
}

// dial connects from within the namespace.
func (c *connections) dial(ctx context.Context, to netip.Addr) (conn net.Conn, err error) {
	dialer := net.Dialer{Timeout: talkPatience}
	dial := func() { conn, err = dialer.DialContext(ctx, "tcp4", netip.AddrPortFrom(to, ProbePort).String()) }
	if inode, failure := here(); failure == nil && inode == c.inode {
		dial()
		return conn, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err = unix.Setns(int(c.namespace.Fd()), unix.CLONE_NEWNET); err == nil {
			dial()
		}
	}()
	<-done
	return conn, err
}

// here is the number of the calling thread's network namespace.
func here() (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &stat); err != nil {
		return 0, fmt.Errorf("network namespace: %w", err)
	}
	return stat.Ino, nil
}

// stand has a connection stand, if none does.
func (c *connections) stand(ctx context.Context, to netip.Addr) error {
	c.mu.Lock()
	s := c.standing[to]
	c.mu.Unlock()
	if s != nil {
		if s.talk() == cluster.Carries {
			return nil
		}
		_ = s.conn.Close()
	}
	conn, err := c.dial(ctx, to)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", to, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.Join(net.ErrClosed, conn.Close())
	}
	c.standing[to] = &standing{conn: conn}
	return nil
}

func (c *connections) talk(ctx context.Context, to netip.Addr, fresh bool) (cluster.Passage, error) {
	if fresh {
		conn, err := c.dial(ctx, to)
		if err != nil {
			return passage(err), ctx.Err()
		}
		defer conn.Close()
		return (&standing{conn: conn}).talk(), nil
	}
	c.mu.Lock()
	s := c.standing[to]
	c.mu.Unlock()
	if s == nil {
		return "", fmt.Errorf("talk to %s: no connection stands", to)
	}
	return s.talk(), nil
}

// talk sends a word and waits for it to come back. Words of earlier attempts may come first.
func (s *standing) talk() cluster.Passage {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.word++
	err := s.conn.SetDeadline(time.Now().Add(talkPatience))
	if err == nil {
		_, err = s.conn.Write(binary.BigEndian.AppendUint64(nil, s.word))
	}
	for err == nil {
		var word [8]byte
		if _, err = io.ReadFull(s.conn, word[:]); err == nil && binary.BigEndian.Uint64(word[:]) == s.word {
			return cluster.Carries
		}
	}
	return passage(err)
}

// passage is what an error says of a connection.
func passage(err error) cluster.Passage {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() && !errors.Is(err, syscall.ECONNREFUSED) {
		return cluster.Silent
	}
	return cluster.Refused
}

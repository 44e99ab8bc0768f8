package actionlog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The bounds of a Stream.
const (
	streamQueue    = 16384       // actions that wait for the disk
	streamFlushes  = time.Second // the longest that an action stays in memory while the disk is quick
	streamPatience = time.Second // Close waits so long for a disk that is not
)

// Stream writes a real node's actions to a file as they happen. It never keeps the node waiting: what a slow disk has no
// room for is dropped, counted, and told of by a note. Its methods may be called by any goroutine.
type Stream struct {
	file  *os.File
	queue chan Action
	ended chan error

	mu      sync.Mutex
	log     *Log
	began   int64 // until the first action has told it
	dropped uint64
	closed  bool
}

// OpenStream goes on with a file, or makes it and its folder. A line that an earlier process was killed about is removed.
func OpenStream(path string) (*Stream, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := toLastLine(file); err != nil {
		return nil, errors.Join(fmt.Errorf("going on with %s: %w", path, err), file.Close())
	}
	return newStream(file, file), nil
}

func newStream(file *os.File, out io.Writer) *Stream {
	began := time.Now()
	s := &Stream{file: file, queue: make(chan Action, streamQueue), ended: make(chan error, 1), began: began.UnixNano()}
	s.log = New(func() time.Duration { return time.Since(began) }, s.enqueue)
	go s.write(out)
	return s
}

// toLastLine truncates a file behind its last whole line, and goes there.
func toLastLine(file *os.File) error {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	piece := make([]byte, 64<<10)
	for end > 0 {
		start := max(0, end-int64(len(piece)))
		part := piece[:end-start]
		if _, err := file.ReadAt(part, start); err != nil {
			return err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			end = start + int64(i) + 1
			break
		}
		end = start
	}
	if err := file.Truncate(end); err != nil {
		return err
	}
	_, err = file.Seek(end, io.SeekStart)
	return err
}

// Tell takes an action that happens now. After Close it does nothing.
func (s *Stream) Tell(a Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if s.dropped > 0 && len(s.queue) < cap(s.queue)/2 {
		s.log.Add(s.droppedNote())
		s.dropped = 0
	}
	s.log.Add(a)
}

func (s *Stream) droppedNote() Action {
	return Action{Kind: Note, Text: fmt.Sprintf("%d actions are missing: the disk was too slow", s.dropped)}
}

// enqueue is the log's sink.
func (s *Stream) enqueue(a Action) {
	a.Began = s.began
	select {
	case s.queue <- a:
		s.began = 0
	default:
		s.dropped++
	}
}

// write is the one goroutine that waits for the disk. Where nothing waits for it, all is handed to the system, so that
// a killed process loses little.
func (s *Stream) write(out io.Writer) {
	buffer := bufio.NewWriterSize(out, 64<<10)
	lines := NewWriter(buffer)
	var failure error
	flushed := time.Now()
	for a := range s.queue {
		if failure != nil {
			continue
		}
		failure = lines.Write(a)
		if failure == nil && (len(s.queue) == 0 || time.Since(flushed) >= streamFlushes) {
			failure = buffer.Flush()
			flushed = time.Now()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped > 0 && failure == nil {
		s.log.sink = func(a Action) { failure = lines.Write(a) }
		s.log.Add(s.droppedNote())
	}
	if failure == nil {
		failure = buffer.Flush()
	}
	s.ended <- failure
}

// Close writes out what waits, and closes the file. Its error is the first that writing met.
func (s *Stream) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.queue)
	s.mu.Unlock()
	patience := time.NewTimer(streamPatience)
	defer patience.Stop()
	select {
	case err := <-s.ended:
		return errors.Join(err, s.file.Close())
	case <-patience.C:
		return fmt.Errorf("the action log is not written out within %v", streamPatience)
	}
}

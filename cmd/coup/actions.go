package main

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"

	"coup/raftnode/actionlog"
)

// actionFile keeps the action log of a simulated run in its folder.
type actionFile struct {
	file   *os.File
	buffer *bufio.Writer
	lines  *actionlog.Writer
	err    error // the first
}

// open makes the file in a run's folder.
func (f *actionFile) open(dir string) (err error) {
	if f.file, err = os.Create(filepath.Join(dir, "actions.ndjson")); err != nil {
		return err
	}
	f.buffer = bufio.NewWriterSize(f.file, 1<<20)
	f.lines = actionlog.NewWriter(f.buffer)
	return nil
}

func (f *actionFile) tell(a actionlog.Action) {
	if f.err == nil {
		f.err = f.lines.Write(a)
	}
}

// close writes all out. Nothing is open where the run never came to its world.
func (f *actionFile) close() error {
	if f.file == nil {
		return nil
	}
	return errors.Join(f.err, f.buffer.Flush(), f.file.Close())
}

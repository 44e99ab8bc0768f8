package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"coup/raftnode/raft"
	"coup/raftnode/wire"
)

// identityFile holds the name of the node to which a directory belongs.
const identityFile = "node-id"

// claim makes a directory a node's own. One that is another node's is refused: what that one promised, this one would
// break.
func claim(disk vfs.FS, dir string, id raft.NodeID) error {
	name := disk.PathJoin(dir, identityFile)
	f, err := disk.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return sign(disk, dir, name, id)
	}
	if err != nil {
		return fmt.Errorf("whose directory %s is: %w", dir, err)
	}
	defer f.Close()
	owner, err := io.ReadAll(io.LimitReader(f, wire.MaxNodeID+1))
	switch {
	case err != nil:
		return fmt.Errorf("whose directory %s is: %w", dir, err)
	case len(owner) == 0:
		return sign(disk, dir, name, id) // an earlier version's first start ended before it was written
	case string(owner) != string(id):
		return fmt.Errorf("%s is the directory of %s, and this node is to be %s", dir, owner, id)
	}
	return nil
}

// sign writes the name whole or not at all: half of it would be another's.
func sign(disk vfs.FS, dir, name string, id raft.NodeID) error {
	f, err := disk.Create(name+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("claiming %s: %w", dir, err)
	}
	_, err = f.Write([]byte(id))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = disk.Rename(name+".new", name)
	}
	if err != nil {
		return fmt.Errorf("claiming %s: %w", dir, err)
	}
	d, err := disk.OpenDir(dir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return fmt.Errorf("claiming %s: %w", dir, err)
	}
	return nil
}

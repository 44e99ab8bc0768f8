package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"coup/raftnode/fsm"
	"coup/raftnode/raft"
	"coup/raftnode/store"
)

func newDump() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "dump --data DIR",
		Short: "Print what a stopped node has on its disk, as JSON lines",
		Long: `dump prints what a stopped node has on its disk, verified, as JSON lines: one with its term,
vote, the base of its log and its snapshots, then one for each entry. The store's engine recovers its files when it
opens them, as a start of the node would: dump a copy where the bytes themselves are evidence.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return errors.New("--data: name the directory of the log")
			}
			if err := dump(cmd.OutOrStdout(), dir); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "data", "", "the node's directory")
	return c
}

// dumpedState is the first line of a dump.
type dumpedState struct {
	Term     uint64          `json:"term"`
	Vote     raft.NodeID     `json:"vote"`
	Joined   uint64          `json:"joined,omitempty"`
	Base     dumpedBase      `json:"base"`
	Last     uint64          `json:"last"`               // index of the last entry
	Snapshot *dumpedSnapshot `json:"snapshot,omitempty"` // the latest
	Received *dumpedReceived `json:"received,omitempty"` // what has come of one that is not whole
}

type dumpedSnapshot struct {
	dumpedBase
	Chunks          uint64 `json:"chunks"`
	ContentChecksum uint32 `json:"content_checksum"`
}

type dumpedReceived struct {
	Snapshot dumpedSnapshot `json:"snapshot"`
	Next     uint64         `json:"next"`     // number of the chunk wanted next
	Checksum uint32         `json:"checksum"` // cumulative, of the chunks before it
}

type dumpedBase struct {
	Index         uint64             `json:"index"`
	Term          uint64             `json:"term"`
	Checksum      uint32             `json:"checksum"`
	Configuration raft.Configuration `json:"configuration"`
}

// dumpedEntry is each further line.
type dumpedEntry struct {
	Index    uint64         `json:"index"`
	Term     uint64         `json:"term"`
	Type     string         `json:"type"`
	Checksum uint32         `json:"checksum"` // cumulative
	Command  *dumpedCommand `json:"command,omitempty"`
	Data     []byte         `json:"data,omitempty"` // where it is no command, in base64
}

// dumpedCommand has the fields that its operation uses.
type dumpedCommand struct {
	Op       string  `json:"op"`
	Key      *string `json:"key,omitempty"`
	Expect   *string `json:"expect,omitempty"`
	Value    *string `json:"value,omitempty"`
	Session  uint64  `json:"session,omitempty"`
	Sequence uint64  `json:"sequence,omitempty"`
	Acked    uint64  `json:"acked,omitempty"`
	TTL      *uint64 `json:"ttl_ms,omitempty"`
	Now      *uint64 `json:"now_ms,omitempty"`
}

// batchBytes is how much of a log is read at once.
const batchBytes = 1 << 20

func dump(w io.Writer, dir string) (err error) {
	// Opening a store would make a missing directory.
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	s, err := store.OpenPebble(dir, nil, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	state, err := s.Load()
	if err != nil {
		return err
	}
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	if err := lines.Encode(describeState(state)); err != nil {
		return err
	}
	for next := state.Base.Index + 1; next <= state.Last; {
		entries, err := s.Entries(next, state.Last+1, batchBytes)
		if err != nil {
			return err
		}
		for _, e := range entries {
			line, err := describe(e)
			if err != nil {
				return err
			}
			if err := lines.Encode(line); err != nil {
				return err
			}
		}
		next += uint64(len(entries))
	}
	return nil
}

func describeState(s raft.State) dumpedState {
	d := dumpedState{
		Term: s.HardState.Term, Vote: s.HardState.Vote, Joined: s.HardState.Joined, Base: dumpedBase(s.Base), Last: s.Last,
	}
	if s.Snapshot.Index > 0 {
		latest := describeSnapshot(s.Snapshot)
		d.Snapshot = &latest
	}
	if s.Received.Snapshot.Index > 0 {
		d.Received = &dumpedReceived{describeSnapshot(s.Received.Snapshot), s.Received.Next, s.Received.Checksum}
	}
	return d
}

func describeSnapshot(s raft.Snapshot) dumpedSnapshot {
	return dumpedSnapshot{dumpedBase(s.Base), s.Chunks, s.ContentChecksum}
}

func describe(e raft.Entry) (dumpedEntry, error) {
	line := dumpedEntry{Index: e.Index, Term: e.Term, Checksum: e.Checksum}
	switch e.Type {
	case raft.EntryNoOp:
		line.Type = "no-op"
		return line, nil
	case raft.EntryConfiguration:
		line.Type, line.Data = "configuration", e.Data
		return line, nil
	}
	c, err := fsm.Decode(e.Data)
	if err != nil {
		return dumpedEntry{}, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	line.Type = "command"
	d := &dumpedCommand{Session: c.Session, Sequence: c.Sequence, Acked: c.Acked}
	switch c.Op {
	case fsm.Write:
		d.Op, d.Key, d.Value = "write", &c.Key, &c.Value
	case fsm.CAS:
		d.Op, d.Key, d.Expect, d.Value = "cas", &c.Key, &c.Expect, &c.Value
	case fsm.Delete:
		d.Op, d.Key = "delete", &c.Key
	case fsm.OpenSession:
		d.Op, d.TTL = "open-session", &c.TTL
	case fsm.CloseSession:
		d.Op = "close-session"
	case fsm.Clock:
		d.Op, d.Now = "clock", &c.Now
	}
	line.Command = d
	return line, nil
}

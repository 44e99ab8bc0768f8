package store

import (
	"fmt"

	"coup/raftnode/raft"
)

// chain is how far a log has been followed: an entry, or the base, that all before it leads up to.
type chain struct {
	index    uint64
	term     uint64
	checksum uint32
}

func chainOf(b raft.Base) chain { return chain{b.Index, b.Term, b.Checksum} }

func chainAt(e raft.Entry) chain { return chain{e.Index, e.Term, e.Checksum} }

// next follows the log to e, or says why e cannot come next.
func (c chain) next(e raft.Entry) (chain, error) {
	switch {
	case e.Index != c.index+1:
		return c, fmt.Errorf("entry %d comes after %d", e.Index, c.index)
	case e.Term < c.term:
		return c, fmt.Errorf("entry %d has term %d, and the one before it %d", e.Index, e.Term, c.term)
	case e.Checksum != raft.NextChecksum(c.checksum, e):
		return c, fmt.Errorf("entry %d of term %d fails its checksum", e.Index, e.Term)
	}
	return chainAt(e), nil
}

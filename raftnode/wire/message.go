package wire

import "coup/raftnode/raft"

// MessageToProto is m in its network form. It does not check m; whoever receives it does.
func MessageToProto(m raft.Message) *Message {
	p := &Message{
		Type:          MessageType(m.Type),
		From:          string(m.From),
		To:            string(m.To),
		Term:          m.Term,
		Id:            m.ID,
		Index:         m.Index,
		LogTerm:       m.LogTerm,
		Checksum:      m.Checksum,
		Commit:        m.Commit,
		Reject:        m.Reject,
		ConflictTerm:  m.ConflictTerm,
		ConflictIndex: m.ConflictIndex,
		ReadRound:     m.ReadRound,
		Epoch:         m.Epoch,
		Transfer:      m.Transfer,
		Chunk:         chunkToProto(m.Chunk),
	}
	if m.Snapshot != nil {
		p.Snapshot = snapshotToProto(*m.Snapshot)
	}
	if len(m.Entries) > 0 {
		p.Entries = make([]*Entry, len(m.Entries))
		for i, e := range m.Entries {
			p.Entries[i] = entryToProto(e)
		}
	}
	return p
}

// MessageFromProto is the inverse of MessageToProto. It refuses a message that no correct node sends,
// whatever the receiver's state: an unknown type, a missing sender, a field that the type does not
// have, entries that do not follow Index, a chunk beyond its snapshot, a term that exceeds the sender's. Whether the message is
// true is for the core to say.
func MessageFromProto(p *Message) (raft.Message, error) {
	if p == nil {
		return raft.Message{}, malformed("message is missing")
	}
	if err := known(p); err != nil {
		return raft.Message{}, err
	}
	if _, ok := fieldsOf[p.Type]; !ok {
		return raft.Message{}, malformed("unknown message type %d", p.Type)
	}
	m := raft.Message{
		Type:          raft.MessageType(p.Type),
		From:          raft.NodeID(p.From),
		To:            raft.NodeID(p.To),
		Term:          p.Term,
		ID:            p.Id,
		Index:         p.Index,
		LogTerm:       p.LogTerm,
		Checksum:      p.Checksum,
		Commit:        p.Commit,
		Reject:        p.Reject,
		ConflictTerm:  p.ConflictTerm,
		ConflictIndex: p.ConflictIndex,
		ReadRound:     p.ReadRound,
		Epoch:         p.Epoch,
		Transfer:      p.Transfer,
		Chunk:         chunkFromProto(p.Chunk),
	}
	if p.Chunk != nil {
		if err := known(p.Chunk); err != nil {
			return raft.Message{}, err
		}
	}
	if p.Snapshot != nil {
		s, err := snapshotFromProto(p.Snapshot)
		if err != nil {
			return raft.Message{}, err
		}
		m.Snapshot = &s
	}
	if len(p.Entries) > 0 {
		m.Entries = make([]raft.Entry, len(p.Entries))
		for i, e := range p.Entries {
			var err error
			if m.Entries[i], err = entryFromProto(e); err != nil {
				return raft.Message{}, err
			}
		}
	}
	if err := checkMessage(m); err != nil {
		return raft.Message{}, err
	}
	return m, nil
}

// fields is a set of the fields that only some message types have.
type fields uint16

const (
	hasIndex fields = 1 << iota
	hasLogTerm
	hasChecksum
	hasEntries
	hasCommit
	hasReject
	hasConflict
	hasReadRound
	hasEpoch
	hasTransfer
	hasSnapshot
	hasChunkNumber // of the chunk wanted, or of the one that is there
	hasChunk       // its data and checksum
)

var fieldsOf = map[MessageType]fields{
	MessageType_PRE_VOTE:          hasIndex | hasLogTerm,
	MessageType_PRE_VOTE_REPLY:    hasReject,
	MessageType_VOTE:              hasIndex | hasLogTerm | hasTransfer,
	MessageType_VOTE_REPLY:        hasReject,
	MessageType_APPEND:            hasIndex | hasLogTerm | hasChecksum | hasEntries | hasCommit | hasReadRound | hasEpoch,
	MessageType_APPEND_REPLY:      hasIndex | hasReject | hasConflict | hasReadRound | hasEpoch,
	MessageType_HEARTBEAT:         hasCommit | hasReadRound | hasEpoch,
	MessageType_HEARTBEAT_REPLY:   hasReject | hasReadRound | hasEpoch,
	MessageType_SNAPSHOT:          hasSnapshot | hasChunkNumber | hasChunk | hasReadRound | hasEpoch,
	MessageType_SNAPSHOT_REPLY:    hasIndex | hasReject | hasChunkNumber | hasReadRound | hasEpoch,
	MessageType_TIMEOUT_NOW:       0,
	MessageType_TIMEOUT_NOW_REPLY: hasReject,
	MessageType_READ_INDEX:        hasReadRound,
	MessageType_READ_INDEX_REPLY:  hasIndex | hasReject | hasReadRound,
	MessageType_FETCH:             hasIndex | hasLogTerm | hasChecksum | hasSnapshot | hasChunkNumber,
	MessageType_FETCH_REPLY: hasIndex | hasLogTerm | hasChecksum | hasEntries | hasCommit | hasReject |
		hasSnapshot | hasChunkNumber | hasChunk,
}

// termless are the types that a node sends although it has never heard of a term: a voter's answer to
// the first pre-vote, and what a read-only peer, which takes part in no term, says and is told.
func termless(t raft.MessageType) bool {
	return t == raft.MsgPreVoteReply || t == raft.MsgFetch || t == raft.MsgFetchReply
}

func fieldsSet(m raft.Message) (set fields) {
	for _, f := range [...]struct {
		field fields
		isSet bool
	}{
		{hasIndex, m.Index != 0},
		{hasLogTerm, m.LogTerm != 0},
		{hasChecksum, m.Checksum != 0},
		{hasEntries, len(m.Entries) > 0},
		{hasCommit, m.Commit != 0},
		{hasReject, m.Reject},
		{hasConflict, m.ConflictTerm != 0 || m.ConflictIndex != 0},
		{hasReadRound, m.ReadRound != 0},
		{hasEpoch, m.Epoch != 0},
		{hasTransfer, m.Transfer},
		{hasSnapshot, m.Snapshot != nil},
		{hasChunkNumber, m.Chunk.Number != 0},
		{hasChunk, len(m.Chunk.Data) > 0 || m.Chunk.Checksum != 0},
	} {
		if f.isSet {
			set |= f.field
		}
	}
	return set
}

func checkMessage(m raft.Message) error {
	kind := MessageType(m.Type)
	if err := checkNodeID("sender", m.From); err != nil {
		return err
	}
	if err := checkNodeID("receiver", m.To); err != nil {
		return err
	}
	if m.From == m.To {
		return malformed("%s from %q to itself", kind, m.From)
	}
	if m.Term == 0 && !termless(m.Type) {
		return malformed("%s without a term", kind)
	}
	set := fieldsSet(m)
	if extra := set &^ fieldsOf[kind]; extra != 0 {
		return malformed("%s has fields of another type (%#b)", kind, extra)
	}
	for _, v := range [...]uint64{
		m.Term, m.Index, m.LogTerm, m.Commit, m.ConflictTerm, m.ConflictIndex, m.ReadRound, m.Epoch, m.Chunk.Number,
	} {
		if v > MaxOrdinal {
			return malformed("%s has an absurd field, %d", kind, v)
		}
	}
	if set&hasConflict != 0 && !m.Reject {
		return malformed("%s accepts and names a conflict", kind)
	}
	if set&hasEntries != 0 && m.Reject {
		return malformed("%s rejects and brings entries", kind)
	}
	if max(m.LogTerm, m.ConflictTerm) > m.Term {
		return malformed("%s of term %d knows of a later one", kind, m.Term)
	}
	if err := checkTransfer(m, set); err != nil {
		return err
	}
	if fieldsOf[kind]&hasLogTerm != 0 {
		return checkLog(m)
	}
	return nil
}

// checkTransfer checks what a message says of a snapshot.
func checkTransfer(m raft.Message, set fields) error {
	kind := MessageType(m.Type)
	switch {
	case m.Type == raft.MsgSnapshotReply:
		return nil // its number is of a snapshot that the leader knows
	case m.Snapshot == nil && m.Type == raft.MsgSnapshot:
		return malformed("%s is of none", kind)
	case m.Snapshot == nil && set&(hasChunkNumber|hasChunk) != 0:
		return malformed("%s has a chunk of no snapshot", kind)
	case m.Snapshot == nil:
		return nil
	case m.Chunk.Number >= m.Snapshot.Chunks:
		return malformed("%s has chunk %d of %d", kind, m.Chunk.Number, m.Snapshot.Chunks)
	case m.Type == raft.MsgFetch:
		return nil // the snapshot is of the upstream, and so is its term
	case m.Snapshot.Term > m.Term:
		return malformed("%s of term %d has a snapshot of term %d", kind, m.Term, m.Snapshot.Term)
	case m.Chunk.Number+1 == m.Snapshot.Chunks && m.Chunk.Checksum != m.Snapshot.ContentChecksum:
		return malformed("%s ends a content with another checksum", kind)
	case set&(hasIndex|hasLogTerm|hasChecksum|hasEntries|hasReject) != 0:
		return malformed("%s has a snapshot, and what excludes it (%#b)", kind, set)
	}
	return nil
}

// checkLog checks what a message says of its sender's log.
func checkLog(m raft.Message) error {
	if (m.Index == 0) != (m.LogTerm == 0) {
		return malformed("log at index %d has term %d", m.Index, m.LogTerm)
	}
	index, term := m.Index, m.LogTerm
	for _, e := range m.Entries {
		if e.Index != index+1 {
			return malformed("entry %d follows entry %d", e.Index, index)
		}
		if e.Term < term || e.Term > m.Term {
			return malformed("entry %d has term %d, after term %d, from a node of term %d", e.Index, e.Term, term, m.Term)
		}
		index, term = e.Index, e.Term
	}
	return nil
}

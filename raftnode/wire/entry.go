package wire

import "coup/raftnode/raft"

// MarshalEntry encodes e. It refuses what UnmarshalEntry would.
func MarshalEntry(e raft.Entry) ([]byte, error) {
	if err := CheckEntry(e); err != nil {
		return nil, err
	}
	return marshal(entryToProto(e))
}

// UnmarshalEntry is the inverse of MarshalEntry. The entry's checksum is decoded, not verified: that
// takes the entry before it.
func UnmarshalEntry(b []byte) (raft.Entry, error) {
	var p Entry
	if err := unmarshal(b, &p); err != nil {
		return raft.Entry{}, err
	}
	return entryFromProto(&p)
}

func entryToProto(e raft.Entry) *Entry {
	return &Entry{
		Index:    e.Index,
		Term:     e.Term,
		Type:     EntryType(e.Type),
		Data:     e.Data,
		Checksum: e.Checksum,
	}
}

func entryFromProto(p *Entry) (raft.Entry, error) {
	if p == nil {
		return raft.Entry{}, malformed("entry is missing")
	}
	if err := known(p); err != nil {
		return raft.Entry{}, err
	}
	if _, ok := EntryType_name[int32(p.Type)]; !ok {
		return raft.Entry{}, malformed("unknown entry type %d", p.Type)
	}
	e := raft.Entry{
		Index:    p.Index,
		Term:     p.Term,
		Type:     raft.EntryType(p.Type),
		Checksum: p.Checksum,
	}
	if len(p.Data) > 0 {
		e.Data = p.Data
	}
	return e, CheckEntry(e)
}

// CheckEntry says why e cannot be encoded; nil when it can.
func CheckEntry(e raft.Entry) error {
	if err := positive("entry index", e.Index); err != nil {
		return err
	}
	if err := positive("entry term", e.Term); err != nil {
		return err
	}
	switch e.Type {
	case raft.EntryCommand, raft.EntryConfiguration:
	case raft.EntryNoOp:
		if len(e.Data) > 0 {
			return malformed("no-op entry %d carries %d bytes", e.Index, len(e.Data))
		}
	default:
		return malformed("unknown entry type %d", e.Type)
	}
	return nil
}

func positive(what string, v uint64) error {
	if v == 0 {
		return malformed("%s is missing", what)
	}
	return believable(what, v)
}

func believable(what string, v uint64) error {
	if v > MaxOrdinal {
		return malformed("%s %d is absurd", what, v)
	}
	return nil
}

package wire

import "coup/raftnode/raft"

// MarshalSnapshot encodes what identifies a snapshot, not its content. It refuses what
// UnmarshalSnapshot would.
func MarshalSnapshot(s raft.Snapshot) ([]byte, error) {
	if err := CheckSnapshot(s); err != nil {
		return nil, err
	}
	return marshal(snapshotToProto(s))
}

// UnmarshalSnapshot is the inverse of MarshalSnapshot.
func UnmarshalSnapshot(b []byte) (raft.Snapshot, error) {
	var p Snapshot
	if err := unmarshal(b, &p); err != nil {
		return raft.Snapshot{}, err
	}
	return snapshotFromProto(&p)
}

// CheckSnapshot says why s cannot be encoded; nil when it can.
func CheckSnapshot(s raft.Snapshot) error {
	if err := positive("snapshot index", s.Index); err != nil {
		return err
	}
	if err := positive("snapshot's number of chunks", s.Chunks); err != nil {
		return err
	}
	return CheckBase(s.Base)
}

func snapshotToProto(s raft.Snapshot) *Snapshot {
	return &Snapshot{Base: baseToProto(s.Base), Chunks: s.Chunks, ContentChecksum: s.ContentChecksum}
}

func snapshotFromProto(p *Snapshot) (raft.Snapshot, error) {
	if err := known(p); err != nil {
		return raft.Snapshot{}, err
	}
	base, err := baseFromProto(p.Base)
	if err != nil {
		return raft.Snapshot{}, err
	}
	s := raft.Snapshot{Base: base, Chunks: p.Chunks, ContentChecksum: p.ContentChecksum}
	return s, CheckSnapshot(s)
}

// MarshalChunk encodes c. It refuses what UnmarshalChunk would.
func MarshalChunk(c raft.Chunk) ([]byte, error) {
	if err := CheckChunk(c); err != nil {
		return nil, err
	}
	return marshal(&Chunk{Number: c.Number, Data: c.Data, Checksum: c.Checksum})
}

// UnmarshalChunk is the inverse of MarshalChunk. The chunk's checksum is decoded, not verified: that
// takes the chunk before it.
func UnmarshalChunk(b []byte) (raft.Chunk, error) {
	var p Chunk
	if err := unmarshal(b, &p); err != nil {
		return raft.Chunk{}, err
	}
	c := chunkFromProto(&p)
	return c, CheckChunk(c)
}

// CheckChunk says why c cannot be encoded; nil when it can.
func CheckChunk(c raft.Chunk) error { return believable("chunk number", c.Number) }

// chunkToProto is nil for the zero chunk, so that a message without one does not grow.
func chunkToProto(c raft.Chunk) *Chunk {
	if c.Number == 0 && c.Checksum == 0 && len(c.Data) == 0 {
		return nil
	}
	return &Chunk{Number: c.Number, Data: c.Data, Checksum: c.Checksum}
}

func chunkFromProto(p *Chunk) raft.Chunk {
	c := raft.Chunk{Number: p.GetNumber(), Checksum: p.GetChecksum()}
	if data := p.GetData(); len(data) > 0 {
		c.Data = data
	}
	return c
}

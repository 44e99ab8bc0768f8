package wire

import "coup/raftnode/raft"

// MarshalSnapshot encodes what is known of a snapshot, without its content. It refuses what UnmarshalSnapshot would.
func MarshalSnapshot(s raft.Snapshot) ([]byte, error) {
	if err := checkSnapshot(s); err != nil {
		return nil, err
	}
	return marshal(snapshotToProto(s))
}

// UnmarshalSnapshot is the inverse of MarshalSnapshot.
func UnmarshalSnapshot(data []byte) (raft.Snapshot, error) {
	var p Snapshot
	if err := unmarshal(data, &p); err != nil {
		return raft.Snapshot{}, err
	}
	return snapshotFromProto(&p)
}

// MarshalChunk encodes a chunk.
func MarshalChunk(c raft.Chunk) ([]byte, error) { return marshal(chunkToProto(c)) }

// UnmarshalChunk is the inverse of MarshalChunk. Its checksum is decoded, not verified: that takes the
// chunk before it.
func UnmarshalChunk(data []byte) (raft.Chunk, error) {
	var p Chunk
	if err := unmarshal(data, &p); err != nil {
		return raft.Chunk{}, err
	}
	return chunkFromProto(&p)
}

func snapshotToProto(s raft.Snapshot) *Snapshot {
	return &Snapshot{Base: baseToProto(s.Base), Chunks: s.Chunks, ContentChecksum: s.ContentChecksum}
}

func snapshotFromProto(p *Snapshot) (raft.Snapshot, error) {
	if err := known(p); err != nil {
		return raft.Snapshot{}, err
	}
	if p.Base == nil {
		return raft.Snapshot{}, malformed("the snapshot's base is missing")
	}
	if err := known(p.Base); err != nil {
		return raft.Snapshot{}, err
	}
	base, err := baseFromProto(p.Base)
	if err != nil {
		return raft.Snapshot{}, err
	}
	s := raft.Snapshot{Base: base, Chunks: p.Chunks, ContentChecksum: p.ContentChecksum}
	return s, checkSnapshot(s)
}

func checkSnapshot(s raft.Snapshot) error {
	if err := positive("snapshot index", s.Index); err != nil {
		return err
	}
	if err := positive("number of chunks", s.Chunks); err != nil {
		return err
	}
	return checkBase(s.Base)
}

func chunkToProto(c raft.Chunk) *Chunk {
	return &Chunk{Number: c.Number, Data: c.Data, Checksum: c.Checksum}
}

func chunkFromProto(p *Chunk) (raft.Chunk, error) {
	if err := known(p); err != nil {
		return raft.Chunk{}, err
	}
	if err := believable("chunk number", p.Number); err != nil {
		return raft.Chunk{}, err
	}
	c := raft.Chunk{Number: p.Number, Checksum: p.Checksum}
	if len(p.Data) > 0 {
		c.Data = p.Data
	}
	return c, nil
}

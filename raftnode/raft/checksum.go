package raft

import (
	"encoding/binary"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// NextChecksum is the cumulative checksum of e, given that of the entry before it (of the base, for
// the first). It covers index, term, type and data; e.Checksum is not read.
func NextChecksum(previous uint32, e Entry) uint32 {
	var head [21]byte
	binary.BigEndian.PutUint32(head[0:], previous)
	binary.BigEndian.PutUint64(head[4:], e.Index)
	binary.BigEndian.PutUint64(head[12:], e.Term)
	head[20] = byte(e.Type)
	return crc32.Update(crc32.Update(0, castagnoli, head[:]), castagnoli, e.Data)
}

// NextContentChecksum is the cumulative checksum of a snapshot's content after one more chunk.
func NextContentChecksum(previous uint32, data []byte) uint32 {
	return crc32.Update(previous, castagnoli, data)
}

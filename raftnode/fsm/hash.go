package fsm

import (
	"encoding/binary"
	"math/bits"
)

// mix is one step of the state's hash chain. For a given word it maps different hashes to different
// hashes, so that what once differed stays different for as long as the same follows.
func mix(hash, word uint64) uint64 {
	hash = (hash ^ word) * 0x9e3779b97f4a7c15
	return bits.RotateLeft64(hash, 29) * 0xbf58476d1ce4e5b9
}

// mixBytes takes in a text and its length.
func mixBytes(hash uint64, data []byte) uint64 {
	hash = mix(hash, uint64(len(data)))
	for ; len(data) >= 8; data = data[8:] {
		hash = mix(hash, binary.LittleEndian.Uint64(data))
	}
	if len(data) > 0 {
		var rest [8]byte
		copy(rest[:], data)
		hash = mix(hash, binary.LittleEndian.Uint64(rest[:]))
	}
	return hash
}

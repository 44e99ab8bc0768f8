// Package raft is the Raft core: a deterministic machine without clock, goroutine, I/O or global
// randomness. The same inputs give the same outputs, byte for byte.
//
// A driver feeds it with Tick, Step, Propose and ReadIndex, asks Ready what must now be done, does it
// in the order that Ready states, and calls Advance. Between Ready and Advance it calls nothing else.
//
// It follows Ongaro's thesis: leader election with randomised time-outs (3.4), pre-vote (9.6),
// check-quorum and leader stickiness (6.2, 4.2.3), a no-op at election (8), commitment by counting
// entries of the current term only (3.6.2), pipelined and batched replication (10.2), ReadIndex, leases and
// reads on followers (6.4), leadership transfer (3.10), joint consensus with learners (4.2, 4.3), snapshots (5).
// Beyond it: a cumulative checksum in every entry, compared along with term and index.
//
// It imports nothing of the project but its own pure sub-packages.
package raft

// Package invariant checks what Raft promises, after every step of every node of a cluster whose nodes
// all run in one process: in the simulator and in the core's own tests. It looks at nodes and disks
// through two small interfaces and changes nothing; most steps change little, and cost little to check.
// It imports only quorum and confchange, so that the tests inside package raft can use it.
//
// The laws, and where they are stated; "paper" is Ongaro and Ousterhout, USENIX ATC 2014, "thesis"
// is Ongaro's of the same year:
//
//	I1   At most one node leads a term, over the whole history, and a quorum voted for it (paper 5.2,
//	     figure 3: election safety).
//	I2   A leader never overwrites or deletes entries of its log; it only appends (paper 5.3, figure 3).
//	I3   Logs that hold an entry of the same index and term are equal up to it (paper 5.3, figure 3).
//	I4   What was committed in a term is in the log of every leader of a later one (paper 5.4.3, figure 3).
//	I5   No two nodes commit or apply different entries at an index, and equal entries lead to equal
//	     states (paper 5.4.3, figure 3: state machine safety).
//	I6   A node's term never goes back, restarts included (paper 5.1).
//	I7   A node votes for at most one candidate in a term, restarts included (paper 5.2).
//	I8   In one life of a node commit and applied never go back; applied is at most commit, and commit
//	     at most the last index (paper figure 2).
//	I9   What a leader takes for matched never goes back within a membership of that peer, is below
//	     what it sends next, and is durable and equal at the peer (paper 5.3; thesis 10.2.1).
//	I10  A leader commits only up to an entry of its own term that a quorum of the configuration in
//	     force, both halves if it is joint, holds durably (paper 5.4.2, figure 8; thesis 4.3).
//	I11  Nothing leaves a node before what it promises is durable, and what is durable outlives a
//	     restart (paper figure 2; thesis 3.8).
//	I12  Entries are applied in order, each once, without a gap (paper 5.3, figure 2).
//	I13  A snapshot is a committed prefix: its index, term, configuration and state are what the log led
//	     to; and none is installed below what is committed (paper 7; thesis 5.1).
//	I14  A leader appends no configuration before the last one is committed; consecutive ones have
//	     intersecting quorums; the one in force is the last in log or snapshot (thesis 4.1, 4.3).
//	I15  A session's command is executed at most once, and answered alike whenever it is repeated (thesis 6.3).
//	I16  A read sees at least every commit that was acknowledged before it began (thesis 6.4).
//
// Liveness takes time, and is judged by whoever holds the clock; only the third is told from states:
//
//	L1   A healed cluster has a leader within a bounded number of election time-outs (paper 5.6; thesis 9.3).
//	L2   Every operation of a healthy quorum ends (thesis 6.3, 6.4).
//	L3   Nodes that are left alone come to the same state; see Converged (paper 5.3).
//	L4   In a stable network terms do not grow (thesis 9.6, 4.2.3).
//
// Checksums of entries are cumulative, so that logs are compared by single marks. Beside them the
// Checker remembers of each entry what came before it, so that a log whose checksums are wrong does not
// pass by the checksum of its last entry.
package invariant

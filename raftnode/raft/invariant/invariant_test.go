package invariant

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type play = func(w *cluster)

// laws has for every invariant what must be reported, and by whom, beside the nearest history that is
// legal. Each history begins with three empty nodes.
var laws = []struct {
	invariant string
	node      NodeID
	name      string
	broken    play
	legal     play
}{
	{"I1", "n2", "two nodes lead a term",
		func(w *cluster) { w.lead("n1", 1); w.lead("n2", 1) },
		func(w *cluster) { w.lead("n1", 1); w.lead("n2", 2) }},
	{"I1", "n2", "two nodes lead a term, at different times",
		func(w *cluster) { w.lead("n1", 1); w.lead("n3", 2); w.Stop("n1"); w.lead("n2", 1) },
		func(w *cluster) { w.lead("n1", 2); w.lead("n3", 3); w.Stop("n1"); w.lead("n2", 1) }},
	{"I1", "n1", "a leader leads the same term after a restart",
		func(w *cluster) { w.lead("n1", 1); w.Stop("n1"); w.start("n1"); w.lead("n1", 1) },
		func(w *cluster) { w.lead("n1", 1); w.Stop("n1"); w.start("n1"); w.lead("n1", 2) }},

	{"I2", "n1", "a leader drops an entry",
		func(w *cluster) { n := w.lead("n1", 1); n.append(1); w.step("n1"); n.cut(1); w.step("n1") },
		func(w *cluster) { n := w.lead("n1", 1); n.append(1); w.step("n1"); n.append(1); w.step("n1") }},
	{"I2", "n1", "a leader overwrites an entry that it had from before",
		func(w *cluster) {
			n := w.nodes["n1"]
			n.append(1)
			w.lead("n1", 2)
			n.cut(0)
			n.append(2)
			w.step("n1")
		},
		func(w *cluster) {
			n := w.nodes["n1"]
			n.append(1)
			w.lead("n1", 2)
			w.lead("n2", 3)
			w.copy("n2", "n1", 1, 0)
		}},

	{"I3", "n2", "one index and term, two contents",
		func(w *cluster) {
			w.lead("n1", 1)
			n := w.copy("n1", "n2", 1, 0)
			n.entries[0].Checksum++
			w.step("n2")
		},
		func(w *cluster) { w.lead("n1", 1); w.copy("n1", "n2", 1, 0); w.step("n2") }},
	{"I3", "n2", "a conflicting entry is kept below one that was appended, and the checksum hides it",
		func(w *cluster) {
			w.lead("n2", 1)
			w.lead("n1", 2).append(2)
			w.step("n1")
			n := w.nodes["n2"]
			n.leads, n.term = false, 2
			n.entries = append(n.entries, w.mark("n1", 2))
			w.step("n2")
		},
		func(w *cluster) {
			w.lead("n2", 1)
			w.lead("n1", 2).append(2)
			w.step("n1")
			w.copy("n1", "n2", 2, 0)
		}},
	{"I3", "n1", "terms fall along a log",
		func(w *cluster) { n := w.nodes["n1"]; n.term = 3; n.append(3); n.append(2); w.step("n1") },
		func(w *cluster) { n := w.nodes["n1"]; n.term = 3; n.append(2); n.append(3); w.step("n1") }},
	{"I3", "n1", "an entry is missing in the middle",
		func(w *cluster) { n := w.lead("n1", 1); n.append(1); n.append(1); n.entries[1].Index = 7; w.step("n1") },
		func(w *cluster) { n := w.lead("n1", 1); n.append(1); n.append(1); w.step("n1") }},

	{"I4", "n3", "a leader lacks what an earlier term committed",
		func(w *cluster) { w.lead("n1", 1); w.agree("n1", "n2"); w.lead("n3", 2) },
		func(w *cluster) { w.lead("n1", 1); w.agree("n1", "n2"); w.lead("n2", 2) }},
	{"I4", "n3", "a leader has another entry where an earlier term committed",
		func(w *cluster) {
			n3 := w.nodes["n3"]
			n3.term, n3.vote = 1, "n3"
			n3.append(1)
			w.step("n3")
			w.lead("n1", 2)
			w.agree("n1", "n2")
			w.lead("n3", 3)
		},
		// Its votes were on their way when a later term committed: it may lead without that, and commit nothing.
		func(w *cluster) {
			w.lead("n1", 2)
			w.agree("n1", "n2")
			w.lead("n3", 1)
		}},

	{"I5", "n1", "two nodes commit different entries",
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.lead("n2", 2)
			w.agree("n2", "n3")
			n.leads, n.term, n.commit = false, 2, 1
			w.step("n1")
		},
		func(w *cluster) {
			w.lead("n1", 1)
			w.lead("n2", 2)
			w.agree("n2", "n3")
			w.copy("n2", "n1", 1, 1)
		}},
	{"I5", "n2", "a committed entry is replaced",
		func(w *cluster) {
			w.lead("n1", 1)
			w.agree("n1", "n2")
			n := w.nodes["n2"]
			n.term = 2
			n.cut(0)
			n.append(2)
			w.step("n2")
		},
		func(w *cluster) {
			w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			n := w.nodes["n2"]
			n.term = 2
			n.cut(0)
			n.append(2)
			w.step("n2")
		}},
	{"I5", "n2", "an entry is applied that is not the committed one",
		func(w *cluster) {
			w.lead("n1", 1)
			w.agree("n1", "n2")
			w.apply("n1", 1, 1)
			w.note(w.Apply("n2", Mark{1, 1, 7}, 1001))
		},
		func(w *cluster) { w.lead("n1", 1); w.agree("n1", "n2"); w.apply("n1", 1, 1); w.apply("n2", 1, 1) }},
	{"I5", "n2", "equal entries lead to different states",
		func(w *cluster) {
			w.lead("n1", 1)
			w.agree("n1", "n2")
			w.apply("n1", 1, 1)
			w.note(w.Apply("n2", w.mark("n2", 1), 7))
		},
		// A restart applies again, to the same state.
		func(w *cluster) {
			w.lead("n1", 1)
			w.agree("n1", "n2")
			w.apply("n1", 1, 1)
			w.start("n1")
			w.nodes["n1"].commit = 1
			w.apply("n1", 1, 1)
		}},

	{"I6", "n1", "a term goes back",
		func(w *cluster) { w.nodes["n1"].term = 3; w.step("n1"); w.nodes["n1"].term = 2; w.step("n1") },
		func(w *cluster) { w.nodes["n1"].term = 3; w.step("n1"); w.nodes["n1"].term = 5; w.step("n1") }},
	{"I6", "n1", "a restart loses a term that was durable",
		func(w *cluster) { w.nodes["n1"].term = 3; w.step("n1"); w.disks["n1"].term = 2; w.start("n1") },
		// A term that was not durable may be lost.
		func(w *cluster) { w.nodes["n1"].term = 3; w.note(w.Step("n1")); w.start("n1") }},
	{"I6", "n1", "a node forgets at its start the term on its disk",
		func(w *cluster) {
			w.nodes["n1"].term = 3
			w.step("n1")
			w.Stop("n1")
			w.note(w.Start("n1", &fakeNode{first: voters("n1", "n2", "n3")}, w.disks["n1"]))
		},
		func(w *cluster) { w.nodes["n1"].term = 3; w.step("n1"); w.Stop("n1"); w.start("n1") }},

	{"I7", "n1", "a node votes twice in a term",
		func(w *cluster) {
			n := w.nodes["n1"]
			n.term, n.vote = 3, "n2"
			w.step("n1")
			n.vote = "n3"
			w.step("n1")
		},
		func(w *cluster) {
			n := w.nodes["n1"]
			n.term, n.vote = 3, "n2"
			w.step("n1")
			n.term, n.vote = 4, "n3"
			w.step("n1")
		}},
	{"I7", "n1", "a restart loses a vote that was durable",
		func(w *cluster) {
			n := w.nodes["n1"]
			n.term, n.vote = 3, "n2"
			w.step("n1")
			w.disks["n1"].vote = ""
			w.start("n1")
		},
		// What was lost with the disk, after a removal, is nobody's any more.
		func(w *cluster) {
			n := w.nodes["n1"]
			n.term, n.vote = 3, "n2"
			w.step("n1")
			w.Wipe("n1")
			w.join("n1", voters("n1", "n2", "n3"))
		}},
	{"I7", "n1", "a node forgets at its start the vote on its disk",
		func(w *cluster) {
			n := w.nodes["n1"]
			n.term, n.vote = 3, "n2"
			w.step("n1")
			w.Stop("n1")
			w.note(w.Start("n1", &fakeNode{contents: contents{term: 3}, first: voters("n1", "n2", "n3")}, w.disks["n1"]))
		},
		func(w *cluster) {
			n := w.nodes["n1"]
			n.term, n.vote = 3, "n2"
			w.step("n1")
			w.Stop("n1")
			w.start("n1")
		}},
	{"I7", "n1", "two votes of a term leave a node, one after a restart that lost the other",
		func(w *cluster) {
			n := w.nodes["n1"]
			n.term, n.vote = 3, "n2"
			w.save("n1")
			w.note(w.Sent("n1", Promise{Term: 3, VoteFor: "n2"}))
			n.vote = "n3"
			w.save("n1")
			w.note(w.Sent("n1", Promise{Term: 3, VoteFor: "n3"}))
		},
		func(w *cluster) {
			n := w.nodes["n1"]
			n.term, n.vote = 3, "n2"
			w.save("n1")
			w.note(w.Sent("n1", Promise{Term: 3, VoteFor: "n2"}))
			w.note(w.Sent("n1", Promise{Term: 3, VoteFor: "n2"}))
			n.term, n.vote = 4, "n3"
			w.save("n1")
			w.note(w.Sent("n1", Promise{Term: 4, VoteFor: "n3"}))
			// Another node of that name knows of no vote.
			w.Wipe("n1")
			w.join("n1", voters("n1", "n2", "n3"))
			n = w.nodes["n1"]
			n.term, n.vote = 4, "n2"
			w.save("n1")
			w.note(w.Sent("n1", Promise{Term: 4, VoteFor: "n2"}))
		}},

	{"I8", "n2", "commit goes back",
		func(w *cluster) {
			w.lead("n1", 1).append(1)
			w.agree("n1", "n2")
			w.nodes["n2"].commit = 1
			w.step("n2")
		},
		// A restart forgets how far it had committed.
		func(w *cluster) {
			w.lead("n1", 1).append(1)
			w.agree("n1", "n2")
			w.start("n2")
			w.nodes["n2"].commit = 1
			w.step("n2")
		}},
	{"I8", "n1", "commit is beyond the log",
		func(w *cluster) { w.nodes["n1"].commit = 1; w.step("n1") },
		func(w *cluster) { w.lead("n1", 1); w.copy("n1", "n2", 1, 0); w.nodes["n1"].commit = 1; w.step("n1") }},
	{"I8", "n1", "applied is beyond commit",
		func(w *cluster) { w.lead("n1", 1); w.agree("n1", "n2"); w.nodes["n1"].applied = 2; w.step("n1") },
		func(w *cluster) { w.lead("n1", 1); w.agree("n1", "n2"); w.nodes["n1"].applied = 1; w.step("n1") }},
	{"I8", "n1", "applied goes back",
		func(w *cluster) {
			w.lead("n1", 1)
			w.agree("n1", "n2")
			w.nodes["n1"].applied = 1
			w.step("n1")
			w.nodes["n1"].applied = 0
			w.step("n1")
		}, nil},
	{"I8", "n2", "an entry is applied before it is committed",
		func(w *cluster) { w.lead("n1", 1); w.copy("n1", "n2", 1, 0); w.apply("n2", 1, 1) },
		// Applied in the midst of a step, before it is looked at.
		func(w *cluster) {
			w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			w.nodes["n1"].commit = 1
			w.apply("n1", 1, 1)
		}},
	{"I8", "n1", "a log starts beyond commit",
		func(w *cluster) { n := w.lead("n1", 1); n.compact(1); w.step("n1") },
		func(w *cluster) { n := w.lead("n1", 1); w.agree("n1", "n2"); n.compact(1); w.step("n1") }},

	{"I9", "n1", "match goes back",
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			n.peers = []peer{{id: "n2", match: 1, next: 2}}
			w.step("n1")
			n.peers[0].match = 0
			w.step("n1")
		},
		// It is another membership.
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			n.peers = []peer{{id: "n2", match: 1, next: 2}}
			w.step("n1")
			n.peers[0] = peer{id: "n2", next: 1, epoch: 5}
			w.step("n1")
		}},
	{"I9", "n1", "next is not above match",
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			n.peers = []peer{{id: "n2", match: 1, next: 1}}
			w.step("n1")
		},
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			n.peers = []peer{{id: "n3", next: 1}, {id: "n2", match: 1, next: 2}}
			w.step("n1")
			slices.Reverse(n.peers)
			w.step("n1")
			n.peers = n.peers[:1]
			w.step("n1")
		}},
	{"I9", "n1", "match is not durable",
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			w.disks["n2"].cut(0)
			n.peers = []peer{{id: "n2", match: 1, next: 2}}
			w.step("n1")
		},
		// It was, until a later leader replaced it; the answer was on its way.
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			w.nodes["n2"].cut(0)
			w.nodes["n2"].term = 2
			w.step("n2")
			n.peers = []peer{{id: "n2", match: 1, next: 2}}
			w.step("n1")
		}},
	{"I9", "n1", "what is matched is another entry",
		func(w *cluster) {
			w.lead("n2", 1)
			n := w.lead("n1", 2)
			w.nodes["n2"].term, w.nodes["n2"].leads = 2, false
			w.step("n2")
			n.peers = []peer{{id: "n2", match: 1, next: 2}}
			w.step("n1")
		},
		// The peer has it in a snapshot.
		func(w *cluster) {
			n := w.lead("n1", 1)
			n.append(1)
			w.agree("n1", "n2")
			w.nodes["n2"].compact(2)
			w.step("n2")
			n.peers = []peer{{id: "n2", match: 1, next: 2}}
			w.step("n1")
		}},
	{"I9", "n1", "what a wiped node said counts for its successor",
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			w.Wipe("n2")
			n.peers = []peer{{id: "n2", match: 1, next: 2}}
			w.step("n1")
		},
		// The node was removed by a later leader that this one has not heard of.
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			w.copy("n1", "n3", 1, 0)
			w.lead("n3", 2)
			w.Wipe("n2")
			n.peers = []peer{{id: "n2", match: 1, next: 2}}
			w.step("n1")
		}},
	{"I9", "n1", "match is beyond the leader's own log",
		func(w *cluster) { n := w.lead("n1", 1); n.peers = []peer{{id: "n2", match: 2, next: 3}}; w.step("n1") },
		func(w *cluster) { n := w.lead("n1", 1); n.peers = []peer{{id: "n2", match: 0, next: 3}}; w.step("n1") }},
	{"I9", "n1", "a node that nobody knows has matched",
		func(w *cluster) { n := w.lead("n1", 1); n.peers = []peer{{id: "n9", match: 1, next: 2}}; w.step("n1") },
		func(w *cluster) { n := w.lead("n1", 1); n.peers = []peer{{id: "n9", next: 2}}; w.step("n1") }},

	{"I10", "n1", "no quorum holds it",
		func(w *cluster) { n := w.lead("n1", 1); n.commit = 1; w.step("n1") },
		// A node that crashed goes on counting.
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			w.Stop("n2")
			n.commit = 1
			w.step("n1")
		}},
	{"I10", "n1", "no quorum holds what a leader commits in the step in which it steps down",
		func(w *cluster) { n := w.lead("n1", 1); n.commit, n.leads = 1, false; w.step("n1") },
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			n.commit, n.leads = 1, false
			w.step("n1")
		}},
	{"I10", "n1", "a quorum holds it, and not durably",
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			w.disks["n2"].cut(0)
			n.commit = 1
			w.step("n1")
		},
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			w.nodes["n2"].cut(0) // in memory only
			n.commit = 1
			w.step("n1")
		}},
	{"I10", "n1", "figure 8: an entry of an earlier term is committed by counting",
		func(w *cluster) {
			w.nodes["n1"].append(1)
			n := w.lead("n1", 2)
			w.copy("n1", "n2", 1, 0)
			n.commit = 1
			w.step("n1")
		},
		// Along with one of its own term it is.
		func(w *cluster) {
			w.nodes["n1"].append(1)
			n := w.lead("n1", 2)
			w.copy("n1", "n2", 2, 0)
			n.commit = 2
			w.step("n1")
		}},
	{"I1", "n1", "a node leads that no quorum voted for",
		func(w *cluster) {
			n := w.nodes["n1"]
			n.term, n.vote, n.leads = 1, "n1", true
			n.append(1)
			w.step("n1")
		},
		func(w *cluster) {
			n := w.nodes["n1"]
			n.term, n.vote, n.leads = 1, "n1", true
			n.append(1)
			w.nodes["n2"].term, w.nodes["n2"].vote = 1, "n1"
			w.save("n2")
			w.note(w.Sent("n2", Promise{Term: 1, VoteFor: "n1"}))
			w.step("n1")
		}},
	{"I10", "n1", "a new leader commits by its own entry, in the step that elected it, without a quorum",
		func(w *cluster) {
			n := w.nodes["n1"]
			n.term, n.vote, n.leads = 1, "n1", true
			w.elect("n1", 1)
			n.append(1)
			n.commit = 1
			w.step("n1")
		},
		// What it learned as a follower, before it was elected, it need not have counted.
		func(w *cluster) {
			w.lead("n1", 1)
			w.agree("n1", "n2")
			n := w.copy("n1", "n3", 1, 0)
			n.term, n.vote, n.leads, n.commit = 2, "n3", true, 1
			w.elect("n3", 2)
			n.append(2)
			w.step("n3")
		}},
	{"I10", "n1", "the outgoing half of a joint configuration does not hold it",
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.agree("n1", "n2", "n3")
			c := joint([]NodeID{"n1", "n4", "n5"}, []NodeID{"n1", "n2", "n3"})
			w.join("n4", Configuration{})
			w.join("n5", Configuration{})
			w.configure("n1", c)
			w.copy("n1", "n4", 2, 1)
			w.copy("n1", "n5", 2, 1)
			n.commit = 2
			w.step("n1")
		},
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.agree("n1", "n2", "n3")
			c := joint([]NodeID{"n1", "n4", "n5"}, []NodeID{"n1", "n2", "n3"})
			w.join("n4", Configuration{})
			w.configure("n1", c)
			w.copy("n1", "n4", 2, 1)
			w.copy("n1", "n2", 2, 1)
			n.commit = 2
			w.step("n1")
		}},
	{"I10", "n1", "a joint configuration is left in the step that commits it, and one half never held it",
		func(w *cluster) { jointThenLeft(w, "n4", "n5") },
		func(w *cluster) { jointThenLeft(w, "n2", "n4") }},
	{"I10", "n1", "what a new configuration does not hold is committed by it",
		func(w *cluster) { newThenCommitted(w, 3) },
		// Committed by the old one, before the new one was appended in the same step.
		func(w *cluster) { newThenCommitted(w, 2) }},
	{"I10", "n1", "a member that was removed and wiped is counted",
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			w.Wipe("n2")
			n.commit = 1
			w.step("n1")
		},
		// A leader of an earlier term hears late what the node said that a later leader removed.
		func(w *cluster) {
			n := w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			w.copy("n1", "n3", 1, 0)
			w.lead("n3", 2)
			w.agree("n3", "n2")
			w.Wipe("n2")
			w.Wipe("n3")
			n.commit = 1
			w.step("n1")
		}},

	{"I11", "n1", "a term leaves before it is durable",
		func(w *cluster) { w.nodes["n1"].term = 2; w.note(w.Sent("n1", Promise{Term: 2})) },
		func(w *cluster) { w.nodes["n1"].term = 2; w.save("n1"); w.note(w.Sent("n1", Promise{Term: 2})) }},
	{"I11", "n1", "a vote leaves before it is durable",
		func(w *cluster) {
			w.nodes["n1"].term = 2
			w.save("n1")
			w.nodes["n1"].vote = "n2"
			w.note(w.Sent("n1", Promise{Term: 2, VoteFor: "n2"}))
		},
		// The write that made it durable had a later term in it: nothing is given in this one any more.
		func(w *cluster) {
			w.nodes["n1"].term = 3
			w.save("n1")
			w.note(w.Sent("n1", Promise{Term: 2, VoteFor: "n2"}))
		}},
	{"I11", "n2", "entries are accepted before they are durable",
		func(w *cluster) {
			w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0).append(1)
			w.note(w.Sent("n2", Promise{Term: 1, Accepted: 2}))
		},
		func(w *cluster) {
			w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0).append(1)
			w.note(w.Sent("n2", Promise{Term: 1, Accepted: 1}))
			w.save("n2")
			w.note(w.Sent("n2", Promise{Term: 1, Accepted: 2}))
		}},
	{"I11", "n2", "an entry is accepted while the one that it replaces is durable",
		func(w *cluster) { replaceThenAccept(w, 2) },
		// Accepted in the term before, durable then, and replaced only in memory since.
		func(w *cluster) { replaceThenAccept(w, 3) }},
	{"I11", "n2", "a restart loses the end of the log",
		func(w *cluster) {
			w.lead("n1", 1).append(1)
			w.copy("n1", "n2", 2, 0)
			w.disks["n2"].cut(1)
			w.start("n2")
		},
		// The crash came after a write that replaced it.
		func(w *cluster) {
			w.lead("n1", 1).append(1)
			w.copy("n1", "n2", 2, 0)
			w.disks["n2"].cut(1)
			w.disks["n2"].append(2)
			w.disks["n2"].term = 2
			w.start("n2")
		}},
	{"I11", "n2", "a restart loses what was accepted between two steps",
		func(w *cluster) {
			w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0).append(1)
			w.note(w.Step("n2"))
			w.save("n2")
			w.note(w.Sent("n2", Promise{Term: 1, Accepted: 2}))
			w.disks["n2"].cut(1)
			w.start("n2")
		},
		// What was appended and not accepted may be lost.
		func(w *cluster) {
			w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0).append(1)
			w.note(w.Step("n2"))
			w.start("n2")
		}},
	{"I11", "n2", "a restart loses a snapshot",
		func(w *cluster) {
			w.lead("n1", 1).append(1)
			w.agree("n1", "n2")
			w.nodes["n2"].compact(1)
			w.step("n2")
			*w.disks["n2"] = contents{term: 1}
			w.start("n2")
		},
		// A snapshot took the place of a log, just before the crash.
		func(w *cluster) {
			w.nodes["n2"].term = 1
			w.nodes["n2"].append(1)
			w.nodes["n2"].append(1)
			w.step("n2")
			w.lead("n1", 2)
			w.agree("n1", "n3")
			*w.disks["n2"] = contents{term: 2, base: w.mark("n1", 1)}
			w.start("n2")
		}},
	{"I11", "n2", "a node starts with less than its disk holds",
		func(w *cluster) {
			w.lead("n1", 1)
			w.copy("n1", "n2", 1, 0)
			w.Stop("n2")
			w.note(w.Start("n2", &fakeNode{contents: contents{term: 1}, first: voters("n1", "n2", "n3")}, w.disks["n2"]))
		},
		func(w *cluster) { w.lead("n1", 1); w.copy("n1", "n2", 1, 0); w.Stop("n2"); w.start("n2") }},

	{"I12", "n1", "an entry is applied twice",
		func(w *cluster) { w.lead("n1", 1); w.agree("n1", "n2"); w.apply("n1", 1, 1); w.apply("n1", 1, 1) },
		func(w *cluster) {
			w.lead("n1", 1).append(1)
			w.agree("n1", "n2")
			w.apply("n1", 1, 2)
			w.start("n1")
			w.nodes["n1"].commit = 2
			w.apply("n1", 1, 2)
		}},
	{"I12", "n1", "an entry is left out",
		func(w *cluster) { w.lead("n1", 1).append(1); w.agree("n1", "n2"); w.apply("n1", 2, 2) },
		func(w *cluster) {
			w.lead("n1", 1).append(1)
			w.agree("n1", "n2")
			w.start("n1")
			w.note(w.Restore("n1", w.mark("n1", 1), voters("n1", "n2", "n3"), 1001))
			w.nodes["n1"].commit = 2
			w.apply("n1", 2, 2)
		}},
	{"I12", "n1", "a restart forgets to load the snapshot that its log starts after",
		func(w *cluster) { compactThenRestart(w, func() {}) },
		func(w *cluster) {
			compactThenRestart(w, func() { w.note(w.Restore("n1", w.mark("n1", 1), voters("n1", "n2", "n3"), 1001)) })
		}},

	{"I13", "n3", "a snapshot covers what was not committed",
		func(w *cluster) {
			w.lead("n1", 1).append(1)
			w.agree("n1", "n2")
			w.nodes["n1"].append(1)
			w.note(w.Restore("n3", w.mark("n1", 3), voters("n1", "n2", "n3"), 7))
		},
		func(w *cluster) {
			w.lead("n1", 1).append(1)
			w.agree("n1", "n2")
			w.note(w.Restore("n3", w.mark("n1", 2), voters("n1", "n2", "n3"), 7))
		}},
	{"I13", "n3", "a snapshot ends with another entry",
		func(w *cluster) {
			w.lead("n1", 1)
			w.agree("n1", "n2")
			w.note(w.Restore("n3", Mark{1, 1, 7}, voters("n1", "n2", "n3"), 7))
		}, nil},
	{"I13", "n3", "a snapshot has another state",
		func(w *cluster) {
			w.lead("n1", 1)
			w.agree("n1", "n2")
			w.apply("n1", 1, 1)
			w.note(w.Restore("n3", w.mark("n1", 1), voters("n1", "n2", "n3"), 7))
		},
		func(w *cluster) {
			w.lead("n1", 1)
			w.agree("n1", "n2")
			w.apply("n1", 1, 1)
			w.note(w.Restore("n3", w.mark("n1", 1), voters("n1", "n2", "n3"), 1001))
		}},
	{"I13", "n3", "a snapshot has a later configuration than the log led to",
		func(w *cluster) { learnerThenRestore(w, 1) },
		func(w *cluster) { learnerThenRestore(w, 2) }},
	{"I13", "n2", "a snapshot is installed below commit",
		func(w *cluster) {
			w.lead("n1", 1).append(1)
			w.agree("n1", "n2")
			w.note(w.Restore("n2", w.mark("n1", 1), voters("n1", "n2", "n3"), 1001))
		},
		// Loaded at a start, which forgets how far was committed.
		func(w *cluster) {
			w.lead("n1", 1).append(1)
			w.agree("n1", "n2")
			w.Stop("n2")
			w.note(w.Restore("n2", w.mark("n1", 1), voters("n1", "n2", "n3"), 1001))
			w.start("n2")
			w.nodes["n2"].commit = 2
			w.apply("n2", 2, 2)
		}},
	{"I13", "n2", "a log starts after an entry that is not the committed one",
		func(w *cluster) {
			n := w.lead("n1", 1)
			n.append(1)
			w.agree("n1", "n2")
			w.nodes["n2"].compact(2)
			w.nodes["n2"].base.Checksum++
			w.nodes["n2"].append(1)
			w.nodes["n2"].cut(2)
			w.save("n2")
			w.note(w.Step("n2"))
		}, nil},
	{"I13", "n3", "a log starts after what nobody committed",
		func(w *cluster) {
			w.lead("n1", 1).append(1)
			w.agree("n1", "n2")
			n := w.nodes["n3"]
			n.term, n.base, n.commit, n.applied = 1, Mark{5, 1, 7}, 5, 5
			w.step("n3")
		},
		func(w *cluster) {
			w.lead("n1", 1).append(1)
			w.agree("n1", "n2")
			n := w.nodes["n3"]
			n.term, n.base, n.commit, n.applied = 1, w.mark("n1", 2), 2, 2
			w.step("n3")
		}},
	{"I13", "n1", "a log starts earlier than before",
		func(w *cluster) {
			n := w.lead("n1", 1)
			n.append(1)
			w.agree("n1", "n2")
			all := n.contents
			n.compact(2)
			w.step("n1")
			n.contents = all
			w.step("n1")
		}, nil},

	{"I14", "n1", "a leader appends a configuration before the last one is committed",
		func(w *cluster) { learners(w, false) },
		func(w *cluster) { learners(w, true) }},
	{"I14", "n1", "voters change without a joint configuration",
		func(w *cluster) { w.lead("n1", 1); w.configure("n1", voters("n1", "n2")) },
		func(w *cluster) {
			w.lead("n1", 1)
			w.configure("n1", joint([]NodeID{"n1", "n2"}, []NodeID{"n1", "n2", "n3"}))
		}},
	{"I14", "n1", "a joint configuration leaves from voters that were not in force",
		func(w *cluster) {
			w.lead("n1", 1)
			w.configure("n1", joint([]NodeID{"n1", "n2"}, []NodeID{"n1", "n2"}))
		}, nil},
	{"I14", "n1", "a joint configuration is left for voters that it did not name",
		func(w *cluster) { jointThen(w, voters("n1", "n3")) },
		func(w *cluster) { jointThen(w, voters("n1", "n2")) }},
	{"I14", "n1", "a joint configuration follows another",
		func(w *cluster) { jointThen(w, joint([]NodeID{"n1", "n3"}, []NodeID{"n1", "n2"})) }, nil},
	{"I14", "n1", "a configuration that makes no sense",
		func(w *cluster) {
			w.lead("n1", 1)
			w.configure("n1", Configuration{Voters: []NodeID{"n1", "n2", "n3"}, Learners: []NodeID{"n3"}})
		},
		func(w *cluster) {
			w.lead("n1", 1)
			w.configure("n1", Configuration{Voters: []NodeID{"n1", "n2", "n3"}, Learners: []NodeID{"n4"}})
		}},
	{"I14", "n1", "a configuration is in force only once it is committed",
		func(w *cluster) { lateConfiguration(w, 1) },
		func(w *cluster) { lateConfiguration(w, 0) }},
	{"I14", "n2", "a follower does not go by the configuration that it appended",
		func(w *cluster) {
			w.lead("n1", 1)
			w.configure("n1", withLearner)
			n := w.copy("n1", "n2", 1, 0)
			n.append(1)
			w.step("n2")
		},
		func(w *cluster) { w.lead("n1", 1); w.configure("n1", withLearner); w.copy("n1", "n2", 2, 0) }},
	{"I14", "n2", "a configuration stays in force when it is truncated, and its index is taken by another entry",
		func(w *cluster) { truncatedConfiguration(w, false) },
		func(w *cluster) { truncatedConfiguration(w, true) }},
	{"I14", "n2", "a configuration stays in force beyond the log",
		func(w *cluster) {
			w.lead("n1", 1)
			w.configure("n1", withLearner)
			n := w.copy("n1", "n2", 2, 0)
			n.term = 2
			n.cut(1)
			w.step("n2")
		}, nil},
	{"I14", "n2", "a restart forgets a configuration that is not committed",
		func(w *cluster) {
			w.lead("n1", 1)
			w.configure("n1", withLearner)
			w.copy("n1", "n2", 2, 0).forced = 1
			w.start("n2")
		},
		func(w *cluster) {
			w.lead("n1", 1)
			w.configure("n1", withLearner)
			w.copy("n1", "n2", 2, 0)
			w.start("n2")
		}},
	{"I14", "n2", "the same entry is taken for different configurations",
		func(w *cluster) {
			w.lead("n1", 1)
			w.configure("n1", withLearner)
			n := w.copy("n1", "n2", 1, 0)
			n.configurations = []gathered{{2, voters("n1", "n2", "n3")}}
			n.append(1)
			w.step("n2")
		}, nil},
	{"I14", "n2", "a log that starts after a configuration goes by an older one",
		func(w *cluster) { compactConfiguration(w, voters("n1", "n2", "n3")) },
		func(w *cluster) { compactConfiguration(w, withLearner) }},

	{"I15", "", "a command is executed twice",
		func(w *cluster) { w.note(w.Execute(1, 1, 5, 9)); w.note(w.Execute(1, 1, 6, 9)) },
		// By another node, and after a restart, and another command.
		func(w *cluster) {
			w.note(w.Execute(1, 1, 5, 9))
			w.note(w.Execute(1, 1, 5, 9))
			w.note(w.Execute(1, 2, 6, 8))
		}},
	{"I15", "", "two nodes answer a command differently",
		func(w *cluster) { w.note(w.Execute(1, 1, 5, 9)); w.note(w.Execute(1, 1, 5, 8)) },
		func(w *cluster) { w.note(w.Execute(1, 1, 5, 9)); w.note(w.Execute(2, 1, 6, 8)) }},
	{"I15", "", "a repeated command is answered differently",
		func(w *cluster) { w.note(w.Execute(1, 1, 5, 9)); w.note(w.Repeat(1, 1, 8)) },
		func(w *cluster) { w.note(w.Execute(1, 1, 5, 9)); w.note(w.Repeat(1, 1, 9)) }},
	{"I15", "", "a command is taken for repeated that never was executed",
		func(w *cluster) { w.note(w.Execute(1, 1, 5, 9)); w.note(w.Repeat(1, 2, 9)) }, nil},

	{"I16", "", "a read misses what was acknowledged before it began",
		func(w *cluster) { w.Acknowledged(5); w.note(w.AnswerRead(w.BeginRead(), 4)) },
		// What is acknowledged while it is under way it may miss.
		func(w *cluster) {
			w.Acknowledged(4)
			floor := w.BeginRead()
			w.Acknowledged(5)
			w.Acknowledged(3)
			w.note(w.AnswerRead(floor, 4))
		}},

	{"L3", "n2", "a node lags",
		func(w *cluster) {
			w.lead("n1", 1)
			w.agree("n1", "n2")
			w.apply("n1", 1, 1)
			w.note(w.Converged("n2", "n1"))
		},
		func(w *cluster) {
			w.lead("n1", 1)
			w.agree("n1", "n2")
			w.apply("n1", 1, 1)
			w.apply("n2", 1, 1)
			w.note(w.Converged("n1", "n2"))
		}},
	{"L3", "n2", "a node does not run",
		func(w *cluster) { w.Stop("n2"); w.note(w.Converged("n1", "n2", "n3")) },
		func(w *cluster) { w.Stop("n2"); w.note(w.Converged("n1", "n3")) }},
}

var withLearner = Configuration{Voters: []NodeID{"n1", "n2", "n3"}, Learners: []NodeID{"n4"}}

// jointThenLeft has a leader commit a joint configuration and append the one that ends it, in one
// step, with the joint one on itself and holders.
func jointThenLeft(w *cluster, holders ...NodeID) {
	n := w.lead("n1", 1)
	w.agree("n1", "n2", "n3")
	w.join("n4", Configuration{})
	w.join("n5", Configuration{})
	w.configure("n1", joint([]NodeID{"n1", "n4", "n5"}, []NodeID{"n1", "n2", "n3"}))
	for _, id := range holders {
		w.copy("n1", id, 2, 1)
	}
	n.commit = 2
	w.configure("n1", voters("n1", "n4", "n5"))
}

// newThenCommitted has a leader append a joint configuration at 3 and, in the same step, commit; only
// the old voters hold its log.
func newThenCommitted(w *cluster, commit uint64) {
	n := w.lead("n1", 1)
	w.agree("n1", "n2", "n3")
	n.append(1)
	w.step("n1")
	n.append(1)
	n.configurations = []gathered{{3, joint([]NodeID{"n4", "n5", "n6"}, []NodeID{"n1", "n2", "n3"})}}
	n.commit = commit
	// The old voters have it, and nobody has looked yet.
	for _, id := range []NodeID{"n1", "n2"} {
		*w.disks[id] = contents{term: 1, entries: slices.Clone(n.entries)}
	}
	w.note(w.Step("n1"))
}

// replaceThenAccept has n2 replace its entry in memory only, and accept in term 2 while it is in term.
func replaceThenAccept(w *cluster, term uint64) {
	w.lead("n1", 1)
	n := w.copy("n1", "n2", 1, 0)
	n.term = 2
	w.step("n2")
	n.cut(0)
	n.append(2)
	n.term = term
	w.note(w.Sent("n2", Promise{Term: 2, Accepted: 1}))
}

func compactThenRestart(w *cluster, load func()) {
	n := w.lead("n1", 1)
	n.append(1)
	w.agree("n1", "n2")
	w.apply("n1", 1, 2)
	n.compact(1)
	w.step("n1")
	w.start("n1")
	load()
	n.commit = 2
	w.apply("n1", 2, 2)
}

// learnerThenRestore restores a snapshot that names a learner, who was added by entry 2.
func learnerThenRestore(w *cluster, index uint64) {
	w.lead("n1", 1)
	w.configure("n1", withLearner)
	w.agree("n1", "n2")
	w.note(w.Restore("n3", w.mark("n1", index), withLearner, 7))
}

func learners(w *cluster, committed bool) {
	w.lead("n1", 1)
	w.configure("n1", withLearner)
	if committed {
		w.agree("n1", "n2")
	}
	w.configure("n1", voters("n1", "n2", "n3"))
}

func jointThen(w *cluster, next Configuration) {
	w.lead("n1", 1)
	w.configure("n1", joint([]NodeID{"n1", "n2"}, []NodeID{"n1", "n2", "n3"}))
	w.agree("n1", "n2")
	w.configure("n1", next)
}

func lateConfiguration(w *cluster, disregarded int) {
	n := w.lead("n1", 1)
	n.forced, w.nodes["n2"].forced = disregarded, disregarded
	w.configure("n1", withLearner)
	w.copy("n1", "n2", 2, 0)
	n.forced, n.commit = 0, 2
	w.step("n1")
}

// truncatedConfiguration has n2 replace a configuration by a leader's first entry.
func truncatedConfiguration(w *cluster, rolledBack bool) {
	w.lead("n1", 1)
	w.copy("n1", "n3", 1, 0)
	w.configure("n1", withLearner)
	w.copy("n1", "n2", 2, 0)
	w.lead("n3", 2)
	before := w.nodes["n2"].configurations
	n := w.nodes["n2"]
	n.term = 2
	n.cut(1)
	n.append(2)
	if rolledBack {
		before = nil
	}
	n.configurations = before
	w.step("n2")
}

func compactConfiguration(w *cluster, c Configuration) {
	w.lead("n1", 1)
	w.configure("n1", withLearner)
	w.agree("n1", "n2")
	n := w.nodes["n2"]
	n.compact(2)
	n.configurations, n.first = nil, c
	w.step("n2")
}

func TestLaws(t *testing.T) {
	for _, law := range laws {
		t.Run(law.invariant+" "+law.name, func(t *testing.T) {
			w := newCluster("n1", "n2", "n3")
			law.broken(w)
			var v *Violation
			require.True(t, errors.As(w.err, &v), "nothing was reported, but %v", w.err)
			require.Equal(t, law.invariant, v.Invariant, v.Text)
			require.Equal(t, law.node, v.Node)
			require.True(t, strings.HasSuffix(v.Text, "."), v.Text)
			require.NotContains(t, v.Text, "%!", "a format that does not fit")
			if law.legal == nil {
				return
			}
			w = newCluster("n1", "n2", "n3")
			law.legal(w)
			require.NoError(t, w.err)
		})
	}
}

// Every law has a planted violation, and a legal history beside it.
func TestEveryLawIsPlanted(t *testing.T) {
	legal := map[string]bool{}
	for _, law := range laws {
		legal[law.invariant] = legal[law.invariant] || law.legal != nil
	}
	for _, id := range []string{"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11", "I12", "I13", "I14", "I15", "I16", "L3"} {
		require.True(t, legal[id], id)
	}
}

// A Checker that was used, and reset, knows nothing of the run before.
func TestResetForgetsEverything(t *testing.T) {
	c := New()
	for _, law := range laws {
		if law.legal == nil {
			continue
		}
		c.Reset()
		w := &cluster{Checker: c, nodes: map[NodeID]*fakeNode{}, disks: map[NodeID]*contents{}}
		for _, id := range []NodeID{"n1", "n2", "n3"} {
			w.join(id, voters("n1", "n2", "n3"))
		}
		law.legal(w)
		require.NoError(t, w.err, law.name)
	}
}

// A run may begin with nodes whose logs start after a common base.
func TestRunsMayBeginAfterABase(t *testing.T) {
	w := newCluster()
	base := Mark{100, 7, 0xabc}
	for _, id := range []NodeID{"n1", "n2", "n3"} {
		w.disks[id] = &contents{term: 7, base: base}
		w.nodes[id] = &fakeNode{first: voters("n1", "n2", "n3")}
		w.start(id)
		w.note(w.Restore(id, base, voters("n1", "n2", "n3"), 1100))
	}
	w.lead("n1", 8)
	w.agree("n1", "n2", "n3")
	w.apply("n1", 101, 101)
	w.apply("n2", 101, 101)
	require.NoError(t, w.err)
	require.NoError(t, w.Converged("n1", "n2"))
	require.EqualValues(t, 101, w.Committed())
	require.Equal(t, 1, w.Leaders())
	w.nodes["n3"].base.Checksum++
	w.start("n3")
	require.NoError(t, w.err)
	w.disks["n3"].base.Checksum++
	w.start("n3")
	require.Error(t, w.err, "the base of the others is the committed one")
}

// What is reported of several peers does not depend on the order in which a leader keeps them.
func TestReportsDoNotDependOnTheOrderOfPeers(t *testing.T) {
	report := func(reverse bool) string {
		w := newCluster("n1", "n2", "n3")
		n := w.lead("n1", 1)
		n.peers = []peer{{id: "n2", match: 1, next: 2}, {id: "n3", match: 1, next: 2}}
		if reverse {
			slices.Reverse(n.peers)
		}
		w.step("n1")
		require.Error(t, w.err)
		return w.err.Error()
	}
	require.Equal(t, report(false), report(true))
}

func TestNamesThatNeverStarted(t *testing.T) {
	c := New()
	c.Stop("n9")
	c.Wipe("n9")
	require.NoError(t, c.Step("n9"))
	require.Error(t, c.Sent("n9", Promise{}))
	require.Error(t, c.Apply("n9", Mark{1, 1, 1}, 1))
}

func TestCommonStepsDoNotAllocate(t *testing.T) {
	w, n := benched(t)
	require.Zero(t, testing.AllocsPerRun(100, func() { w.note(w.Step("n1")) }), "nothing changed")
	for range 1000 {
		n.append(1)
	}
	w.step("n1")
	require.NoError(t, w.err)
}

// benched is a leader with a log of some length and four followers.
func benched(t require.TestingT) (*cluster, *fakeNode) {
	w := newCluster("n1", "n2", "n3", "n4", "n5")
	n := w.lead("n1", 1)
	for range 100 {
		n.append(1)
	}
	w.agree("n1", "n2", "n3", "n4", "n5")
	for _, id := range []NodeID{"n2", "n3", "n4", "n5"} {
		n.peers = append(n.peers, peer{id: id, match: 101, next: 102})
	}
	w.step("n1")
	require.NoError(t, w.err)
	return w, n
}

func BenchmarkStep(b *testing.B) {
	b.Run("follower/unchanged", func(b *testing.B) {
		w, _ := benched(b)
		b.ReportAllocs()
		for b.Loop() {
			if err := w.Step("n2"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("leader/unchanged", func(b *testing.B) {
		w, _ := benched(b)
		b.ReportAllocs()
		for b.Loop() {
			if err := w.Step("n1"); err != nil {
				b.Fatal(err)
			}
		}
	})
	// The first to have an entry notes it; what the fake does itself is a part of the figure.
	b.Run("leader/appends", func(b *testing.B) {
		w, n := benched(b)
		b.ReportAllocs()
		for b.Loop() {
			n.append(1)
			if err := w.Step("n1"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("follower/appends", func(b *testing.B) {
		w, n := benched(b)
		follower := w.nodes["n2"]
		for range 1000 {
			n.append(1)
		}
		w.step("n1")
		all := n.entries
		b.ReportAllocs()
		for b.Loop() {
			follower.entries = all[:101+(len(follower.entries)-100)%1000]
			if err := w.Step("n2"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("leader/commits", func(b *testing.B) {
		w, n := benched(b)
		n.term = 1
		b.ReportAllocs()
		for b.Loop() {
			n.append(1)
			for _, id := range []NodeID{"n1", "n2", "n3"} {
				w.disks[id].entries = n.entries
			}
			n.commit++
			if err := w.Step("n1"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

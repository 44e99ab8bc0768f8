// Package scenario is a language in which people describe, teach and pin down the behaviour of Raft: plain text,
// one statement a line, run on a simulated world that is driven by hand. The invariants are checked after every
// line, and after the last one the world is healed and must converge.
//
// The verbs are in verbs*.go, one function each; the names of what can be seen of a world are in names.go.
// docs/scenarios.md describes the language.
package scenario

// Package shrink cuts a failing scenario down to the lines that matter, while the same check goes on failing.
//
// Whether it does is found out by playing what is left: see scenario.Replay. Reduce is the plain part, for lists of
// anything; Shrinker knows the language of scenarios, and also rewrites: it takes nodes out of the cluster, joins
// lines, and puts one line that says more in the place of several. docs/shrinking.md describes it all.
package shrink

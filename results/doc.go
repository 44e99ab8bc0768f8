// Package results keeps runs: their folders, what was recorded in them, and the reports for people
// and machines.
package results

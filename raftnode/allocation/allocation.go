// Package allocation measures memory, so that tests can hold what reads strangers' bytes to a bound.
package allocation

import "runtime"

// Of is how many bytes are allocated while f runs, by whatever goroutine. What is freed again counts too.
func Of(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// repeatedAfter tells a second Ctrl-C from the echo of the first: a signal to a process group may
// arrive twice.
const repeatedAfter = 300 * time.Millisecond

// interrupts makes two contexts of Ctrl-C: gentle ends at the first, hurried at the second. Neither
// ends the program: what a run made is removed in any case.
func interrupts(parent context.Context, t *terminal) (gentle, hurried context.Context, release func()) {
	hurried, hurry := context.WithCancel(parent)
	gentle, stop := context.WithCancel(hurried)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		var first time.Time
		for {
			select {
			case <-hurried.Done():
				return
			case <-signals:
			}
			switch {
			case first.IsZero():
				first = time.Now()
				t.Printf("  %s\n", t.paint(yellow, "interrupted: healing, then checking what is there. Once more to hurry"))
				stop()
			case time.Since(first) > repeatedAfter:
				t.Printf("  %s\n", t.paint(yellow, "interrupted again: removing what was started"))
				hurry()
			}
		}
	}()
	return gentle, hurried, func() {
		signal.Stop(signals)
		hurry()
	}
}

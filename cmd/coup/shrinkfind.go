package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"coup/checker"
	"coup/runner"
)

// errClientsAlone is the error of a run that failed by its history alone.
var errClientsAlone = errors.New("only clients saw something wrong, which no scenario looks at")

// record does the run of a seed; nil when nothing is wrong with it.
func (f *shrinkFlags) record(ctx context.Context, seed uint64) (*found, error) {
	script, failure := f.options.Record(ctx, seed)
	if failure == nil {
		return nil, ctx.Err()
	}
	check := failure.Check
	switch {
	case failure.Verdict == checker.Harness:
		return nil, fmt.Errorf("seed %d: the suite itself failed: %s", seed, failure.Text)
	case check == runner.NameProcesses:
		check = "node"
	case check == checker.NameLinearizability:
		return nil, fmt.Errorf("seed %d: %w: %s", seed, errClientsAlone, failure.Text)
	}
	return &found{script, check, f.again(seed)}, nil
}

// search does runs from the first seed on until enough of them have failed, or a quarter of the budget is used up. The
// shortest comes first.
func (f *shrinkFlags) search(ctx context.Context) (all []found, err error) {
	began := time.Now()
	var mu sync.Mutex
	next := f.options.First
	take := func() (seed uint64, more bool) {
		mu.Lock()
		defer mu.Unlock()
		if len(all) >= f.hunt || err != nil || ctx.Err() != nil || len(all) > 0 && time.Since(began) > f.budget/4 || time.Since(began) > 10*f.budget {
			return 0, false
		}
		next++
		return next - 1, true
	}
	var running sync.WaitGroup
	for range f.workers {
		running.Go(func() {
			for {
				seed, more := take()
				if !more {
					return
				}
				one, failed := f.record(ctx, seed)
				mu.Lock()
				if one != nil {
					all = append(all, *one)
				}
				if failed != nil && !errors.Is(failed, errClientsAlone) {
					err = failed
				}
				mu.Unlock()
			}
		})
	}
	running.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if len(all) == 0 && err == nil {
		err = fmt.Errorf("nothing is wrong with %d runs", next-f.options.First)
	}
	slices.SortStableFunc(all, func(a, b found) int { return len(a.lines) - len(b.lines) })
	return all, err
}

// again is the command that cuts the run of a seed down.
func (f *shrinkFlags) again(seed uint64) string {
	line := fmt.Sprintf("coup shrink --seed %d", seed)
	for _, x := range []struct{ flag, is, standard string }{
		{"nodes", f.nodes, "3-7"}, {"faults", f.faults, "all"}, {"ops", fmt.Sprint(f.options.Ops), "2000"}, {"store", f.options.Store, ""},
	} {
		if x.is != x.standard {
			line += fmt.Sprintf(" --%s %s", x.flag, quote(x.is))
		}
	}
	return line
}

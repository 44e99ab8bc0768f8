package workload

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"coup/history"
)

// Catches a load that, while every change ends with an unknown outcome, no longer tries some kind of
// operation: a run through such an outage would prove nothing of it.
func TestRegistersTryEverythingDuringAnOutage(t *testing.T) {
	g := NewRegisters(RegisterOptions{Seed: 1, Nodes: []string{"n1"}, Rate: 200, Keys: 10, Until: 4 * time.Second})
	asked := make(map[history.F]int)
	for now := time.Duration(0); ; {
		next := g.Next(now)
		if next.Kind == Done {
			break
		}
		if next.Kind == Wait {
			now = next.At
			continue
		}
		asked[next.Op.F]++
		e := next.Op.Invocation(now)
		e.Type = history.Info
		if e.F == history.Read {
			e.Type = history.Fail
		}
		g.Completed(e)
	}
	for _, f := range []history.F{history.Read, history.Write, history.CAS} {
		require.Greater(t, asked[f], 50, f)
	}
}

package sim

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

func TestDev(t *testing.T) {
	if s := os.Getenv("SEED"); s != "" {
		seed, _ := strconv.ParseUint(s, 10, 64)
		r := ordinary(seed)
		if os.Getenv("V") != "" {
			seed -= 500000
			r = ordinary(seed + 500000)
			r.Nodes = 1 + int(seed%7)
			r.rate = []float64{100, 500, 3000}[seed%3]
			r.ops = 800
			if r.Nodes < 3 {
				r.windows = 0
			}
		}
		f, _ := os.Create("/tmp/sim.trace")
		r.Trace = f
		g := play(t, r)
		f.Close()
		fmt.Println(g.judge())
		for _, n := range g.world.nodes {
			if n.alive() {
				c := n.replica.Core()
				fmt.Println(n.id, n.standing, c.Role(), c.Term(), c.Leader(), c.Commit(), c.Applied(), c.LastIndex(), c.Configuration(), c.ConfigurationIndex(), n.busy, n.frozen, n.stalled)
			} else {
				fmt.Println(n.id, "dead", n.standing, n.killed, n.lost)
			}
		}
		return
	}
	n, _ := strconv.Atoi(os.Getenv("N"))
	bad := 0
	for seed := range uint64(n) {
		r := ordinary(seed + 500000)
		r.Nodes = 1 + int(seed%7)
		r.rate = []float64{100, 500, 3000}[seed%3]
		r.ops = 800
		if r.Nodes < 3 {
			r.windows = 0
		}
		g := play(t, r)
		if err := g.judge(); err != nil {
			fmt.Println(seed, err)
			bad++
		}
	}
	fmt.Println("bad", bad)
}

package sweep

import (
	"reflect"
	"strings"

	"coup/sim"
)

// sum adds up, counter by counter.
func sum(a, b sim.Reached) sim.Reached {
	to, from := reflect.ValueOf(&a).Elem(), reflect.ValueOf(b)
	for i := range to.NumField() {
		to.Field(i).SetInt(to.Field(i).Int() + from.Field(i).Int())
	}
	return a
}

// Counter is one of the things that a sweep counts.
type Counter struct {
	Name  string // "leaders killed in joint"
	Count int
}

// Counters lists what was reached, in the simulator's order.
func Counters(r sim.Reached) []Counter {
	var all []Counter
	of := reflect.ValueOf(r)
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Type().Field(i).Tag.Get("json"), ",")
		all = append(all, Counter{strings.ReplaceAll(name, "_", " "), int(of.Field(i).Int())})
	}
	return all
}

// Enough is how many runs must have reached everything.
const Enough = 100

// Missing names what a sweep with everything in it never came to: it has not tested that, however
// green it is. Of a smaller sweep it asks nothing.
func (r Result) Missing(everything bool) []string {
	if !everything || r.Runs < Enough {
		return nil
	}
	var missing []string
	for _, c := range Counters(r.Reached) {
		if c.Count == 0 {
			missing = append(missing, c.Name)
		}
	}
	return missing
}

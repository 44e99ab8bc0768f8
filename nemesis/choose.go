package nemesis

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"coup/cluster"
)

// Selection is what somebody has chosen of the faults.
type Selection struct {
	faults []Fault         // in the order of Every
	named  map[string]bool // by its own name, not by that of a group
}

// Choose reads what --faults takes:
//
//	list   = item { "," item }
//	item   = [ "-" ] name [ "=" value ] [ ":" weight ]
//	name   = a fault's or a group's
//	value  = a fault's parameter: 20%, 100/s, 50ms
//	weight = how often it comes while a fault of weight 1 comes once, from 1 to 9
//
// A dash takes away what other items choose. What is said of a fault by its name goes before what is said of its group.
// The error is one line that says what is wrong, and what would do.
func Choose(list string) (Selection, error) {
	s := Selection{named: map[string]bool{}}
	chosen, weights := map[string]Fault{}, map[string]int{}
	away := map[string]bool{}
	var none, some bool
	for _, text := range strings.Split(list, ",") {
		i, err := parseItem(text)
		if err != nil {
			return Selection{}, err
		}
		none, some = none || i.name == "none", some || i.name != "none"
		hits := false
		for _, f := range Every() {
			byName := f.Name() == i.name
			if group := groups[i.name]; !byName && (group == nil || !group(f)) {
				continue
			}
			hits = true
			name := f.Name()
			switch {
			case i.away && s.named[name]:
				return Selection{}, fmt.Errorf("%s is chosen and taken away again: leave one of them out", name)
			case i.away:
				away[name] = true
			case byName:
				if away[name] {
					return Selection{}, fmt.Errorf("%s is taken away and chosen again: leave one of them out", name)
				}
				if i.value != "" {
					if f, err = adjust(f, i.value); err != nil {
						return Selection{}, err
					}
				}
				f = weighted(f, i.weight)
				if s.named[name] && Spell(f) != Spell(chosen[name]) {
					return Selection{}, fmt.Errorf("%s comes twice, as %s and as %s: leave one of them out", name, Spell(chosen[name]), Spell(f))
				}
				s.named[name], chosen[name] = true, f
			case i.value != "":
				return Selection{}, fmt.Errorf("%s is a group, and takes no value: say it of one of its faults", i.name)
			case !s.named[name]:
				weights[name] = max(weights[name], i.weight)
				chosen[name] = weighted(f, weights[name])
			}
		}
		if !hits && i.name != "none" {
			if groups[i.name] != nil {
				return Selection{}, fmt.Errorf("the group %s is empty", i.name)
			}
			return Selection{}, fmt.Errorf("there is no fault %q%s; there are %s", i.name, nearest(i.name), strings.Join(words(), ", "))
		}
	}
	if none && some {
		return Selection{}, errors.New("none goes with nothing else: leave it out, or all else")
	}
	for name := range away {
		delete(chosen, name)
	}
	for _, f := range Every() {
		if c := chosen[f.Name()]; c != nil {
			s.faults = append(s.faults, c)
		}
	}
	if !none && len(s.faults) == 0 {
		return Selection{}, errors.New("all that is chosen is taken away again: choose more, or say none")
	}
	return s, nil
}

// item is one of a list.
type item struct {
	away        bool
	name, value string
	weight      int
}

func parseItem(text string) (i item, err error) {
	text = strings.TrimSpace(text)
	rest, weight, hasWeight := strings.Cut(text, ":")
	name, value, hasValue := strings.Cut(rest, "=")
	name, i.away = strings.CutPrefix(name, "-")
	i.name, i.value, i.weight = strings.TrimSpace(name), strings.TrimSpace(value), 1
	switch {
	case hasValue && i.value == "":
		return i, fmt.Errorf("%q: a value is missing after the = sign", text)
	case i.away && (hasValue || hasWeight):
		return i, fmt.Errorf("%q: what is taken away has neither value nor weight", text)
	case i.name == "none" && (i.away || hasValue || hasWeight):
		return i, fmt.Errorf("%q: none is said alone", text)
	}
	if hasWeight {
		if i.weight, err = strconv.Atoi(strings.TrimSpace(weight)); err != nil || i.weight < 1 || i.weight > maxWeight {
			return i, fmt.Errorf("%q: a weight is a number from 1 to %d", text, maxWeight)
		}
	}
	return i, nil
}

// adjust is the fault with a value.
func adjust(f Fault, value string) (Fault, error) {
	a, ok := f.(Adjustable)
	if !ok {
		return nil, fmt.Errorf("%s takes no value: leave =%s out", f.Name(), value)
	}
	other, err := a.With(value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return other, nil
}

const maxWeight = 9

// weighty is a fault that comes several times while others come once.
type weighty struct {
	Fault
	weight int
}

func weighted(f Fault, weight int) Fault {
	if weight == 1 {
		return f
	}
	return weighty{f, weight}
}

// Weight is how often a fault comes while one of weight 1 comes once.
func Weight(f Fault) int {
	if w, ok := f.(weighty); ok {
		return w.weight
	}
	return 1
}

// Plain is the fault without its weight.
func Plain(f Fault) Fault {
	if w, ok := f.(weighty); ok {
		return w.Fault
	}
	return f
}

// Spell is how Choose takes the very same fault.
func Spell(f Fault) string {
	text := f.Name()
	if a, ok := Plain(f).(Adjustable); ok && a.Setting() != defaults()[f.Name()] {
		text += "=" + a.Setting()
	}
	if w := Weight(f); w > 1 {
		text += fmt.Sprint(":", w)
	}
	return text
}

// defaults are the settings of faults that nobody adjusted.
func defaults() map[string]string {
	all := map[string]string{}
	for _, f := range Every() {
		if a, ok := f.(Adjustable); ok {
			all[f.Name()] = a.Setting()
		}
	}
	return all
}

// Faults are those chosen, whether they can be had or not.
func (s Selection) Faults() []Fault { return slices.Clone(s.faults) }

// LeftOut is a fault of a chosen group that cannot be had, and why.
type LeftOut struct {
	Fault  Fault
	Reason error
}

// On are the faults chosen that can be had on a cluster such as this one. A group means those of its faults that can;
// the others are left out. That a fault cannot be had that was chosen by its name, or none of all, is an error.
func (s Selection) On(c cluster.Cluster) (faults []Fault, left []LeftOut, err error) {
	for _, f := range s.faults {
		err := f.Check(c)
		switch {
		case err == nil:
			faults = append(faults, f)
		case s.named[f.Name()]:
			return nil, nil, err
		default:
			left = append(left, LeftOut{f, err})
		}
	}
	if len(faults) == 0 && len(left) > 0 {
		return nil, nil, left[0].Reason
	}
	return faults, left, nil
}

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"coup/cluster"
	"coup/nemesis"
	"coup/sim"
)

// faultFlags choose faults, by --faults or by --faults-file.
type faultFlags struct{ list, file string }

// everyFault is what is chosen when nothing is.
const everyFault = "all"

func (f *faultFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.list, "faults", everyFault, "which faults: `names` and groups, such as network,-slow,loss=10%,split:2\n(coup faults lists and explains them)")
	flags.StringVar(&f.file, "faults-file", "", "TOML `file` that chooses them instead")
}

// choice is what was chosen.
type choice struct {
	list      string // that was read
	selection nemesis.Selection
	troubles  []string // of the simulator
	named     []string // of those, the ones that were chosen by their own names
	file      []byte   // it came from; nil for none
}

// keptFile is the name under which a run's folder keeps the file.
const keptFile = "faults.toml"

// choose reads the flags, of a run in the simulator or elsewhere: there a word that is the name of a family of faults as
// well as of a trouble, such as membership, means the family. The error is a usageError.
func (f *faultFlags) choose(simulation bool) (c choice, err error) {
	flag, list := "--faults", f.list
	if f.file != "" {
		if f.list != everyFault {
			return c, &usageError{errors.New("--faults-file: --faults chooses, too: use one of them")}
		}
		flag = "--faults-file: " + f.file
		if c.file, err = os.ReadFile(f.file); err != nil {
			return c, &usageError{fmt.Errorf("--faults-file: %w", err)}
		}
		if list, err = nemesis.ReadFile(c.file); err != nil {
			return c, &usageError{fmt.Errorf("%s: %w", flag, err)}
		}
	}
	c.list = list
	var faults string
	if faults, c.troubles, c.named, err = splitTroubles(list, simulation); err == nil {
		c.selection, err = nemesis.Choose(faults)
	}
	if err != nil {
		return c, &usageError{fmt.Errorf("%s: %w", flag, err)}
	}
	return c, nil
}

// on is what was chosen and can be had on a cluster.
func (c choice) on(prospect cluster.Cluster) (faults []nemesis.Fault, left []nemesis.LeftOut, err error) {
	if faults, left, err = c.selection.On(prospect); err != nil {
		return nil, nil, &usageError{fmt.Errorf("--faults: %w", err)}
	}
	return faults, left, nil
}

// spell is how --faults takes just these.
func spell(faults []nemesis.Fault, troubles []string) string {
	words := slices.Clone(troubles)
	for _, f := range faults {
		words = append(words, nemesis.Spell(f))
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ",")
}

// leftOut says what was left out.
func (t *terminal) leftOut(left []nemesis.LeftOut) {
	for _, line := range explain(left) {
		t.Printf("%s", t.paragraph(line))
	}
}

// explain tells what was left out and why, a line for each reason.
func explain(left []nemesis.LeftOut) (lines []string) {
	names := map[string][]string{}
	var reasons []string
	for _, l := range left {
		// What a fault says of itself begins with its name.
		reason := strings.TrimPrefix(l.Reason.Error(), l.Fault.Name()+" ")
		if names[reason] == nil {
			reasons = append(reasons, reason)
		}
		names[reason] = append(names[reason], l.Fault.Name())
	}
	for _, reason := range reasons {
		lines = append(lines, fmt.Sprintf("left out: %s %s", strings.Join(names[reason], ", "), reason))
	}
	return lines
}

// splitTroubles takes the simulator's own troubles out of a list of faults. What is left, package nemesis knows. "all"
// means all of both, and named tells what was asked for by its own name.
func splitTroubles(list string, simulation bool) (faults string, troubles, named []string, err error) {
	var left, away []string
	for _, word := range strings.Split(list, ",") {
		word = strings.TrimSpace(word)
		name, taken := strings.CutPrefix(word, "-")
		bare, _, adorned := strings.Cut(strings.ReplaceAll(name, "=", ":"), ":")
		switch {
		case !slices.Contains(sim.Troubles(), bare), !simulation && nemesis.IsGroup(bare):
			if word == "all" {
				troubles = append(troubles, sim.Troubles()...)
			}
			left = append(left, word)
		case adorned:
			return "", nil, nil, fmt.Errorf("%s goes wrong all along in sim, and takes neither value nor weight", bare)
		case taken:
			away = append(away, name)
		default:
			troubles, named = append(troubles, word), append(named, word)
		}
	}
	slices.Sort(troubles)
	troubles = slices.Compact(troubles)
	for _, name := range away {
		if slices.Contains(named, name) || !slices.Contains(troubles, name) {
			return "", nil, nil, fmt.Errorf("-%s takes nothing away: leave it out, or choose all", name)
		}
		troubles = slices.DeleteFunc(troubles, func(t string) bool { return t == name })
	}
	if len(left) == 0 {
		left = []string{"none"}
	}
	return strings.Join(left, ","), troubles, named, nil
}

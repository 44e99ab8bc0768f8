package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"coup/checker"
	"coup/nemesis"
	"coup/page"
	"coup/runner"
)

const (
	// recipeTime is how long a recipe may take; it ends by itself before.
	recipeTime = 5 * time.Minute
	// recipeWarmUp is what its steps are compared with.
	recipeWarmUp = 8 * time.Second
)

// recipeList lists the recipes for the help text.
func recipeList() string {
	var names []string
	for _, r := range nemesis.Recipes() {
		names = append(names, r.Name+" ("+r.Summary+")")
	}
	return strings.Join(names, ", ")
}

// chooseFaults takes the faults from the command line: those that are listed, or the steps of a recipe.
func (f *runFlags) chooseFaults(cmd *cobra.Command) (troubles, named []string, err error) {
	o := &f.options
	if !cmd.Flags().Changed("recipe") {
		if f.write != "" {
			return nil, nil, errors.New("--write: the figures of a recipe are written: choose one with --recipe")
		}
		list, troubles, named := splitTroubles(f.faults)
		if f.drawn, err = nemesis.Parse(list); err != nil {
			err = fmt.Errorf("--faults: %w", err)
		}
		return troubles, named, err
	}
	recipe, err := nemesis.FindRecipe(o.Recipe)
	if err != nil {
		return nil, nil, fmt.Errorf("--recipe: %w", err)
	}
	for _, flag := range []string{"faults", "nodes", "interval", "window"} {
		if cmd.Flags().Changed(flag) {
			return nil, nil, fmt.Errorf("--%s: a recipe says that itself: leave it out, or --recipe", flag)
		}
	}
	o.Nodes, f.drawn = recipe.Nodes, recipe.Steps
	if !cmd.Flags().Changed("duration") {
		o.Duration = recipeTime
	}
	if !cmd.Flags().Changed("warm-up") {
		o.WarmUp = recipeWarmUp
	}
	if !cmd.Flags().Changed("name") {
		o.Name = recipe.Name
	}
	return nil, nil, nil
}

// families takes those words for families of faults on real nodes that name a trouble of the simulator as well, and returns
// the others.
func (f *runFlags) families(named []string) (others []string, err error) {
	var words []string
	for _, word := range named {
		if nemesis.IsGroup(word) {
			words = append(words, word)
		} else {
			others = append(others, word)
		}
	}
	if len(words) == 0 {
		return others, nil
	}
	for _, fault := range f.drawn {
		words = append(words, fault.Name())
	}
	if f.drawn, err = nemesis.Parse(strings.Join(words, ",")); err != nil {
		return nil, fmt.Errorf("--faults: %w", err)
	}
	f.name()
	return others, f.options.Validate(f.drawn)
}

// recipe prints what the steps of a recipe did to clients.
func (t *terminal) recipe(r *checker.Recipe) {
	if r != nil {
		t.Printf("%s%s\n", t.table(r.Table()), t.paragraph(r.Bound()))
	}
}

// writeRecipe writes the figures of a recipe into a page, for each environment of its own.
func writeRecipe(path string, o runner.Options, report checker.Report) error {
	if report.Recipe == nil {
		return errors.New("--write: the run has no figures of a recipe")
	}
	machine, err := page.Machine(os.TempDir())
	if err != nil {
		return err
	}
	r := report.Recipe
	name := fmt.Sprintf("recipe %s on %s", r.Name, o.Environment)
	var b strings.Builder
	fmt.Fprintf(&b, "%s on %s: %d clients, %s operations a second; verdict %s. %s.\n\n", r.Name, o.Environment, o.Concurrency, number(o.Rate),
		report.Verdict, machine)
	b.WriteString(page.Table(r.Table()))
	fmt.Fprintf(&b, "\n%s\n", r.Bound())
	line := fmt.Sprintf("`coup run --recipe %s --env %s --write %s` measures this and writes it here.", r.Name, o.Environment, filepath.Join("docs", filepath.Base(path)))
	return page.Write(path, "Performance", name, line, b.String())
}

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

// readFaults reads what the command line says of faults: which are listed, or the recipe whose steps they are.
func (f *runFlags) readFaults(cmd *cobra.Command) error {
	o := &f.options
	if !cmd.Flags().Changed("recipe") {
		if f.write != "" {
			return errors.New("--write: the figures of a recipe are written: choose one with --recipe")
		}
		// A word may mean something in one world only.
		_, err := f.faults.choose(false)
		if _, failed := f.faults.choose(true); failed == nil {
			return nil
		}
		return err
	}
	recipe, err := nemesis.FindRecipe(o.Recipe)
	if err != nil {
		return fmt.Errorf("--recipe: %w", err)
	}
	for _, flag := range []string{"faults", "faults-file", "nodes", "interval", "window"} {
		if cmd.Flags().Changed(flag) {
			return fmt.Errorf("--%s: a recipe says that itself: leave it out, or --recipe", flag)
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
	return nil
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

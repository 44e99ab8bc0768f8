package main

import (
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

// recipeTime is how long a recipe may take; it ends by itself before.
const recipeTime = 5 * time.Minute

// recipeList lists the recipes for the help text.
func recipeList() string {
	var names []string
	for _, r := range nemesis.Recipes() {
		names = append(names, r.Name+" ("+r.Summary+")")
	}
	return strings.Join(names, ", ")
}

// chooseFaults takes the faults from the command line: those that are listed, or the steps of a recipe.
func (f *runFlags) chooseFaults(cmd *cobra.Command) (faults []nemesis.Fault, troubles, named []string, err error) {
	o := &f.options
	if !cmd.Flags().Changed("recipe") {
		if f.write != "" {
			return nil, nil, nil, fmt.Errorf("--write: the figures of a recipe are written: choose one with --recipe")
		}
		list, troubles, named := splitTroubles(f.faults)
		if faults, err = nemesis.Parse(list); err != nil {
			err = fmt.Errorf("--faults: %w", err)
		}
		return faults, troubles, named, err
	}
	recipe, err := nemesis.FindRecipe(o.Recipe)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("--recipe: %w", err)
	}
	for _, flag := range []string{"faults", "nodes", "interval", "window"} {
		if cmd.Flags().Changed(flag) {
			return nil, nil, nil, fmt.Errorf("--%s: a recipe says that itself: leave it out, or --recipe", flag)
		}
	}
	o.Nodes = recipe.Nodes
	if !cmd.Flags().Changed("duration") {
		o.Duration = recipeTime
	}
	if !cmd.Flags().Changed("name") {
		o.Name = recipe.Name
	}
	return recipe.Steps, nil, nil, nil
}

// families takes those words for families of faults in real environments that name a trouble of the simulator as well.
func (f *runFlags) families(faults []nemesis.Fault, named *[]string) ([]nemesis.Fault, error) {
	var words, left []string
	for _, word := range *named {
		if nemesis.IsGroup(word) {
			words = append(words, word)
		} else {
			left = append(left, word)
		}
	}
	*named = left
	if len(words) == 0 {
		return faults, nil
	}
	for _, fault := range faults {
		words = append(words, fault.Name())
	}
	faults, err := nemesis.Parse(strings.Join(words, ","))
	if err != nil {
		return nil, fmt.Errorf("--faults: %w", err)
	}
	return faults, f.options.Validate(faults)
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
		return fmt.Errorf("--write: the run has no figures of a recipe")
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

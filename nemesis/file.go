package nemesis

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// file is what --faults-file takes:
//
//	faults = ["network", "-delay"] # items as Choose takes them
//	[fault.loss]                   # chooses it, too
//	value = "10%"
//	weight = 2
type file struct {
	Faults []string `toml:"faults"`
	Fault  map[string]struct {
		Value  string `toml:"value"`
		Weight int    `toml:"weight"`
	} `toml:"fault"`
}

// ReadFile makes of a TOML file the list that Choose takes. The error is one line.
func ReadFile(text []byte) (list string, err error) {
	var f file
	decoder := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		var unknown *toml.StrictMissingError
		var wrong *toml.DecodeError
		switch {
		case errors.As(err, &unknown) && len(unknown.Errors) > 0:
			row, _ := unknown.Errors[0].Position()
			return "", fmt.Errorf("line %d: there is no key %s; there are faults, and value and weight of [fault.NAME]", row, strings.Join(unknown.Errors[0].Key(), "."))
		case errors.As(err, &wrong):
			row, _ := wrong.Position()
			return "", fmt.Errorf("line %d: %s", row, strings.ReplaceAll(wrong.Error(), "\n", " "))
		}
		return "", errors.New(strings.ReplaceAll(err.Error(), "\n", " "))
	}
	var items []string
	for _, text := range f.Faults {
		if strings.Contains(text, ",") {
			return "", fmt.Errorf("faults: %q: each item is a string of its own", text)
		}
		if _, said := f.Fault[strings.TrimSpace(text)]; !said {
			items = append(items, text)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Fault)) {
		if strings.ContainsAny(name, ",:=") {
			return "", fmt.Errorf("[fault.%q] is no name of a fault", name)
		}
		item := name
		if v := f.Fault[name].Value; v != "" {
			if strings.ContainsAny(v, ",:") {
				return "", fmt.Errorf("[fault.%s]: %q is no value", name, v)
			}
			item += "=" + v
		}
		if w := f.Fault[name].Weight; w != 0 {
			item += fmt.Sprint(":", w)
		}
		items = append(items, item)
	}
	if len(items) == 0 {
		return "", errors.New(`it chooses nothing: say faults = ["all"], or ["none"]`)
	}
	return strings.Join(items, ","), nil
}

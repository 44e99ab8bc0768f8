package nemesis

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Catches a file that is understood otherwise than the flag, and mistakes in it that pass in silence.
func TestReadFile(t *testing.T) {
	for text, want := range map[string]string{
		`faults = ["all"]`: "all",
		`faults = ["network", "-delay", "loss=5%:2"]`:                   "network,-delay,loss=5%:2",
		"faults = ['link', 'loss']\n[fault.loss]\nvalue='5%'\nweight=2": "link,loss=5%:2",
		"[fault.split]\n[fault.rate]\nvalue='7/s'":                      "rate=7/s,split",
	} {
		list, err := ReadFile([]byte(text))
		require.NoError(t, err, text)
		require.Equal(t, want, list)
		_, err = Choose(list)
		require.NoError(t, err)
	}
	for text, problem := range map[string]string{
		"":                             "it chooses nothing",
		"faults = 3":                   "line 1:",
		"faults = [":                   "line 1:",
		"\nfault = ['all']":            "line 2:",
		"\n\nfalts = ['all']":          "line 3: there is no key falts",
		"[fault.loss]\nvalu = '3%'":    "line 2: there is no key fault.loss.valu",
		"faults = ['split,loss']":      "each item is a string of its own",
		"[fault.loss]\nvalue='5%,all'": `"5%,all" is no value`,
		"[fault.'a,b']":                "is no name of a fault",
	} {
		_, err := ReadFile([]byte(text))
		require.ErrorContains(t, err, problem, text)
		require.NotContains(t, err.Error(), "\n")
	}
}

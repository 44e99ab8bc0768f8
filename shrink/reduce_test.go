package shrink

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func numbers(n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprint(i))
	}
	return lines
}

func always() bool { return true }

func none(string) bool { return false }

// A reducer that stops too early, or that forgets to go over what is left again, leaves lines that do nothing.
func TestReduceFindsJustWhatMatters(t *testing.T) {
	for name, matter := range map[string][]string{
		"one":           {"17"},
		"first":         {"0"},
		"last":          {"99"},
		"far apart":     {"0", "50", "99"},
		"side by side":  {"41", "42", "43"},
		"every seventh": {"7", "14", "21", "28", "35", "42"},
	} {
		for workers := 1; workers <= 3; workers++ {
			t.Run(fmt.Sprintf("%s, %d workers", name, workers), func(t *testing.T) {
				left := Reduce(numbers(100), workers, none, always, nil, func(lines []string) ([]string, bool) {
					for _, m := range matter {
						if !slices.Contains(lines, m) {
							return nil, false
						}
					}
					return lines, true
				})
				require.Equal(t, matter, left)
			})
		}
	}
}

// A test that is true of more than one set of lines, and that only goes by how many there are of each kind: whatever is
// left, no line of it may be left out.
func TestReduceIsOneMinimal(t *testing.T) {
	odd := func(lines []string) ([]string, bool) {
		sum := 0
		for _, line := range lines {
			sum += len(line)*7 + int(line[0])
		}
		return lines, sum%5 == 3 || len(lines) > 30
	}
	left := Reduce(numbers(60), 2, none, always, nil, odd)
	_, fails := odd(left)
	require.True(t, fails)
	for i := range left {
		_, fails := odd(slices.Delete(slices.Clone(left), i, i+1))
		require.False(t, fails, "without line %d it still fails", i)
	}
}

// What a test keeps less of than it was given is what is gone on with.
func TestReduceGoesOnWithWhatIsKept(t *testing.T) {
	left := Reduce(numbers(50), 2, none, always, nil, func(lines []string) ([]string, bool) {
		kept := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return strings.HasSuffix(line, "3") })
		return kept, slices.Contains(lines, "20")
	})
	require.Equal(t, []string{"20"}, left)
}

func TestReduceKeepsWhatItMust(t *testing.T) {
	left := Reduce(numbers(20), 2, func(line string) bool { return line == "0" }, always, nil, func(lines []string) ([]string, bool) {
		return lines, slices.Contains(lines, "11")
	})
	require.Equal(t, []string{"0", "11"}, left)
}

// A budget that is used up ends it with what it has, which still fails.
func TestReduceStops(t *testing.T) {
	var asked atomic.Int64
	matter := []string{"10", "90"}
	left := Reduce(numbers(100), 1, none, func() bool { return asked.Add(1) < 6 }, nil, func(lines []string) ([]string, bool) {
		for _, m := range matter {
			if !slices.Contains(lines, m) {
				return nil, false
			}
		}
		return lines, true
	})
	require.Subset(t, left, matter)
	require.Greater(t, len(left), len(matter))
}

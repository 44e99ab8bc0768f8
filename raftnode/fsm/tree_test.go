package fsm

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// checkNode verifies the order and the sizes below a node and returns its depth.
func checkNode(t require.TestingT, n *node[int, int], root bool) int {
	require.True(t, slices.IsSorted(n.keys))
	require.LessOrEqual(t, n.size(), most)
	if n.children == nil {
		require.Len(t, n.values, len(n.keys))
		require.True(t, root || n.size() >= least, "a leaf of %d", n.size())
		return 1
	}
	require.Len(t, n.keys, len(n.children)-1)
	require.GreaterOrEqual(t, n.size(), 2)
	require.True(t, root || n.size() >= least, "an inner node of %d", n.size())
	depth := 0
	for i, c := range n.children {
		d := checkNode(t, c, false)
		require.True(t, i == 0 || d == depth, "leaves at different depths")
		depth = d
	}
	return depth + 1
}

func contents(t *tree[int, int]) ([]int, map[int]int) {
	var keys []int
	values := map[int]int{}
	for c := t.walk(); ; {
		k, v, ok := c.next()
		if !ok {
			return keys, values
		}
		keys = append(keys, k)
		values[k] = v
	}
}

// The tree against a map, with frozen copies taken on the way: none may see what came after it.
func TestTreeAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type frozen struct {
			tree tree[int, int]
			want map[int]int
		}
		var tr tree[int, int]
		var copies []frozen
		want := map[int]int{}
		for step := range rapid.IntRange(1, 20).Draw(t, "steps") {
			// Runs of keys grow and shrink the tree by whole nodes.
			from, length := rapid.IntRange(0, 3000).Draw(t, "from"), rapid.IntRange(1, 700).Draw(t, "length")
			stride := rapid.IntRange(1, 9).Draw(t, "stride")
			remove := rapid.Bool().Draw(t, "remove")
			for i := range length {
				k := from + i*stride
				if remove {
					tr.delete(k)
					delete(want, k)
				} else {
					tr.set(k, step)
					want[k] = step
				}
			}
			if rapid.Bool().Draw(t, "freeze") {
				copies = append(copies, frozen{tr.freeze(), maps.Clone(want)})
			}
		}
		copies = append(copies, frozen{tr, want})
		for _, c := range copies {
			if c.tree.root != nil {
				checkNode(t, c.tree.root, true)
			}
			keys, values := contents(&c.tree)
			require.Equal(t, c.want, values)
			require.True(t, slices.IsSorted(keys))
			require.Equal(t, len(c.want), c.tree.length)
			for k := range 4000 {
				v, found := c.tree.get(k)
				wanted, there := c.want[k]
				require.True(t, found == there && v == wanted, "key %d", k)
			}
		}
	})
}

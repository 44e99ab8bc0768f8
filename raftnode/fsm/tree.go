package fsm

import (
	"cmp"
	"slices"
)

// most is how many keys a leaf holds, or how many children an inner node has. One that falls below
// least is joined with a neighbour.
const (
	most  = 32
	least = most / 4
)

// tree is an ordered map whose copies cost nothing: freeze returns one that shares all nodes, and from
// then on the tree copies each node before it changes it. It is a B+ tree: values are in the leaves.
// The zero value is empty.
type tree[K cmp.Ordered, V any] struct {
	root   *node[K, V] // nil when empty
	length int
	// generation is raised by freeze. A node of an earlier one may be shared and is never changed.
	generation uint64
}

type node[K cmp.Ordered, V any] struct {
	generation uint64
	// keys of a leaf are those of its values. Those of an inner node separate its children: all
	// below children[i] are at least keys[i-1] and less than keys[i].
	keys     []K
	values   []V           // of a leaf
	children []*node[K, V] // of an inner node; nil in a leaf
}

// freeze returns the tree as it is now, for reading only, on any goroutine.
func (t *tree[K, V]) freeze() tree[K, V] {
	t.generation++
	return *t
}

// above counts the keys that are at most k: in an inner node, the child that k belongs to.
func (n *node[K, V]) above(k K) int {
	lo, hi := 0, len(n.keys)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if n.keys[mid] <= k {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// find tells where k is in a leaf, or belongs.
func (n *node[K, V]) find(k K) (i int, found bool) {
	i = n.above(k)
	if i > 0 && n.keys[i-1] == k {
		return i - 1, true
	}
	return i, false
}

func (t *tree[K, V]) get(k K) (v V, found bool) {
	n := t.root
	if n == nil {
		return v, false
	}
	for n.children != nil {
		n = n.children[n.above(k)]
	}
	i, found := n.find(k)
	if !found {
		return v, false
	}
	return n.values[i], true
}

func (t *tree[K, V]) set(k K, v V) {
	if t.root == nil {
		t.root = &node[K, V]{generation: t.generation}
	}
	t.root = t.own(t.root)
	t.put(t.root, k, v)
	if t.root.size() > most {
		root := &node[K, V]{generation: t.generation, children: []*node[K, V]{t.root}}
		root.split(0)
		t.root = root
	}
}

// put sets a value below n, which is owned. It may leave n one too large.
func (t *tree[K, V]) put(n *node[K, V], k K, v V) {
	if n.children == nil {
		i, found := n.find(k)
		if found {
			n.values[i] = v
			return
		}
		n.keys = slices.Insert(n.keys, i, k)
		n.values = slices.Insert(n.values, i, v)
		t.length++
		return
	}
	i := n.above(k)
	n.children[i] = t.own(n.children[i])
	t.put(n.children[i], k, v)
	if n.children[i].size() > most {
		n.split(i)
	}
}

func (t *tree[K, V]) delete(k K) {
	// Without this, the deletion of an absent key would copy a path for nothing.
	if _, found := t.get(k); !found {
		return
	}
	t.root = t.own(t.root)
	t.remove(t.root, k)
	t.length--
	switch {
	case t.length == 0:
		t.root = nil
	case len(t.root.children) == 1:
		t.root = t.root.children[0]
	}
}

// remove takes k, which is there, from below n, which is owned. It may leave n one too small.
func (t *tree[K, V]) remove(n *node[K, V], k K) {
	if n.children == nil {
		i, _ := n.find(k)
		n.keys = slices.Delete(n.keys, i, i+1)
		n.values = slices.Delete(n.values, i, i+1)
		return
	}
	i := n.above(k)
	n.children[i] = t.own(n.children[i])
	t.remove(n.children[i], k)
	if n.children[i].size() >= least {
		return
	}
	left := max(i-1, 0)
	n.children[left] = t.own(n.children[left])
	n.join(left)
	if n.children[left].size() > most {
		n.split(left)
	}
}

func (n *node[K, V]) size() int {
	if n.children == nil {
		return len(n.keys)
	}
	return len(n.children)
}

// own returns n itself if nobody shares it, else a copy.
func (t *tree[K, V]) own(n *node[K, V]) *node[K, V] {
	if n.generation == t.generation {
		return n
	}
	return &node[K, V]{
		generation: t.generation,
		keys:       slices.Clone(n.keys), values: slices.Clone(n.values), children: slices.Clone(n.children),
	}
}

// split halves the i-th child, which is owned.
func (n *node[K, V]) split(i int) {
	left := n.children[i]
	half := left.size() / 2
	right := &node[K, V]{generation: left.generation}
	var separator K
	if left.children == nil {
		separator = left.keys[half]
		right.keys, left.keys = cut(left.keys, half)
		right.values, left.values = cut(left.values, half)
	} else {
		separator = left.keys[half-1]
		right.keys, left.keys = cut(left.keys, half)
		left.keys = slices.Delete(left.keys, half-1, half)
		right.children, left.children = cut(left.children, half)
	}
	n.keys = slices.Insert(n.keys, i, separator)
	n.children = slices.Insert(n.children, i+1, right)
}

// cut returns a copy of s from i on, and what is before that without anything behind it.
func cut[T any](s []T, i int) (right, left []T) {
	right = append(make([]T, 0, most+1), s[i:]...)
	return right, slices.Delete(s, i, len(s))
}

// join adds the child after the i-th, which is owned, to it.
func (n *node[K, V]) join(i int) {
	left, right := n.children[i], n.children[i+1]
	if left.children != nil {
		left.keys = append(left.keys, n.keys[i])
	}
	left.keys = append(left.keys, right.keys...)
	left.values = append(left.values, right.values...)
	left.children = append(left.children, right.children...)
	n.keys = slices.Delete(n.keys, i, i+1)
	n.children = slices.Delete(n.children, i+1, i+2)
}

// cursor walks a frozen tree in the order of keys.
type cursor[K cmp.Ordered, V any] struct {
	path []step[K, V] // from the root to a leaf
}

type step[K cmp.Ordered, V any] struct {
	node *node[K, V]
	next int // child or value to go to
}

func (t *tree[K, V]) walk() cursor[K, V] {
	if t.root == nil {
		return cursor[K, V]{}
	}
	return cursor[K, V]{path: []step[K, V]{{node: t.root}}}
}

func (c *cursor[K, V]) next() (k K, v V, ok bool) {
	for len(c.path) > 0 {
		s := &c.path[len(c.path)-1]
		switch {
		case s.next == s.node.size():
			c.path = c.path[:len(c.path)-1]
		case s.node.children != nil:
			s.next++
			c.path = append(c.path, step[K, V]{node: s.node.children[s.next-1]})
		default:
			s.next++
			return s.node.keys[s.next-1], s.node.values[s.next-1], true
		}
	}
	return k, v, false
}
